//! Whose guest runs next: deficit round-robin over applications, by the time their guests held a thread. Pure: no
//! clock, no locks, no waiting of its own; `turns` drives it, a test can drive it as well.
//!
//! A run's cost is known only afterwards. A run is charged what the application's runs cost of late when it starts,
//! and the difference when it ends; an application in debt sits out rounds until they have paid it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// How many may run and wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) running: usize,
    pub(super) running_per_tenant: usize,
    pub(super) waiting: usize,
    pub(super) waiting_per_tenant: usize,
}

/// What a round gives each application: one tick. Most runs cost far less, so that one application's short runs
/// stay together, and a run of the longest kind sits out as many rounds as it had ticks.
const QUANTUM: i64 = 1_000_000;

/// The state: applications with something running or waiting, and those that still owe.
#[derive(Debug)]
pub(super) struct Fair<W> {
    bounds: Bounds,
    running: usize,
    waiting: usize,
    tenants: HashMap<Arc<str>, Tenant<W>>,
    /// Every application of `tenants` once, the one whose turn it is first.
    ring: VecDeque<Arc<str>>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Tenant<W> {
    /// Nanoseconds that it may still use in this round; less than zero is debt.
    credit: i64,
    /// Nanoseconds that a run of its is taken to cost: a moving average of a quarter.
    usual: i64,
    running: usize,
    queue: VecDeque<(Ticket, W)>,
}

/// One place in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// A run that may start, and must be given back to [`Fair::leave`].
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) tenant: Arc<str>,
    charged: i64,
}

/// The answer to who wants to run.
#[derive(Debug)]
pub(super) enum Entry<W> {
    /// At once.
    Granted(Grant),
    /// Later. Others may go first, in the order of the list.
    Queued(Ticket, Vec<(W, Grant)>),
    /// Too many wait.
    Full,
}

impl<W> Fair<W> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            running: 0,
            waiting: 0,
            tenants: HashMap::new(),
            ring: VecDeque::new(),
            next_ticket: 0,
        }
    }

    /// A run of this application wants to start; `waiter` is handed back when it may.
    pub(super) fn enter(&mut self, name: &Arc<str>, waiter: impl FnOnce() -> W) -> Entry<W> {
        let Bounds {
            running,
            running_per_tenant,
            waiting,
            waiting_per_tenant,
        } = self.bounds;
        let ring = &mut self.ring;
        let tenant = self.tenants.entry(name.clone()).or_insert_with(|| {
            ring.push_back(name.clone());
            Tenant {
                credit: 0,
                usual: 0,
                running: 0,
                queue: VecDeque::new(),
            }
        });
        if self.waiting == 0 && self.running < running && tenant.running < running_per_tenant {
            self.running += 1;
            return Entry::Granted(tenant.start(name));
        }
        if self.waiting >= waiting || tenant.queue.len() >= waiting_per_tenant {
            return Entry::Full;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        tenant.queue.push_back((ticket, waiter()));
        self.waiting += 1;
        Entry::Queued(ticket, self.dispatch())
    }

    /// A run ended after holding a thread for `used`. The answer may start now.
    pub(super) fn leave(&mut self, grant: Grant, used: Duration) -> Vec<(W, Grant)> {
        self.running -= 1;
        if let Some(tenant) = self.tenants.get_mut(&grant.tenant) {
            let used = i64::try_from(used.as_nanos()).unwrap_or(i64::MAX);
            tenant.running -= 1;
            tenant.credit = tenant
                .credit
                .saturating_add(grant.charged)
                .saturating_sub(used);
            tenant.usual = (3 * tenant.usual).saturating_add(used) / 4;
        }
        if self.waiting == 0 {
            // Nobody was kept waiting, so nobody is owed anything.
            let tenants = &mut self.tenants;
            tenants.retain(|_, tenant| {
                tenant.credit = 0;
                tenant.running > 0
            });
            self.ring.retain(|name| tenants.contains_key(name));
        }
        self.dispatch()
    }

    /// Who waits gives up.
    pub(super) fn cancel(&mut self, name: &str, ticket: Ticket) {
        if let Some(tenant) = self.tenants.get_mut(name)
            && let Some(at) = tenant
                .queue
                .iter()
                .position(|(waiting, _)| *waiting == ticket)
        {
            tenant.queue.remove(at);
            self.waiting -= 1;
        }
    }

    fn dispatch(&mut self) -> Vec<(W, Grant)> {
        let mut granted = Vec::new();
        while self.waiting > 0 && self.running < self.bounds.running {
            match self
                .pass()
                .or_else(|| self.skip_rounds().then(|| self.pass()).flatten())
            {
                Some(next) => granted.push(next),
                // All that wait belong to applications that run as much as they may.
                None => break,
            }
        }
        granted
    }

    /// Goes around the ring once, or to the first application that waits and has credit.
    fn pass(&mut self) -> Option<(W, Grant)> {
        for _ in 0..self.ring.len() {
            let name = self.ring.pop_front()?;
            let tenant = self.tenants.get_mut(&name)?;
            if tenant.credit > 0
                && tenant.running < self.bounds.running_per_tenant
                && let Some((_, waiter)) = tenant.queue.pop_front()
            {
                let grant = tenant.start(&name);
                self.waiting -= 1;
                self.running += 1;
                // It stays first until its credit is used.
                self.ring.push_front(name);
                return Some((waiter, grant));
            }
            tenant.pay(1);
            if tenant.is_done() {
                self.tenants.remove(&name);
            } else {
                self.ring.push_back(name);
            }
        }
        None
    }

    /// Pays as many rounds at once as it takes until one that may run has credit. False if none may.
    fn skip_rounds(&mut self) -> bool {
        let most = self.bounds.running_per_tenant;
        let may_run = |tenant: &&Tenant<W>| !tenant.queue.is_empty() && tenant.running < most;
        let Some(credit) = self
            .tenants
            .values()
            .filter(may_run)
            .map(|t| t.credit)
            .max()
        else {
            return false;
        };
        // None where the pass just made has brought one above zero.
        let rounds = if credit > 0 { 0 } else { -credit / QUANTUM + 1 };
        self.tenants
            .values_mut()
            .for_each(|tenant| tenant.pay(rounds));
        true
    }
}

impl<W> Tenant<W> {
    fn start(&mut self, name: &Arc<str>) -> Grant {
        self.running += 1;
        self.credit -= self.usual;
        Grant {
            tenant: name.clone(),
            charged: self.usual,
        }
    }

    /// No more than a round's worth is ever saved.
    fn pay(&mut self, rounds: i64) {
        self.credit = self
            .credit
            .saturating_add(rounds.saturating_mul(QUANTUM))
            .min(QUANTUM);
    }

    fn is_done(&self) -> bool {
        self.queue.is_empty() && self.running == 0 && self.credit >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        running: 2,
        running_per_tenant: 2,
        waiting: 1000,
        waiting_per_tenant: 500,
    };

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
            match self.fair.enter(&self.names[who].clone(), || ()) {
                Entry::Granted(grant) => vec![grant],
                Entry::Queued(_, granted) => granted.into_iter().map(|(_, grant)| grant).collect(),
                Entry::Full => panic!("full"),
            }
        }

        fn leave(&mut self, grant: Grant, micros: u64) -> Vec<Grant> {
            let granted = self.fair.leave(grant, Duration::from_micros(micros));
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
        };
        let mut world = World::new(bounds, &["a", "b"]);
        let running = world.enter(0);
        assert_eq!(running.len(), 1);
        assert!(world.enter(0).is_empty() && world.enter(0).is_empty());
        assert!(matches!(world.fair.enter(&"a".into(), || ()), Entry::Full));
        assert!(world.enter(1).is_empty());
        assert!(matches!(world.fair.enter(&"b".into(), || ()), Entry::Full));
    }

    #[test]
    fn who_gives_up_is_not_called() {
        let bounds = Bounds {
            running: 1,
            ..BOUNDS
        };
        let mut fair = Fair::new(bounds);
        let a: Arc<str> = "a".into();
        let Entry::Granted(first) = fair.enter(&a, || 1) else {
            panic!()
        };
        let Entry::Queued(second, _) = fair.enter(&a, || 2) else {
            panic!()
        };
        let Entry::Queued(..) = fair.enter(&a, || 3) else {
            panic!()
        };
        fair.cancel("a", second);
        let granted = fair.leave(first, Duration::ZERO);
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
        assert!(world.fair.tenants.is_empty() && world.fair.ring.is_empty());
        assert_eq!((world.fair.running, world.fair.waiting), (0, 0));
    }
}
