//! The official client of the first generation (`svix` 1.99) against everything of the contract that the gateway
//! has. What the client can not read fails here, whatever the API's own tests think of it.

use std::collections::{HashMap, HashSet};

use hookmill_tests::gateway::random_id;
use hookmill_tests::{Gateway, Receiver, eventually};
use serde_json::{Value, json};
use svix1::api::{
    ApplicationCreateOptions, ApplicationListOptions, EndpointListOptions, EventTypeDeleteOptions,
    EventTypeListOptions, MessageAttemptListByEndpointOptions, MessageCreateOptions,
    MessageGetOptions, MessageListOptions, Svix,
};
use svix1::error::Error;
use svix1::models::{
    ApplicationIn, ApplicationOut, EndpointHeadersIn, EndpointHeadersPatchIn, EndpointIn,
    EndpointOut, EndpointSecretRotateIn, EndpointTransformationPatch, EndpointUpdate, EventTypeIn,
    EventTypeUpdate, MessageIn, MessageOut, MessageStatus, Ordering,
};

/// The status of a refusal that the client could read: an error without a readable body is no refusal.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> u16 {
    match result {
        Err(Error::Http(content)) => {
            let payload = content
                .payload
                .expect("the client reads `code` and `detail`");
            assert!(!payload.code.is_empty() && !payload.detail.is_empty());
            content.status.as_u16()
        }
        Err(Error::Validation(content)) => {
            let payload = content
                .payload
                .expect("the client reads the list of places");
            assert!(!payload.detail.is_empty());
            content.status.as_u16()
        }
        other => panic!("not a refusal: {other:?}"),
    }
}

async fn app(svix: &Svix) -> ApplicationOut {
    let body = ApplicationIn::new("tenant".to_owned());
    svix.application().create(body, None).await.unwrap()
}

async fn endpoint(svix: &Svix, app: &str, url: String) -> EndpointOut {
    svix.endpoint()
        .create(app.to_owned(), EndpointIn::new(url), None)
        .await
        .unwrap()
}

async fn send(svix: &Svix, app: &str, n: u32) -> MessageOut {
    let body = MessageIn::new("invoice.paid".to_owned(), json!({"n": n}));
    svix.message()
        .create(app.to_owned(), body, None)
        .await
        .unwrap()
}

#[tokio::test]
async fn health() {
    let gateway = Gateway::start().await;
    gateway.svix1().await.health().get().await.unwrap();
}

#[tokio::test]
async fn applications() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let api = svix.application();
    let body = ApplicationIn {
        uid: Some("customer-1".to_owned()),
        metadata: Some(HashMap::from([("plan".to_owned(), "gold".to_owned())])),
        throttle_rate: Some(50),
        ..ApplicationIn::new("First".to_owned())
    };
    let made = api.create(body.clone(), None).await.unwrap();
    assert!(made.id.starts_with("app_"));
    assert_eq!(made.name, "First");
    assert_eq!(made.uid.as_deref(), Some("customer-1"));
    assert_eq!(made.metadata["plan"], "gold");
    assert_eq!(made.throttle_rate, Some(50));

    assert_eq!(api.get(made.id.clone()).await.unwrap(), made);
    assert_eq!(api.get("customer-1".to_owned()).await.unwrap(), made);
    assert_eq!(api.get_or_create(body.clone(), None).await.unwrap(), made);

    let other = ApplicationIn {
        uid: Some("customer-2".to_owned()),
        ..ApplicationIn::new("Second".to_owned())
    };
    let updated = api.update(made.id.clone(), other).await.unwrap();
    assert_eq!(
        (updated.id.as_str(), updated.name.as_str()),
        (made.id.as_str(), "Second")
    );
    assert_eq!(updated.uid.as_deref(), Some("customer-2"));
    assert_eq!(updated.throttle_rate, None, "an update replaces everything");
    assert_eq!(refused(api.get("customer-1".to_owned()).await), 404);

    let patch = serde_json::from_value(json!({"uid": null, "metadata": {"a": "b"}})).unwrap();
    let patched = api.patch(made.id.clone(), patch).await.unwrap();
    assert_eq!((patched.name.as_str(), patched.uid), ("Second", None));
    assert_eq!(patched.metadata["a"], "b");

    api.delete(made.id.clone()).await.unwrap();
    assert_eq!(refused(api.get(made.id.clone()).await), 404);
    assert_eq!(refused(api.delete(made.id).await), 404);
}

#[tokio::test]
async fn an_update_of_an_unknown_application_makes_it() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let body = ApplicationIn {
        uid: Some("new".to_owned()),
        ..ApplicationIn::new("New".to_owned())
    };
    let made = svix
        .application()
        .update("new".to_owned(), body)
        .await
        .unwrap();
    assert_eq!(
        svix.application().get("new".to_owned()).await.unwrap(),
        made
    );
}

#[tokio::test]
async fn refused_applications() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let api = svix.application();
    let with_uid = |uid: &str| ApplicationIn {
        uid: Some(uid.to_owned()),
        ..ApplicationIn::new("x".to_owned())
    };
    api.create(with_uid("taken"), None).await.unwrap();
    assert_eq!(refused(api.create(with_uid("taken"), None).await), 409);
    assert_eq!(refused(api.create(with_uid("two words"), None).await), 422);
    assert_eq!(
        refused(api.create(with_uid(&"a".repeat(257)), None).await),
        422
    );
    let unnamed = ApplicationIn::new(String::new());
    assert_eq!(refused(api.create(unnamed, None).await), 422);
    assert_eq!(refused(api.get(random_id("app_")).await), 404);
    let foreign = gateway.svix1_with("not.a.token".to_owned());
    assert_eq!(refused(foreign.application().list(None).await), 401);
}

#[tokio::test]
async fn pages_of_applications() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(app(&svix).await.id);
    }
    for order in [Ordering::Ascending, Ordering::Descending] {
        let (mut seen, mut sizes, mut iterator) = (Vec::new(), Vec::new(), None);
        loop {
            let options = ApplicationListOptions {
                limit: Some(3),
                iterator,
                order: Some(order),
                ..ApplicationListOptions::default()
            };
            let page = svix.application().list(Some(options)).await.unwrap();
            sizes.push(page.data.len());
            seen.extend(page.data.into_iter().map(|app| app.id));
            iterator = page.iterator;
            if page.done {
                break;
            }
        }
        assert_eq!(sizes, [3, 3, 1]);
        if matches!(order, Ordering::Descending) {
            seen.reverse();
        }
        assert_eq!(seen, made);
    }
    let wrong = ApplicationListOptions {
        iterator: Some("nonsense".to_owned()),
        ..ApplicationListOptions::default()
    };
    assert_eq!(refused(svix.application().list(Some(wrong)).await), 422);
}

#[tokio::test]
async fn transformations() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let receiver = Receiver::start().await;
    let endpoint = endpoint(&svix, &app, receiver.url()).await.id;
    let api = svix.endpoint();
    let get = || api.transformation_get(app.clone(), endpoint.clone());
    let patch = |body: Value| {
        // Only so can be said what is left out, null, or set, without the client's own dependency.
        let patch: EndpointTransformationPatch = serde_json::from_value(body).unwrap();
        api.patch_transformation(app.clone(), endpoint.clone(), patch)
    };
    let none = get().await.unwrap();
    assert_eq!((none.code, none.enabled), (None, Some(false)));

    let code =
        "function handler(webhook) { webhook.payload.by = webhook.variables.by; return webhook; }";
    let all = json!({"code": code, "enabled": true, "variables": {"by": "us"}});
    patch(all).await.unwrap();
    let set = get().await.unwrap();
    assert_eq!(set.code.as_deref(), Some(code));
    assert!(set.enabled == Some(true) && set.updated_at.is_some());
    assert_eq!(set.variables.unwrap()["by"], "us");
    send(&svix, &app, 1).await;
    assert_eq!(
        receiver.wait_for(1).await[0].json(),
        json!({"n": 1, "by": "us"})
    );

    let bad = json!({"code": "function handler("});
    assert_eq!(refused(patch(bad).await), 422);
    let cleared = json!({"code": null, "variables": null});
    patch(cleared).await.unwrap();
    let left = get().await.unwrap();
    assert_eq!((left.code, left.enabled), (None, Some(true)));
    send(&svix, &app, 2).await;
    assert_eq!(receiver.wait_for(2).await[1].body, r#"{"n":2}"#);
}

#[tokio::test]
async fn endpoints() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let api = svix.endpoint();
    event_type(&svix, "invoice.paid").await;
    let body = EndpointIn {
        uid: Some("crm".to_owned()),
        description: Some("the CRM".to_owned()),
        filter_types: Some(vec!["invoice.paid".to_owned()]),
        channels: Some(vec!["eu".to_owned()]),
        throttle_rate: Some(10),
        metadata: Some(HashMap::from([("team".to_owned(), "billing".to_owned())])),
        ..EndpointIn::new("https://example.com/hook".to_owned())
    };
    let made = api.create(app.clone(), body.clone(), None).await.unwrap();
    assert!(made.id.starts_with("ep_"));
    assert_eq!(made.url, "https://example.com/hook");
    assert_eq!(made.filter_types, Some(vec!["invoice.paid".to_owned()]));
    assert_eq!(made.channels, Some(vec!["eu".to_owned()]));
    assert_eq!(made.throttle_rate, Some(10));
    assert_eq!(made.metadata["team"], "billing");
    assert_ne!(made.disabled, Some(true));
    assert_eq!(api.get(app.clone(), made.id.clone()).await.unwrap(), made);
    assert_eq!(api.get(app.clone(), "crm".to_owned()).await.unwrap(), made);

    let update = EndpointUpdate {
        description: Some("moved".to_owned()),
        ..EndpointUpdate::new("https://example.com/new".to_owned())
    };
    let updated = api
        .update(app.clone(), made.id.clone(), update)
        .await
        .unwrap();
    assert_eq!(updated.url, "https://example.com/new");
    assert_eq!((updated.filter_types, updated.channels), (None, None));

    let patch = serde_json::from_value(json!({"disabled": true, "channels": ["us"]})).unwrap();
    let patched = api
        .patch(app.clone(), made.id.clone(), patch)
        .await
        .unwrap();
    assert_eq!(patched.disabled, Some(true));
    assert_eq!(patched.description, "moved");
    assert_eq!(patched.channels, Some(vec!["us".to_owned()]));

    assert_eq!(refused(api.get(app.clone(), random_id("ep_")).await), 404);
    assert_eq!(
        refused(api.get(random_id("app_"), made.id.clone()).await),
        404
    );
    for bad in ["not a url", "ftp://example.com/", "http://10.0.0.1/", ""] {
        let bad = EndpointIn::new(bad.to_owned());
        assert_eq!(refused(api.create(app.clone(), bad, None).await), 422);
    }
    let twin = EndpointIn {
        uid: Some("twin".to_owned()),
        ..EndpointIn::new("https://example.com/a".to_owned())
    };
    api.create(app.clone(), twin.clone(), None).await.unwrap();
    assert_eq!(refused(api.create(app.clone(), twin, None).await), 409);

    api.delete(app.clone(), made.id.clone()).await.unwrap();
    assert_eq!(refused(api.get(app.clone(), made.id.clone()).await), 404);
    assert_eq!(refused(api.delete(app, made.id).await), 404);
}

#[tokio::test]
async fn pages_of_endpoints() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let mut made = HashSet::new();
    for n in 0..5 {
        made.insert(
            endpoint(&svix, &app, format!("https://example.com/{n}"))
                .await
                .id,
        );
    }
    let (mut seen, mut iterator) = (Vec::new(), None);
    loop {
        let options = EndpointListOptions {
            limit: Some(2),
            iterator,
            ..EndpointListOptions::default()
        };
        let page = svix
            .endpoint()
            .list(app.clone(), Some(options))
            .await
            .unwrap();
        seen.extend(page.data.into_iter().map(|endpoint| endpoint.id));
        iterator = page.iterator;
        if page.done {
            break;
        }
    }
    assert_eq!(seen.len(), 5, "none twice");
    assert_eq!(HashSet::from_iter(seen), made);
}

#[tokio::test]
async fn endpoint_secrets_and_headers() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let api = svix.endpoint();
    let ours = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let body = EndpointIn {
        secret: Some(ours.to_owned()),
        ..EndpointIn::new("https://example.com/".to_owned())
    };
    let ep = api.create(app.clone(), body, None).await.unwrap().id;
    assert_eq!(
        api.get_secret(app.clone(), ep.clone()).await.unwrap().key,
        ours
    );
    let rotate = EndpointSecretRotateIn::new();
    api.rotate_secret(app.clone(), ep.clone(), rotate, None)
        .await
        .unwrap();
    let fresh = api.get_secret(app.clone(), ep.clone()).await.unwrap().key;
    assert!(fresh.starts_with("whsec_") && fresh != ours);
    let bad = EndpointSecretRotateIn {
        key: Some("whsec_short".to_owned()),
        ..EndpointSecretRotateIn::new()
    };
    assert_eq!(
        refused(api.rotate_secret(app.clone(), ep.clone(), bad, None).await),
        422
    );
    assert_eq!(
        refused(api.get_secret(app.clone(), random_id("ep_")).await),
        404
    );

    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let headers = HashMap::from([
        pair("x-tenant", "one"),
        pair("authorization", "Bearer s3cret"),
    ]);
    api.update_headers(app.clone(), ep.clone(), EndpointHeadersIn::new(headers))
        .await
        .unwrap();
    let shown = api.get_headers(app.clone(), ep.clone()).await.unwrap();
    assert_eq!(
        shown.headers.get("x-tenant").map(String::as_str),
        Some("one")
    );
    assert!(
        !shown.headers.contains_key("authorization"),
        "a credential is not shown"
    );
    assert_eq!(shown.sensitive, ["authorization"]);

    let patch = EndpointHeadersPatchIn {
        delete_headers: Some(vec!["x-tenant".to_owned()]),
        ..EndpointHeadersPatchIn::new(HashMap::from([pair("x-more", "two")]))
    };
    api.patch_headers(app.clone(), ep.clone(), patch)
        .await
        .unwrap();
    let shown = api.get_headers(app.clone(), ep.clone()).await.unwrap();
    assert_eq!(shown.headers, HashMap::from([pair("x-more", "two")]));
    assert_eq!(shown.sensitive, ["authorization"]);
    let reserved = EndpointHeadersIn::new(HashMap::from([pair("webhook-id", "mine")]));
    assert_eq!(refused(api.update_headers(app, ep, reserved).await), 422);
}

async fn event_type(svix: &Svix, name: &str) {
    let body = EventTypeIn::new("for a test".to_owned(), name.to_owned());
    let made = svix.event_type().create(body, None).await.unwrap();
    assert_eq!(made.name, name);
}

#[tokio::test]
async fn event_types() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let api = svix.event_type();
    for name in ["a.one", "a.two", "b"] {
        event_type(&svix, name).await;
    }
    let twin = EventTypeIn::new("again".to_owned(), "a.one".to_owned());
    assert_eq!(refused(api.create(twin, None).await), 409);
    let bad = EventTypeIn::new("bad".to_owned(), "no spaces".to_owned());
    assert_eq!(refused(api.create(bad, None).await), 422);

    let update = EventTypeUpdate {
        schemas: Some(json!({"1": {"type": "object"}})),
        ..EventTypeUpdate::new("better".to_owned())
    };
    let updated = api.update("a.one".to_owned(), update).await.unwrap();
    assert_eq!(updated.description, "better");
    assert_eq!(updated.schemas, Some(json!({"1": {"type": "object"}})));
    assert_eq!(api.get("a.one".to_owned()).await.unwrap(), updated);
    let patch = serde_json::from_value(json!({"deprecated": true})).unwrap();
    assert!(
        api.patch("a.one".to_owned(), patch)
            .await
            .unwrap()
            .deprecated
    );

    api.delete("a.two".to_owned(), None).await.unwrap();
    let names = async |include_archived| {
        let options = EventTypeListOptions {
            include_archived: Some(include_archived),
            ..EventTypeListOptions::default()
        };
        let page = api.list(Some(options)).await.unwrap();
        page.data
            .into_iter()
            .map(|one| one.name)
            .collect::<HashSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    assert_eq!(
        names(false).await,
        set(&["a.one", "b"]),
        "deleted is archived"
    );
    assert_eq!(names(true).await, set(&["a.one", "a.two", "b"]));
    let expunge = EventTypeDeleteOptions {
        expunge: Some(true),
    };
    api.delete("b".to_owned(), Some(expunge)).await.unwrap();
    assert_eq!(refused(api.get("b".to_owned()).await), 404);
    assert_eq!(refused(api.get("never.was".to_owned()).await), 404);
}

#[tokio::test]
async fn messages() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let api = svix.message();
    let body = MessageIn {
        event_id: Some("evt-1".to_owned()),
        channels: Some(vec!["eu".to_owned()]),
        tags: Some(vec!["vip".to_owned()]),
        ..MessageIn::new("invoice.paid".to_owned(), json!({"amount": 1}))
    };
    let made = api.create(app.clone(), body.clone(), None).await.unwrap();
    assert!(made.id.starts_with("msg_"));
    assert_eq!(made.payload, json!({"amount": 1}));
    let whole = MessageGetOptions {
        with_content: Some(true),
    };
    let got = api
        .get(app.clone(), made.id.clone(), Some(whole))
        .await
        .unwrap();
    assert_eq!(got, made);
    let by_event = api
        .get(app.clone(), "evt-1".to_owned(), None)
        .await
        .unwrap();
    assert_eq!(by_event.id, made.id);
    assert_eq!(by_event.payload, json!({"amount": 1}));
    let bare = MessageGetOptions {
        with_content: Some(false),
    };
    let bare = api
        .get(app.clone(), made.id.clone(), Some(bare))
        .await
        .unwrap();
    assert_eq!(bare.payload, json!({}), "without content");

    assert_eq!(refused(api.create(app.clone(), body, None).await), 409);
    let bad = MessageIn::new("no spaces".to_owned(), json!({}));
    assert_eq!(refused(api.create(app.clone(), bad, None).await), 422);
    assert_eq!(
        refused(api.get(app.clone(), random_id("msg_"), None).await),
        404
    );
    let lost = MessageIn::new("a".to_owned(), json!({}));
    assert_eq!(
        refused(api.create(random_id("app_"), lost, None).await),
        404
    );

    let plain = send(&svix, &app, 2).await;
    let ids = async |options: MessageListOptions| {
        let page = api.list(app.clone(), Some(options)).await.unwrap();
        page.data
            .into_iter()
            .map(|message| message.id)
            .collect::<Vec<_>>()
    };
    let by = MessageListOptions::default;
    assert_eq!(
        ids(by()).await,
        [plain.id.clone(), made.id.clone()],
        "the newest first"
    );
    let tagged = MessageListOptions {
        tag: Some("vip".to_owned()),
        ..by()
    };
    assert_eq!(ids(tagged).await, [made.id.as_str()]);
    let channel = MessageListOptions {
        channel: Some("eu".to_owned()),
        ..by()
    };
    assert_eq!(ids(channel).await, [made.id.as_str()]);
    let typed = MessageListOptions {
        event_types: Some(vec!["other".to_owned()]),
        ..by()
    };
    assert!(ids(typed).await.is_empty());
    let after = MessageListOptions {
        after: Some("2000-01-01T00:00:00Z".to_owned()),
        ..by()
    };
    assert_eq!(ids(after).await.len(), 2);
    let before = MessageListOptions {
        before: Some("2000-01-01T00:00:00Z".to_owned()),
        ..by()
    };
    assert!(ids(before).await.is_empty());
}

#[tokio::test]
async fn pages_of_messages_under_writes() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let mut made = Vec::new();
    for n in 0..6 {
        made.push(send(&svix, &app, n).await.id);
    }
    let (mut seen, mut iterator) = (Vec::new(), None);
    loop {
        let options = MessageListOptions {
            limit: Some(2),
            iterator,
            ..MessageListOptions::default()
        };
        let page = svix
            .message()
            .list(app.clone(), Some(options))
            .await
            .unwrap();
        seen.extend(page.data.into_iter().map(|message| message.id));
        iterator = page.iterator;
        if page.done {
            break;
        }
        // Newer than where the pages stand: it belongs to none of them.
        send(&svix, &app, 99).await;
    }
    seen.reverse();
    assert_eq!(seen, made);
}

#[tokio::test]
async fn attempts_destinations_and_resend() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let svix = gateway.svix1().await;
    let app = app(&svix).await.id;
    let good = Receiver::start().body("thanks").await;
    let bad = Receiver::start().answer(500).body("broken").await;
    let good_ep = endpoint(&svix, &app, good.url()).await.id;
    let bad_ep = endpoint(&svix, &app, bad.url()).await.id;
    let message = send(&svix, &app, 1).await.id;
    let api = svix.message_attempt();

    let attempts = eventually("an attempt at each endpoint", async || {
        let page = api
            .list_by_msg(app.clone(), message.clone(), None)
            .await
            .unwrap();
        if page.data.len() == 2 {
            Ok(page.data)
        } else {
            Err(format!("{page:?}"))
        }
    })
    .await;
    let of = |endpoint: &str| {
        attempts
            .iter()
            .find(|one| one.endpoint_id == endpoint)
            .unwrap()
    };
    assert_eq!(of(&good_ep).status, MessageStatus::Success);
    assert_eq!(
        (of(&good_ep).response_status_code, of(&good_ep).url.clone()),
        (200, good.url())
    );
    assert_eq!(of(&bad_ep).status, MessageStatus::Fail);
    assert_eq!(of(&bad_ep).response_status_code, 500);
    let id = of(&bad_ep).id.clone();
    assert!(id.starts_with("atmpt_"));
    let one = api
        .get(app.clone(), message.clone(), id, None)
        .await
        .unwrap();
    assert_eq!(
        (one.response.as_str(), one.msg_id),
        ("broken", message.clone())
    );
    assert_eq!(
        refused(
            api.get(app.clone(), message.clone(), random_id("atmpt_"), None)
                .await
        ),
        404
    );

    let failed = MessageAttemptListByEndpointOptions {
        status: Some(MessageStatus::Fail),
        ..MessageAttemptListByEndpointOptions::default()
    };
    let by_endpoint =
        |endpoint: &str, options| api.list_by_endpoint(app.clone(), endpoint.to_owned(), options);
    assert_eq!(
        by_endpoint(&bad_ep, Some(failed)).await.unwrap().data.len(),
        1
    );
    assert_eq!(by_endpoint(&good_ep, None).await.unwrap().data.len(), 1);
    assert_eq!(refused(by_endpoint(&random_id("ep_"), None).await), 404);

    let places = api
        .list_attempted_destinations(app.clone(), message.clone(), None)
        .await
        .unwrap()
        .data;
    assert_eq!(places.len(), 2);
    let place = places.iter().find(|one| one.id == bad_ep).unwrap();
    assert_eq!(
        (place.status, place.next_attempt.as_deref()),
        (MessageStatus::Fail, None)
    );

    bad.now_answers(200);
    api.resend(app.clone(), message.clone(), bad_ep.clone(), None)
        .await
        .unwrap();
    let got = bad.wait_for(2).await;
    assert_eq!(
        got[0].message_id(),
        got[1].message_id(),
        "the same message again"
    );
    eventually("the resent message's success", async || {
        let page = api
            .list_attempted_destinations(app.clone(), message.clone(), None)
            .await
            .unwrap();
        let place = page.data.into_iter().find(|one| one.id == bad_ep).unwrap();
        if place.status == MessageStatus::Success {
            Ok(())
        } else {
            Err(format!("{place:?}"))
        }
    })
    .await;
    let unknown = api
        .resend(app.clone(), random_id("msg_"), bad_ep, None)
        .await;
    assert_eq!(refused(unknown), 404);
    let unknown = api.resend(app, message, random_id("ep_"), None).await;
    assert_eq!(refused(unknown), 404);
}

#[tokio::test]
async fn idempotency_keys() {
    let gateway = Gateway::start().await;
    let svix = gateway.svix1().await;
    let key = || ApplicationCreateOptions {
        idempotency_key: Some("make-it-once".to_owned()),
    };
    let body = || ApplicationIn::new("once".to_owned());
    let first = svix
        .application()
        .create(body(), Some(key()))
        .await
        .unwrap();
    let again = svix
        .application()
        .create(body(), Some(key()))
        .await
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(svix.application().list(None).await.unwrap().data.len(), 1);

    let receiver = Receiver::start().await;
    endpoint(&svix, &first.id, receiver.url()).await;
    let options = || MessageCreateOptions {
        idempotency_key: Some("send-it-once".to_owned()),
        ..MessageCreateOptions::default()
    };
    let event = || MessageIn::new("a".to_owned(), json!({}));
    let sent = svix
        .message()
        .create(first.id.clone(), event(), Some(options()))
        .await
        .unwrap();
    let twin = svix
        .message()
        .create(first.id.clone(), event(), Some(options()))
        .await
        .unwrap();
    assert_eq!(sent.id, twin.id);
}
