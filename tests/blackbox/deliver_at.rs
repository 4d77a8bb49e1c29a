//! Messages that are to be delivered later. Times are compared with this machine's clock, and only what must
//! not be early is asserted.

use std::time::Duration;

use hookmill_tests::{Gateway, Receiver, Tenant};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

/// By how much the gateway's schedule, which runs on a clock that nobody sets, may stand before the wall clock
/// when the latter is being corrected. Chosen: far more than that, and far less than is waited for.
const SLEW: Duration = Duration::from_millis(100);

fn later(by: Duration) -> Timestamp {
    Timestamp::now() + by
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 3600)
}

async fn send_at(tenant: &Tenant, at: Timestamp) -> String {
    let event = json!({"eventType": "test.event", "payload": {}, "deliverAt": at.to_string()});
    tenant.send_with(event).await
}

#[tokio::test]
async fn what_is_asked_for_later_comes_later_and_shows_as_pending_until_then() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let at = later(Duration::from_secs(2));
    let waiting = send_at(&tenant, at).await;
    let shown = tenant.destination_when(&waiting, &endpoint, "parked", |one| {
        !one["nextAttempt"].is_null()
    });
    let shown = shown.await;
    assert_eq!(shown["statusText"], "pending");
    let due: Timestamp = shown["nextAttempt"].as_str().unwrap().parse().unwrap();
    assert!(
        due.duration_since(at).abs() < SignedDuration::from_millis(2),
        "{due} for {at}"
    );
    // In the past is now, and others do not wait behind it.
    let past = send_at(&tenant, later(Duration::ZERO) - days(400)).await;
    assert_eq!(receiver.wait_for(1).await[0].message_id(), past);
    let got = receiver.wait_for(2).await;
    assert_eq!(got[1].message_id(), waiting);
    assert!(Timestamp::now() + SLEW >= at, "early");
    tenant.settled(&waiting, &endpoint, "success").await;
}

#[tokio::test]
async fn what_is_asked_for_later_survives_a_kill_and_keeps_its_time() {
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let at = later(Duration::from_secs(3));
    let soon = send_at(&tenant, at).await;
    // Longer than any retry may wait.
    let far = send_at(&tenant, later(days(60))).await;
    gateway.kill().await;
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    assert_eq!(receiver.wait_for(1).await[0].message_id(), soon);
    assert!(Timestamp::now() + SLEW >= at, "early");
    tenant.settled(&soon, &endpoint, "success").await;
    // Another start, after which it is parked: it is not held to the longest step of the retries.
    gateway.kill().await;
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    let marker = tenant.send(json!({})).await;
    tenant.settled(&marker, &endpoint, "success").await;
    let shown = tenant.destinations(&far).await.remove(0);
    assert_eq!(shown["statusText"], "pending");
    let due: Timestamp = shown["nextAttempt"].as_str().unwrap().parse().unwrap();
    assert!(due > later(days(59)), "{due}");
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn nothing_is_asked_for_later_than_it_is_kept() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let kept = |at: Timestamp, days: Option<u64>| {
        json!({"eventType": "test.event", "payload": {}, "deliverAt": at.to_string(),
            "payloadRetentionPeriod": days})
    };
    let path = tenant.path("/msg");
    for (at, retention) in [(days(91), None), (days(6), Some(5)), (days(100_000), None)] {
        let reply = tenant.client.post(&path, kept(later(at), retention)).await;
        let fault = reply.expect(422).json()["detail"][0].clone();
        assert_eq!(fault["loc"], json!(["body", "deliverAt"]));
        let limit = format!("{} days", retention.unwrap_or(90));
        assert!(fault["msg"].as_str().unwrap().contains(&limit), "{fault}");
    }
    tenant.send_with(kept(later(days(89)), None)).await;
    tenant.send_with(kept(later(days(4)), Some(5))).await;
}
