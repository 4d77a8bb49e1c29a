//! Applications, endpoints, event types: shape, patches, names, faults.

use super::*;

#[tokio::test]
async fn an_application_lives() {
    let api = Api::new();
    let made = api
        .post(
            "/api/v1/app/",
            json!({"name": "A", "uid": "a", "rateLimit": 5, "unknown": [1]}),
        )
        .await
        .ok(201);
    assert_eq!(
        (&made["throttleRate"], &made["rateLimit"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(made["createdAt"], "2026-09-21T14:13:20.500Z");
    let id = made["id"].as_str().unwrap();
    for name in [id, "a"] {
        assert_eq!(api.get(&format!("/api/v1/app/{name}")).await.ok(200), made);
    }
    // Absent stays, null empties.
    let changed = api
        .patch(
            "/api/v1/app/a",
            json!({"name": "B", "metadata": {"k": "v"}}),
        )
        .await;
    let changed = changed.ok(200);
    assert_eq!(
        (&changed["name"], &changed["uid"]),
        (&json!("B"), &json!("a"))
    );
    let changed = api
        .patch("/api/v1/app/a", json!({"throttleRate": null}))
        .await
        .ok(200);
    assert_eq!(
        (&changed["rateLimit"], &changed["metadata"]["k"]),
        (&Value::Null, &json!("v"))
    );
    let changed = api
        .patch("/api/v1/app/a", json!({"uid": null}))
        .await
        .ok(200);
    assert_eq!(changed["uid"], Value::Null);
    api.get("/api/v1/app/a").await.ok(404);
    api.delete(&format!("/api/v1/app/{id}")).await.ok(204);
    api.get(&format!("/api/v1/app/{id}")).await.ok(404);
}

#[tokio::test]
async fn an_application_is_made_once() {
    let api = Api::new();
    let body = json!({"name": "A", "uid": "a"});
    let made = api.post("/api/v1/app", body.clone()).await.ok(201);
    assert_eq!(
        api.post("/api/v1/app", body.clone()).await.ok(409)["code"],
        "conflict"
    );
    let found = api
        .post("/api/v1/app?get_if_exists=true", body.clone())
        .await
        .ok(200);
    assert_eq!(found, made);
    // PUT makes under the name in the path, and then replaces.
    let made = api
        .put("/api/v1/app/b", json!({"name": "B", "throttleRate": 3}))
        .await
        .ok(201);
    assert_eq!(made["uid"], "b");
    let replaced = api.put("/api/v1/app/b", json!({"name": "C"})).await.ok(200);
    assert_eq!(
        (&replaced["id"], &replaced["uid"]),
        (&made["id"], &json!("b"))
    );
    assert_eq!(replaced["throttleRate"], Value::Null);
    api.put("/api/v1/app/b", json!({"name": "C", "uid": "a"}))
        .await
        .ok(409);
    let loc = api
        .put("/api/v1/app/c", json!({"name": "C", "uid": "d"}))
        .await
        .fault_at();
    assert_eq!(loc, ["body", "uid"]);
    let id = ApplicationId::generate(api.clock.now());
    api.put(&format!("/api/v1/app/{id}"), json!({"name": "C"}))
        .await
        .ok(404);
}

#[tokio::test]
async fn an_endpoint_speaks_to_both_generations() {
    let api = Api::new();
    let app = api.app().await;
    let body = json!({
        "url": URL, "uid": "e", "filterTypes": ["b.c", "a"], "channels": ["x"], "rateLimit": 9,
        "version": 1, "headers": {"X-Plain": "1", "Authorization": "Bearer x"},
    });
    let made = api.post(&format!("{app}/endpoint"), body).await.ok(201);
    assert_eq!(
        (&made["eventTypes"], &made["version"]),
        (&json!(["a", "b.c"]), &json!(1))
    );
    assert_eq!(
        (&made["filterTypes"], &made["throttleRate"]),
        (&made["eventTypes"], &json!(9))
    );
    assert_eq!(
        (&made["url"], &made["disabled"]),
        (&json!(URL), &json!(false))
    );
    let endpoint = format!("{app}/endpoint/e");
    let headers = api.get(&format!("{endpoint}/headers")).await.ok(200);
    assert_eq!(
        headers,
        json!({"headers": {"X-Plain": "1"}, "sensitive": ["Authorization"]})
    );
    let changed = api
        .patch(&endpoint, json!({"eventTypes": null, "disabled": true}))
        .await
        .ok(200);
    assert_eq!(
        (&changed["filterTypes"], &changed["disabled"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(changed["channels"], json!(["x"]));
    // All of it: what is left out is empty, and headers and secret stay.
    let secret = api.get(&format!("{endpoint}/secret")).await.ok(200);
    let replaced = api.put(&endpoint, json!({"url": URL})).await.ok(200);
    assert_eq!(
        (&replaced["channels"], &replaced["uid"]),
        (&Value::Null, &json!("e"))
    );
    assert_eq!(api.get(&format!("{endpoint}/secret")).await.ok(200), secret);
    assert_eq!(
        api.get(&format!("{endpoint}/headers")).await.ok(200),
        headers
    );
    let paused = api
        .post(&format!("{endpoint}/pause"), Value::Null)
        .await
        .ok(200);
    assert_eq!(paused["paused"], true);
    let resumed = api
        .post(&format!("{endpoint}/resume"), Value::Null)
        .await
        .ok(200);
    assert_eq!(resumed["paused"], false);
    api.put(&format!("{app}/endpoint/f"), json!({"url": URL}))
        .await
        .ok(201);
    api.delete(&endpoint).await.ok(204);
    api.get(&endpoint).await.ok(404);
}

#[tokio::test]
async fn faults_of_an_endpoint_say_where() {
    let api = Api::new();
    let app = api.app().await;
    let table = [
        (json!({}), vec!["body", "url"]),
        (json!({"url": "http://10.0.0.1/"}), vec!["body", "url"]),
        (json!({"url": "gopher://a"}), vec!["body", "url"]),
        (json!({"url": 5}), vec!["body", "url"]),
        (json!({"url": URL, "uid": "no spaces"}), vec!["body", "uid"]),
        (
            json!({"url": URL, "eventTypes": []}),
            vec!["body", "eventTypes"],
        ),
        (
            json!({"url": URL, "eventTypes": ["a", "?"]}),
            vec!["body", "eventTypes", "1"],
        ),
        (
            json!({"url": URL, "eventTypes": ["a"], "filterTypes": ["b"]}),
            vec!["body", "eventTypes"],
        ),
        (
            json!({"url": URL, "throttleRate": 1, "rateLimit": 2}),
            vec!["body", "throttleRate"],
        ),
        (
            json!({"url": URL, "throttleRate": 0}),
            vec!["body", "throttleRate"],
        ),
        (
            json!({"url": URL, "throttleRate": 65536}),
            vec!["body", "throttleRate"],
        ),
        (
            json!({"url": URL, "channels": ["a".repeat(129)]}),
            vec!["body", "channels"],
        ),
        (
            json!({"url": URL, "secret": "short"}),
            vec!["body", "secret"],
        ),
        (
            json!({"url": URL, "headers": {"Host": "a"}}),
            vec!["body", "headers", "Host"],
        ),
        (
            json!({"url": URL, "metadata": {"k": "v".repeat(5000)}}),
            vec!["body", "metadata"],
        ),
        (
            json!({"url": URL, "description": null}),
            vec!["body", "description"],
        ),
    ];
    for (body, loc) in table {
        let found = api
            .post(&format!("{app}/endpoint"), body.clone())
            .await
            .fault_at();
        assert_eq!(found, loc, "{body}");
    }
    let endpoint = api.endpoint(&app).await;
    for (body, loc) in [
        (json!({"url": null}), vec!["body", "url"]),
        (json!({"url": "http://localhost/"}), vec!["body", "url"]),
        (json!({"eventTypes": []}), vec!["body", "eventTypes"]),
        (
            json!({"eventTypes": null, "filterTypes": ["a"]}),
            vec!["body", "eventTypes"],
        ),
        (json!({"disabled": "yes"}), vec!["body", "disabled"]),
    ] {
        let found = api.patch(&endpoint, body.clone()).await.fault_at();
        assert_eq!(found, loc, "{body}");
    }
}

#[tokio::test]
async fn endpoints_are_limited() {
    let api = Api::with(Config {
        endpoints_per_application: 2,
        ..Config::default()
    });
    let app = api.app().await;
    api.endpoint(&app).await;
    api.endpoint(&app).await;
    api.post(&format!("{app}/endpoint"), json!({"url": URL}))
        .await
        .ok(409);
    api.put(&format!("{app}/endpoint/new"), json!({"url": URL}))
        .await
        .ok(409);
}

#[tokio::test]
async fn secrets_rotate() {
    let api = Api::new();
    let app = api.app().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let made = api
        .post(
            &format!("{app}/endpoint"),
            json!({"url": URL, "secret": secret}),
        )
        .await;
    let endpoint = format!("{app}/endpoint/{}", made.ok(201)["id"].as_str().unwrap());
    let path = format!("{endpoint}/secret");
    assert_eq!(api.get(&path).await.ok(200), json!({"key": secret}));
    let rotate = format!("{path}/rotate");
    let new = api.post(&rotate, json!({})).await.ok(200);
    assert_ne!(new, json!({"key": secret}));
    assert_eq!(api.get(&path).await.ok(200), new);
    for _ in 0..9 {
        api.post(&rotate, Value::Null).await.ok(200);
    }
    let given = api
        .post(&rotate, json!({"key": secret, "gracePeriodSeconds": 60}))
        .await
        .ok(200);
    assert_eq!(given, json!({"key": secret}));
    let id = last(&endpoint);
    let stored = api
        .state
        .store
        .get::<crate::domain::Endpoint>(id)
        .await
        .unwrap()
        .unwrap()
        .value;
    assert_eq!(stored.secrets.len(), 6);
    let now = api.clock.wall();
    let signing = |at| {
        let signing = stored.secrets.iter().filter(|secret| secret.signs_at(at));
        signing.count()
    };
    assert_eq!(signing(now.after(Duration::from_secs(61))), 5);
    let far = now.after(Duration::from_secs(24 * 3600 + 1));
    assert_eq!(signing(far), 1);
    for body in [json!({"key": "x"}), json!({"gracePeriodSeconds": 604_801})] {
        api.post(&rotate, body).await.ok(422);
    }
}

#[tokio::test]
async fn headers_are_replaced_and_patched() {
    let api = Api::new();
    let app = api.app().await;
    let path = format!("{}/headers", api.endpoint(&app).await);
    assert_eq!(
        api.get(&path).await.ok(200),
        json!({"headers": {}, "sensitive": []})
    );
    api.put(
        &path,
        json!({"headers": {"X-A": "1", "X-B": "2", "X-Api-Key": "k"}}),
    )
    .await
    .ok(204);
    let patch =
        json!({"headers": {"x-a": "3", "X-B": null, "X-C": "4"}, "deleteHeaders": ["gone"]});
    api.patch(&path, patch).await.ok(204);
    let shown = api.get(&path).await.ok(200);
    assert_eq!(
        shown,
        json!({"headers": {"X-C": "4", "x-a": "3"}, "sensitive": ["X-Api-Key"]})
    );
    api.patch(&path, json!({"deleteHeaders": ["x-api-key"]}))
        .await
        .ok(204);
    assert_eq!(api.get(&path).await.ok(200)["sensitive"], json!([]));
    api.put(&path, json!({"headers": {"webhook-id": "1"}}))
        .await
        .ok(422);
    api.put(&path, json!({})).await.ok(422);
}

#[tokio::test]
async fn event_types_are_archived_and_come_back() {
    let api = Api::new();
    let body =
        json!({"name": "a.b", "description": "d", "schemas": {"1": {}}, "featureFlags": ["f"]});
    let made = api.post("/api/v1/event-type", body.clone()).await.ok(201);
    assert_eq!(
        (&made["featureFlag"], &made["schemas"]),
        (&json!("f"), &json!({"1": {}}))
    );
    api.post("/api/v1/event-type", body.clone()).await.ok(409);
    let path = "/api/v1/event-type/a.b";
    let changed = api
        .patch(path, json!({"featureFlag": null, "groupName": "g"}))
        .await
        .ok(200);
    assert_eq!(
        (&changed["featureFlags"], &changed["groupName"]),
        (&Value::Null, &json!("g"))
    );
    api.delete(path).await.ok(204);
    assert_eq!(api.get(path).await.ok(200)["archived"], true);
    assert_eq!(
        api.get("/api/v1/event-type").await.ok(200)["data"],
        json!([])
    );
    let all = api
        .get("/api/v1/event-type?include_archived=true")
        .await
        .ok(200);
    assert_eq!(
        (&all["data"][0]["name"], &all["data"][0]["schemas"]),
        (&json!("a.b"), &Value::Null)
    );
    assert_eq!(
        api.post("/api/v1/event-type", body).await.ok(201)["archived"],
        false
    );
    api.put("/api/v1/event-type/c", json!({"description": ""}))
        .await
        .ok(201);
    api.put("/api/v1/event-type/c", json!({"description": "x"}))
        .await
        .ok(200);
    api.delete("/api/v1/event-type/c?expunge=true")
        .await
        .ok(204);
    api.get("/api/v1/event-type/c").await.ok(404);
    let loc = api
        .post("/api/v1/event-type", json!({"description": "x"}))
        .await
        .fault_at();
    assert_eq!(loc, ["body", "name"]);
    let two = json!({"name": "d", "description": "", "featureFlags": ["a", "b"]});
    assert_eq!(
        api.post("/api/v1/event-type", two).await.fault_at(),
        ["body", "featureFlags"]
    );
}

#[tokio::test]
async fn malformed_requests_are_the_callers_fault() {
    let api = Api::with(Config {
        json_bytes: 1000,
        ..Config::default()
    });
    let app = api.app().await;
    let raw = |body: Vec<u8>| {
        api.request(&api.token, Method::POST, "/api/v1/app")
            .body(Body::from(body))
    };
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"\xff\"}",
        b"nul",
    ] {
        let reply = api.send(raw(body.to_vec()).unwrap()).await;
        assert_eq!(reply.status, 422, "{}", reply.text);
    }
    api.send(raw(vec![b' '; 1001]).unwrap()).await.ok(413);
    let form = Request::post("/api/v1/app")
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "application/x-www-form-urlencoded");
    api.send(form.body(Body::from("name=a")).unwrap())
        .await
        .ok(415);
    for path in ["/", "/api", "/api/v1/nothing", "/api/v1/app/x/y", "//"] {
        assert_eq!(api.get(path).await.ok(404)["code"], "not_found", "{path}");
    }
    let reply = api.delete("/api/v1/app").await;
    assert_eq!(reply.headers["allow"], "GET,HEAD,POST");
    assert_eq!(reply.ok(405)["code"], "method_not_allowed");
    for path in ["%ff", "a%20b", "..%2f", "a".repeat(257).as_str()] {
        let loc = api.get(&format!("/api/v1/app/{path}")).await.fault_at();
        assert_eq!(loc[0], "path");
    }
    api.get("/api/v1/app?limit=x").await.ok(422);
    let both = api
        .post("/api/v1/app", json!({"name": "", "uid": "two words"}))
        .await
        .ok(422);
    assert_eq!(both["detail"].as_array().unwrap().len(), 2);
    for path in [
        format!("{app}/msg/none"),
        format!("{app}/attempt/msg/x"),
        format!("{app}/endpoint/x"),
    ] {
        api.get(&path).await.ok(404);
    }
    let request = api
        .request(&api.token, Method::GET, "/livez")
        .header("x-request-id", "mine");
    let reply = api.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (reply.status.as_u16(), &reply.headers["x-request-id"]),
        (204, &"mine".parse().unwrap())
    );
}

#[tokio::test]
async fn health_readiness_and_metrics_are_open() {
    let api = Api::new();
    for (path, status) in [
        ("/livez", 204),
        ("/readyz", 204),
        ("/api/v1/health", 204),
        ("/api/v1/health/ping", 204),
        ("/metrics", 200),
    ] {
        let reply = api
            .send(Request::get(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(reply.status.as_u16(), status, "{path}");
    }
}
