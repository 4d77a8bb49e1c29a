//! What each tenant may send and be sent: messages accepted per second by application and organization,
//! deliveries per second by endpoint, unfinished deliveries by organization. Clocks are the test's own, and only
//! what must not be quicker is asserted, so a slow machine fails nothing.

use std::time::{Duration, Instant};

use hookmill_tests::gateway::random_org;
use hookmill_tests::{Client, Gateway, Receiver, Reply, Tenant, eventually};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

/// What a tenant with a limit may send at once, in seconds' worth of its rate.
const BURST: f64 = 1.0;

fn event(n: usize) -> Value {
    json!({"eventType": "test.event", "payload": {"n": n}})
}

fn limits_of(org: &str) -> String {
    format!("/api/v1/admin/organization/{org}")
}

async fn administrator(gateway: &Gateway) -> Client {
    Client::new(gateway.url(), Some(&gateway.admin_token().await))
}

/// Sends until a message is refused; how many were accepted before, and the refusal.
async fn send_until_refused(tenant: &Tenant) -> (usize, Reply) {
    let mut accepted = 0;
    let refusal = eventually("a refusal", async || {
        let reply = tenant.client.post(&tenant.path("/msg"), event(0)).await;
        if reply.status == 202 {
            accepted += 1;
            Err(format!("{accepted} accepted"))
        } else {
            Ok(reply)
        }
    })
    .await;
    (accepted, refusal)
}

fn retry_after(refusal: &Reply) -> u64 {
    refusal.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap()
}

async fn accepted(tenant: &Tenant) -> usize {
    let path = tenant.path("/msg?limit=250&with_content=false");
    tenant.client.get(&path).await.expect(200).data().len()
}

async fn throttled(tenant: &Tenant, rate: Value) {
    tenant
        .client
        .patch(&tenant.base, json!({"throttleRate": rate}))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_application_has_no_more_accepted_than_its_rate_and_its_neighbour_does_not_notice() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let neighbour = Tenant::of(tenant.client.clone()).await;
    throttled(&tenant, json!(5)).await;
    let start = Instant::now();
    let mut sent = 0;
    for _ in 0..3 {
        let (accepted, refusal) = send_until_refused(&tenant).await;
        sent += accepted;
        refusal.clone().expect_error(429, "too_many_requests");
        assert_eq!(retry_after(&refusal), 1, "a fifth of a second, rounded up");
        let most = (start.elapsed().as_secs_f64() + BURST) * 5.0 + 1.0;
        assert!((sent as f64) < most, "{sent} accepted, at most {most}");
        neighbour.send(json!({})).await;
    }
    assert_eq!(
        accepted(&tenant).await,
        sent,
        "what is refused leaves nothing"
    );
    // Without the limit, or with a higher one, at once.
    throttled(&tenant, Value::Null).await;
    for _ in 0..20 {
        tenant.send(json!({})).await;
    }
}

#[tokio::test]
async fn a_refused_sender_that_comes_back_when_it_was_told_is_accepted() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    throttled(&tenant, json!(1)).await;
    let (_, refusal) = send_until_refused(&tenant).await;
    tokio::time::sleep(Duration::from_secs(retry_after(&refusal))).await;
    tenant.send(json!({})).await;
}

#[tokio::test]
async fn an_organizations_rate_is_shared_by_its_applications_and_set_by_an_administrator() {
    let gateway = Gateway::start().await;
    let one = Tenant::new(&gateway).await;
    let two = Tenant::of(one.client.clone()).await;
    let stranger = Tenant::of(gateway.client_of(&random_org()).await).await;
    let admin = administrator(&gateway).await;
    let limits = limits_of(gateway.org());
    // It counts at once, although the organization was in use before.
    one.send(json!({})).await;
    let set = admin.patch(&limits, json!({"throttleRate": 1})).await;
    assert_eq!(set.expect(200).json()["throttleRate"], 1);
    let (_, refusal) = send_until_refused(&one).await;
    assert!(refusal.expect(429).text("detail").contains("organization"));
    let (sent, refusal) = send_until_refused(&two).await;
    assert!(refusal.expect(429).text("detail").contains("organization"));
    assert_eq!(accepted(&two).await, sent);
    for _ in 0..10 {
        stranger.send(json!({})).await;
    }
    admin
        .patch(&limits, json!({"throttleRate": null}))
        .await
        .expect(200);
    for _ in 0..20 {
        one.send(json!({})).await;
    }
}

#[tokio::test]
async fn a_replayed_message_is_not_counted() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    throttled(&tenant, json!(1)).await;
    let keyed = async |key: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = Some(event(0).to_string().into());
        let path = tenant.path("/msg");
        tenant.client.raw(Method::POST, &path, &headers, body).await
    };
    let first = keyed("first").await.expect(202).text("id");
    send_until_refused(&tenant).await;
    let before = accepted(&tenant).await;
    for _ in 0..20 {
        assert_eq!(keyed("first").await.expect(202).text("id"), first);
    }
    assert_eq!(accepted(&tenant).await, before);
    // A key alone is no way around the limit.
    let refusal = eventually("a refusal of new keys", async || {
        let reply = keyed(&random_org()).await;
        (reply.status != 202)
            .then_some(reply)
            .ok_or_else(String::new)
    });
    refusal.await.expect_error(429, "too_many_requests");
}

#[tokio::test]
async fn an_administrator_lists_organizations_and_sets_what_they_may_do() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    client.get("/api/v1/app").await.expect(200);
    let admin = administrator(&gateway).await;
    let limits = limits_of(gateway.org());
    let fresh = admin.get(&limits).await.expect(200).json();
    assert_eq!(fresh["id"], gateway.org());
    for field in ["throttleRate", "maxPending", "retryPolicy"] {
        assert!(fresh[field].is_null(), "{fresh}");
    }
    let wanted = json!({"throttleRate": 100_000, "maxPending": 7, "retryPolicy": "1s,1m"});
    let set = admin
        .patch(&limits, wanted.clone())
        .await
        .expect(200)
        .json();
    for (field, value) in wanted.as_object().unwrap() {
        assert_eq!(set[field], *value, "{set}");
    }
    let some = admin
        .patch(&limits, json!({"maxPending": null}))
        .await
        .expect(200)
        .json();
    assert!(
        some["maxPending"].is_null() && some["throttleRate"] == 100_000,
        "{some}"
    );
    assert_eq!(
        client.get("/api/v1/organization").await.expect(200).json(),
        some
    );
    // Before its first request too.
    let other = random_org();
    admin.get(&limits_of(&other)).await.expect(404);
    admin
        .patch(&limits_of(&other), json!({"throttleRate": 3}))
        .await
        .expect(200);
    let mut seen = Vec::new();
    let mut next = "/api/v1/admin/organization?limit=1&order=ascending".to_owned();
    loop {
        let page = admin.get(&next).await.expect(200);
        seen.extend(page.data().iter().map(|one| one["id"].clone()));
        if page.json()["done"] == true {
            break;
        }
        next = format!(
            "/api/v1/admin/organization?limit=1&order=ascending&iterator={}",
            page.text("iterator")
        );
    }
    assert_eq!(seen, [json!(gateway.org()), json!(other)]);
    for (wrong, field) in [
        (json!({"throttleRate": 0}), "throttleRate"),
        (json!({"throttleRate": -1}), "throttleRate"),
        (json!({"maxPending": 0}), "maxPending"),
        (json!({"maxPending": "many"}), "maxPending"),
        (json!({"retryPolicy": "soon"}), "retryPolicy"),
    ] {
        let fault = admin.patch(&limits, wrong).await.expect(422).json();
        assert_eq!(fault["detail"][0]["loc"], json!(["body", field]));
    }
    admin.get(&limits_of("nobody")).await.expect(404);
    // Nobody else sets or sees them.
    let app = Tenant::new(&gateway).await;
    let own = client.with_token(&gateway.app_token(gateway.org(), &app.app).await);
    for (client, status) in [(&client, 403), (&own, 403), (&client.anonymous(), 401)] {
        client
            .get("/api/v1/admin/organization")
            .await
            .expect(status);
        client.get(&limits).await.expect(status);
        client
            .patch(&limits, json!({"throttleRate": 9}))
            .await
            .expect(status);
    }
    own.get("/api/v1/organization").await.expect(403);
    admin.get("/api/v1/organization").await.expect(403);
}

#[tokio::test]
async fn an_organization_has_no_more_unfinished_than_its_limit_and_a_restart_does_not_forget_them()
{
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().held().await;
    tenant.endpoint(&receiver.url()).await;
    let limits = limits_of(gateway.org());
    let pending = async |gateway: &Gateway, expected: usize| {
        let admin = administrator(gateway).await;
        eventually(&format!("{expected} pending"), async || {
            let shown = admin.get(&limits).await.expect(200).json();
            (shown["pending"] == expected)
                .then_some(())
                .ok_or_else(|| shown.to_string())
        })
        .await;
    };
    // Once this has come and gone, the start is over.
    receiver.release(1);
    tenant.send(json!({})).await;
    pending(&gateway, 0).await;
    let admin = administrator(&gateway).await;
    admin
        .patch(&limits, json!({"maxPending": 5}))
        .await
        .expect(200);
    let (sent, refusal) = send_until_refused(&tenant).await;
    assert_eq!(sent, 5);
    assert!(retry_after(&refusal) >= 1);
    refusal.expect_error(429, "too_many_requests");
    pending(&gateway, 5).await;
    assert_eq!(accepted(&tenant).await, 6);
    gateway.kill().await;
    gateway.restart().await;
    pending(&gateway, 5).await;
    let tenant = tenant.with_client(gateway.client().await);
    assert_eq!(send_until_refused(&tenant).await.0, 0);
    receiver.release(1_000);
    eventually("room", async || {
        let reply = tenant.client.post(&tenant.path("/msg"), event(1)).await;
        (reply.status == 202)
            .then_some(())
            .ok_or_else(|| reply.status.to_string())
    })
    .await;
    pending(&gateway, 0).await;
}

/// Deliveries per second of an endpoint, and what a lane may catch up when its driver woke late.
const RATE: u32 = 20;
const CATCH_UP: Duration = Duration::from_millis(5);

/// That the requests after the first `seen` came no sooner than the rate allows when it began at `start`, when
/// `free` of them were on their way already.
fn assert_spaced(receiver: &Receiver, seen: usize, start: Instant, free: u32) {
    let requests = receiver.requests();
    for (n, request) in (0u32..).zip(&requests[seen..]) {
        let earliest =
            (Duration::from_secs(1) / RATE * n.saturating_sub(free)).saturating_sub(CATCH_UP);
        let came = request.at.duration_since(start);
        assert!(
            came >= earliest,
            "number {n} came after {came:?}, not {earliest:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_is_sent_to_at_its_rate_without_bursts_after_a_pause_or_a_stall() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url(), "throttleRate": RATE});
    let endpoint = tenant.endpoint_with(body).await;
    let start = Instant::now();
    for n in 0..90 {
        tenant.send(json!({"n": n})).await;
    }
    receiver.wait_for(20).await;
    assert_spaced(&receiver, 0, start, 0);

    let path = |verb: &str| tenant.path(&format!("/endpoint/{endpoint}/{verb}"));
    tenant
        .client
        .post(&path("pause"), json!({}))
        .await
        .expect(200);
    // What is under way when it is paused still comes; what waits is written down.
    for _ in 0..20 {
        tenant.send(json!({})).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (resumed, seen) = (Instant::now(), receiver.count());
    tenant
        .client
        .post(&path("resume"), json!({}))
        .await
        .expect(200);
    receiver.wait_for(seen + 20).await;
    assert_spaced(&receiver, seen, resumed, 1);

    gateway.signal(Signal::STOP);
    // The receiver takes what has left the gateway.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (woken, seen) = (Instant::now(), receiver.count());
    gateway.signal(Signal::CONT);
    receiver.wait_for(seen + 20).await;
    assert_spaced(&receiver, seen, woken, 2);
}

#[tokio::test]
async fn a_changed_rate_of_an_endpoint_counts_at_once() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let body = json!({"url": receiver.url(), "throttleRate": 1});
    let endpoint = tenant.endpoint_with(body).await;
    // At that rate, more than any test waits for.
    for n in 0..400 {
        tenant.send(json!({"n": n})).await;
    }
    receiver.wait_for(1).await;
    tenant
        .patch_endpoint(&endpoint, json!({"throttleRate": 200}))
        .await;
    receiver.wait_for(300).await;
    tenant
        .patch_endpoint(&endpoint, json!({"throttleRate": null}))
        .await;
    receiver.wait_for(400).await;
}
