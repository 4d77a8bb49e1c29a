//! What an organization hears of its endpoints.

use hookmill_tests::gateway::random_org;
use hookmill_tests::receiver::Received;
use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::{Value, json};
use standardwebhooks::Webhook;

const BASE: &str = "/api/v1/operational-webhook/endpoint";

/// The first event of this type that the listener gets, its `data`.
async fn heard(listener: &Receiver, name: &str) -> Value {
    let of_type = |got: &[Received]| {
        let mut events = got.iter().map(Received::json);
        events.find(|event| event["type"] == name)
    };
    let event = listener.wait_until(name, of_type).await;
    event["data"].clone()
}

/// A listener of everything.
async fn listener(tenant: &Tenant) -> (Receiver, String) {
    let listener = Receiver::start().await;
    let made = tenant
        .client
        .post(BASE, json!({"url": listener.url()}))
        .await;
    (listener, made.expect(201).text("id"))
}

#[tokio::test]
async fn the_life_of_an_endpoint_is_told_signed() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let (listener, id) = listener(&tenant).await;
    let receiver = Receiver::start().await;
    let endpoint = json!({"url": receiver.url(), "uid": "mine"});
    let endpoint = tenant.endpoint_with(endpoint).await;
    let created = heard(&listener, "endpoint.created").await;
    let expected = json!({
        "appId": tenant.app, "appUid": null, "endpointId": endpoint, "endpointUid": "mine"
    });
    assert_eq!(created, expected);
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": true}))
        .await;
    let disabled = heard(&listener, "endpoint.disabled").await;
    assert_eq!(disabled["trigger"], "manual");
    assert!(disabled["failSince"].is_string());
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": false}))
        .await;
    heard(&listener, "endpoint.enabled").await;
    heard(&listener, "endpoint.updated").await;
    tenant
        .client
        .delete(&tenant.path(&format!("/endpoint/{endpoint}")))
        .await
        .expect(204);
    heard(&listener, "endpoint.deleted").await;
    let secret = tenant.client.get(&format!("{BASE}/{id}/secret")).await;
    let verifier = Webhook::new(&secret.expect(200).text("key")).unwrap();
    for request in listener.requests() {
        verifier.verify(&request.body, &request.headers).unwrap();
    }
}

#[tokio::test]
async fn failing_exhausted_and_recovered_deliveries_are_told() {
    let gateway = Gateway::builder()
        .retry_schedule("5ms,5ms,5ms,5ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let (listener, _) = listener(&tenant).await;
    let receiver = Receiver::start().answer(503).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let body = json!({"eventType": "a", "eventId": "e-1", "payload": {}});
    let message = tenant.send_with(body).await;
    tenant.settled(&message, &endpoint, "fail").await;
    for name in ["message.attempt.failing", "message.attempt.exhausted"] {
        let data = heard(&listener, name).await;
        assert_eq!(data["msgId"], message);
        assert_eq!(data["msgEventId"], "e-1");
        assert_eq!(data["endpointId"], endpoint);
        assert_eq!(data["appId"], tenant.app);
        assert_eq!(data["lastAttempt"]["responseStatusCode"], 503);
    }
    receiver.now_answers(200);
    let resend = tenant.path(&format!("/msg/{message}/endpoint/{endpoint}/resend"));
    tenant.client.post(&resend, json!({})).await.expect(202);
    let data = heard(&listener, "message.attempt.recovered").await;
    assert_eq!(data["lastAttempt"]["responseStatusCode"], 200);
}

#[tokio::test]
async fn many_exhausted_deliveries_of_an_endpoint_are_one_event() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let (listener, _) = listener(&tenant).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    for _ in 0..10 {
        let message = tenant.send(json!({})).await;
        tenant.settled(&message, &endpoint, "fail").await;
    }
    // What was told before this is there before it.
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": true}))
        .await;
    heard(&listener, "endpoint.disabled").await;
    let exhausted = |request: &&Received| request.json()["type"] == "message.attempt.exhausted";
    let requests = listener.requests();
    let mut exhausted = requests.iter().filter(exhausted);
    assert_eq!(exhausted.next().unwrap().json()["data"]["count"], 1);
    assert!(exhausted.count() <= 1, "one a minute");
}

#[tokio::test]
async fn gone_is_told_as_disabled_by_the_gateway() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let (listener, _) = listener(&tenant).await;
    let receiver = Receiver::start().answer(410).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.send(json!({})).await;
    let data = heard(&listener, "endpoint.disabled").await;
    assert_eq!(data["endpointId"], endpoint);
    assert_eq!(data["trigger"], "automatic");
    assert!(data["reason"].as_str().unwrap().contains("410"));
}

#[tokio::test]
async fn the_management_application_is_no_tenant_and_tells_nothing_of_itself() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let (listener, id) = listener(&tenant).await;
    let dead = Receiver::start().answer(500).await;
    let body = json!({"url": dead.url(), "uid": "dead"});
    tenant.client.post(BASE, body).await.expect(201);
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    dead.wait_for(1).await;
    tenant
        .client
        .delete(&format!("{BASE}/dead"))
        .await
        .expect(204);
    let apps = tenant.client.get("/api/v1/app").await.expect(200).data();
    assert_eq!(apps.len(), 1);
    let listed = tenant.client.get(BASE).await.expect(200).data();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], id);
    let one = tenant.client.get(&format!("{BASE}/{id}")).await;
    assert_eq!(one.expect(200).json(), listed[0]);
    // Neither a tenant's endpoint here nor one of these there.
    let tenants = tenant.client.get(&format!("{BASE}/{endpoint}")).await;
    tenants.expect(404);
    let path = tenant.path(&format!("/endpoint/{id}"));
    tenant.client.get(&path).await.expect(404);
    tenant
        .client
        .delete(&tenant.path(&format!("/endpoint/{endpoint}")))
        .await
        .expect(204);
    heard(&listener, "endpoint.deleted").await;
    for event in listener.requests().iter().map(Received::json) {
        assert_eq!(event["data"]["endpointId"], endpoint, "{event}");
    }
    // Another organization has none.
    let other = gateway.client_of(&random_org()).await;
    assert!(other.get(BASE).await.expect(200).data().is_empty());
    other.get(&format!("{BASE}/{id}")).await.expect(404);
}
