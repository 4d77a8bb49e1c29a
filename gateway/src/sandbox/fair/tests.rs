mod shares;

use std::num::NonZeroU32;

use super::*;

const BOUNDS: Bounds = Bounds {
    running: 2,
    running_per_tenant: 2,
    waiting: 1000,
    waiting_per_tenant: 500,
    share: Share {
        percent: NonZeroU32::MAX,
    },
};

/// Nothing here depends on the time, as nobody has a share that he could use up.
const NOW: Duration = Duration::ZERO;

/// Applications with endless work, in a virtual time of one place.
struct World {
    fair: Fair<()>,
    names: Vec<Arc<str>>,
}

impl World {
    fn new(bounds: Bounds, names: &[&str]) -> Self {
        Self {
            fair: Fair::new(bounds),
            names: names.iter().map(|n| Arc::from(*n)).collect(),
        }
    }

    fn enter(&mut self, who: usize) -> Vec<Grant> {
        match self.fair.enter(&self.names[who].clone(), None, NOW, || ()) {
            Entry::Granted(grant) => vec![grant],
            Entry::Queued(_, granted) => granted.into_iter().map(|(_, grant)| grant).collect(),
            Entry::Full => panic!("full"),
        }
    }

    fn leave(&mut self, grant: Grant, micros: u64) -> Vec<Grant> {
        let granted = self.fair.leave(grant, Duration::from_micros(micros), NOW);
        granted.into_iter().map(|(_, grant)| grant).collect()
    }
}

#[test]
fn time_is_shared_however_long_a_run_is() {
    let one = Bounds {
        running: 1,
        ..BOUNDS
    };
    let mut world = World::new(one, &["long", "short"]);
    let cost = |name: &str| if name == "long" { 40_000 } else { 100 };
    let mut running = VecDeque::new();
    for _ in 0..10 {
        for who in 0..2 {
            running.extend(world.enter(who));
        }
    }
    let mut used: HashMap<Arc<str>, u64> = HashMap::new();
    for _ in 0..20_000 {
        let grant = running.pop_front().unwrap();
        let name = grant.tenant.clone();
        *used.entry(name.clone()).or_default() += cost(&name);
        let who = world.names.iter().position(|n| *n == name).unwrap();
        // Another takes its place in the queue first, so that both always want more.
        running.extend(world.enter(who));
        running.extend(world.leave(grant, cost(&name)));
    }
    let (long, short) = (used["long"] as f64, used["short"] as f64);
    assert!((0.9..1.1).contains(&(long / short)), "{used:?}");
}

#[test]
fn an_application_does_not_take_the_last_place() {
    let bounds = Bounds {
        running: 4,
        running_per_tenant: 3,
        ..BOUNDS
    };
    let mut world = World::new(bounds, &["greedy", "neighbour"]);
    let granted: usize = (0..10).map(|_| world.enter(0).len()).sum();
    assert_eq!(granted, 3);
    assert_eq!(&*world.enter(1)[0].tenant, "neighbour");
}

#[test]
fn waiting_is_bounded_per_application_and_in_all() {
    let bounds = Bounds {
        running: 1,
        running_per_tenant: 1,
        waiting: 3,
        waiting_per_tenant: 2,
        ..BOUNDS
    };
    let mut world = World::new(bounds, &["a", "b"]);
    let running = world.enter(0);
    assert_eq!(running.len(), 1);
    assert!(world.enter(0).is_empty() && world.enter(0).is_empty());
    assert!(matches!(
        world.fair.enter(&"a".into(), None, NOW, || ()),
        Entry::Full
    ));
    assert!(world.enter(1).is_empty());
    assert!(matches!(
        world.fair.enter(&"b".into(), None, NOW, || ()),
        Entry::Full
    ));
}

#[test]
fn who_gives_up_is_not_called() {
    let bounds = Bounds {
        running: 1,
        ..BOUNDS
    };
    let mut fair = Fair::new(bounds);
    let a: Arc<str> = "a".into();
    let Entry::Granted(first) = fair.enter(&a, None, NOW, || 1) else {
        panic!()
    };
    let Entry::Queued(second, _) = fair.enter(&a, None, NOW, || 2) else {
        panic!()
    };
    let Entry::Queued(..) = fair.enter(&a, None, NOW, || 3) else {
        panic!()
    };
    fair.cancel(&a, second);
    let granted = fair.leave(first, Duration::ZERO, NOW);
    assert_eq!(
        granted
            .iter()
            .map(|(waiter, _)| *waiter)
            .collect::<Vec<_>>(),
        [3]
    );
}

#[test]
fn nothing_is_kept_of_who_is_gone() {
    let mut world = World::new(BOUNDS, &["a", "b", "c"]);
    let mut running: VecDeque<Grant> = (0..3).flat_map(|who| world.enter(who)).collect();
    while let Some(grant) = running.pop_front() {
        running.extend(world.leave(grant, 70_000));
    }
    let fair = &world.fair;
    assert!(fair.ring.is_empty() && fair.resting.is_empty());
    assert_eq!((fair.running, fair.waiting, fair.contending), (0, 0, 0));
}
