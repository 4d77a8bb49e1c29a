//! What decides whether and when an endpoint gets a message: its event types and channels, a pause, its being
//! disabled by its owner or by a 410, its deletion.

use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use serde_json::{Value, json};

#[tokio::test]
async fn a_paused_endpoint_keeps_its_queue() {
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let (receiver, other) = (Receiver::start().await, Receiver::start().await);
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.endpoint(&other.url()).await;
    let path = |verb: &str| tenant.path(&format!("/endpoint/{endpoint}/{verb}"));
    let (pause, resume) = (path("pause"), path("resume"));
    let shown = tenant
        .client
        .post(&pause, json!({}))
        .await
        .expect(200)
        .json();
    assert_eq!(shown["paused"], true);
    let mut messages = Vec::new();
    for n in 0..20 {
        messages.push(tenant.send(json!({"n": n})).await);
    }
    other.wait_for(20).await;
    for message in &messages {
        tenant.settled(message, &endpoint, "pending").await;
    }
    // The queue and the pause are kept over a kill.
    gateway.kill().await;
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    let marker = tenant.send(json!({"n": "marker"})).await;
    other
        .wait_until("the marker", |got| {
            got.iter()
                .any(|one| one.message_id() == marker)
                .then_some(())
        })
        .await;
    assert_eq!(receiver.count(), 0, "nothing while it is paused");
    tenant.client.post(&resume, json!({})).await.expect(200);
    receiver
        .wait_until("all that waited", |got| {
            let has = |id: &String| got.iter().any(|one| one.message_id() == id);
            (messages.iter().all(has) && has(&marker)).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_disabled_endpoint_fails_what_waits_and_takes_nothing_new() {
    let gateway = Gateway::builder().retry_schedule("1h").start().await;
    let tenant = Tenant::new(&gateway).await;
    let (receiver, other) = (Receiver::start().answer(500).await, Receiver::start().await);
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.endpoint(&other.url()).await;
    let waiting = tenant.send(json!({})).await;
    tenant
        .destination_when(&waiting, &endpoint, "waits for its retry", |place| {
            !place["nextAttempt"].is_null()
        })
        .await;
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": true}))
        .await;
    let place = tenant.settled(&waiting, &endpoint, "fail").await;
    assert_eq!(place["nextAttempt"], Value::Null);
    let message = tenant.send(json!({})).await;
    other
        .wait_until("the new message", |got| {
            got.iter()
                .any(|one| one.message_id() == message)
                .then_some(())
        })
        .await;
    receiver.now_answers(200);
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": false}))
        .await;
    let third = tenant.send(json!({})).await;
    tenant.settled(&third, &endpoint, "success").await;
    let got: Vec<_> = receiver
        .requests()
        .iter()
        .map(|one| one.message_id().to_owned())
        .collect();
    assert_eq!(got, [waiting, third]);
}

#[tokio::test]
async fn gone_disables_the_endpoint() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(410).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    let path = tenant.path(&format!("/endpoint/{endpoint}"));
    eventually("the endpoint to be disabled", async || {
        let endpoint = tenant.client.get(&path).await.expect(200).json();
        if endpoint["disabled"] == true {
            Ok(())
        } else {
            Err(endpoint.to_string())
        }
    })
    .await;
    assert_eq!(receiver.count(), 1, "no more retries");
}

#[tokio::test]
async fn a_deleted_endpoint_gets_nothing_more() {
    let gateway = Gateway::builder()
        .retry_schedule("300ms,300ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let (receiver, other) = (Receiver::start().answer(500).await, Receiver::start().await);
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.endpoint(&other.url()).await;
    let message = tenant.send(json!({})).await;
    tenant.attempts(&message, 2).await;
    let tries = receiver.count();
    tenant
        .client
        .delete(&tenant.path(&format!("/endpoint/{endpoint}")))
        .await
        .expect(204);
    let next = tenant.send(json!({})).await;
    other
        .wait_until("the next message", |got| {
            got.iter().any(|one| one.message_id() == next).then_some(())
        })
        .await;
    assert!(receiver.count() <= tries + 1, "one may have been under way");
    assert!(
        receiver
            .requests()
            .iter()
            .all(|one| one.message_id() == message)
    );
}

#[tokio::test]
async fn event_types_and_channels_choose_the_endpoints() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    for name in ["a", "b"] {
        let body = json!({"name": name, "description": name});
        tenant
            .client
            .post("/api/v1/event-type", body)
            .await
            .expect(201);
    }
    tenant.endpoint(&receiver.url_of("/all")).await;
    tenant
        .endpoint_with(json!({"url": receiver.url_of("/a"), "filterTypes": ["a"]}))
        .await;
    tenant
        .endpoint_with(json!({"url": receiver.url_of("/eu"), "channels": ["eu"]}))
        .await;
    let mut expected = Vec::new();
    for (kind, channels, paths) in [
        ("a", json!([]), vec!["/all", "/a"]),
        ("b", json!([]), vec!["/all"]),
        ("b", json!(["eu", "us"]), vec!["/all", "/eu"]),
        ("a", json!(["us"]), vec!["/all", "/a"]),
        ("a", json!(["eu"]), vec!["/all", "/a", "/eu"]),
    ] {
        let mut event = json!({"eventType": kind, "payload": {}});
        if channels != json!([]) {
            event["channels"] = channels;
        }
        let message = tenant.send_with(event).await;
        expected.extend(
            paths
                .into_iter()
                .map(|path| (message.clone(), path.to_owned())),
        );
    }
    let mut got: Vec<_> = receiver
        .wait_for(expected.len())
        .await
        .iter()
        .map(|one| (one.message_id().to_owned(), one.path.clone()))
        .collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}
