//! Messages with their payloads for attempts: from memory while they are new, else from the store. Bounded
//! twice: bytes of new payloads, and bytes under way, which are asked for before a payload is loaded.
//!
//! A new message is kept until all its deliveries have a row, one that a lane read ahead until it takes it. Where there
//! is no room, what was kept long ago makes some: it waits for a paused or slow receiver, and a later read of it costs
//! nobody else anything. What was kept a moment ago stays, since it is needed next.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::domain::{EndpointId, Message, Seq};
use crate::store::{Store, StoreError};

/// Bytes that a message takes besides its payload: header, texts, the map's own. Chosen on the high side.
const OVERHEAD: usize = 512;

/// What was kept so long ago makes room. Chosen: far longer than a delivery that nothing holds up.
const LONG_AGO: Duration = Duration::from_secs(5);

/// Between two looks for what is old, which look at everything. Chosen: a thousandth of the time at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Payloads up to here are kept as copies: what arrived lies in the buffer that its connection was read into, which
/// would be held as a whole: measured with 1 KiB, a gateway that was given a million deliveries took 324 MB, with
/// copies 205 MB. Chosen: a larger one fills most of its buffer, and a copy takes microseconds.
const COPIED: usize = 64 << 10;

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
    /// Messages whose deliveries have no row yet.
    new: Mutex<Kept<Seq>>,
    /// Messages of parked deliveries that a lane will start soon.
    ahead: Mutex<Kept<(EndpointId, Seq)>>,
    under_way: Arc<Semaphore>,
    limit: usize,
}

/// Events in memory.
#[derive(Debug)]
struct Kept<K> {
    events: HashMap<K, (Instant, Arc<Event>)>,
    bytes: usize,
    limit: usize,
    /// When it was last looked for what is old.
    looked: Option<Instant>,
}

impl<K: Eq + Hash> Kept<K> {
    fn of(limit: usize) -> Mutex<Self> {
        Mutex::new(Self {
            events: HashMap::new(),
            bytes: 0,
            limit,
            looked: None,
        })
    }

    fn keep(&mut self, now: Instant, key: K, event: Event) {
        let bytes = event.size();
        if self.room(now, bytes) < bytes {
            return;
        }
        if self.events.insert(key, (now, Arc::new(event))).is_none() {
            self.bytes += bytes;
        }
    }

    /// Bytes that are free, after what is old has made room if fewer than `wanted` are.
    fn room(&mut self, now: Instant, wanted: usize) -> usize {
        let may_look = self.looked.is_none_or(|looked| looked + LOOK_EVERY < now);
        if self.limit.saturating_sub(self.bytes) < wanted && may_look {
            self.looked = Some(now);
            self.events.retain(|_, (kept, _)| *kept + LONG_AGO >= now);
            self.bytes = self.events.values().map(|(_, event)| event.size()).sum();
        }
        self.limit.saturating_sub(self.bytes)
    }

    fn get(&self, key: &K) -> Option<Arc<Event>> {
        let (_, event) = self.events.get(key)?;
        Some(Arc::clone(event))
    }

    fn take(&mut self, key: &K) -> Option<Arc<Event>> {
        let (_, event) = self.events.remove(key)?;
        self.bytes -= event.size();
        Some(event)
    }
}

impl Payloads {
    /// With room for so many bytes of new messages and of such as are read ahead.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        (new, ahead): (usize, usize),
        in_flight_bytes: usize,
    ) -> Self {
        let limit = in_flight_bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            store,
            new: Kept::of(new),
            ahead: Kept::of(ahead),
            under_way: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Remembers a message that was just accepted, if there is room.
    pub(crate) fn keep(&self, message: Message, payload: Bytes) {
        self.keep_at(Instant::now(), message, payload);
    }

    fn keep_at(&self, now: Instant, message: Message, payload: Bytes) {
        let seq = message.seq;
        let payload = match payload.len() {
            ..COPIED => Bytes::copy_from_slice(&payload),
            COPIED.. => payload,
        };
        self.new.lock().keep(now, seq, Event { message, payload });
    }

    /// All deliveries of the message have a row, or there are none.
    pub(crate) fn forget(&self, seq: Seq) {
        self.new.lock().take(&seq);
    }

    /// Reads messages that a lane will start in this order, as far as there is room.
    pub(crate) async fn read_ahead(
        &self,
        lane: EndpointId,
        messages: Vec<Seq>,
    ) -> Result<(), StoreError> {
        let room = self
            .ahead
            .lock()
            .room(Instant::now(), OVERHEAD * messages.len());
        let events = self.store.events(messages, room).await?;
        let mut ahead = self.ahead.lock();
        let now = Instant::now();
        for (message, payload) in events {
            let key = (lane, message.seq);
            ahead.keep(now, key, Event { message, payload });
        }
        Ok(())
    }

    /// Waits until its bytes fit, then loads; not if there are more of them than it was `counted` as.
    pub(crate) async fn load(
        &self,
        delivery: (EndpointId, Seq),
        counted: u32,
    ) -> Result<Load, StoreError> {
        let (_, seq) = delivery;
        let ahead = self.ahead.lock().take(&delivery);
        if let Some(event) = ahead.or_else(|| self.new.lock().get(&seq)) {
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
    use crate::domain::{ManualClock, NewMessage, Timestamp};
    use crate::store::AcceptItem;
    use crate::store::memory::MemoryStore;

    fn payloads(new_limit: usize) -> Payloads {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        Payloads::new(Arc::new(MemoryStore::new(clock)), (new_limit, 0), 1 << 20)
    }

    async fn is_kept(payloads: &Payloads, seq: u64) -> bool {
        // The store has none of them.
        let delivery = (EndpointId::from_bytes([0; 20]), Seq(seq));
        matches!(payloads.load(delivery, u32::MAX).await, Ok(Load::Loaded(_)))
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

    #[tokio::test]
    async fn a_small_payload_leaves_its_buffer() {
        let payloads = payloads(1 << 20);
        let buffer = Bytes::from(vec![b'x'; 2 * COPIED]);
        for (seq, len) in [(1, 10), (2, COPIED)] {
            payloads.keep(message(Seq(seq)), buffer.slice(..len));
            let kept = payloads.new.lock().get(&Seq(seq)).unwrap();
            assert_eq!(kept.payload, buffer[..len]);
            let is_copy = kept.payload.as_ptr() != buffer.as_ptr();
            assert_eq!(is_copy, len < COPIED);
        }
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_taken_once() {
        let clock = Arc::new(ManualClock::at(Timestamp::default()));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock));
        let payload = Bytes::from_static(b"{}");
        let item = |_| AcceptItem {
            new: NewMessage {
                message: message(Seq(0)),
                payload: payload.clone(),
            },
            idempotency: None,
        };
        let accepted = store.accept((0..3).map(item).collect()).await.unwrap();
        let messages: Vec<_> = accepted.into_iter().map(|it| it.unwrap().seq).collect();
        let room = 2 * (OVERHEAD + payload.len());
        let payloads = Payloads::new(store, (0, room), 1 << 20);
        let lane = EndpointId::from_bytes([1; 20]);
        payloads.read_ahead(lane, messages.clone()).await.unwrap();
        let has = |seq| payloads.ahead.lock().events.contains_key(&(lane, seq));
        assert_eq!(messages.iter().filter(|seq| has(**seq)).count(), 2);
        for seq in messages {
            let load = payloads.load((lane, seq), u32::MAX).await.unwrap();
            assert!(matches!(load, Load::Loaded(_)), "{load:?}");
            assert!(!has(seq));
        }
        assert_eq!(payloads.ahead.lock().bytes, 0);
    }
}
