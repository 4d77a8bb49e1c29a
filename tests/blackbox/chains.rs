//! What plugins do to deliveries, seen from outside: chains at endpoints and at the application, every outcome
//! a plugin can have, and what a change of the chain means for what waits and for what was sent.

use hookmill_tests::settings::fixture;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually, plugins};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One entry that runs the hostile fixture in this mode, at its latest version.
pub(crate) fn mode(mode: &str) -> Value {
    json!({"plugin": "hostile", "version": "latest", "config": {"mode": mode}})
}

pub(crate) fn entry(plugin: &str, config: Value) -> Value {
    json!({"plugin": plugin, "version": "latest", "config": config})
}

/// The version that a file has.
pub(crate) fn version(plugin: &str) -> String {
    format!(
        "sha256:{}",
        hex::encode(Sha256::digest(plugins::wasm(plugin)))
    )
}

pub(crate) async fn with_plugins(gateway: &Gateway, names: &[&str]) -> Tenant {
    let tenant = Tenant::new(gateway).await;
    for name in names {
        tenant.upload(name).await;
    }
    tenant
}

#[tokio::test]
async fn one_payload_through_two_plugins_to_three_endpoints() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["github-filter", "redact", "slack-message"]).await;
    let receiver = Receiver::start().await;
    let audit = tenant.endpoint(&receiver.url_of("/audit")).await;
    let chat = tenant.endpoint(&receiver.url_of("/chat")).await;
    let release = tenant.endpoint(&receiver.url_of("/release")).await;
    let hide = |what: Value| entry("redact", what);
    tenant
        .chain(
            &audit,
            json!([
                entry(
                    "github-filter",
                    json!({"events": ["push"], "branches": ["master"]})
                ),
                hide(json!({"remove": ["/pusher/email"], "mask": ["/sender/login"]})),
            ]),
        )
        .await;
    let text = "{{sender.login}} pushed to {{repository.full_name}}";
    tenant
        .chain(
            &chat,
            json!([
                hide(json!({"mask": ["/sender/login"]})),
                entry("slack-message", json!({"template": text})),
            ]),
        )
        .await;
    tenant
        .chain(
            &release,
            json!([
                entry("github-filter", json!({"branches": ["release/*"]})),
                hide(json!({"remove": ["/pusher"]})),
            ]),
        )
        .await;

    let payload: Value = serde_json::from_slice(&fixture("github/push.master.json")).unwrap();
    let event = json!({"eventType": "github.push", "payload": payload});
    let message = tenant.send_with(event).await;
    let got = receiver.wait_for(2).await;
    let of = |path: &str| got.iter().find(|one| one.path == path).unwrap().json();

    let mut expected = payload.clone();
    expected["pusher"].as_object_mut().unwrap().remove("email");
    expected["sender"]["login"] = json!("[redacted]");
    assert_eq!(of("/audit"), expected);
    assert_eq!(
        of("/chat")["text"],
        "[redacted] pushed to Codertocat/Hello-World"
    );

    let dropped = tenant.settled(&message, &release, "canceled").await;
    assert_eq!(dropped["nextAttempt"], Value::Null);
    let attempts = tenant.attempts(&message, 3).await;
    let at = |endpoint: &str| {
        attempts
            .iter()
            .find(|one| one["endpointId"] == endpoint)
            .unwrap()
    };
    assert_eq!(at(&release)["status"], 4);
    let why = &at(&release)["plugins"];
    assert_eq!(
        why.as_array().unwrap().len(),
        1,
        "what follows a drop does not run: {why}"
    );
    assert_eq!(why[0]["outcome"], "drop");
    assert!(
        why[0].to_string().contains("branches"),
        "the reason is kept: {why}"
    );
    let names = |one: &Value| {
        let shaped = one["plugins"].as_array().unwrap();
        let pair = |plugin: &Value| {
            let text = |field: &str| plugin[field].as_str().unwrap().to_owned();
            (text("plugin"), text("version"))
        };
        shaped.iter().map(pair).collect::<Vec<_>>()
    };
    let named = |plugin: &str| (plugin.to_owned(), version(plugin));
    assert_eq!(names(at(&audit)), [named("github-filter"), named("redact")]);
    assert_eq!(names(at(&chat)), [named("redact"), named("slack-message")]);
    assert_eq!(
        receiver.count(),
        2,
        "nothing for the endpoint that dropped it"
    );
}

#[tokio::test]
async fn an_applications_chain_shapes_what_every_endpoint_gets() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["redact", "hostile"]).await;
    let receiver = Receiver::start().await;
    tenant.endpoint(&receiver.url_of("/plain")).await;
    let appended = tenant.endpoint(&receiver.url_of("/appended")).await;
    let body = json!({"chain": [entry("redact", json!({"remove": ["/secret"]}))]});
    tenant
        .client
        .put(&tenant.path("/plugin-chain"), body)
        .await
        .expect(200);
    tenant.chain(&appended, json!([mode("append")])).await;

    tenant.send(json!({"secret": 1, "open": 2})).await;
    let got = receiver.wait_for(2).await;
    let of = |path: &str| {
        got.iter()
            .find(|one| one.path == path)
            .unwrap()
            .body
            .clone()
    };
    assert_eq!(of("/plain"), r#"{"open":2}"#);
    assert_eq!(of("/appended"), r#"{"open":2}+"#);
}

#[tokio::test]
async fn an_acknowledged_chain_shapes_the_next_message() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    // An endpoint of its own each time, so that every message meets an endpoint and a chain that were made just now.
    for round in 0..50 {
        let channel = format!("round-{round}");
        let url = receiver.url_of(&format!("/{channel}"));
        let endpoint = tenant
            .endpoint_with(json!({"url": url, "channels": [channel]}))
            .await;
        tenant.chain(&endpoint, json!([mode("append")])).await;
        let event = json!({"eventType": "a", "channels": [channel], "payload": {}});
        tenant.send_with(event).await;
    }
    let got = receiver.wait_for(50).await;
    let unshaped = got.iter().filter(|one| !one.body.ends_with(b"+")).count();
    assert_eq!(unshaped, 0, "sent without the chain that was set before");
}

#[tokio::test]
async fn a_plugin_adds_headers_and_never_the_gateways_own() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    for forged in ["reserved-header", "header-injection", "upper-case-header"] {
        tenant.chain(&endpoint, json!([mode(forged)])).await;
        let message = tenant.send(json!({})).await;
        tenant.settled(&message, &endpoint, "fail").await;
    }
    tenant.chain(&endpoint, json!([mode("add-header")])).await;
    tenant.send(json!({})).await;
    let got = receiver.wait_for(1).await;
    assert!(got.iter().all(|one| one.header("x-plugin") == "was here"));
}

#[tokio::test]
async fn a_drop_a_rejection_and_an_error() {
    let gateway = Gateway::builder().retry_schedule("20ms,20ms").start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;

    // What the chain is, what becomes of the delivery, its attempts, their status, the plugin's word.
    let on_failure = |entry: Value, then: &str| {
        let mut entry = entry;
        entry["onFailure"] = json!(then);
        entry
    };
    for (entry, state, tries, status, outcome, detail) in [
        (mode("drop"), "canceled", 1, 4, "drop", "not wanted"),
        (mode("reject"), "fail", 1, 2, "reject", "malformed"),
        (mode("error"), "fail", 3, 2, "error", "the plugin says no"),
        (
            on_failure(mode("error"), "fail"),
            "fail",
            3,
            2,
            "error",
            "the plugin says no",
        ),
        (
            on_failure(mode("error"), "drop"),
            "canceled",
            1,
            4,
            "error",
            "the plugin says no",
        ),
        (
            on_failure(mode("panic"), "drop"),
            "canceled",
            1,
            4,
            "trap",
            "panicked",
        ),
    ] {
        tenant.chain(&endpoint, json!([entry])).await;
        let message = tenant.send(json!({})).await;
        let place = tenant
            .destination_when(&message, &endpoint, state, |place| {
                place["statusText"] == state && place["nextAttempt"].is_null()
            })
            .await;
        let attempts = tenant.attempts(&message, tries).await;
        assert_eq!(attempts.len(), tries, "{entry}: {attempts:?}, {place}");
        for attempt in &attempts {
            assert_eq!(attempt["status"], status, "{entry}: {attempt}");
            let said = &attempt["plugins"][0];
            assert_eq!(said["outcome"], outcome, "{entry}: {said}");
            assert!(said.to_string().contains(detail), "{entry}: {said}");
        }
    }
    assert_eq!(receiver.count(), 0, "none of it is sent");
}

#[tokio::test]
async fn a_mended_plugin_heals_its_backlog() {
    let gateway = Gateway::builder().retry_schedule("1h,1h").start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&endpoint, json!([mode("error")])).await;
    let mut messages = Vec::new();
    for n in 0..5 {
        messages.push(tenant.send(json!({"n": n})).await);
    }
    for message in &messages {
        tenant.attempts(message, 1).await;
    }
    assert_eq!(receiver.count(), 0);
    tenant.chain(&endpoint, json!([mode("append")])).await;
    let got = receiver.wait_for(5).await;
    assert!(got.iter().all(|one| one.body.ends_with(b"+")));
    for message in &messages {
        tenant.settled(message, &endpoint, "success").await;
    }
    assert_eq!(receiver.count(), 5, "each once");
}

#[tokio::test]
async fn retries_send_the_recorded_bytes_and_a_resend_runs_the_chain_anew() {
    let gateway = Gateway::builder()
        .retry_schedule("500ms,500ms")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().answer(500).times(2).then(200).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&endpoint, json!([mode("append")])).await;
    let message = tenant.send(json!({"n": 1})).await;
    tenant.attempts(&message, 1).await;
    // The receiver failed, not the plugin: what was sent stays what is sent.
    tenant.chain(&endpoint, json!([mode("add-header")])).await;
    let got = receiver.wait_for(3).await;
    for request in &got {
        assert_eq!(request.body, r#"{"n":1}+"#);
        assert_eq!(request.header("x-plugin"), "");
    }
    tenant.settled(&message, &endpoint, "success").await;
    let path = tenant.path(&format!("/msg/{message}/endpoint/{endpoint}/resend"));
    tenant.client.post(&path, json!({})).await.expect(202);
    let again = receiver.wait_for(4).await.pop().unwrap();
    assert_eq!(again.body, r#"{"n":1}"#);
    assert_eq!(again.header("x-plugin"), "was here");
    assert_eq!(again.message_id(), message);
}

#[tokio::test]
async fn what_a_plugin_logs_is_in_the_attempt() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&endpoint, json!([mode("log")])).await;
    let message = tenant.send(json!({})).await;
    let attempts = tenant.attempts(&message, 1).await;
    let said = attempts[0]["plugins"][0].to_string();
    assert!(said.contains("one line") && said.contains("warn"), "{said}");
}

#[tokio::test]
async fn an_integer_list_of_a_mebibyte_passes_through_serde_json() {
    // The default memory limit; its time is measured elsewhere, since a test's machine may be busy.
    let time = "[sandbox.limits]\ncall_ticks = 1500\nchain_ticks = 1500";
    let gateway = Gateway::builder().config(time).start().await;
    let tenant = with_plugins(&gateway, &["slack-message"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let text = json!({"template": "{{/last}} of {{/integers/0}}"});
    tenant
        .chain(&endpoint, json!([entry("slack-message", text)]))
        .await;
    // Two bytes an integer, the worst case: each becomes a 32-byte value in the plugin.
    let integers = vec![7; (1_000_000 - 100) / 2];
    let message = tenant.send(json!({"integers": integers, "last": 3})).await;
    let got = eventually("the message or its failure", async || {
        if let Some(attempt) = tenant.attempts_now(&message).await.first() {
            assert_eq!(attempt["status"], 0, "{attempt}");
            return Ok(receiver.requests());
        }
        Err("no attempt yet".to_owned())
    })
    .await;
    assert_eq!(got[0].json()["text"], "3 of 7");
}
