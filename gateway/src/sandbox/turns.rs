//! Waits for a turn to run guests. The queue's order is `fair`'s; here are the lock, the clock, the waking and the
//! longest wait. The lock is never held across an await.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::fair::{Bounds, Entry, Fair, Grant, Ticket};
use super::share::Share;

/// The queue of all chains of this gateway.
#[derive(Debug)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
    max_wait: Duration,
    /// The moment from which `fair` counts.
    start: Instant,
    /// Where alarms are set: turns are given back on threads that have no timers.
    runtime: Handle,
}

#[derive(Debug)]
struct Queue {
    fair: Fair<oneshot::Sender<Turn>>,
    /// Only while an application waits for its share of CPU time.
    alarm: Option<Alarm>,
}

/// Lets those go on whose share is there again, once.
#[derive(Debug)]
struct Alarm {
    at: Duration,
    _task: AbortOnDropHandle<()>,
}

/// The right to run a chain. Dropped, it goes to the next.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    grant: Option<Grant>,
    /// Time that guests held a thread under this turn.
    pub(super) used: Duration,
}

/// Gives the place up if the future that waits is dropped.
struct Waiting<'a> {
    turns: &'a Arc<Turns>,
    tenant: &'a Arc<str>,
    ticket: Ticket,
}

impl Turns {
    /// Must be called within a runtime, whose timers are used from then on.
    pub(super) fn new(bounds: Bounds, max_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                fair: Fair::new(bounds),
                alarm: None,
            }),
            max_wait,
            start: Instant::now(),
            runtime: Handle::current(),
        })
    }

    /// A turn for this application, which has a share of its own or the usual one; or none within the longest wait. Cancel-safe.
    pub(super) async fn take(
        self: &Arc<Self>,
        tenant: &Arc<str>,
        share: Option<Share>,
    ) -> Option<Turn> {
        let (sender, receiver) = oneshot::channel();
        let entry = self.change(|fair, now| fair.enter(tenant, share, now, || sender));
        let (ticket, granted) = match entry {
            Entry::Granted(grant) => return Some(self.turn(grant)),
            Entry::Full => return None,
            Entry::Queued(ticket, granted) => (ticket, granted),
        };
        let _waiting = Waiting {
            turns: self,
            tenant,
            ticket,
        };
        self.wake(granted);
        tokio::time::timeout(self.max_wait, receiver)
            .await
            .ok()?
            .ok()
    }

    /// Changes the queue, and sets the alarm by what it has become.
    fn change<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Fair<oneshot::Sender<Turn>>, Duration) -> T,
    ) -> T {
        let now = self.start.elapsed();
        let mut queue = self.queue.lock();
        let changed = change(&mut queue.fair, now);
        match (queue.fair.next_refill(), &queue.alarm) {
            (None, None) => {}
            (None, Some(_)) => queue.alarm = None,
            // One that rings too early sets the next: dearer is only a new one for each change.
            (Some(next), Some(alarm)) if alarm.at <= next => {}
            (Some(next), _) => queue.alarm = Some(self.alarm(next)),
        }
        changed
    }

    fn alarm(self: &Arc<Self>, at: Duration) -> Alarm {
        let (turns, moment) = (Arc::downgrade(self), self.start + at);
        let task = self.runtime.spawn(async move {
            tokio::time::sleep_until(moment).await;
            // None: nobody can be waiting.
            if let Some(turns) = turns.upgrade() {
                turns.refill();
            }
        });
        Alarm {
            at,
            _task: AbortOnDropHandle::new(task),
        }
    }

    fn refill(self: &Arc<Self>) {
        // The alarm that calls this has rung, and is not to be taken for one to come.
        self.queue.lock().alarm = None;
        let granted = self.change(|fair, now| fair.refill(now));
        self.wake(granted);
    }

    /// Whether this tenant is known for runs that took some time.
    #[cfg(test)]
    pub(super) fn has_used(&self, tenant: &str) -> bool {
        self.queue.lock().fair.has_used(tenant)
    }

    fn turn(self: &Arc<Self>, grant: Grant) -> Turn {
        Turn {
            turns: self.clone(),
            grant: Some(grant),
            used: Duration::ZERO,
        }
    }

    /// Not under the lock: a turn whose receiver is gone comes back and takes it.
    fn wake(self: &Arc<Self>, granted: Vec<(oneshot::Sender<Turn>, Grant)>) {
        for (sender, grant) in granted {
            drop(sender.send(self.turn(grant)));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            let turns = &self.turns;
            let granted = turns.change(|fair, now| fair.leave(grant, self.used, now));
            turns.wake(granted);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns
            .change(|fair, _| fair.cancel(self.tenant, self.ticket));
    }
}
