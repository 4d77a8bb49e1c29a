//! Shares of CPU time, on a simulated machine that has a core for every place.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use proptest::prelude::*;

use super::*;

/// What an application wants: so many runs under way at all times, each of which costs so much.
#[derive(Debug, Clone, Copy)]
struct Load {
    cost: Duration,
    at_once: usize,
}

/// Applications with endless work, until it is told to end.
struct Machine {
    fair: Fair<()>,
    loads: Vec<Load>,
    /// The first has this share of its own.
    first: Option<Share>,
    names: Vec<Arc<str>>,
    now: Duration,
    /// What runs, by its end, with a number to tell two apart.
    ends: BinaryHeap<Reverse<(Duration, u64)>>,
    running: HashMap<u64, Grant>,
    next_run: u64,
    used: Vec<Duration>,
    /// No run is followed by another.
    closing: bool,
}

impl Machine {
    fn new(bounds: Bounds, loads: &[Load]) -> Self {
        Self::with_first(None, bounds, loads)
    }

    fn with_first(first: Option<Share>, bounds: Bounds, loads: &[Load]) -> Self {
        let mut machine = Self {
            first,
            fair: Fair::new(bounds),
            loads: loads.to_vec(),
            names: (0..loads.len()).map(|n| n.to_string().into()).collect(),
            now: ms(0),
            ends: BinaryHeap::new(),
            running: HashMap::new(),
            next_run: 0,
            used: vec![ms(0); loads.len()],
            closing: false,
        };
        for (who, load) in loads.iter().enumerate() {
            (0..load.at_once).for_each(|_| machine.enter(who));
        }
        machine
    }

    fn enter(&mut self, who: usize) {
        let name = self.names[who].clone();
        let share = self.first.filter(|_| who == 0);
        match self.fair.enter(&name, share, self.now, || ()) {
            Entry::Granted(grant) => self.begin([grant]),
            Entry::Queued(_, granted) => self.begin(granted.into_iter().map(|(_, grant)| grant)),
            Entry::Full => panic!("full"),
        }
    }

    fn begin(&mut self, granted: impl IntoIterator<Item = Grant>) {
        for grant in granted {
            let end = self.now + self.loads[who(&grant)].cost;
            self.ends.push(Reverse((end, self.next_run)));
            self.running.insert(self.next_run, grant);
            self.next_run += 1;
        }
    }

    /// Lets everything happen that happens by then.
    fn run(&mut self, until: Duration) {
        loop {
            self.nobody_waits_without_need();
            let end = self.ends.peek().map(|Reverse((end, _))| *end);
            let refill = self.fair.next_refill();
            let next = end.into_iter().chain(refill).min();
            let Some(next) = next.filter(|at| *at <= until) else {
                break;
            };
            assert!(next >= self.now, "a moment that has passed is waited for");
            self.now = next;
            let granted = if refill == Some(next) {
                self.fair.refill(next)
            } else {
                self.end()
            };
            self.begin(granted.into_iter().map(|(_, grant)| grant));
        }
        self.now = until;
    }

    fn end(&mut self) -> Vec<((), Grant)> {
        let Reverse((_, run)) = self.ends.pop().unwrap();
        let grant = self.running.remove(&run).unwrap();
        let (who, cost) = (who(&grant), self.loads[who(&grant)].cost);
        self.used[who] += cost;
        if !self.closing {
            self.enter(who);
        }
        self.fair.leave(grant, cost, self.now)
    }

    fn nobody_waits_without_need(&self) {
        let bounds = self.fair.bounds;
        let may_run = self.fair.tenants.values().find(|tenant| {
            !tenant.queue.is_empty()
                && tenant.running < bounds.running_per_tenant
                && tenant.used.wait(self.now).is_none()
        });
        assert!(self.fair.running == bounds.running || may_run.is_none());
    }
}

fn who(grant: &Grant) -> usize {
    grant.tenant.parse().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// As on two cores.
fn usual(percent: u32) -> Bounds {
    Bounds {
        running: 4,
        running_per_tenant: 3,
        share: Share {
            percent: NonZeroU32::new(percent).unwrap(),
        },
        ..BOUNDS
    }
}

const LOOPING: Load = Load {
    cost: Duration::from_millis(50),
    at_once: 100,
};

#[test]
fn who_loops_has_its_share_and_runs_alone() {
    let mut machine = Machine::new(usual(50), &[LOOPING]);
    machine.run(ms(2_000));
    for second in 2..20 {
        let before = machine.used[0];
        for _ in 0..100 {
            machine.run(machine.now + ms(10));
            assert!(machine.running.len() <= 1, "{second} s");
        }
        let used = machine.used[0] - before;
        assert!((ms(450)..=ms(550)).contains(&used), "{second} s: {used:?}");
    }
}

#[test]
fn a_tenth_of_the_share_is_a_tenth_of_the_time_and_nothing_is_lost() {
    let first = Share {
        percent: NonZeroU32::new(10).unwrap(),
    };
    let mut machine = Machine::with_first(Some(first), usual(100), &[LOOPING, LOOPING]);
    machine.run(ms(2_000));
    let before = machine.used.clone();
    machine.run(ms(102_000));
    let used = |who: usize| (machine.used[who] - before[who]).as_secs_f64();
    let part = used(0) / used(1);
    assert!((0.09..0.11).contains(&part), "{part}");
    assert!((95.0..105.0).contains(&used(1)), "{}", used(1));
    // What waits is run in the end, however little there is.
    machine.closing = true;
    machine.run(ms(3_600_000));
    assert_eq!((machine.fair.running, machine.fair.waiting), (0, 0));
}

#[test]
fn a_neighbour_never_waits_beside_those_who_rest() {
    let mut machine = Machine::new(usual(50), &[LOOPING, LOOPING]);
    let neighbour: Arc<str> = "2".into();
    machine.run(ms(2_000));
    for _ in 0..10_000 {
        machine.run(machine.now + ms(1));
        let Entry::Granted(grant) = machine.fair.enter(&neighbour, None, machine.now, || ()) else {
            panic!("at {:?}", machine.now);
        };
        let used = Duration::from_micros(15);
        assert!(machine.fair.leave(grant, used, machine.now).is_empty());
    }
}

#[test]
fn one_long_run_is_paid_back_before_the_next() {
    let mut fair = Fair::new(usual(1));
    let a: Arc<str> = "a".into();
    let Entry::Granted(run) = fair.enter(&a, None, ms(0), || ()) else {
        panic!()
    };
    // Ten seconds' worth, of which one was there.
    fair.leave(run, ms(100), ms(100));
    let waits = fair.enter(&a, None, ms(9_000), || ());
    assert!(matches!(waits, Entry::Queued(..)));
    let Some(at) = fair.next_refill() else {
        panic!()
    };
    assert_eq!(at, ms(9_100));
    assert!(fair.refill(ms(9_099)).is_empty());
    assert_eq!(fair.refill(at).len(), 1);
    assert_eq!(fair.next_refill(), None);
}

#[test]
fn nothing_is_due_once_those_who_rest_have_given_up() {
    let one = Load {
        at_once: 1,
        ..LOOPING
    };
    let mut machine = Machine::new(usual(50), &[one]);
    machine.run(ms(2_000));
    machine.closing = true;
    let name = machine.names[0].clone();
    let mut tickets = Vec::new();
    for _ in 0..3 {
        match machine.fair.enter(&name, None, machine.now, || ()) {
            Entry::Queued(ticket, _) => tickets.push(ticket),
            other => panic!("{other:?}"),
        }
    }
    for ticket in tickets {
        assert!(machine.fair.next_refill().is_some());
        machine.fair.cancel(&name, ticket);
    }
    machine.run(ms(10_000));
    let fair = &machine.fair;
    assert_eq!(fair.next_refill(), None);
    assert_eq!((fair.running, fair.waiting, fair.contending), (0, 0, 0));
}

#[test]
fn those_who_have_all_of_their_share_again_are_forgotten() {
    let mut fair = Fair::<()>::new(usual(50));
    for n in 0..100_000 {
        // A thousand a second, each of which is whole again after a second.
        let (name, now) = (Arc::from(n.to_string()), ms(n));
        let Entry::Granted(run) = fair.enter(&name, None, now, || ()) else {
            panic!()
        };
        fair.leave(run, ms(500), now);
        assert!(fair.tenants.len() <= 3 * KNOWN);
    }
}

fn load() -> impl Strategy<Value = Load> {
    // In microseconds. Shorter runs take the test longer and show nothing else.
    let cost = prop_oneof![1_000..5_000_u64, 5_000..100_000_u64];
    let cost = cost.prop_map(Duration::from_micros);
    (cost, 1..20_usize).prop_map(|(cost, at_once)| Load { cost, at_once })
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Each is some thousand runs.
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn shares_are_kept_and_used(
        loads in proptest::collection::vec(load(), 1..6),
        percent in 5..400_u32,
        places in 1..6_usize,
        own_places in 1..6_usize,
    ) {
        let bounds = Bounds {
            running: places,
            running_per_tenant: own_places.min(places),
            ..usual(percent)
        };
        let mut machine = Machine::new(bounds, &loads);
        machine.run(ms(5_000));
        let (span, share) = (5.0, f64::from(percent) / 100.0);
        for (load, used) in loads.iter().zip(&machine.used) {
            let (used, cost) = (used.as_secs_f64(), load.cost.as_secs_f64());
            let at_once = load.at_once.min(bounds.running_per_tenant) as f64;
            let most = share * (span + 1.0) + at_once * cost;
            // Each run may be off by a nanosecond.
            prop_assert!(used <= most + 1e-4, "{used}, not {most} at most: {load:?}");
            // What it would get if all others wanted all that there is, but for runs that have not ended yet. One
            // that has nothing waiting when a place falls free may miss it.
            let part = places as f64 / loads.len() as f64;
            let least = 0.8 * span * at_once.min(share).min(part) - (at_once + 1.0) * 0.1;
            let always_waits = load.at_once > bounds.running_per_tenant;
            prop_assert!(!always_waits || used >= least, "{used}, not {least} at least: {load:?}");
            prop_assert!(used > 0.0, "starved: {load:?}");
        }
        machine.closing = true;
        machine.run(ms(3_600_000));
        let fair = &machine.fair;
        prop_assert_eq!((fair.running, fair.waiting, fair.contending), (0, 0, 0));
        prop_assert_eq!(fair.next_refill(), None);
    }
}
