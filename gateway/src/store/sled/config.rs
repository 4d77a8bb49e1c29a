//! What an operator may set about the embedded store.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SledConfig {
    /// Directory of the store; made if it is not there. Owned by one process at a time. Not a setting: it
    /// lies in the data directory.
    #[serde(skip)]
    pub dir: PathBuf,
    /// Bytes of pages that sled tries to keep in memory, as they are on disk; in memory small rows take four times
    /// that. Measured with a million deliveries that wait: the process takes 210 to 260 MB at 16 MiB and 350 to
    /// 430 MB at 64 MiB, and a delivery takes no more CPU time.
    pub cache_bytes: u64,
    /// Bytes of records (applications, endpoints, chains …) kept beside it, so that a request reads no page.
    pub known_bytes: u64,
    /// Items that may wait for the writer; one more is answered busy. Outcomes of deliveries may take the
    /// queue to twice this, so that a flood of new messages does not hold them up.
    pub queue: usize,
    /// Items committed by one flush. Measured: 256 gave 67,000 messages a second at 1.4 ms p99.
    pub group_max: usize,
    /// Reads that may run at once, each on a blocking thread.
    pub readers: usize,
    /// Lists of messages and attempts that may be read at once besides, each on a blocking thread. They are
    /// long when a filter fits few rows, and nothing else may wait for them.
    pub list_readers: usize,
    /// No new message is accepted while fewer bytes than this are free on the disk.
    pub min_free_bytes: u64,
    /// Bytes of a file that is given up when the disk is full all the same, so that the store can still be
    /// opened and swept.
    pub reserve_bytes: u64,
    /// Milliseconds after which opening is given up: a damaged store can hang.
    pub open_timeout_ms: u64,
    /// Reads every row at start. Damage in the middle of a store shows in no other way; measured: about a
    /// second per 2 GB that the page cache holds.
    pub scan_at_start: bool,
    /// Bytes of changes that an export may fall behind before it is given up.
    pub export_behind_bytes: usize,
}

impl SledConfig {
    /// The defaults in this directory.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ..Self::default()
        }
    }

    pub(super) fn open_timeout(&self) -> Duration {
        Duration::from_millis(self.open_timeout_ms)
    }
}

impl Default for SledConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data/store"),
            cache_bytes: 16 << 20,
            // Chosen: some five thousand records.
            known_bytes: 8 << 20,
            queue: 4096,
            group_max: 256,
            readers: 8,
            list_readers: 4,
            min_free_bytes: 256 << 20,
            reserve_bytes: 64 << 20,
            open_timeout_ms: 120_000,
            scan_at_start: true,
            export_behind_bytes: 64 << 20,
        }
    }
}
