//! Kills and power cuts under load. What was acknowledged is delivered at least once, nothing is delivered that was
//! not sent, and the store opens every time. The counts are printed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hookmill_tests::power_cut::Disk;
use hookmill_tests::settings::{rounds, say, skipped};
use hookmill_tests::{Client, Gateway, Receiver, Tenant};
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

/// Senders at a time: enough for groups of several messages in one commit.
const SENDERS: u64 = 8;

/// What the senders did in all rounds.
#[derive(Debug, Default)]
struct Sent {
    /// Every number that was ever put into a request, acknowledged or not.
    numbers: HashSet<u64>,
    /// Message by number, of those that were acknowledged.
    acknowledged: HashMap<u64, String>,
}

/// Sends numbered messages until told to stop; a request that fails is not repeated.
async fn load(client: Client, path: String, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        // Small ones, and now and then one of many chunks.
        let filling = "x".repeat(if number.is_multiple_of(23) {
            200_000
        } else {
            200
        });
        let body = json!({"eventType": "load", "payload": {"number": number, "filling": filling}});
        sent.numbers.insert(number);
        let headers = [("content-type", "application/json")];
        let request = client.try_raw(Method::POST, &path, &headers, Some(body.to_string().into()));
        match request.await {
            Ok(reply) if reply.status == 202 => {
                sent.acknowledged.insert(number, reply.text("id"));
            }
            // Refused for a moment, as a gateway does whose disk is gone.
            Ok(_) => tokio::task::yield_now().await,
            Err(_) => break,
        }
    }
    sent
}

/// Starts the senders, lets `crash` happen under them, and adds up what they did.
async fn under_load(tenant: &Tenant, next: &Arc<AtomicU64>, crash: impl AsyncFnOnce()) -> Sent {
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let (next, stop) = (Arc::clone(next), Arc::clone(&stop));
        senders.spawn(load(tenant.client.clone(), tenant.path("/msg"), next, stop));
    }
    crash().await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Sent::default();
    for sent in senders.join_all().await {
        all.numbers.extend(sent.numbers);
        all.acknowledged.extend(sent.acknowledged);
    }
    all
}

/// Waits until everything acknowledged has arrived and checks that nothing else did. Returns how many
/// deliveries were repeated.
async fn settle(tenant: &Tenant, receiver: &Receiver, endpoint: &str, sent: &Sent) -> usize {
    let missing = |arrived: &HashSet<u64>| {
        let numbers = sent.acknowledged.keys().copied();
        numbers.filter(|number| !arrived.contains(number)).count()
    };
    let number = |body: &[u8]| -> u64 {
        let payload: serde_json::Value = serde_json::from_slice(body).unwrap();
        payload["number"].as_u64().unwrap()
    };
    let arrived = receiver
        .wait_until("every acknowledged message", |got| {
            let arrived: HashSet<u64> = got.iter().map(|one| number(&one.body)).collect();
            (missing(&arrived) == 0).then_some(arrived)
        })
        .await;
    assert!(
        arrived.is_subset(&sent.numbers),
        "a message that nobody sent"
    );
    let got = receiver.requests();
    let mut ids: HashMap<u64, HashSet<&str>> = HashMap::new();
    for one in &got {
        ids.entry(number(&one.body))
            .or_default()
            .insert(one.message_id());
    }
    for (number, ids) in &ids {
        assert_eq!(ids.len(), 1, "message {number} has several identifiers");
        if let Some(id) = sent.acknowledged.get(number) {
            assert!(
                ids.contains(id.as_str()),
                "another identifier than was acknowledged"
            );
        }
    }
    // The API agrees with the receiver about the last ones.
    for id in sent.acknowledged.values().take(20) {
        tenant.settled(id, endpoint, "success").await;
    }
    got.len() - arrived.len()
}

/// A moment at which to crash: mostly within the first second, now and then at once.
fn random_moment() -> Duration {
    let most = if rand::random_ratio(1, 6) { 30 } else { 900 };
    Duration::from_millis(rand::random_range(0..most))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load() {
    let rounds = rounds(5);
    let mut gateway = Gateway::start().await;
    let mut tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let next = Arc::new(AtomicU64::new(0));
    let (mut sent, mut repeated) = (Sent::default(), 0);
    for _ in 0..rounds {
        let round = under_load(&tenant, &next, async || {
            tokio::time::sleep(random_moment()).await;
            gateway.kill().await;
        })
        .await;
        sent.numbers.extend(round.numbers);
        sent.acknowledged.extend(round.acknowledged);
        // One in three is killed again while it starts.
        if rand::random_ratio(1, 3) {
            gateway.kill_while_starting(random_moment() / 10).await;
        }
        gateway.restart().await;
        tenant = tenant.with_client(gateway.client().await);
        repeated = settle(&tenant, &receiver, &endpoint, &sent).await;
    }
    assert!(sent.acknowledged.len() > 10, "a load that proves something");
    say(&format!(
        "crash: {rounds} kills; {} messages sent, {} acknowledged, 0 lost, 0 invented, {repeated} deliveries repeated, {rounds} of {rounds} opened",
        sent.numbers.len(),
        sent.acknowledged.len(),
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_under_load() {
    let rounds = rounds(3);
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(no_disk) => return skipped("crash::power_cuts_under_load", &no_disk.reason),
    };
    let data = disk.mount_point().join("data");
    // The reserve and the watermark are for real disks; this one has room for what the test writes.
    let mut gateway = Gateway::builder().data_dir(&data).start().await;
    let mut tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let next = Arc::new(AtomicU64::new(0));
    let (mut sent, mut repeated) = (Sent::default(), 0);
    for _ in 0..rounds {
        let round = under_load(&tenant, &next, async || {
            tokio::time::sleep(random_moment()).await;
            disk.cut_power();
            gateway.kill().await;
        })
        .await;
        sent.numbers.extend(round.numbers);
        sent.acknowledged.extend(round.acknowledged);
        disk.power_up();
        gateway.restart().await;
        tenant = tenant.with_client(gateway.client().await);
        repeated = settle(&tenant, &receiver, &endpoint, &sent).await;
    }
    assert!(sent.acknowledged.len() > 10, "a load that proves something");
    say(&format!(
        "crash: {rounds} power cuts; {} messages sent, {} acknowledged, 0 lost, 0 invented, {repeated} deliveries repeated, {rounds} of {rounds} opened",
        sent.numbers.len(),
        sent.acknowledged.len(),
    ));
    gateway.kill().await;
}
