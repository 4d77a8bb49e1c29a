//! Who may do what.

use super::*;

#[tokio::test]
async fn an_application_token_reaches_its_application_and_nothing_else() {
    let api = Api::new();
    let (app, other) = (api.app().await, api.app().await);
    let endpoint = api.endpoint(&app).await;
    let id = last(&endpoint);
    let message = json!({"eventType": "a", "payload": {}});
    let msg = api
        .post(&format!("{app}/msg"), message.clone())
        .await
        .ok(202);
    let msg = msg["id"].as_str().unwrap();
    let token = api.app_token(last(&app));
    let table = [
        (Method::GET, app.clone(), Value::Null, 200),
        (Method::PATCH, app.clone(), json!({"name": "x"}), 403),
        (Method::PUT, app.clone(), json!({"name": "x"}), 403),
        (Method::DELETE, app.clone(), Value::Null, 403),
        (Method::GET, "/api/v1/app".to_owned(), Value::Null, 403),
        (
            Method::POST,
            "/api/v1/app".to_owned(),
            json!({"name": "x"}),
            403,
        ),
        (Method::GET, other.clone(), Value::Null, 404),
        (Method::GET, format!("{other}/endpoint"), Value::Null, 404),
        (Method::POST, format!("{other}/msg"), message.clone(), 403),
        (Method::GET, format!("{app}/endpoint"), Value::Null, 200),
        (
            Method::POST,
            format!("{app}/endpoint"),
            json!({"url": URL}),
            201,
        ),
        (
            Method::PATCH,
            endpoint.clone(),
            json!({"description": "x"}),
            200,
        ),
        (Method::GET, format!("{endpoint}/secret"), Value::Null, 200),
        (
            Method::POST,
            format!("{endpoint}/secret/rotate"),
            json!({}),
            200,
        ),
        (Method::POST, format!("{endpoint}/pause"), Value::Null, 200),
        (
            Method::GET,
            format!("{endpoint}/plugin-chain"),
            Value::Null,
            200,
        ),
        (
            Method::PUT,
            format!("{endpoint}/plugin-chain"),
            json!({"chain": []}),
            200,
        ),
        (Method::GET, format!("{app}/plugin-chain"), Value::Null, 200),
        (
            Method::PUT,
            format!("{app}/plugin-chain"),
            json!({"chain": []}),
            403,
        ),
        (Method::GET, format!("{app}/plugin"), Value::Null, 200),
        (Method::GET, "/api/v1/plugin".to_owned(), Value::Null, 403),
        (Method::GET, format!("{app}/msg"), Value::Null, 200),
        (Method::GET, format!("{app}/msg/{msg}"), Value::Null, 200),
        (
            Method::GET,
            format!("{app}/msg/{msg}/endpoint"),
            Value::Null,
            200,
        ),
        (
            Method::GET,
            format!("{app}/attempt/msg/{msg}"),
            Value::Null,
            200,
        ),
        (
            Method::GET,
            format!("{app}/attempt/endpoint/{id}"),
            Value::Null,
            200,
        ),
        (Method::POST, format!("{app}/msg"), message, 403),
        (
            Method::GET,
            "/api/v1/event-type".to_owned(),
            Value::Null,
            403,
        ),
        (
            Method::POST,
            format!("/api/v1/auth/app-portal-access/{}", last(&app)),
            json!({}),
            403,
        ),
        (
            Method::POST,
            format!("/api/v1/auth/app/{}/expire-all", last(&app)),
            json!({}),
            403,
        ),
        (
            Method::GET,
            "/api/v1/admin/backup".to_owned(),
            Value::Null,
            403,
        ),
    ];
    for (method, path, body, status) in table {
        let reply = api.call_as(&token, method.clone(), &path, body).await;
        assert_eq!(
            reply.status.as_u16(),
            status,
            "{method} {path}: {}",
            reply.text
        );
        if status == 403 {
            assert_eq!(reply.json["code"], "insufficient_permission");
        }
    }
}

#[tokio::test]
async fn organizations_do_not_see_each_other() {
    let api = Api::new();
    api.post("/api/v1/app", json!({"name": "A", "uid": "a"}))
        .await
        .ok(201);
    let app = api.app().await;
    let endpoint = api.endpoint(&app).await;
    let stranger = api.mint(&Scope::Organization(OrganizationId::generate(
        api.clock.now(),
    )));
    for path in [
        "/api/v1/app/a",
        &app,
        &endpoint,
        &format!("{app}/msg"),
        &format!("{endpoint}/secret"),
    ] {
        api.call_as(&stranger, Method::GET, path, Value::Null)
            .await
            .ok(404);
    }
    let list = api
        .call_as(&stranger, Method::GET, "/api/v1/app", Value::Null)
        .await
        .ok(200);
    assert_eq!(list["data"], json!([]));
    api.call_as(
        &stranger,
        Method::POST,
        "/api/v1/app",
        json!({"name": "A", "uid": "a"}),
    )
    .await
    .ok(201);
    let admin = api.mint(&Scope::Administrator);
    api.call_as(&admin, Method::GET, "/api/v1/app", Value::Null)
        .await
        .ok(403);
    api.call_as(&admin, Method::GET, &app, Value::Null)
        .await
        .ok(403);
    api.call_as(&api.token, Method::GET, "/api/v1/admin/backup", Value::Null)
        .await
        .ok(403);
}

#[tokio::test]
async fn only_one_good_token_is_a_caller() {
    let api = Api::new();
    let good = format!("Bearer {}", api.token);
    for headers in [
        vec![],
        vec!["Bearer"],
        vec!["Bearer x.y.z"],
        vec!["Basic eA=="],
        vec![api.token.as_str()],
        vec![good.as_str(), good.as_str()],
    ] {
        let mut request = Request::get("/api/v1/app");
        for header in &headers {
            request = request.header("authorization", *header);
        }
        let reply = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            reply.ok(401)["code"],
            "authentication_failed",
            "{headers:?}"
        );
    }
    api.clock.advance(Duration::from_secs(3600 + 30));
    api.get("/api/v1/app").await.ok(401);
}

#[tokio::test]
async fn tokens_end_by_logout_and_by_expiring_all() {
    let api = Api::new();
    let app = api.app().await;
    let portal = format!("/api/v1/auth/app-portal-access/{}", last(&app));
    let token = |reply: Value| reply["token"].as_str().unwrap().to_owned();
    let first = token(api.post(&portal, json!({"featureFlags": []})).await.ok(200));
    let second = token(api.post(&portal, Value::Null).await.ok(200));
    let get = async |token: &str| {
        api.call_as(token, Method::GET, &app, Value::Null)
            .await
            .status
            .as_u16()
    };
    assert_eq!((get(&first).await, get(&second).await), (200, 200));
    api.call_as(&first, Method::POST, "/api/v1/auth/logout", Value::Null)
        .await
        .ok(204);
    assert_eq!((get(&first).await, get(&second).await), (401, 200));
    let all = format!("/api/v1/auth/app/{}/expire-all", last(&app));
    api.post(&all, json!({})).await.ok(204);
    assert_eq!(get(&second).await, 401);
    api.clock.advance(Duration::from_secs(1));
    let third = token(api.post(&portal, Value::Null).await.ok(200));
    assert_eq!(get(&third).await, 200);
    api.post(&portal, json!({"expiry": 5})).await.ok(422);
    // A portal may bring its application.
    let new = api
        .post(
            "/api/v1/auth/app-portal-access/new",
            json!({"application": {"name": "N"}}),
        )
        .await;
    let new = new.ok(200);
    assert!(new["url"].as_str().unwrap().contains("#token="));
    api.get("/api/v1/app/new").await.ok(200);
}
