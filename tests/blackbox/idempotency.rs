//! Requests that are sent twice: an `Idempotency-Key` gives the first's answer again, an event id is taken once.

use bytes::Bytes;
use futures_util::future::join_all;
use hookmill_tests::gateway::random_org;
use hookmill_tests::{Client, Gateway, Receiver, Reply, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

async fn post(client: &Client, path: &str, key: &str, body: &Value) -> Reply {
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", key),
    ];
    let body = Bytes::from(body.to_string());
    client.raw(Method::POST, path, &headers, Some(body)).await
}

fn event(n: u32) -> Value {
    json!({"eventType": "a", "payload": {"n": n}})
}

#[tokio::test]
async fn a_twin_gets_the_first_answer() {
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    tenant.endpoint(&receiver.url()).await;
    let path = tenant.path("/msg");
    let first = post(&tenant.client, &path, "k", &event(1))
        .await
        .expect(202);
    let twin = post(&tenant.client, &path, "k", &event(1))
        .await
        .expect(202);
    assert_eq!(first.body, twin.body);
    post(&tenant.client, &path, "k", &event(2))
        .await
        .expect_error(422, "validation");
    // The same key at another path is a mistake; another key, and another caller's, is another request.
    let other = post(&tenant.client, &path, "k2", &event(1))
        .await
        .expect(202);
    assert_ne!(other.text("id"), first.text("id"));
    let elsewhere = Tenant::of(tenant.client.clone()).await;
    post(&elsewhere.client, &elsewhere.path("/msg"), "k", &event(1))
        .await
        .expect_error(422, "validation");
    let stranger = Tenant::of(gateway.client_of(&random_org()).await).await;
    post(&stranger.client, &stranger.path("/msg"), "k", &event(9))
        .await
        .expect(202);

    gateway.kill().await;
    gateway.restart().await;
    let client = gateway.client().await;
    let twin = post(&client, &path, "k", &event(1)).await.expect(202);
    assert_eq!(first.body, twin.body, "kept over a kill");
    receiver
        .wait_until("both messages", |got| {
            let seen = |id: &str| got.iter().any(|one| one.message_id() == id);
            (seen(&first.text("id")) && seen(&other.text("id"))).then_some(())
        })
        .await;
}

#[tokio::test]
async fn concurrent_twins_do_it_once() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let path = tenant.path("/msg");
    for round in 0..10 {
        let key = format!("round-{round}");
        let body = event(round);
        let replies = join_all((0..8).map(|_| post(&tenant.client, &path, &key, &body))).await;
        let first = replies[0].clone().expect(202);
        for reply in replies {
            assert_eq!(reply.expect(202).body, first.body);
        }
    }
    let page = tenant
        .client
        .get(&tenant.path("/msg?limit=250"))
        .await
        .expect(200);
    assert_eq!(page.data().len(), 10);
}

#[tokio::test]
async fn every_creating_route_knows_the_key() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    for (key, path, body) in [
        ("a", "/api/v1/app".to_owned(), json!({"name": "x"})),
        (
            "b",
            "/api/v1/event-type".to_owned(),
            json!({"name": "x", "description": "x"}),
        ),
        (
            "c",
            tenant.path("/endpoint"),
            json!({"url": "https://example.com/"}),
        ),
    ] {
        let first = post(&tenant.client, &path, key, &body).await.expect(201);
        let twin = post(&tenant.client, &path, key, &body).await.expect(201);
        assert_eq!(first.body, twin.body, "{path}");
    }
    let long = "k".repeat(5000);
    post(&tenant.client, "/api/v1/app", &long, &json!({"name": "x"}))
        .await
        .expect(422);
}

#[tokio::test]
async fn a_refused_request_keeps_no_key() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    let bad = json!({"name": "x", "uid": "two words"});
    post(&client, "/api/v1/app", "k", &bad).await.expect(422);
    let good = json!({"name": "x", "uid": "mended"});
    post(&client, "/api/v1/app", "k", &good).await.expect(201);
}

#[tokio::test]
async fn an_event_id_is_taken_once() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let other = Tenant::of(tenant.client.clone()).await;
    let body = json!({"eventType": "a", "eventId": "evt", "payload": {}});
    let path = tenant.path("/msg");
    tenant.client.post(&path, body.clone()).await.expect(202);
    tenant
        .client
        .post(&path, body.clone())
        .await
        .expect_error(409, "conflict");
    other
        .client
        .post(&other.path("/msg"), body)
        .await
        .expect(202);

    for round in 0..10 {
        let event = json!({"eventType": "a", "eventId": format!("evt-{round}"), "payload": {}});
        let post = async || tenant.client.post(&path, event.clone()).await.status;
        let mut statuses = join_all((0..8).map(|_| post())).await;
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 409, 409, 409, 409, 409, 409, 409]);
    }
}
