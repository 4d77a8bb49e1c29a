//! Endpoints that get their messages in order: through failures, kills and restarts, with a head that blocks and
//! with one that is skipped. The receiver's log is the witness.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use hookmill_tests::receiver::Received;
use hookmill_tests::settings::{rounds, say};
use hookmill_tests::{Client, Gateway, Receiver, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

/// Messages of one round, at most.
const ROUND: u64 = 80;

/// So many retries that none fails for good at a receiver that fails one time in three.
const MANY_RETRIES: &str = "20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,\
    20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms,20ms";

/// A window that is soon full, so that the order has to hold in the store too.
const SMALL_WINDOW: &str = "[delivery]\nlane_window = 8";

fn number(request: &Received) -> u64 {
    request.json()["n"].as_u64().unwrap()
}

fn numbers(got: &[Received]) -> Vec<u64> {
    got.iter().map(number).collect()
}

fn fifo(receiver: &Receiver, skip_after: Option<u16>) -> Value {
    json!({
        "url": receiver.url(),
        "order": {"mode": "fifo", "skipAfter": skip_after},
    })
}

/// Posts one after the other, each after the answer to the one before, until the gateway is gone or the round
/// is over. Returns what was acknowledged.
async fn post_in_order(client: Client, path: String, next: &mut u64) -> HashSet<u64> {
    let mut acknowledged = HashSet::new();
    for _ in 0..ROUND {
        let body = json!({"eventType": "step", "payload": {"n": *next}}).to_string();
        let headers = [("content-type", "application/json")];
        let reply = client.try_raw(Method::POST, &path, &headers, Some(body.into()));
        let number = *next;
        *next += 1;
        match reply.await {
            Ok(reply) if reply.status == 202 => drop(acknowledged.insert(number)),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    acknowledged
}

/// Whether the log keeps the law: a message comes for the first time, or again before it was skipped, only when
/// every earlier one was taken or has failed so often that it may be skipped. Returns how many were overtaken.
fn in_order(log: &[Received], skip_after: Option<u16>) -> usize {
    let mut failures: BTreeMap<u64, u16> = BTreeMap::new();
    let mut taken: HashSet<u64> = HashSet::new();
    // Those that never came were neither acknowledged nor kept.
    let all: HashSet<u64> = log.iter().map(number).collect();
    let may_be_skipped = |failures: u16| skip_after.is_some_and(|most| failures >= most);
    let (mut latest, mut overtaken) = (0, HashSet::new());
    for request in log {
        let n = number(request);
        let so_far = failures.get(&n).copied().unwrap_or_default();
        let is_new = so_far == 0 && !taken.contains(&n);
        assert!(!is_new || n >= latest, "{n} comes after {latest}");
        if !may_be_skipped(so_far) && !taken.contains(&n) {
            for earlier in all
                .iter()
                .filter(|earlier| **earlier < n && !taken.contains(earlier))
            {
                let failed = failures.get(earlier).copied().unwrap_or_default();
                assert!(
                    may_be_skipped(failed),
                    "{n} comes before {earlier}, which failed {failed} times"
                );
                overtaken.insert(*earlier);
            }
        }
        latest = latest.max(n);
        if request.answer == 200 {
            taken.insert(n);
        } else {
            *failures.entry(n).or_default() += 1;
        }
    }
    overtaken.len()
}

/// A moment at which to kill.
fn random_moment() -> Duration {
    Duration::from_millis(rand::random_range(0..900))
}

async fn kills_keep_the_order(mode: &str, skip_after: Option<u16>) {
    let rounds = rounds(4, 50);
    let mut gateway = Gateway::builder()
        .config(SMALL_WINDOW)
        .retry_schedule(MANY_RETRIES)
        .start()
        .await;
    let mut tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().or_at_random(500, 0.3).await;
    tenant.endpoint_with(fifo(&receiver, skip_after)).await;
    let mut acknowledged = HashSet::new();
    let mut next = 1;
    for _ in 0..rounds {
        let posting = post_in_order(tenant.client.clone(), tenant.path("/msg"), &mut next);
        let killing = async {
            tokio::time::sleep(random_moment()).await;
            gateway.kill().await;
        };
        let (posted, ()) = tokio::join!(posting, killing);
        acknowledged.extend(posted);
        gateway.restart().await;
        tenant = tenant.with_client(gateway.client().await);
    }
    acknowledged.extend(post_in_order(tenant.client.clone(), tenant.path("/msg"), &mut next).await);
    let log = receiver
        .wait_until("every acknowledged message to be taken", |got| {
            let taken = got.iter().filter(|one| one.answer == 200).map(number);
            let taken: HashSet<u64> = taken.collect();
            acknowledged.is_subset(&taken).then(|| got.to_vec())
        })
        .await;
    let overtaken = in_order(&log, skip_after);
    let came = numbers(&log).into_iter().collect::<HashSet<u64>>().len();
    say(&format!(
        "fifo, {mode}: {rounds} kills; {} acknowledged, {came} delivered in {} tries, {overtaken} overtaken as asked, 0 lost, 0 out of order",
        acknowledged.len(),
        log.len(),
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_keep_the_order_of_a_lane_that_blocks() {
    kills_keep_the_order("head blocks", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_keep_the_order_of_a_lane_that_skips() {
    kills_keep_the_order("head is skipped after 2", Some(2)).await;
}

#[tokio::test]
async fn a_head_that_fails_holds_the_others_back() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).times(3).then(200).await;
    tenant.endpoint_with(fifo(&receiver, None)).await;
    for n in 1..=3 {
        tenant.send(json!({"n": n})).await;
    }
    let got = receiver.wait_for(6).await;
    assert_eq!(numbers(&got), [1, 1, 1, 1, 2, 3]);
}

#[tokio::test]
async fn a_head_that_failed_often_enough_is_skipped() {
    let gateway = Gateway::builder().retry_schedule("20ms,1h").start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).times(2).then(200).await;
    let endpoint = tenant.endpoint_with(fifo(&receiver, Some(2))).await;
    let first = tenant.send(json!({"n": 1})).await;
    for n in 2..=4 {
        tenant.send(json!({"n": n})).await;
    }
    let got = receiver.wait_for(5).await;
    assert_eq!(numbers(&got), [1, 1, 2, 3, 4]);
    let place = tenant
        .destination_when(&first, &endpoint, "waits for its retry", |place| {
            !place["nextAttempt"].is_null()
        })
        .await;
    assert_eq!(place["statusText"], "pending");
}

#[tokio::test]
async fn one_at_a_time_however_many_wait() {
    let gateway = Gateway::builder().config(SMALL_WINDOW).start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().held().await;
    let endpoint = tenant.endpoint_with(fifo(&receiver, None)).await;
    let mut messages = Vec::new();
    for n in 1..=40 {
        messages.push(tenant.send(json!({"n": n})).await);
    }
    for taken in 1..=40 {
        let got = receiver.wait_for(taken).await;
        assert_eq!(number(&got[taken - 1]), taken as u64);
        // The window is full, so the last ones wait in the store, for their turn and for no moment.
        let last = tenant.destinations(&messages[39]).await;
        assert_eq!(last[0]["nextAttempt"], Value::Null);
        assert_eq!(receiver.count(), taken);
        receiver.release(1);
    }
    tenant.settled(&messages[39], &endpoint, "success").await;
}

#[tokio::test]
async fn the_order_is_a_setting_of_the_endpoint() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let path = tenant.path(&format!("/endpoint/{endpoint}"));
    let shown = tenant.client.get(&path).await.expect(200).json();
    assert_eq!(shown["order"], json!({"mode": "free"}));
    let shown = tenant
        .patch_endpoint(
            &endpoint,
            json!({"order": {"mode": "fifo", "skipAfter": 3}}),
        )
        .await;
    assert_eq!(shown["order"], json!({"mode": "fifo", "skipAfter": 3}));
    // Clients of the contract do not know it, so what they leave out stays.
    let put = json!({"url": receiver.url()});
    let shown = tenant.client.put(&path, put).await.expect(200).json();
    assert_eq!(shown["order"], json!({"mode": "fifo", "skipAfter": 3}));
    let put = json!({"url": receiver.url(), "order": {"mode": "fifo"}});
    let shown = tenant.client.put(&path, put).await.expect(200).json();
    assert_eq!(shown["order"], json!({"mode": "fifo", "skipAfter": null}));
    for order in [
        json!({"mode": "fifo", "skipAfter": 0}),
        json!({"mode": "fifo", "skipAfter": 101}),
        json!({"mode": "fifo", "skipAfter": -1}),
        json!({"mode": "lifo"}),
        json!({}),
        json!("fifo"),
        json!(null),
    ] {
        let refused = tenant
            .client
            .patch(&path, json!({ "order": order }))
            .await
            .expect(422)
            .json();
        assert_eq!(refused["detail"][0]["loc"][1], "order", "{refused}");
    }
    tenant.send(json!({"n": 1})).await;
    receiver.wait_for(1).await;
}
