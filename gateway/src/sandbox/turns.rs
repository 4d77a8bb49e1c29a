//! Waits for a turn to run guests. The queue's order is `fair`'s; here are the lock, the waking and the longest
//! wait. The lock is never held across an await.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::fair::{Bounds, Entry, Fair, Grant, Ticket};

/// The queue of all chains of this gateway.
#[derive(Debug)]
pub(super) struct Turns {
    fair: Mutex<Fair<oneshot::Sender<Turn>>>,
    max_wait: Duration,
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
    turns: &'a Turns,
    tenant: &'a str,
    ticket: Ticket,
}

impl Turns {
    pub(super) fn new(bounds: Bounds, max_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            fair: Mutex::new(Fair::new(bounds)),
            max_wait,
        })
    }

    /// A turn for this application, or none within the longest wait. Cancel-safe.
    pub(super) async fn take(self: &Arc<Self>, tenant: &Arc<str>) -> Option<Turn> {
        let (sender, receiver) = oneshot::channel();
        let entry = self.fair.lock().enter(tenant, || sender);
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
            let granted = self.turns.fair.lock().leave(grant, self.used);
            self.turns.wake(granted);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.turns.fair.lock().cancel(self.tenant, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(max_wait: Duration) -> Arc<Turns> {
        let bounds = Bounds {
            running: 1,
            running_per_tenant: 1,
            waiting: 9,
            waiting_per_tenant: 9,
        };
        Turns::new(bounds, max_wait)
    }

    #[tokio::test]
    async fn a_wait_has_an_end() {
        let (turns, tenant) = (turns(Duration::from_millis(5)), Arc::from("a"));
        let held = turns.take(&tenant).await.unwrap();
        assert!(turns.take(&tenant).await.is_none());
        drop(held);
        assert!(turns.take(&tenant).await.is_some());
    }

    #[tokio::test]
    async fn a_dropped_wait_passes_its_turn_on() {
        let (turns, tenant) = (turns(Duration::MAX), Arc::from("a"));
        let held = turns.take(&tenant).await.unwrap();
        let mut gone = Box::pin(turns.take(&tenant));
        let mut next = Box::pin(turns.take(&tenant));
        assert!(futures_util::poll!(&mut gone).is_pending());
        assert!(futures_util::poll!(&mut next).is_pending());
        // Granted to the first, which goes away without looking.
        drop(held);
        drop(gone);
        assert!(next.await.is_some());
    }
}
