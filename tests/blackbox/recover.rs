//! Everything that failed at an endpoint, once more.

use std::collections::BTreeMap;

use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::{Value, json};

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// However many fail, each is tried.
const NO_CIRCUIT: &str = "[delivery.circuit]\nfailures = 0";

async fn recover(tenant: &Tenant, endpoint: &str, body: Value) -> Value {
    let path = tenant.path(&format!("/endpoint/{endpoint}/recover"));
    let reply = tenant.client.post(&path, body).await;
    reply.expect(202).json()
}

#[tokio::test]
async fn what_failed_arrives_once_after_the_endpoint_is_enabled_again() {
    let gateway = Gateway::builder()
        .config(NO_CIRCUIT)
        .retry_schedule("1h")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let arrived = tenant.send(json!({"n": "arrived"})).await;
    tenant.settled(&arrived, &endpoint, "success").await;
    receiver.now_answers(500);
    let mut failed = Vec::new();
    // More than one page of the task.
    for n in 0..300 {
        failed.push(tenant.send(json!({"n": n})).await);
    }
    receiver.wait_for(301).await;
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": true}))
        .await;
    for message in &failed {
        tenant.settled(message, &endpoint, "fail").await;
    }
    let path = tenant.path(&format!("/endpoint/{endpoint}/recover"));
    let refused = tenant.client.post(&path, json!({"since": LONG_AGO})).await;
    refused.expect_error(409, "conflict");
    receiver.now_answers(200);
    tenant
        .patch_endpoint(&endpoint, json!({"disabled": false}))
        .await;
    let task = recover(&tenant, &endpoint, json!({"since": LONG_AGO})).await;
    assert_eq!(task["status"], "running");
    assert_eq!(task["task"], "endpoint.recover");
    assert!(task["id"].as_str().unwrap().starts_with("qtask_"));
    for message in &failed {
        tenant.settled(message, &endpoint, "success").await;
    }
    let mut requests = BTreeMap::new();
    for request in receiver.requests() {
        *requests.entry(request.message_id().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(requests[&arrived], 1, "what had arrived is left alone");
    for message in &failed {
        assert_eq!(requests[message], 2, "once before, once recovered");
    }
}

#[tokio::test]
async fn a_recovered_delivery_has_its_whole_schedule_again() {
    let gateway = Gateway::builder().retry_schedule("1ms,1ms").start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).times(5).then(200).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(receiver.count(), 3);
    recover(&tenant, &endpoint, json!({"since": LONG_AGO})).await;
    tenant.settled(&message, &endpoint, "success").await;
    assert_eq!(receiver.count(), 6);
}

#[tokio::test]
async fn since_and_until_bound_it() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let mut failed = Vec::new();
    let mut times = Vec::new();
    for n in 0..3 {
        let body = json!({"eventType": "a", "payload": {"n": n}});
        let posted = tenant.client.post(&tenant.path("/msg"), body).await;
        let posted = posted.expect(202);
        let message = posted.text("id");
        tenant.settled(&message, &endpoint, "fail").await;
        failed.push(message);
        times.push(posted.text("timestamp"));
    }
    assert!(times[0] < times[1] && times[1] < times[2], "{times:?}");
    receiver.now_answers(200);
    let span = json!({"since": times[1], "until": times[2]});
    recover(&tenant, &endpoint, span).await;
    tenant.settled(&failed[1], &endpoint, "success").await;
    for message in [&failed[0], &failed[2]] {
        tenant.settled(message, &endpoint, "fail").await;
    }
    let path = tenant.path(&format!("/endpoint/{endpoint}/recover"));
    for (body, field) in [
        (json!({}), "since"),
        (json!({"since": "yesterday"}), "since"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "since"),
        (json!({"since": LONG_AGO, "until": "soon"}), "until"),
        (json!({"since": times[1], "until": times[0]}), "until"),
    ] {
        let reply = tenant.client.post(&path, body).await.expect(422);
        assert_eq!(reply.json()["detail"][0]["loc"], json!(["body", field]));
    }
}

#[tokio::test]
async fn a_kill_does_not_end_it() {
    let mut gateway = Gateway::builder()
        .config(NO_CIRCUIT)
        .retry_schedule("")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let mut failed = Vec::new();
    for n in 0..600 {
        failed.push(tenant.send(json!({"n": n})).await);
    }
    for message in &failed {
        tenant.settled(message, &endpoint, "fail").await;
    }
    receiver.now_answers(200);
    recover(&tenant, &endpoint, json!({"since": LONG_AGO})).await;
    gateway.kill().await;
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    for message in &failed {
        tenant.settled(message, &endpoint, "success").await;
    }
}
