//! A receiver that fails over and over.

use std::collections::BTreeMap;

use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use serde_json::{Value, json};

/// Opens after five failures; the first probe comes soon, the others do not.
const SOON: &str = "[delivery.circuit]\nfailures = 5\nfirst_probe_ms = 50\nlongest_probe_s = 1";
const LATE: &str =
    "[delivery.circuit]\nfailures = 5\nfirst_probe_ms = 3600000\nlongest_probe_s = 3600";

/// The endpoint's circuit, once it is in this state.
async fn circuit(tenant: &Tenant, endpoint: &str, state: &str) -> Value {
    let path = tenant.path(&format!("/endpoint/{endpoint}"));
    eventually(&format!("a circuit that is {state}"), async || {
        let circuit = tenant.client.get(&path).await.expect(200).json()["circuit"].clone();
        if circuit["state"] == state {
            Ok(circuit)
        } else {
            Err(circuit.to_string())
        }
    })
    .await
}

#[tokio::test]
async fn a_backlog_waits_without_using_tries_and_flows_after_the_first_success() {
    let gateway = Gateway::builder()
        .config(SOON)
        .retry_schedule("1ms,1ms,1h")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    circuit(&tenant, &endpoint, "closed").await;
    for n in 0..5 {
        tenant.send(json!({"n": n})).await;
    }
    circuit(&tenant, &endpoint, "open").await;
    let mut messages = Vec::new();
    for n in 0..100 {
        messages.push(tenant.send(json!({"n": n})).await);
    }
    let metrics = tenant.client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("hookmill_open_circuits 1"), "{metrics}");
    // Some probes later …
    let probes = receiver.count() + 3;
    receiver.wait_for(probes).await;
    receiver.now_answers(200);
    for message in &messages {
        tenant.settled(message, &endpoint, "success").await;
    }
    circuit(&tenant, &endpoint, "closed").await;
    let mut tries = BTreeMap::new();
    for request in receiver.requests() {
        *tries.entry(request.message_id().to_owned()).or_insert(0) += 1;
    }
    let once = messages.iter().filter(|message| tries[*message] == 1);
    // All but those that were probes, of which there is one a second at most.
    assert!(once.count() > 50, "{tries:?}");
}

#[tokio::test]
async fn a_try_by_hand_passes_an_open_circuit_and_closes_it() {
    let gateway = Gateway::builder()
        .config(LATE)
        .retry_schedule("1ms,1ms,1ms,1ms,1ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(503).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let first = tenant.send(json!({})).await;
    let open = circuit(&tenant, &endpoint, "open").await;
    assert!(open["since"].is_string() && open["nextProbe"].is_string());
    let mut waiting = Vec::new();
    for n in 0..20 {
        waiting.push(tenant.send(json!({"n": n})).await);
    }
    receiver.now_answers(200);
    let resend = tenant.path(&format!("/msg/{first}/endpoint/{endpoint}/resend"));
    tenant.client.post(&resend, json!({})).await.expect(202);
    for message in waiting.iter().chain([&first]) {
        tenant.settled(message, &endpoint, "success").await;
    }
    let closed = circuit(&tenant, &endpoint, "closed").await;
    assert_eq!(closed["since"], Value::Null);
}

#[tokio::test]
async fn an_endpoint_that_its_owner_mends_is_probed_at_once() {
    let gateway = Gateway::builder()
        .config(LATE)
        .retry_schedule("1ms,1ms,1ms,1ms,1ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let (broken, mended) = (Receiver::start().answer(500).await, Receiver::start().await);
    let endpoint = tenant.endpoint(&broken.url()).await;
    tenant.send(json!({})).await;
    circuit(&tenant, &endpoint, "open").await;
    let waiting = tenant.send(json!({})).await;
    tenant
        .patch_endpoint(&endpoint, json!({"url": mended.url()}))
        .await;
    tenant.settled(&waiting, &endpoint, "success").await;
    circuit(&tenant, &endpoint, "closed").await;
}

#[tokio::test]
async fn what_grows_too_old_behind_an_open_circuit_fails() {
    let gateway = Gateway::builder().config(LATE).start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let policy = json!({"delays": ["1ms", "1ms", "1ms", "1ms", "1ms"], "maxAge": "1500ms"});
    let endpoint = json!({"url": receiver.url(), "retryPolicy": policy});
    let endpoint = tenant.endpoint_with(endpoint).await;
    for _ in 0..5 {
        tenant.send(json!({})).await;
    }
    circuit(&tenant, &endpoint, "open").await;
    let tries = receiver.count();
    let mut late = Vec::new();
    for n in 0..50 {
        late.push(tenant.send(json!({"n": n})).await);
    }
    for message in &late {
        tenant.settled(message, &endpoint, "fail").await;
    }
    circuit(&tenant, &endpoint, "open").await;
    // Those under way when it opened may have come since.
    assert!(receiver.count() <= tries + 8);
}
