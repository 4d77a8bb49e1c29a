//! Messages accepted a moment ago, so that their first delivery reads no page. Only committed ones are in it;
//! a message never changes, and it is taken out when its deliveries have ended or it is deleted.

use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::domain::{Message, Seq};

/// A message with its payload.
pub(super) type Whole = Arc<(Message, Bytes)>;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<u64, Whole> for ByBytes {
    fn weight(&self, _: &u64, whole: &Whole) -> u64 {
        // A header takes about this much beside its payload.
        512 + whole.1.len() as u64
    }
}

/// Bounded by bytes.
#[derive(Debug)]
pub(super) struct Recent(Cache<u64, Whole, ByBytes>);

impl Recent {
    pub(super) fn holding(bytes: u64) -> Self {
        // An estimate only: payloads of a kilobyte.
        let items = usize::try_from(bytes / 1536).unwrap_or(usize::MAX).max(1);
        Self(Cache::with_weighter(items, bytes, ByBytes))
    }

    pub(super) fn put(&self, message: Message, payload: Bytes) {
        self.0.insert(message.seq.0, Arc::new((message, payload)));
    }

    pub(super) fn get(&self, seq: Seq) -> Option<Whole> {
        self.0.get(&seq.0)
    }

    pub(super) fn forget(&self, seq: Seq) {
        self.0.remove(&seq.0);
    }
}
