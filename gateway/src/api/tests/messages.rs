//! Messages, attempts and destinations.

use tokio_util::sync::CancellationToken;

use super::*;
use crate::domain::{
    Attempt, AttemptId, AttemptStatus, DeliveryKey, DeliveryRow, DeliveryState, PluginReport,
    Trigger,
};
use crate::store::{Lease, Outcome, ShardSet};

impl Api {
    async fn raw_message(&self, app: &str, query: &str, body: &str) -> Reply {
        let request = self.request(&self.token, Method::POST, &format!("{app}/msg{query}"));
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn lease(&self) -> Lease {
        self.state
            .store
            .lease_shards("test", ShardSet::ALL, Duration::from_secs(60))
            .await
            .unwrap()
    }

    /// Records one attempt, and the state that it led to.
    async fn attempted(
        &self,
        lease: &Lease,
        app: &str,
        msg: &str,
        endpoint: &str,
        state: DeliveryState,
        code: Option<u16>,
    ) {
        let store = &self.state.store;
        let message = store
            .message_by_id(last(app).parse().unwrap(), msg)
            .await
            .unwrap()
            .unwrap();
        let key = DeliveryKey {
            endpoint: last(endpoint).parse().unwrap(),
            message: message.seq,
        };
        let success = state == DeliveryState::Success;
        let attempt = Attempt {
            id: AttemptId::generate(self.clock.now()),
            seq: crate::domain::Seq::default(),
            delivery: key,
            message: message.id,
            event_type: message.event_type.clone(),
            channels: Vec::new(),
            tags: Vec::new(),
            at: self.clock.now(),
            duration_ms: 7,
            status: if success {
                AttemptStatus::Success
            } else {
                AttemptStatus::Fail
            },
            response_code: code,
            response: "thanks".to_owned(),
            url: URL.to_owned(),
            trigger: Trigger::Scheduled,
            plugins: vec![PluginReport {
                plugin: "redact".to_owned(),
                version: Digest::of(b"x"),
                outcome: "deliver".to_owned(),
                detail: String::new(),
                micros: 20,
                memory_peak: 65_536,
                logs: vec![("info".to_owned(), "hello".to_owned())],
            }],
        };
        let row = DeliveryRow {
            key,
            state,
            tries: 1,
            resume_due: None,
        };
        let outcome = Outcome {
            row: Some(row),
            attempt: Some(attempt),
            shaped: None,
            outbox_done: None,
        };
        store.record(lease, vec![outcome]).await.unwrap();
    }
}

#[tokio::test]
async fn a_payload_is_kept_and_shown_as_it_arrived() {
    let api = Api::new();
    let app = api.app().await;
    let payload = r#"{ "b":1.0,  "a":10000000000000000000000, "e":"\u00e9", "a":[ ] }"#;
    let body =
        format!(r#"{{"eventType":"x.y","payload":{payload},"eventId":"ev-1","tags":["t"]}}"#);
    let made = api.raw_message(&app, "", &body).await;
    assert_eq!(made.status.as_u16(), 202, "{}", made.text);
    assert!(made.text.contains(payload), "{}", made.text);
    for name in [made.json["id"].as_str().unwrap(), "ev-1"] {
        let got = api.get(&format!("{app}/msg/{name}")).await;
        assert!(got.text.contains(payload), "{}", got.text);
    }
    let bare = api
        .get(&format!("{app}/msg/ev-1?with_content=false"))
        .await
        .ok(200);
    assert_eq!(
        (&bare["payload"], &bare["tags"]),
        (&json!({}), &json!(["t"]))
    );
    let list = api.get(&format!("{app}/msg")).await;
    assert!(list.text.contains(payload));
    api.raw_message(&app, "", &body).await.ok(409);
    let other = body.replace("ev-1", "ev-2");
    assert_eq!(
        api.raw_message(&app, "?with_content=false", &other)
            .await
            .ok(202)["payload"],
        json!({})
    );
}

#[tokio::test]
async fn faults_of_a_message_say_where() {
    let small = ingest::Config {
        payload_bytes: 2000,
        ..ingest::Config::default()
    };
    let api = Api::over(small, Config::default());
    let app = api.app().await;
    let deep = |levels: usize| {
        format!(
            "{{\"a\":{}{}}}",
            "[".repeat(levels - 1),
            "]".repeat(levels - 1)
        )
    };
    let table = [
        (r#"{"payload":{}}"#.to_owned(), vec!["body", "eventType"]),
        (r#"{"eventType":"x"}"#.to_owned(), vec!["body", "payload"]),
        (
            r#"{"eventType":"x y","payload":{}}"#.to_owned(),
            vec!["body", "eventType"],
        ),
        (
            r#"{"eventType":"x","payload":[]}"#.to_owned(),
            vec!["body", "payload"],
        ),
        (
            r#"{"eventType":"x","payload":"{}"}"#.to_owned(),
            vec!["body", "payload"],
        ),
        (
            format!(r#"{{"eventType":"x","payload":{}}}"#, deep(128)),
            vec!["body", "payload"],
        ),
        (
            r#"{"eventType":"x","payload":{},"deliverAt":"soon"}"#.to_owned(),
            vec!["body", "deliverAt"],
        ),
        (
            r#"{"eventType":"x","payload":{},"channels":[]}"#.to_owned(),
            vec!["body", "channels"],
        ),
        (
            r#"{"eventType":"x","payload":{},"tags":[""]}"#.to_owned(),
            vec!["body", "tags"],
        ),
        (
            r#"{"eventType":"x","payload":{},"payloadRetentionPeriod":4}"#.to_owned(),
            vec!["body", "payloadRetentionPeriod"],
        ),
    ];
    for (body, loc) in table {
        assert_eq!(
            api.raw_message(&app, "", &body).await.fault_at(),
            loc,
            "{body}"
        );
    }
    let fits = format!(r#"{{"eventType":"x","payload":{}}}"#, deep(127));
    api.raw_message(&app, "", &fits).await.ok(202);
    let large = format!(
        r#"{{"eventType":"x","payload":{{"a":"{}"}}}}"#,
        "b".repeat(2000)
    );
    assert_eq!(
        api.raw_message(&app, "", &large).await.ok(413)["code"],
        "payload_too_large"
    );
    api.raw_message(&app, "?with_content=perhaps", &fits)
        .await
        .ok(422);
    api.raw_message("/api/v1/app/none", "", &fits).await.ok(404);
}

#[tokio::test]
async fn a_message_may_bring_its_application() {
    let api = Api::new();
    let body = json!({"eventType": "x", "payload": {}, "application": {"name": "N", "uid": "n"}});
    api.post("/api/v1/app/n/msg", body.clone()).await.ok(202);
    api.post("/api/v1/app/n/msg", body.clone()).await.ok(202);
    assert_eq!(api.get("/api/v1/app/n").await.ok(200)["name"], "N");
    assert_eq!(
        api.post("/api/v1/app/m/msg", body).await.fault_at(),
        ["body", "uid"]
    );
}

#[tokio::test]
async fn a_page_of_large_messages_is_shorter() {
    let api = Api::with(Config {
        page_bytes: 2500,
        ..Config::default()
    });
    let app = api.app().await;
    for _ in 0..5 {
        let payload = json!({"a": "b".repeat(1000)});
        api.post(
            &format!("{app}/msg"),
            json!({"eventType": "x", "payload": payload}),
        )
        .await
        .ok(202);
    }
    let mut query = format!("{app}/msg?limit=4");
    let mut seen = Vec::new();
    loop {
        let page = api.get(&query).await.ok(200);
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= 2);
        seen.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        if page["done"] == true {
            break;
        }
        query = format!(
            "{app}/msg?limit=4&iterator={}",
            page["iterator"].as_str().unwrap()
        );
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let bare = api
        .get(&format!("{app}/msg?with_content=false"))
        .await
        .ok(200);
    assert_eq!(bare["data"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn messages_are_filtered() {
    let api = Api::new();
    let app = api.app().await;
    for (event_type, channel) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let body = json!({"eventType": event_type, "payload": {}, "channels": [channel], "tags": [event_type]});
        api.post(&format!("{app}/msg"), body).await.ok(202);
        api.clock.advance(Duration::from_secs(10));
    }
    let find = async |query: &str| {
        let page = api.get(&format!("{app}/msg?{query}")).await.ok(200);
        let rows = page["data"].as_array().unwrap();
        rows.iter()
            .map(|row| row["eventType"].as_str().unwrap())
            .collect::<String>()
    };
    assert_eq!(find("").await, "cba");
    assert_eq!(find("event_types=a,b").await, "ba");
    assert_eq!(find("event_types=a&event_types=c").await, "ca");
    assert_eq!(find("channel=x&tag=a").await, "a");
    assert_eq!(
        find("after=2026-09-21T14:13:25Z&before=2026-09-21T14:13:35%2B00:00").await,
        "b"
    );
}

#[tokio::test]
async fn attempts_and_destinations_are_shown() {
    let api = Api::new();
    let app = api.app().await;
    let (early, other) = (api.endpoint(&app).await, api.endpoint(&app).await);
    let body = json!({"eventType": "x", "payload": {"p": 1}, "eventId": "m"});
    let msg = api.post(&format!("{app}/msg"), body).await.ok(202);
    let msg = msg["id"].as_str().unwrap();
    let late = api.endpoint(&app).await;
    let due = api.clock.now().after(Duration::from_secs(5));
    let parked = DeliveryState::Parked {
        due,
        trigger: Trigger::Scheduled,
    };
    let lease = api.lease().await;
    api.attempted(&lease, &app, msg, &early, parked, None).await;
    api.attempted(&lease, &app, msg, &early, DeliveryState::Success, Some(200))
        .await;
    let places = api.get(&format!("{app}/msg/m/endpoint")).await.ok(200);
    let stands: Vec<_> = places["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["id"].clone(), row["status"].clone()))
        .collect();
    assert_eq!(
        stands,
        [
            (json!(last(&other)), json!(1)),
            (json!(last(&early)), json!(0))
        ]
    );
    assert_eq!(places["data"][0]["statusText"], "pending");
    api.attempted(&lease, &app, msg, &other, parked, Some(500))
        .await;
    let places = api.get(&format!("{app}/msg/m/endpoint")).await.ok(200);
    assert_eq!(places["data"][0]["nextAttempt"], due.to_string());

    let list = api
        .get(&format!("{app}/attempt/msg/m?endpoint_id={}", last(&early)))
        .await
        .ok(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let newest = &list["data"][0];
    assert_eq!(
        (&newest["status"], &newest["responseStatusCode"]),
        (&json!(0), &json!(200))
    );
    assert_eq!(
        (&newest["msgId"], &newest["endpointId"]),
        (&json!(msg), &json!(last(&early)))
    );
    assert_eq!(
        newest["plugins"][0]["logs"],
        json!([{"level": "info", "text": "hello"}])
    );
    let id = newest["id"].as_str().unwrap();
    assert_eq!(
        &api.get(&format!("{app}/msg/m/attempt/{id}")).await.ok(200),
        newest
    );
    api.get(&format!("{app}/msg/m/attempt/{}", AttemptId::generate(due)))
        .await
        .ok(404);
    api.get(&format!("{app}/msg/m/attempt/x")).await.ok(404);

    let by_endpoint = format!("{app}/attempt/endpoint/{}", last(&early));
    let failed = api
        .get(&format!(
            "{by_endpoint}?status=2&with_content=false&with_msg=true"
        ))
        .await
        .ok(200);
    assert_eq!(
        (
            &failed["data"][0]["response"],
            failed["data"].as_array().unwrap().len()
        ),
        (&json!(""), 1)
    );
    assert_eq!(failed["data"][0]["msg"]["payload"], json!({}));
    let whole = api
        .get(&format!(
            "{by_endpoint}?status_code_class=200&with_msg=true"
        ))
        .await
        .ok(200);
    assert_eq!(whole["data"][0]["msg"]["payload"], json!({"p": 1}));
    let silent = api
        .get(&format!("{by_endpoint}?status_code_class=0"))
        .await
        .ok(200);
    assert_eq!(silent["data"].as_array().unwrap().len(), 1);
    let none = api
        .get(&format!("{app}/attempt/endpoint/{}", last(&late)))
        .await
        .ok(200);
    assert_eq!(none["data"], json!([]));
    for query in [
        "status=5",
        "status_code_class=201",
        "before=x",
        "channel=%20",
    ] {
        api.get(&format!("{by_endpoint}?{query}")).await.ok(422);
    }
}

#[tokio::test]
async fn a_resend_is_taken_once() {
    let mut api = Api::new();
    let app = api.app().await;
    let endpoint = api.endpoint(&app).await;
    let msg = api
        .post(
            &format!("{app}/msg"),
            json!({"eventType": "x", "payload": {}}),
        )
        .await
        .ok(202);
    let shutdown = CancellationToken::new();
    let (engine, _fan_out) = api.idle.take().unwrap();
    let engine = tokio::spawn(engine.run(shutdown.clone()));
    let (msg, id) = (msg["id"].as_str().unwrap(), last(&endpoint));
    let path = format!("{app}/msg/{msg}/endpoint/{id}/resend");
    let token = api.app_token(last(&app));
    let reply = api.call_as(&token, Method::POST, &path, Value::Null).await;
    assert_eq!(reply.ok(202), json!({}));
    api.post(&format!("{app}/msg/none/endpoint/{id}/resend"), Value::Null)
        .await
        .ok(404);
    api.post(
        &format!("{app}/msg/{msg}/endpoint/none/resend"),
        Value::Null,
    )
    .await
    .ok(404);
    api.patch(&endpoint, json!({"disabled": true}))
        .await
        .ok(200);
    api.post(&path, Value::Null).await.ok(409);
    shutdown.cancel();
    engine.abort();
}

#[tokio::test]
async fn a_message_is_kept_for_as_long_as_it_says_and_not_longer() {
    let api = Api::new();
    let app = api.app().await;
    let path = format!("{app}/msg");
    for (retention, days) in [
        (json!({"payloadRetentionPeriod": 5}), 5),
        (json!({"payloadRetentionHours": 24}), 1),
        (json!({}), 90),
    ] {
        let mut event = json!({"eventType": "a", "payload": {}});
        event
            .as_object_mut()
            .unwrap()
            .extend(retention.as_object().unwrap().clone());
        let id = api.post(&path, event).await.ok(202)["id"].clone();
        let app: ApplicationId = last(&app).parse().unwrap();
        let store = &api.state.store;
        let message = store.message_by_id(app, id.as_str().unwrap()).await;
        let message = message.unwrap().unwrap();
        let kept = message.expires_at.since(message.created_at);
        assert_eq!(kept, Duration::from_secs(days * 24 * 3600), "{retention}");
    }
}
