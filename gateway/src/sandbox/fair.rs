//! Whose guest runs next: deficit round-robin over applications, by the time their guests held a thread, each within
//! its share of CPU time. Pure: no clock, no locks, no waiting of its own; `turns` drives it, a test can drive it as
//! well. Moments come from the caller, counted from any fixed one.
//!
//! A run's cost is known only afterwards. A run is charged what the application's runs cost of late when it starts,
//! and the difference when it ends; an application in debt sits out rounds until they have paid it.
//!
//! An application that has used its share rests, out of the ring, so that it costs the others nothing. For the same
//! reason whoever finds a free place takes it whoever else waits: while a place is free, those that wait do so for
//! bounds of their own.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::share::{Share, Used};

/// How many may run and wait, and how much of the CPU they may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) running: usize,
    pub(super) running_per_tenant: usize,
    pub(super) waiting: usize,
    pub(super) waiting_per_tenant: usize,
    pub(super) share: Share,
}

/// What a round gives each application: one tick. Most runs cost far less, so that one application's short runs
/// stay together, and a run of the longest kind sits out as many rounds as it had ticks.
const QUANTUM: i64 = 1_000_000;

/// Applications known before those are forgotten, for the first time, that have all of their share. Chosen: some
/// 200 KB.
const KNOWN: usize = 1_024;

/// The state: applications with something running or waiting, and those that still owe or have used of their share.
#[derive(Debug)]
pub(super) struct Fair<W> {
    bounds: Bounds,
    running: usize,
    /// All that wait.
    waiting: usize,
    /// Those of them whose applications are in the ring.
    contending: usize,
    tenants: HashMap<Arc<str>, Tenant<W>>,
    /// As many as there may be before idle ones are looked for, so that looking costs each newcomer little.
    most_known: usize,
    /// Every application in [`Place::Ring`] once, the one whose turn it is first.
    ring: VecDeque<Arc<str>>,
    /// Every application in [`Place::Resting`], the one that may go on first in front.
    resting: BTreeSet<(Duration, Arc<str>)>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Tenant<W> {
    /// Nanoseconds that it may still use in this round; less than zero is debt.
    credit: i64,
    /// Nanoseconds that a run of its is taken to cost: a moving average of a quarter.
    usual: i64,
    used: Used,
    /// Its own share; none: the usual one.
    share: Option<Share>,
    running: usize,
    queue: VecDeque<(Ticket, W)>,
    place: Place,
}

/// Where an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Known only for what it has used of its share.
    Aside,
    Ring,
    /// It has something waiting and its share is used up until then.
    Resting(Duration),
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
            contending: 0,
            tenants: HashMap::new(),
            most_known: KNOWN,
            ring: VecDeque::new(),
            resting: BTreeSet::new(),
            next_ticket: 0,
        }
    }

    /// A run of this application wants to start, which has this share from now on, or the usual one; `waiter` is handed back when it may.
    pub(super) fn enter(
        &mut self,
        name: &Arc<str>,
        share: Option<Share>,
        now: Duration,
        waiter: impl FnOnce() -> W,
    ) -> Entry<W> {
        self.forget_idle(now);
        let bounds = self.bounds;
        let tenant = self.tenants.entry(name.clone()).or_default();
        tenant.share = share;
        let share = share.unwrap_or(bounds.share);
        let may_run = tenant.queue.is_empty()
            && tenant.running < bounds.running_per_tenant
            && tenant.used.wait(now).is_none();
        let granted = may_run && self.running < bounds.running;
        if !granted
            && (self.waiting >= bounds.waiting || tenant.queue.len() >= bounds.waiting_per_tenant)
        {
            return Entry::Full;
        }
        if tenant.place == Place::Aside {
            tenant.place = Place::Ring;
            self.ring.push_back(name.clone());
        }
        if granted {
            self.running += 1;
            return Entry::Granted(tenant.start(name, share, now));
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        tenant.queue.push_back((ticket, waiter()));
        self.waiting += 1;
        self.contending += usize::from(tenant.place == Place::Ring);
        Entry::Queued(ticket, self.dispatch(now))
    }

    /// A run ended after holding a thread for `used`. The answer may start now.
    pub(super) fn leave(&mut self, grant: Grant, used: Duration, now: Duration) -> Vec<(W, Grant)> {
        let share = self.share_of(&grant.tenant);
        self.running -= 1;
        if let Some(tenant) = self.tenants.get_mut(&grant.tenant) {
            tenant.end(grant.charged, used, share, now);
            if let Place::Resting(until) = tenant.place {
                // By another moment than before, and perhaps no longer.
                self.resting.remove(&(until, grant.tenant.clone()));
                self.go_on(grant.tenant);
            }
        }
        let granted = self.dispatch(now);
        if granted.is_empty() {
            self.forgive();
        }
        granted
    }

    /// Who waits gives up.
    pub(super) fn cancel(&mut self, name: &Arc<str>, ticket: Ticket) {
        let Some(tenant) = self.tenants.get_mut(name) else {
            return;
        };
        let mut queue = tenant.queue.iter();
        let Some(at) = queue.position(|(waiting, _)| *waiting == ticket) else {
            return;
        };
        tenant.queue.remove(at);
        self.waiting -= 1;
        match tenant.place {
            Place::Resting(until) if tenant.queue.is_empty() => {
                self.resting.remove(&(until, name.clone()));
                self.go_on(name.clone());
            }
            Place::Ring => self.contending -= 1,
            Place::Resting(_) | Place::Aside => {}
        }
    }

    /// When [`Fair::refill`] has something to do, if nothing happens before.
    pub(super) fn next_refill(&self) -> Option<Duration> {
        self.resting.first().map(|(until, _)| *until)
    }

    /// Lets those go on whose share is there again. The answer may start now.
    pub(super) fn refill(&mut self, now: Duration) -> Vec<(W, Grant)> {
        while self.next_refill().is_some_and(|until| until <= now)
            && let Some((_, name)) = self.resting.pop_first()
        {
            self.go_on(name);
        }
        self.dispatch(now)
    }

    #[cfg(test)]
    pub(super) fn has_used(&self, tenant: &str) -> bool {
        let tenant = self.tenants.get(tenant);
        tenant.is_some_and(|tenant| tenant.usual > 0)
    }

    /// What an application may use: what its last run said, else what everybody may.
    fn share_of(&self, tenant: &str) -> Share {
        let own = self.tenants.get(tenant).and_then(|tenant| tenant.share);
        own.unwrap_or(self.bounds.share)
    }

    /// Back into the ring, from where it may go to rest once more.
    fn go_on(&mut self, name: Arc<str>) {
        if let Some(tenant) = self.tenants.get_mut(&name) {
            tenant.place = Place::Ring;
            self.contending += tenant.queue.len();
            self.ring.push_back(name);
        }
    }

    fn dispatch(&mut self, now: Duration) -> Vec<(W, Grant)> {
        let mut granted = Vec::new();
        while self.contending > 0 && self.running < self.bounds.running {
            match self
                .pass(now)
                .or_else(|| self.skip_rounds().then(|| self.pass(now)).flatten())
            {
                Some(next) => granted.push(next),
                // All that wait belong to applications that run as much as they may.
                None => break,
            }
        }
        granted
    }

    /// Goes around the ring once, or to the first application that waits and has credit. Sends those to rest that
    /// wait and have used their share.
    fn pass(&mut self, now: Duration) -> Option<(W, Grant)> {
        for _ in 0..self.ring.len() {
            let name = self.ring.pop_front()?;
            let share = self.share_of(&name);
            let tenant = self.tenants.get_mut(&name)?;
            if !tenant.queue.is_empty()
                && let Some(until) = tenant.used.wait(now)
            {
                tenant.place = Place::Resting(until);
                self.contending -= tenant.queue.len();
                self.resting.insert((until, name));
                continue;
            }
            if tenant.credit > 0
                && tenant.running < self.bounds.running_per_tenant
                && let Some((_, waiter)) = tenant.queue.pop_front()
            {
                let grant = tenant.start(&name, share, now);
                self.waiting -= 1;
                self.contending -= 1;
                self.running += 1;
                // It stays first until its credit is used.
                self.ring.push_front(name);
                return Some((waiter, grant));
            }
            tenant.pay(1);
            if tenant.is_active() || tenant.credit < 0 {
                self.ring.push_back(name);
            } else {
                tenant.place = Place::Aside;
            }
        }
        None
    }

    /// Pays as many rounds at once as it takes until one that may run has credit. False if none may. Only after a
    /// pass that found nobody, so that nobody in the ring waits for his share.
    fn skip_rounds(&mut self) -> bool {
        let most = self.bounds.running_per_tenant;
        let in_ring = self.ring.iter().filter_map(|name| self.tenants.get(name));
        let may_run = |tenant: &&Tenant<W>| !tenant.queue.is_empty() && tenant.running < most;
        let Some(credit) = in_ring.filter(may_run).map(|t| t.credit).max() else {
            return false;
        };
        // None where the pass just made has brought one above zero.
        let rounds = if credit > 0 { 0 } else { -credit / QUANTUM + 1 };
        for name in &self.ring {
            if let Some(tenant) = self.tenants.get_mut(name) {
                tenant.pay(rounds);
            }
        }
        true
    }

    /// A place is free, so nobody is kept waiting by others, and nobody is owed anything.
    fn forgive(&mut self) {
        let tenants = &mut self.tenants;
        self.ring.retain(|name| {
            tenants.get_mut(name).is_some_and(|tenant| {
                tenant.credit = 0;
                if !tenant.is_active() {
                    tenant.place = Place::Aside;
                }
                tenant.is_active()
            })
        });
    }

    /// Forgets those that are as good as new, now and then.
    fn forget_idle(&mut self, now: Duration) {
        if self.tenants.len() >= self.most_known {
            self.tenants
                .retain(|_, tenant| tenant.place != Place::Aside || !tenant.used.is_whole(now));
            self.most_known = (2 * self.tenants.len()).max(KNOWN);
        }
    }
}

impl<W> Default for Tenant<W> {
    fn default() -> Self {
        Self {
            credit: 0,
            usual: 0,
            used: Used::default(),
            share: None,
            running: 0,
            queue: VecDeque::new(),
            place: Place::Aside,
        }
    }
}

impl<W> Tenant<W> {
    /// Charged at once, of its share too: one that loops then runs alone while it has little left, rather than all
    /// that it may run at once and then none for long.
    fn start(&mut self, name: &Arc<str>, share: Share, now: Duration) -> Grant {
        self.running += 1;
        self.credit -= self.usual;
        self.used.charge(share, time(self.usual), now);
        Grant {
            tenant: name.clone(),
            charged: self.usual,
        }
    }

    fn end(&mut self, charged: i64, used: Duration, share: Share, now: Duration) {
        self.running -= 1;
        self.used.correct(share, time(charged), used, now);
        let used = i64::try_from(used.as_nanos()).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(charged).saturating_sub(used);
        self.usual = (3 * self.usual).saturating_add(used) / 4;
    }

    /// No more than a round's worth is ever saved.
    fn pay(&mut self, rounds: i64) {
        self.credit = self
            .credit
            .saturating_add(rounds.saturating_mul(QUANTUM))
            .min(QUANTUM);
    }

    fn is_active(&self) -> bool {
        !self.queue.is_empty() || self.running > 0
    }
}

fn time(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.unsigned_abs())
}
