//! What goes wrong in a request, and that it is said in one shape: `code` and `detail`. The client checks the shape
//! of every reply; these tests see to it that there are plenty of replies to check.

use bytes::Bytes;
use hookmill_tests::gateway::random_id;
use hookmill_tests::{Client, Gateway, Tenant};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn unknown_routes_and_methods_answer_like_everything_else() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/app",
        "/api/v1/app/a/b/c/d",
        "/%00",
        "/api/v1/%2e%2e/app",
    ] {
        client.get(path).await.expect_error(404, "not_found");
    }
    for (method, path) in [
        ("DELETE", "/api/v1/app"),
        ("PUT", "/api/v1/app"),
        ("POST", "/api/v1/app/x"),
        ("DELETE", "/api/v1/app/x/msg"),
        ("TRACE", "/api/v1/app"),
        ("BREW", "/api/v1/app"),
        ("PATCH", "/api/v1/health"),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let reply = client.send(method, path, None).await;
        let allow = reply.headers.contains_key("allow");
        reply.expect_error(405, "method_not_allowed");
        assert!(allow, "{path}: a 405 names what is allowed");
    }
    client.get("/api/v1/health").await.expect(204);
    client.anonymous().get("/api/v1/health/").await.expect(204);
    client.get("/api/v1/app/").await.expect(200);
}

/// Sends each body and expects a 422 for each; the names of those that got something else.
async fn all_refused(client: &Client, method: Method, path: &str, bodies: &[(&str, Vec<u8>)]) {
    let mut wrong = Vec::new();
    for (why, body) in bodies {
        let headers = [("content-type", "application/json")];
        let body = Some(Bytes::from(body.clone()));
        let reply = client.raw(method.clone(), path, &headers, body).await;
        if reply.status != 422 {
            let said = String::from_utf8_lossy(&reply.body).into_owned();
            wrong.push(format!("{why}: {} {said}", reply.status));
        }
    }
    assert!(wrong.is_empty(), "{method} {path}:\n{}", wrong.join("\n"));
}

/// The good body with one field set to this.
fn with(good: &Value, field: &str, value: Value) -> Vec<u8> {
    let mut body = good.clone();
    body[field] = value;
    body.to_string().into_bytes()
}

fn long(length: usize) -> String {
    "a".repeat(length)
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let text = |text: &str| text.as_bytes().to_vec();
    let bodies = [
        ("nothing", text("")),
        ("not JSON", text("name=x")),
        ("cut short", text("{\"name\": \"x\"")),
        ("two values", text("{\"name\":\"x\"}{}")),
        ("not UTF-8", b"{\"name\": \"\xff\"}".to_vec()),
        ("a lone surrogate", text("{\"name\": \"\\ud800\"}")),
        ("a list", text("[]")),
        ("null", text("null")),
        ("a doubled field", text("{\"name\":\"x\",\"name\":\"y\"}")),
        ("a single quote", text("{'name':'x'}")),
        ("a trailing comma", text("{\"name\":\"x\",}")),
        ("a NUL", text("{\"name\":\"x\"}\0")),
        ("too deep", text(&deep)),
    ];
    all_refused(&client, Method::POST, "/api/v1/app", &bodies).await;
    client.get("/api/v1/app").await.expect(200);
}

#[tokio::test]
async fn malformed_applications_are_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    let good = json!({"name": "x"});
    let mut two_rates = good.clone();
    two_rates["rateLimit"] = json!(2);
    let bodies = [
        ("no name", b"{}".to_vec()),
        ("a null name", with(&good, "name", json!(null))),
        ("a number as name", with(&good, "name", json!(5))),
        ("an empty uid", with(&good, "uid", json!(""))),
        ("a uid with a slash", with(&good, "uid", json!("a/b"))),
        ("metadata as a list", with(&good, "metadata", json!([]))),
        (
            "metadata of numbers",
            with(&good, "metadata", json!({"a": 1})),
        ),
        (
            "too much metadata",
            with(&good, "metadata", json!({"a": long(9000)})),
        ),
        ("a negative rate", with(&good, "throttleRate", json!(-1))),
        ("a huge rate", with(&good, "throttleRate", json!(1e30))),
        ("two rates", with(&two_rates, "throttleRate", json!(1))),
    ];
    all_refused(&client, Method::POST, "/api/v1/app", &bodies).await;
}

#[tokio::test]
async fn malformed_messages_are_refused() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let good = json!({"eventType": "a", "payload": {}});
    let bodies = [
        ("no event type", b"{\"payload\": {}}".to_vec()),
        ("no payload", b"{\"eventType\": \"a\"}".to_vec()),
        ("an empty event type", with(&good, "eventType", json!(""))),
        (
            "a long event type",
            with(&good, "eventType", json!(long(257))),
        ),
        (
            "an odd event type",
            with(&good, "eventType", json!("a b\n")),
        ),
        ("an odd channel", with(&good, "channels", json!(["a b"]))),
        ("channels as text", with(&good, "channels", json!("a"))),
        ("an odd event id", with(&good, "eventId", json!("a b"))),
        (
            "too long a keeping",
            with(&good, "payloadRetentionPeriod", json!(100_000)),
        ),
        (
            "no keeping",
            with(&good, "payloadRetentionPeriod", json!(0)),
        ),
        ("an odd time", with(&good, "deliverAt", json!("tomorrow"))),
    ];
    all_refused(&tenant.client, Method::POST, &tenant.path("/msg"), &bodies).await;
    let large = json!({"eventType": "a", "payload": long(1 << 20)});
    tenant
        .client
        .post(&tenant.path("/msg"), large)
        .await
        .expect_error(413, "payload_too_large");
}

#[tokio::test]
async fn malformed_endpoints_are_refused() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let client = &tenant.client;
    let good = json!({"url": "https://example.com/"});
    let url = |url: &str| with(&good, "url", json!(url));
    let mut two_lists = good.clone();
    two_lists["filterTypes"] = json!(["a"]);
    let bodies = [
        ("no URL", b"{}".to_vec()),
        ("no URL at all", url("nothing")),
        ("another scheme", url("file:///etc/passwd")),
        ("a password", url("https://u:p@example.com/")),
        (
            "a long URL",
            url(&format!("https://example.com/{}", long(100_000))),
        ),
        ("a short secret", with(&good, "secret", json!("whsec_AA=="))),
        (
            "a secret that is no base64",
            with(&good, "secret", json!("whsec_!!!")),
        ),
        (
            "no event types at all",
            with(&good, "filterTypes", json!([])),
        ),
        (
            "two lists of types",
            with(&two_lists, "eventTypes", json!(["b"])),
        ),
        ("an odd uid", with(&good, "uid", json!("a b"))),
        ("a rate of text", with(&good, "throttleRate", json!("fast"))),
    ];
    all_refused(client, Method::POST, &tenant.path("/endpoint"), &bodies).await;

    let endpoint = tenant.endpoint("https://example.com/").await;
    let one = tenant.path(&format!("/endpoint/{endpoint}"));
    let json = |json: Value| json.to_string().into_bytes();
    let bodies = [
        ("a null URL", json(json!({"url": null}))),
        ("disabled as text", json(json!({"disabled": "yes"}))),
        ("channels of numbers", json(json!({"channels": [1]}))),
    ];
    all_refused(client, Method::PATCH, &one, &bodies).await;
    let bodies = [
        ("an odd name", json(json!({"headers": {"a b": "c"}}))),
        (
            "one that splits",
            json(json!({"headers": {"x-a": "b\r\nc: d"}})),
        ),
        ("a number", json(json!({"headers": {"x-a": 1}}))),
        ("none", json(json!({}))),
    ];
    all_refused(client, Method::PUT, &format!("{one}/headers"), &bodies).await;
    let bodies = [
        ("negative grace", json(json!({"gracePeriodSeconds": -1}))),
        ("a short key", json(json!({"key": "whsec_AA=="}))),
    ];
    all_refused(
        client,
        Method::POST,
        &format!("{one}/secret/rotate"),
        &bodies,
    )
    .await;
}

#[tokio::test]
async fn a_deep_payload_harms_nobody() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!("{{\"eventType\":\"a\",\"payload\":{deep}}}");
    let headers = [("content-type", "application/json")];
    let path = tenant.path("/msg");
    let reply = tenant
        .client
        .raw(Method::POST, &path, &headers, Some(body.into()))
        .await;
    assert_eq!(reply.status, 422);
    tenant.client.get(&path).await.expect(200);
}

#[tokio::test]
async fn malformed_queries_and_paths_are_refused() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let endpoint = tenant.endpoint("https://example.com/").await;
    let numbers = [
        "limit=0",
        "limit=-1",
        "limit=many",
        "limit=99999999999999999999",
    ];
    let iterators = ["iterator=%00", "iterator=nonsense", "iterator=%ff"];
    for list in [
        "/msg",
        "/endpoint",
        &format!("/attempt/endpoint/{endpoint}"),
    ] {
        for query in numbers.iter().chain(&iterators) {
            let reply = tenant
                .client
                .get(&tenant.path(&format!("{list}?{query}")))
                .await;
            assert_eq!(reply.status, 422, "{list}?{query}");
        }
    }
    let list = tenant.path(&format!("/attempt/endpoint/{endpoint}"));
    for query in [
        "status=9",
        "status=sent",
        "after=yesterday",
        "before=1",
        "status_code_class=7",
    ] {
        tenant
            .client
            .get(&format!("{list}?{query}"))
            .await
            .expect(422);
    }
    tenant
        .client
        .get("/api/v1/app?order=sideways")
        .await
        .expect(422);
    for odd in ["a%2fb", "%0d%0a", "a%20b", "%ff", &long(5000)] {
        let reply = tenant.client.get(&format!("/api/v1/app/{odd}")).await;
        reply.expect_error(422, "validation");
    }
    for unknown in ["nobody", &random_id("app_"), &random_id("ep_")] {
        let reply = tenant.client.get(&format!("/api/v1/app/{unknown}")).await;
        reply.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn a_422_names_its_place() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let (app, msg) = ("/api/v1/app".to_owned(), tenant.path("/msg"));
    for (path, body, loc) in [
        (&app, json!({}), json!(["body", "name"])),
        (&app, json!({"name": 5}), json!(["body", "name"])),
        (&app, json!({"name": ""}), json!(["body", "name"])),
        (
            &app,
            json!({"name": "x", "uid": "a b"}),
            json!(["body", "uid"]),
        ),
        (
            &app,
            json!({"name": "x", "metadata": {"a": 1}}),
            json!(["body", "metadata", "a"]),
        ),
        (&msg, json!({"eventType": "a"}), json!(["body", "payload"])),
        (
            &msg,
            json!({"eventType": "a", "payload": {}, "channels": ["fine", "not fine"]}),
            json!(["body", "channels", "1"]),
        ),
    ] {
        let reply = tenant.client.post(path, body.clone()).await;
        let place = reply.expect_error(422, "validation").json()["detail"][0].clone();
        assert_eq!(place["loc"], loc, "{body}: {place}");
    }
    let reply = tenant
        .client
        .get("/api/v1/app?limit=many")
        .await
        .expect(422);
    assert_eq!(reply.json()["detail"][0]["loc"], json!(["query", "limit"]));
}

#[tokio::test]
async fn bodies_of_other_media_types_are_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/wasm",
    ] {
        let reply = client
            .raw(
                Method::POST,
                "/api/v1/app",
                &[("content-type", kind)],
                Some(Bytes::from_static(b"{\"name\":\"x\"}")),
            )
            .await;
        reply.expect_error(415, "unsupported_media_type");
    }
    let body = Some(Bytes::from_static(b"{\"name\":\"x\"}"));
    let typed = [("content-type", "application/json; charset=utf-8")];
    client
        .raw(Method::POST, "/api/v1/app", &typed, body)
        .await
        .expect(201);
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    let body = json!({"name": "x", "aFieldOfTheFuture": {"a": [1]}});
    client.post("/api/v1/app", body).await.expect(201);
}
