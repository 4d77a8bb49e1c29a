//! Records read a moment ago, so that a request which names an application or a token reads no page and needs no
//! other thread. Only committed ones are in it, and that there is none is remembered too.
//!
//! Filled by readers and emptied by the writer, both under the lock that is held while rows are visible and not on
//! disk yet: no reader can put back what the writer has just replaced.

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::group::StagedRows;
use super::keys;
use crate::store::Record;

/// Bytes that an entry takes besides its key and body. Chosen on the high side.
const OVERHEAD: usize = 256;

/// For sizing the tables: a usual record.
const USUAL: u64 = 1024;

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Box<[u8]>, Option<Record>> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, record: &Option<Record>) -> u64 {
        let body = record.as_ref().map_or(0, |record| record.body.len());
        (OVERHEAD + key.len() + body) as u64
    }
}

/// By the keys of their rows; bounded by bytes.
#[derive(Debug)]
pub(super) struct Known {
    records: Cache<Box<[u8]>, Option<Record>, ByBytes>,
    /// The identifiers that uids stand for; bounded by number.
    uids: Cache<Box<[u8]>, Option<String>>,
}

impl Known {
    pub(super) fn holding(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / USUAL).unwrap_or(usize::MAX).max(1);
        Self {
            records: Cache::with_weighter(usual, bytes, ByBytes),
            uids: Cache::new(usual),
        }
    }

    /// The record whose row has this key; none: it has to be read.
    pub(super) fn record(&self, key: &[u8]) -> Option<Option<Record>> {
        self.records.get(key)
    }

    pub(super) fn keep_record(&self, key: &[u8], record: Option<Record>) {
        self.records.insert(key.into(), record);
    }

    /// The identifier that the uid of this row stands for; none: it has to be read.
    pub(super) fn uid(&self, key: &[u8]) -> Option<Option<String>> {
        self.uids.get(key)
    }

    pub(super) fn keep_uid(&self, key: &[u8], id: Option<String>) {
        self.uids.insert(key.into(), id);
    }

    /// Forgets what these rows replace.
    pub(super) fn replaced(&self, rows: &StagedRows) {
        for (key, _) in rows {
            match key.first() {
                Some(&keys::RECORD) => drop(self.records.remove(key.as_ref())),
                Some(&keys::RECORD_UID) => drop(self.uids.remove(key.as_ref())),
                _ => {}
            }
        }
    }

    /// Forgets everything: what a failed group left behind is not known.
    pub(super) fn clear(&self) {
        self.records.clear();
        self.uids.clear();
    }
}
