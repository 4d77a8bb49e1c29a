//! Messages with their payloads for attempts: from memory while they are new, else from the store. Bounded
//! twice: bytes of new payloads, and bytes under way, which are asked for before a payload is loaded.
//!
//! A new message is kept until all its deliveries have a row. Where there is no room, what was kept long ago makes
//! some: it waits for a paused or slow receiver, and a later read of it costs nobody else anything. What was kept a
//! moment ago stays, since it is needed next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::{Message, Seq};
use crate::store::{Store, StoreError};

/// Bytes that a message takes besides its payload: header, texts, the map's own. Chosen on the high side.
const OVERHEAD: usize = 512;

/// What was kept so long ago makes room. Chosen: far longer than a delivery that nothing holds up.
const LONG_AGO: Duration = Duration::from_secs(5);

/// A message and its bytes.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) message: Message,
    pub(crate) payload: Bytes,
}

impl Event {
    fn size(&self) -> usize {
        self.payload.len() + OVERHEAD
    }
}

/// What loading a message came to.
#[derive(Debug)]
pub(crate) enum Load {
    /// An event under way.
    Loaded(Loaded),
    /// The payload is expunged or the message deleted.
    Gone,
    /// It has so many bytes, more than it was counted as.
    Larger(u32),
}

/// An event under way.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) event: Arc<Event>,
    /// Its share of the bytes under way.
    pub(crate) permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
pub(crate) struct Payloads {
    store: Arc<dyn Store>,
    new: Mutex<New>,
    new_limit: usize,
    under_way: Arc<Semaphore>,
    limit: usize,
}

/// Messages whose deliveries have no row yet, the oldest first.
#[derive(Debug, Default)]
struct New {
    events: BTreeMap<Seq, (Instant, Arc<Event>)>,
    bytes: usize,
}

impl Payloads {
    pub(crate) fn new(store: Arc<dyn Store>, new_limit: usize, in_flight_bytes: usize) -> Self {
        let limit = in_flight_bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            store,
            new: Mutex::default(),
            new_limit,
            under_way: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Remembers a message that was just accepted, if there is room.
    pub(crate) fn keep(&self, message: Message, payload: Bytes) {
        self.keep_at(Instant::now(), message, payload);
    }

    fn keep_at(&self, now: Instant, message: Message, payload: Bytes) {
        let event = Arc::new(Event { message, payload });
        let mut new = self.new.lock();
        while new.bytes + event.size() > self.new_limit {
            let oldest = new.events.first_entry();
            let Some(oldest) = oldest.filter(|entry| entry.get().0 + LONG_AGO < now) else {
                return;
            };
            let (_, old) = oldest.remove();
            new.bytes -= old.size();
        }
        new.bytes += event.size();
        new.events.insert(event.message.seq, (now, event));
    }

    /// All deliveries of the message have a row, or there are none.
    pub(crate) fn forget(&self, seq: Seq) {
        let mut new = self.new.lock();
        if let Some((_, event)) = new.events.remove(&seq) {
            new.bytes -= event.size();
        }
    }

    /// Waits until its bytes fit, then loads; not if there are more of them than it was `counted` as.
    pub(crate) async fn load(&self, seq: Seq, counted: u32) -> Result<Load, StoreError> {
        let new = self
            .new
            .lock()
            .events
            .get(&seq)
            .map(|(_, event)| Arc::clone(event));
        if let Some(event) = new {
            if event.message.payload_len > counted {
                return Ok(Load::Larger(event.message.payload_len));
            }
            let permit = self.permit(event.payload.len()).await?;
            return Ok(Load::Loaded(Loaded { event, permit }));
        }
        let Some(message) = self.store.message(seq).await? else {
            return Ok(Load::Gone);
        };
        if message.payload_len > counted {
            return Ok(Load::Larger(message.payload_len));
        }
        let permit = self.permit(message.payload_len as usize).await?;
        let Some(payload) = self.store.payload(seq).await? else {
            return Ok(Load::Gone);
        };
        let event = Arc::new(Event { message, payload });
        Ok(Load::Loaded(Loaded { event, permit }))
    }

    async fn permit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, StoreError> {
        // One that is larger than the whole budget takes all of it.
        let share = u32::try_from(bytes.clamp(1, self.limit)).unwrap_or(u32::MAX);
        let under_way = Arc::clone(&self.under_way);
        // Never closed by this room.
        under_way
            .acquire_many_owned(share)
            .await
            .map_err(|_| StoreError::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tests::rig::message;
    use crate::domain::{ManualClock, Timestamp};
    use crate::store::memory::MemoryStore;

    fn payloads(new_limit: usize) -> Payloads {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        Payloads::new(Arc::new(MemoryStore::new(clock)), new_limit, 1 << 20)
    }

    async fn is_kept(payloads: &Payloads, seq: u64) -> bool {
        // The store has none of them.
        matches!(payloads.load(Seq(seq), u32::MAX).await, Ok(Load::Loaded(_)))
    }

    #[tokio::test]
    async fn what_is_new_stays_until_it_is_forgotten_or_old() {
        let payload = Bytes::from_static(b"{}");
        let start = Instant::now();
        let payloads = payloads(2 * (OVERHEAD + payload.len()));
        for seq in 1..=3 {
            payloads.keep_at(start, message(Seq(seq)), payload.clone());
        }
        assert!(is_kept(&payloads, 1).await && is_kept(&payloads, 2).await);
        assert!(!is_kept(&payloads, 3).await, "there was no room");
        payloads.forget(Seq(1));
        payloads.keep_at(start + LONG_AGO, message(Seq(4)), payload.clone());
        assert!(!is_kept(&payloads, 1).await && is_kept(&payloads, 4).await);
        payloads.keep_at(start + LONG_AGO * 3 / 2, message(Seq(5)), payload.clone());
        assert!(!is_kept(&payloads, 2).await && is_kept(&payloads, 5).await);
        assert!(is_kept(&payloads, 4).await, "one had to go");
        for seq in 1..=5 {
            payloads.forget(Seq(seq));
        }
        assert_eq!(payloads.new.lock().bytes, 0);
    }
}
