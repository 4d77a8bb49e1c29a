//! What a gateway does that can not take more: it says so, keeps what it has acknowledged, and goes on by itself
//! once there is room.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hookmill_tests::settings::skipped;
use hookmill_tests::small_disk::SmallDisk;
use hookmill_tests::{Client, Gateway, Receiver, Tenant, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Senders at a time.
const SENDERS: usize = 8;

/// Room for a store, its reserve and the load of this test several times over.
const DISK: u64 = 192 << 20;

/// For a disk of that size: the defaults are for real ones.
const SMALL: &str = "
[store.sled]
cache_bytes = 8_388_608
min_free_bytes = 16_777_216
reserve_bytes = 8_388_608
";

/// Sends until told to stop; the numbers that were acknowledged. Whatever is refused must say when to come back.
async fn load(
    tenant: Tenant,
    next: Arc<AtomicU64>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> HashSet<u64> {
    let mut acknowledged = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let event =
            json!({"eventType": "load", "payload": {"number": number, "x": "x".repeat(2_000)}});
        let reply = tenant.client.post(&tenant.path("/msg"), event).await;
        match reply.status {
            202 => drop(acknowledged.insert(number)),
            // The client has checked that there is a `Retry-After`; a real sender would wait for it.
            429 | 503 => {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
            other => panic!("{other}: {}", String::from_utf8_lossy(&reply.body)),
        }
    }
    acknowledged
}

/// Senders that can be stopped.
struct Load {
    senders: JoinSet<HashSet<u64>>,
    refused: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(tenant: &Tenant) -> Self {
        let (next, refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let stop = Arc::<AtomicBool>::default();
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (next, refused, stop) = (next.clone(), refused.clone(), stop.clone());
            senders.spawn(load(tenant.clone(), next, refused, stop));
        }
        Self {
            senders,
            refused,
            stop,
        }
    }

    async fn end(self) -> HashSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.senders
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

async fn all_delivered(receiver: &Receiver, acknowledged: &HashSet<u64>) {
    let number = |body: &[u8]| serde_json::from_slice::<Value>(body).unwrap()["number"].as_u64();
    receiver
        .wait_until("every acknowledged message", |got| {
            let got: HashSet<u64> = got.iter().filter_map(|one| number(&one.body)).collect();
            acknowledged.is_subset(&got).then_some(())
        })
        .await;
}

async fn readiness(client: &Client, status: u16) {
    eventually(&format!("readiness {status}"), async || {
        let reply = client.get("/readyz").await;
        (reply.status == status)
            .then_some(())
            .ok_or_else(|| reply.status.to_string())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_turns_accepting_off_and_space_turns_it_on_again() {
    let disk = match SmallDisk::new(DISK) {
        Ok(disk) => disk,
        Err(no_disk) => {
            let name = "back_pressure::a_full_disk_turns_accepting_off_and_space_turns_it_on_again";
            return skipped(name, &no_disk.reason);
        }
    };
    let data = disk.path().join("data");
    let gateway = Gateway::builder()
        .config(SMALL)
        .data_dir(&data)
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    tenant.endpoint(&receiver.url()).await;
    let anybody = tenant.client.anonymous();
    readiness(&anybody, 204).await;
    let load = Load::start(&tenant);
    receiver.wait_for(100).await;
    for _ in 0..2 {
        // Every byte, so that what is on its way to the disk does not fit either.
        disk.fill();
        readiness(&anybody, 503).await;
        let refused = load.refused.load(Ordering::Relaxed);
        eventually("refusals", async || {
            let more = load.refused.load(Ordering::Relaxed) > refused;
            more.then_some(()).ok_or_else(String::new)
        })
        .await;
        disk.free();
        readiness(&anybody, 204).await;
        let count = receiver.count();
        receiver.wait_for(count + 100).await;
    }
    let acknowledged = load.end().await;
    all_delivered(&receiver, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queues_hold_is_refused_and_nothing_acknowledged_is_lost() {
    // Queues so small that eight senders fill them, and a receiver that answers none of them for now.
    let gateway = Gateway::builder()
        .config(
            "
[store.sled]
queue = 2
[ingest]
fan_out_queue = 1
fan_out_backlog = 4
[delivery]
lane_queue = 1
record_queue = 1
lane_window = 2
[delivery.in_flight]
gateway = 2
",
        )
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().held().await;
    tenant.endpoint(&receiver.url()).await;
    let load = Load::start(&tenant);
    eventually("refusals", async || {
        let refused = load.refused.load(Ordering::Relaxed);
        (refused > 20)
            .then_some(())
            .ok_or_else(|| refused.to_string())
    })
    .await;
    receiver.release(1_000_000);
    receiver.wait_for(200).await;
    let acknowledged = load.end().await;
    all_delivered(&receiver, &acknowledged).await;
}
