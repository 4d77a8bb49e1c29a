//! One byte of the log is changed, in every segment in turn: the store opens with every row that it had, or
//! says that it is damaged. It never opens with less.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sled::IVec;

use super::*;
use crate::domain::ManualClock;
use crate::store::conformance::{self, START, TTL};

/// Any; printed when the test fails.
const SEED: u64 = 0x5EED;

fn config(dir: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 2 << 20,
        min_free_bytes: 1 << 20,
        reserve_bytes: 0,
        open_timeout_ms: 30_000,
        ..SledConfig::in_dir(dir)
    }
}

fn open_in(dir: &Path) -> Result<SledStore, StoreError> {
    let clock = Arc::new(ManualClock::at(START));
    SledStore::open(config(dir), clock, Arc::new(Metrics::new()))
}

/// Messages of all sizes, most of them settled, some parked.
async fn live(store: &SledStore, lives: usize) {
    let lease = store.lease_shards("a", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    for n in 0..lives {
        let size = [200, 3_000, 60_000, 20, 900, 700_000][n % 6];
        let item = conformance::item(conformance::app(), vec![b'f'; size]);
        let message = store.accept(vec![item]).await.unwrap().remove(0).unwrap();
        let lane = conformance::endpoint_in((n % 7) as u8);
        let outcome = match n % 5 {
            0 => continue,
            1 => conformance::parked(lane, message.seq, 5),
            _ => conformance::delivered(lane, &message, true),
        };
        store.record(&lease, vec![outcome]).await.unwrap();
    }
}

/// All rows but those about the database itself.
pub(super) fn rows(store: &SledStore) -> BTreeMap<IVec, IVec> {
    let handle = store.shared.handle.read();
    let rows = handle.as_ref().unwrap().db.range([keys::META + 1]..);
    rows.map(|row| row.unwrap()).collect()
}

/// The same without sled.
pub(super) fn logged(dir: &Path) -> BTreeMap<IVec, IVec> {
    let log = log::Log::read(dir).unwrap();
    let rows = keys::KINDS.iter().flat_map(|(kind, _)| log.of_kind(*kind));
    rows.map(|row| row.unwrap())
        .map(|(key, value)| (key.into(), value))
        .collect()
}

/// Every way into the log's segments that differs: the header, its first messages, anywhere.
fn places(rng: &mut StdRng, length: u64) -> Vec<u64> {
    let segment = keys::SEGMENT_BYTES as u64;
    let mut places = Vec::new();
    for start in (0..length).step_by(keys::SEGMENT_BYTES) {
        places.push(start + rng.random_range(0..20));
        places.push(start + rng.random_range(20..400));
        places.push(start + rng.random_range(0..segment));
    }
    places.retain(|place| *place < length);
    places
}

/// Flips a byte at each place in turn; how often the store opened, and how often it refused. One that opened is used,
/// and then read without sled once more: damage that sled passes over stays in its log.
async fn flip_each(dir: &Path, before: &BTreeMap<IVec, IVec>) -> (usize, usize) {
    let mut rng = StdRng::seed_from_u64(SEED);
    let length = fs::metadata(dir.join("db/db")).unwrap().len();
    let (mut opened, mut refused) = (0, 0);
    for place in places(&mut rng, length) {
        let copied = tempfile::tempdir().unwrap();
        super::tests::copy(dir, copied.path());
        let log = copied.path().join("db/db");
        let log = fs::File::options()
            .read(true)
            .write(true)
            .open(log)
            .unwrap();
        let mut byte = [0];
        log.read_exact_at(&mut byte, place).unwrap();
        byte[0] ^= 1 << rng.random_range(0..8);
        log.write_all_at(&byte, place).unwrap();
        match open_in(copied.path()) {
            Ok(store) => {
                opened += 1;
                let after = rows(&store);
                assert!(
                    after == *before,
                    "byte {place} (seed {SEED:#x}): {} rows instead of {}",
                    after.len(),
                    before.len()
                );
                live(&store, 12).await;
                let now = rows(&store);
                drop(store);
                assert!(
                    logged(copied.path()) == now,
                    "byte {place} (seed {SEED:#x})"
                );
            }
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("byte {place} (seed {SEED:#x}): {other:?}"),
        }
    }
    (opened, refused)
}

#[tokio::test]
async fn a_flipped_byte_is_found_or_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("store");
    // All in the log, nothing in a snapshot; then half and half.
    for round in 0..2 {
        let store = open_in(&dir).unwrap();
        live(&store, 30).await;
        let before = rows(&store);
        drop(store);
        assert!(logged(&dir) == before, "the log itself says the same");
        let (opened, refused) = flip_each(&dir, &before).await;
        println!("round {round}: {opened} opened whole, {refused} refused");
        assert!(refused > 0, "flips that matter");
    }
}
