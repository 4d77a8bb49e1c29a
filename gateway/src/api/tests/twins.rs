//! Requests that are sent twice.

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::*;
use crate::domain::Application;
use crate::store::{COMMIT_TRIES, IdempotencyRecord, Stored};

impl Api {
    async fn keyed(&self, path: &str, key: &str, body: &Value) -> Reply {
        let request = self
            .request(&self.token, Method::POST, path)
            .header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    async fn apps(&self) -> usize {
        self.get("/api/v1/app").await.ok(200)["data"]
            .as_array()
            .unwrap()
            .len()
    }
}

#[tokio::test]
async fn a_twin_is_given_the_same_answer() {
    let api = Api::new();
    let body = json!({"name": "A"});
    let first = api.keyed("/api/v1/app", "k", &body).await;
    let twin = api.keyed("/api/v1/app/", "k", &body).await;
    assert_eq!((first.status, &first.text), (twin.status, &twin.text));
    assert_eq!(api.apps().await, 1);
    let loc = api
        .keyed("/api/v1/app", "k", &json!({"name": "B"}))
        .await
        .fault_at();
    assert_eq!(loc, ["header", "idempotency-key"]);
    // The same key elsewhere is a mistake.
    let other = json!({"name": "a", "description": ""});
    api.keyed("/api/v1/event-type", "k", &other).await.ok(422);
    // Another caller's key is another key.
    let stranger = api.mint(&Scope::Organization(OrganizationId::generate(
        api.clock.now(),
    )));
    let request = api
        .request(&stranger, Method::POST, "/api/v1/app")
        .header("idempotency-key", "k");
    let other = api
        .send(request.body(Body::from(body.to_string())).unwrap())
        .await
        .ok(201);
    assert_ne!(other["id"], first.json["id"]);
    for key in ["", "k".repeat(257).as_str()] {
        api.keyed("/api/v1/app", key, &body).await.ok(422);
    }
}

#[tokio::test]
async fn what_the_query_asks_for_is_part_of_the_request() {
    let api = Api::new();
    let body = json!({"name": "A", "uid": "a"});
    let first = api.keyed("/api/v1/app", "k", &body).await.ok(201);
    let or_get = "/api/v1/app?get_if_exists=true";
    let loc = api.keyed(or_get, "k", &body).await.fault_at();
    assert_eq!(loc, ["header", "idempotency-key"]);
    let found = api.keyed(or_get, "other", &body).await.ok(200);
    assert_eq!(found["id"], first["id"]);
    // What is applied to the answer makes no other request.
    let message = json!({"eventType": "a", "payload": {"n": 1}});
    let path = "/api/v1/app/a/msg";
    let whole = api.keyed(path, "m", &message).await.ok(202);
    let bare = api
        .keyed(&format!("{path}?with_content=false"), "m", &message)
        .await
        .ok(202);
    assert_eq!(bare["id"], whole["id"]);
    assert_ne!(bare["payload"], whole["payload"]);
}

#[tokio::test]
async fn an_answer_is_kept_for_half_a_day() {
    let api = Api::new();
    let token = api.state.jwt.mint(
        &Scope::Organization(api.org),
        Duration::from_secs(48 * 3600),
        api.clock.wall(),
    );
    let api = Api {
        token: token.unwrap(),
        ..api
    };
    let body = json!({"name": "A"});
    let first = api.keyed("/api/v1/app", "k", &body).await.ok(201);
    api.clock.advance(Duration::from_secs(12 * 3600 - 1));
    assert_eq!(api.keyed("/api/v1/app", "k", &body).await.ok(201), first);
    api.clock.advance(Duration::from_secs(2));
    assert_ne!(
        api.keyed("/api/v1/app", "k", &body).await.ok(201)["id"],
        first["id"]
    );
}

#[tokio::test]
async fn a_failed_request_may_be_sent_again() {
    let api = Api::new();
    let wrong = json!({"name": ""});
    api.keyed("/api/v1/app", "k", &wrong).await.ok(422);
    api.keyed("/api/v1/app", "k", &json!({"name": "A"}))
        .await
        .ok(201);
}

#[tokio::test]
async fn twins_in_flight_are_one() {
    let api = Api::new();
    let app = api.app().await;
    let body = json!({"eventType": "a", "payload": {"n": 1}});
    let path = format!("{app}/msg");
    let twins = (0..20).map(|_| api.keyed(&path, "k", &body));
    let replies = futures_util::future::join_all(twins).await;
    let first = &replies[0];
    assert_eq!(first.status.as_u16(), 202, "{}", first.text);
    for reply in &replies {
        assert_eq!((reply.status, &reply.json), (first.status, &first.json));
    }
    let list = api.get(&path).await.ok(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rotated_secret_is_shown_to_the_twin_and_kept_sealed() {
    let api = Api::new();
    let app = api.app().await;
    let path = format!("{}/secret/rotate", api.endpoint(&app).await);
    let first = api.keyed(&path, "k", &json!({})).await.ok(200);
    assert_eq!(api.keyed(&path, "k", &json!({})).await.ok(200), first);
    let scope = api.org.to_string();
    let record = api
        .state
        .store
        .idempotency(&scope, "k", api.clock.now())
        .await;
    let kept = String::from_utf8(record.unwrap().unwrap().body.to_vec()).unwrap();
    let secret = first["key"].as_str().unwrap();
    assert!(!kept.contains(secret));
}

#[tokio::test]
async fn a_change_that_wins_at_its_last_try_has_a_twin_too() {
    let api = Api::new();
    let app = api.app().await;
    let store = &api.state.store;
    let read = || {
        let found = store.get::<Application>(last(&app)).now_or_never();
        let found: Stored<Application> = found.unwrap().unwrap().unwrap();
        found
    };
    let record = IdempotencyRecord {
        scope: "s".to_owned(),
        key: "k".to_owned(),
        request: Digest::of(b"request"),
        status: 200,
        body: Bytes::from_static(b"{}"),
        expires_at: api.clock.now().after(Duration::from_secs(60)),
    };
    let mut tries = 0;
    let changed = api.state.edit(read(), Some(record.clone()), |app| {
        tries += 1;
        // Somebody else is faster each time, the last one excepted.
        if tries < COMMIT_TRIES {
            let found = read();
            let touched = store.commit(vec![found.update(&found.value).unwrap()], None);
            touched.now_or_never().unwrap().unwrap();
        }
        app.name = "changed".to_owned();
        Ok(())
    });
    assert_eq!(changed.await.unwrap().name, "changed");
    assert_eq!(
        (tries, read().value.name.as_str()),
        (COMMIT_TRIES, "changed")
    );
    let kept = store.idempotency("s", "k", api.clock.now()).await.unwrap();
    assert_eq!(kept, Some(record));
}
