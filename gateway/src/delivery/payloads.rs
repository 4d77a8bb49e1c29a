//! Messages with their payloads for attempts: from memory while they are recent, else from the store. Bounded
//! twice: bytes of recent payloads, and bytes under way, which are asked for before a payload is loaded.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::{Message, Seq};
use crate::store::{Store, StoreError};

/// Bytes that a message takes besides its payload: header, texts, the cache's own. Chosen on the high side.
const OVERHEAD: usize = 512;

/// For sizing the cache's table: a usual payload.
const USUAL: u64 = 2048;

/// A message and its bytes.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) message: Message,
    pub(crate) payload: Bytes,
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
    recent: Cache<Seq, Arc<Event>, Size>,
    under_way: Arc<Semaphore>,
    limit: usize,
}

#[derive(Debug, Clone)]
struct Size;

impl Weighter<Seq, Arc<Event>> for Size {
    fn weight(&self, _: &Seq, event: &Arc<Event>) -> u64 {
        (event.payload.len() + OVERHEAD) as u64
    }
}

impl Payloads {
    pub(crate) fn new(store: Arc<dyn Store>, recent_bytes: u64, in_flight_bytes: usize) -> Self {
        let usual = usize::try_from(recent_bytes / USUAL).unwrap_or(usize::MAX);
        let limit = in_flight_bytes.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            store,
            recent: Cache::with_weighter(usual.max(1), recent_bytes, Size),
            under_way: Arc::new(Semaphore::new(limit)),
            limit,
        }
    }

    /// Remembers a message that was just accepted.
    pub(crate) fn keep(&self, message: Message, payload: Bytes) {
        let seq = message.seq;
        self.recent
            .insert(seq, Arc::new(Event { message, payload }));
    }

    /// Waits until its bytes fit, then loads; not if there are more of them than it was `counted` as.
    pub(crate) async fn load(&self, seq: Seq, counted: u32) -> Result<Load, StoreError> {
        if let Some(event) = self.recent.get(&seq) {
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
