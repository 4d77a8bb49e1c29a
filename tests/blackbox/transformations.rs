//! JavaScript at an endpoint, as Svix's transformations have it, from setting it to what the receiver gets.
//!
//! A gateway compiles the engine once, which takes seconds without optimisation, so the tests here are few and long.

use hookmill_tests::{Gateway, Receiver, Tenant, plugins};
use http::Method;
use serde_json::{Value, json};

use crate::chains::{entry, with_plugins};

/// Time enough on a busy machine for everything but what never ends.
const PATIENT: &str = "[sandbox]\ncpu_percent_per_application = 10000\n\
    [sandbox.limits]\ncall_ticks = 1500\nchain_ticks = 1500\nwall_ms = 30000";

fn path(tenant: &Tenant, endpoint: &str) -> String {
    tenant.path(&format!("/endpoint/{endpoint}/transformation"))
}

async fn set(tenant: &Tenant, endpoint: &str, body: Value) {
    let path = path(tenant, endpoint);
    tenant.client.patch(&path, body).await.expect(204);
}

/// An enabled transformation whose handler has this body.
async fn handler(tenant: &Tenant, endpoint: &str, body: &str) {
    let code = format!("function handler(webhook) {{\n{body}\nreturn webhook;\n}}");
    set(tenant, endpoint, json!({"code": code, "enabled": true})).await;
}

async fn shown(tenant: &Tenant, endpoint: &str) -> Value {
    let path = path(tenant, endpoint);
    tenant.client.get(&path).await.expect(200).json()
}

#[tokio::test]
async fn code_shapes_cancels_and_fails_deliveries() {
    let gateway = Gateway::builder()
        .config(PATIENT)
        .retry_schedule("20ms,20ms")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["redact"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url_of("/there")).await;
    let nothing = json!({"code": null, "enabled": false, "variables": null, "updatedAt": null});
    assert_eq!(shown(&tenant, &endpoint).await, nothing);

    // It comes after the chain, and sees where the webhook goes.
    let redact = entry("redact", json!({"remove": ["/secret"]}));
    tenant.chain(&endpoint, json!([redact])).await;
    let body = "console.log('seen', webhook.payload); console.error('and', 2);
        webhook.payload.goes = [webhook.method, webhook.url, webhook.eventType, webhook.variables.team];
        webhook.headers['X-Team'] = webhook.variables.team;";
    set(&tenant, &endpoint, json!({"variables": {"team": "blue"}})).await;
    handler(&tenant, &endpoint, body).await;
    let message = tenant.send(json!({"secret": 1, "open": 2})).await;
    let got = receiver.wait_for(1).await;
    let goes = json!(["POST", receiver.url_of("/there"), "test.event", "blue"]);
    assert_eq!(got[0].json(), json!({"open": 2, "goes": goes}));
    assert_eq!(got[0].header("x-team"), "blue");
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    let said = &attempt["plugins"][1];
    assert_eq!(
        (&said["plugin"], &said["outcome"]),
        (&json!("transformation"), &json!("deliver"))
    );
    let log = said.to_string();
    assert!(
        log.contains(r#"seen {\"open\":2}"#) && log.contains("and 2"),
        "{log}"
    );

    // Code that changes nothing sends the bytes that arrived, however they are written.
    tenant.chain(&endpoint, json!([])).await;
    handler(&tenant, &endpoint, "webhook.payload.a += 0;").await;
    let spaced = r#"{"eventType": "a", "payload": {"a" : 1.0,  "b": "\u00e4"}}"#;
    let headers = [("content-type", "application/json")];
    let (to, spaced) = (tenant.path("/msg"), spaced.into());
    let reply = tenant.client.raw(Method::POST, &to, &headers, Some(spaced));
    reply.await.expect(202);
    assert_eq!(
        receiver.wait_for(2).await[1].body,
        r#"{"a" : 1.0,  "b": "\u00e4"}"#
    );

    // Canceling is no failure.
    handler(&tenant, &endpoint, "webhook.cancel = true;").await;
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "canceled").await;
    assert_eq!(tenant.attempts(&message, 1).await[0]["status"], 4);

    // An exception fails the attempt, which is tried again by schedule; mended code heals it.
    handler(
        &tenant,
        &endpoint,
        "if (!webhook.payload.id) return webhook;\nwebhook.payload.customer.name = 1;",
    )
    .await;
    let message = tenant.send(json!({"id": "order_7"})).await;
    let attempts = tenant.attempts(&message, 3).await;
    for attempt in &attempts {
        let said = &attempt["plugins"][0];
        assert_eq!(
            (&attempt["status"], &said["outcome"]),
            (&json!(2), &json!("error"))
        );
        let detail = said["detail"].as_str().unwrap();
        assert!(
            detail.starts_with("TypeError: ") && detail.contains("(line 3, column "),
            "{detail}"
        );
    }
    assert_eq!(receiver.count(), 2);

    // Disabled or removed, it is not run.
    set(&tenant, &endpoint, json!({"enabled": false})).await;
    tenant.send(json!({"n": 1})).await;
    assert_eq!(receiver.wait_for(3).await[2].body, r#"{"n":1}"#);
    set(&tenant, &endpoint, json!({"enabled": true, "code": null})).await;
    tenant.send(json!({"n": 2})).await;
    assert_eq!(receiver.wait_for(4).await[3].body, r#"{"n":2}"#);
    let left = shown(&tenant, &endpoint).await;
    assert_eq!(
        (&left["code"], &left["enabled"], &left["variables"]),
        (&Value::Null, &json!(true), &json!({"team": "blue"}))
    );

    what_never_ends_is_bounded(&tenant, &endpoint).await;
    bad_code_is_refused_with_its_place(&tenant, &endpoint).await;
}

async fn what_never_ends_is_bounded(tenant: &Tenant, endpoint: &str) {
    for (body, detail) in [
        (
            "while (webhook.payload.loop) {}",
            "the plugin ran longer than 1500 ms",
        ),
        (
            "const all = []; while (webhook.payload.loop) all.push(new Array(1000).fill(all.length));",
            "memory",
        ),
        (
            "const f = (n) => webhook.payload.loop ? 1 + f(n + 1) : n; f(0);",
            "stack",
        ),
    ] {
        handler(tenant, endpoint, body).await;
        let message = tenant.send(json!({"loop": true})).await;
        let attempt = tenant.attempts(&message, 1).await.remove(0);
        let said = &attempt["plugins"][0];
        assert!(
            said["detail"].as_str().unwrap().contains(detail),
            "{body}: {said}"
        );
        // What is left of its tries would keep the next ones waiting.
        set(tenant, endpoint, json!({"code": null})).await;
        tenant.settled(&message, endpoint, "success").await;
    }
    tenant.client.get("/api/v1/health").await.expect(204);
}

async fn bad_code_is_refused_with_its_place(tenant: &Tenant, endpoint: &str) {
    let path = path(tenant, endpoint);
    let before = shown(tenant, endpoint).await;
    for (code, words) in [
        (
            "function handler(webhook) {\n  return web hook;\n}",
            "SyntaxError: expecting ';' (line 2, column ",
        ),
        ("let x = 1;", "the script has no function `handler`"),
        (
            "const a = nobody;\nfunction handler(w) { return w; }",
            "ReferenceError: nobody is not defined (line 1, column ",
        ),
        (
            "function handler(w) { w.url = 'https://example.com/'; return w; }",
            "webhook.url may not be changed",
        ),
        (
            "function handler(w) { w.method = 'PUT'; return w; }",
            "webhook.method may not be changed",
        ),
        (
            "function handler(w) { w.eventType = 'b'; return w; }",
            "webhook.eventType may not be changed",
        ),
        (&"/".repeat(50 * 1024 + 1), "must have at most 51200 bytes"),
    ] {
        let body = json!({"code": code, "enabled": true});
        let reply = tenant
            .client
            .patch(&path, body)
            .await
            .expect_error(422, "validation");
        let fault = &reply.json()["detail"][0];
        assert_eq!(fault["loc"], json!(["body", "code"]), "{fault}");
        assert!(fault["msg"].as_str().unwrap().contains(words), "{fault}");
    }
    for body in [
        json!({"variables": {"a": 1}}),
        json!({"variables": {"a": "x".repeat(9000)}}),
    ] {
        tenant
            .client
            .patch(&path, body)
            .await
            .expect_error(422, "validation");
    }
    assert_eq!(
        shown(tenant, endpoint).await,
        before,
        "what is refused changes nothing"
    );
    // The example has no such fields, which is no fault of the code.
    handler(
        tenant,
        endpoint,
        "webhook.payload.order.lines[0].price *= 2;",
    )
    .await;
}

#[tokio::test]
async fn it_is_the_same_at_every_try_and_after_a_restart() {
    let mut gateway = Gateway::builder()
        .config(PATIENT)
        .retry_schedule("20ms,20ms,20ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).times(2).then(200).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let body = "webhook.payload = {at: Date.now(), also: new Date().getTime(), dice: [Math.random(), Math.random()]};";
    handler(&tenant, &endpoint, body).await;
    let message = tenant.send(json!({})).await;
    let first = receiver.wait_for(3).await;
    assert!(first.iter().all(|one| one.body == first[0].body));
    let shaped = first[0].json();
    assert_eq!(shaped["at"], shaped["also"]);
    assert_ne!(shaped["dice"][0], shaped["dice"][1]);
    let accepted = tenant
        .client
        .get(&tenant.path(&format!("/msg/{message}")))
        .await;
    let accepted = accepted.expect(200).text("timestamp");
    let at = shaped["at"].as_u64().unwrap();
    let seconds = at / 1000 % 60;
    assert!(
        accepted.contains(&format!(":{seconds:02}.")),
        "{accepted} is {at}"
    );

    // Run anew it comes to the same, by a gateway that has nothing in memory.
    tenant.settled(&message, &endpoint, "success").await;
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    let resend = tenant.path(&format!("/msg/{message}/endpoint/{endpoint}/resend"));
    tenant.client.post(&resend, json!({})).await.expect(202);
    assert_eq!(receiver.wait_for(4).await[3].body, first[0].body);
    // Another message has other numbers.
    tenant.send(json!({})).await;
    let other = receiver.wait_for(5).await[4].json();
    assert_ne!(other["dice"], shaped["dice"]);

    // Removing plugins removes the files of what no record names, and the engine has none.
    tenant
        .client
        .upload("/api/v1/plugin?name=p", plugins::wasm("redact"))
        .await
        .expect(201);
    tenant.client.delete("/api/v1/plugin/p").await.expect(204);
    tenant.send(json!({})).await;
    receiver.wait_for(6).await;
}
