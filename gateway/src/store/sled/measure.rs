//! The measurements behind the layout, to be repeated on another machine:
//! `cargo test --release -p hookmill --lib store::sled::measure -- --ignored --nocapture --test-threads=1`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::domain::ManualClock;
use crate::store::conformance::{self, START, TTL};

const CALLERS: usize = 64;

fn open_in(dir: &Path) -> Arc<SledStore> {
    let clock = Arc::new(ManualClock::at(START));
    let config = SledConfig {
        min_free_bytes: 1 << 20,
        ..SledConfig::in_dir(dir)
    };
    Arc::new(SledStore::open(config, clock, Arc::new(Metrics::new())).unwrap())
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let times = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = times.rsplit(')').next().unwrap();
    let fields: Vec<u64> = after_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // User and system time; the state letter is filtered out. In hundredths of a second.
    Duration::from_millis((fields[10] + fields[11]) * 10)
}

/// Accepts and settles so many messages from many callers; prints rate, latencies, disk and CPU.
async fn lives(size: usize, count: usize) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(directory.path());
    let lease = store.lease_shards("m", ShardSet::ALL, TTL).await.unwrap();
    let app = conformance::app();
    let lane = conformance::endpoint();
    let (started, cpu_before) = (Instant::now(), cpu());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (store, lease) = (store.clone(), lease.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                for _ in 0..count / CALLERS {
                    let item = conformance::item(app, vec![b'm'; size]);
                    let asked = Instant::now();
                    let message = store.accept(vec![item]).await.unwrap().remove(0).unwrap();
                    waits.push(asked.elapsed());
                    store.payload(message.seq).await.unwrap().unwrap();
                    let done = conformance::delivered(lane, &message, true);
                    store.record(&lease, vec![done]).await.unwrap();
                }
                waits
            })
        })
        .collect();
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.unwrap());
    }
    let (took, used) = (started.elapsed(), cpu() - cpu_before);
    waits.sort_unstable();
    let at = |part: usize| waits[(waits.len() * part / 1000).min(waits.len() - 1)];
    let lives = waits.len() as f64;
    drop(store);
    let blobs = std::fs::read_dir(directory.path().join("db/blobs"))
        .unwrap()
        .count();
    let disk = std::fs::metadata(directory.path().join("db/db"))
        .unwrap()
        .len();
    println!(
        "{size:>8} B: {:>6.0} lives/s, {:>5.1} us CPU each, ack p50 {:?} p99 {:?} max {:?}, {:.2} x on disk, {blobs} blobs",
        lives / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / lives,
        at(500),
        at(990),
        at(1000),
        disk as f64 / (lives * size as f64),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn whole_lives() {
    lives(1 << 10, 100_000).await;
    lives(16 << 10, 20_000).await;
    lives(1 << 20, 512).await;
}

/// Latencies of accepting one message after the other from so many callers, until told to stop.
async fn accepting(store: &Arc<SledStore>, stop: impl Future<Output = ()>) -> Vec<Duration> {
    let (store, done) = (
        store.clone(),
        Arc::new(std::sync::atomic::AtomicBool::new(false)),
    );
    let callers: Vec<_> = (0..CALLERS / 4)
        .map(|_| {
            let (store, done) = (store.clone(), done.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let item = conformance::item(conformance::app(), vec![b'm'; 1 << 10]);
                    let asked = Instant::now();
                    store.accept(vec![item]).await.unwrap().remove(0).unwrap();
                    waits.push(asked.elapsed());
                }
                waits
            })
        })
        .collect();
    stop.await;
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut waits = Vec::new();
    for caller in callers {
        waits.extend(caller.await.unwrap());
    }
    waits.sort_unstable();
    waits
}

/// Sweeps 200,000 expired messages, each with an attempt, beside accepts; one in a thousand is not delivered yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn sweeping_beside_accepts() {
    const EXPIRED: usize = 200_000;
    const BATCH: usize = 250;
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(directory.path());
    let lease = store.lease_shards("m", ShardSet::ALL, TTL).await.unwrap();
    let (app, lane) = (conformance::app(), conformance::endpoint());
    let mut unfinished = Vec::new();
    for _ in 0..EXPIRED / BATCH {
        let item = || {
            let mut item = conformance::item(app, vec![b'm'; 1 << 10]);
            item.new.message.expires_at = START;
            item
        };
        let items = (0..BATCH).map(|_| item()).collect();
        let messages: Vec<_> = store.accept(items).await.unwrap();
        let mut messages: Vec<_> = messages.into_iter().map(Result::unwrap).collect();
        if unfinished.len() < EXPIRED / 1_000 {
            unfinished.push(messages.remove(0).seq);
        }
        let done = |message| conformance::delivered(lane, message, true);
        let outcomes = messages.iter().map(done).collect();
        store.record(&lease, outcomes).await.unwrap();
    }
    let report = |what: &str, waits: &[Duration], took: Duration| {
        let at = |part: usize| waits[(waits.len() * part / 1000).min(waits.len() - 1)];
        println!(
            "{what}: {:.0} accepts/s, p50 {:?} p99 {:?} max {:?}",
            waits.len() as f64 / took.as_secs_f64(),
            at(500),
            at(990),
            at(1000)
        );
    };
    let started = Instant::now();
    let alone = accepting(&store, tokio::time::sleep(Duration::from_secs(5))).await;
    report("accepts alone", &alone, started.elapsed());
    let clock = ManualClock::at(START.after(Duration::from_secs(2 * 3600)));
    let (started, mut deleted) = (Instant::now(), 0);
    let sweeping = async { deleted = crate::upkeep::sweep(store.as_ref(), &clock).await };
    let beside = accepting(&store, sweeping).await;
    let took = started.elapsed();
    report("beside the sweeper", &beside, took);
    println!(
        "{deleted} rows swept in {took:?}, {:.0} a second",
        deleted as f64 / took.as_secs_f64()
    );
    for seq in unfinished {
        assert!(store.message(seq).await.unwrap().is_some());
        assert!(store.payload(seq).await.unwrap().is_some());
    }
}
