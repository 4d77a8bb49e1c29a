//! What is read without sled of a log that ends in a hole is what sled takes of it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use super::segment::{Segment, Segments};
use crate::domain::ManualClock;
use crate::metrics::Metrics;
use crate::store::conformance::{self, START};
use crate::store::sled::flip_tests::{logged, rows};
use crate::store::sled::{SledConfig, SledStore, keys, tests};
use crate::store::{Store as _, StoreError};

fn open(dir: &Path) -> Result<SledStore, StoreError> {
    let config = SledConfig {
        min_free_bytes: 1 << 20,
        reserve_bytes: 0,
        ..SledConfig::in_dir(dir)
    };
    let clock = Arc::new(ManualClock::at(START));
    SledStore::open(config, clock, Arc::new(Metrics::new()))
}

async fn accept(store: &SledStore, bytes: usize) {
    let item = conformance::item(conformance::app(), vec![b't'; bytes]);
    store.accept(vec![item]).await.unwrap().remove(0).unwrap();
}

/// The bytes of the file at which the last batch and the last segment begin.
fn last_batch_and_segment(dir: &Path) -> (u64, u64) {
    let db = dir.join("db");
    let file = File::open(db.join("db")).unwrap();
    let segments = Segments::find(&file, &db).unwrap();
    let (mut batch, mut last) = (0, 0);
    for segment in segments.iter() {
        let segment = segment.unwrap();
        last = segment.offset;
        let mut at = *Segment::STARTS.start();
        while let Some(message) = segment.message(at).filter(|message| !message.is_cap()) {
            if message.batch().is_some() {
                batch = segment.offset + at as u64;
            }
            at = message.end();
        }
    }
    (batch, last)
}

/// A store whose last group is in several segments, with a hole in it.
async fn hole(place: impl Fn((u64, u64)) -> u64) {
    let home = tempfile::tempdir().unwrap();
    let [dir, torn] = ["store", "torn"].map(|name| home.path().join(name));
    let store = open(&dir).unwrap();
    for _ in 0..5 {
        accept(&store, 3_000).await;
    }
    let before = rows(&store);
    let marker = fs::read(dir.join("marker")).unwrap();
    accept(&store, 3 * keys::SEGMENT_BYTES).await;
    let after = rows(&store);
    drop(store);
    assert!(logged(&dir) == after, "no hole yet");
    let place = place(last_batch_and_segment(&dir));
    let log = File::options().write(true).open(dir.join("db/db")).unwrap();
    log.write_all_at(&[0; 8], place).unwrap();
    tests::copy(&dir, &torn);
    fs::write(torn.join("marker"), marker).unwrap();

    // The last group was never answered, and that is for sled to say.
    assert!(logged(&torn) == before, "what is behind never counted");
    assert!(rows(&open(&torn).unwrap()) == before, "sled says otherwise");
    // It was answered: sled loses it.
    assert!(logged(&dir) == after, "what is behind was on disk");
    assert!(matches!(open(&dir), Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn where_a_batch_begins_a_hole_ends_the_log_unless_more_was_on_disk() {
    hole(|(batch, _)| batch).await;
}

#[tokio::test]
async fn where_a_segment_begins_a_hole_ends_the_log_unless_more_was_on_disk() {
    hole(|(_, segment)| segment).await;
}
