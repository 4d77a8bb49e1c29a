//! The contract over sled, and what is sled's own.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::domain::ManualClock;
use crate::store::conformance::{self, START, Subject};

/// Small files, and no refusal on a build machine with a full disk.
fn config(dir: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 8 << 20,
        min_free_bytes: 1 << 20,
        reserve_bytes: 1 << 20,
        ..SledConfig::in_dir(dir)
    }
}

fn open_in(config: SledConfig) -> Result<SledStore, StoreError> {
    let clock = Arc::new(ManualClock::at(START));
    SledStore::open(config, clock, Arc::new(Metrics::new()))
}

fn sled() -> Subject {
    Subject::in_directory(|clock, dir| {
        SledStore::open(config(dir), clock, Arc::new(Metrics::new())).unwrap()
    })
}

conformance::suite!(super::sled);
