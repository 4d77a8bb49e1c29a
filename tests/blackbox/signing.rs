//! What a receiver needs to trust a delivery: the official verifiers accept it, the bytes are the sender's, and
//! a rotated secret stays good for its grace period and not longer.

use bytes::Bytes;
use hookmill_tests::receiver::Received;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use reqwest::Method;
use serde_json::json;

/// Whether all three official verifiers accept it with this secret.
#[track_caller]
fn verifies(request: &Received, secret: &str) -> bool {
    let (headers, body) = (&request.headers, &request.body);
    let standard = standardwebhooks::Webhook::new(secret)
        .unwrap()
        .verify(body, headers)
        .is_ok();
    let first = svix1::webhooks::Webhook::new(secret)
        .unwrap()
        .verify(body, headers)
        .is_ok();
    let second = svix2::webhooks::Webhook::new(secret)
        .unwrap()
        .verify(body, headers)
        .is_ok();
    assert_eq!((standard, first), (first, second), "the verifiers agree");
    standard
}

#[tokio::test]
async fn the_official_verifiers_accept_a_delivery() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let other = tenant.endpoint(&receiver.url_of("/other")).await;
    let (secret, foreign) = (tenant.secret(&endpoint).await, tenant.secret(&other).await);
    let message = tenant.send(json!({"text": "Zoë ☃"})).await;

    let got = receiver.wait_for(2).await;
    let request = got.iter().find(|one| one.path == "/hook").unwrap();
    assert!(verifies(request, &secret));
    assert!(!verifies(request, &foreign), "not with another's secret");
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.message_id(), message);
    for name in ["id", "timestamp", "signature"] {
        let (standard, svix) = (format!("webhook-{name}"), format!("svix-{name}"));
        assert_eq!(request.header(&standard), request.header(&svix));
    }
    let tampered = Received {
        body: Bytes::from(request.body.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()),
        ..request.clone()
    };
    let standard = standardwebhooks::Webhook::new(&secret).unwrap();
    assert!(standard.verify(&tampered.body, &tampered.headers).is_err());
}

#[tokio::test]
async fn untouched_payloads_arrive_as_the_bytes_that_were_sent() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let secret = tenant.secret(&endpoint).await;
    // What a parser and printer of JSON would change: order, space, numbers, escapes, doubled keys.
    let payload = "{ \"b\" : 1.0 ,\n\t\"a\":1e2, \"\\u0061b\": \"\\/\", \"big\":12345678901234567890123, \"a\":null }";
    let body = format!("{{\"eventType\":\"odd\",\"payload\":{payload}}}");
    let headers = [("content-type", "application/json")];
    let reply = tenant
        .client
        .raw(
            Method::POST,
            &tenant.path("/msg"),
            &headers,
            Some(body.into()),
        )
        .await
        .expect(202);
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].message_id(), reply.text("id"));
    assert_eq!(got[0].body, payload.as_bytes());
    assert!(verifies(&got[0], &secret));
}

#[tokio::test]
async fn static_headers_go_along_and_can_not_forge() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let path = tenant.path(&format!("/endpoint/{endpoint}/headers"));
    let headers = json!({"headers": {"x-tenant": "one", "authorization": "Bearer s3cret"}});
    tenant.client.put(&path, headers).await.expect(204);
    for forged in ["webhook-signature", "svix-id", "Host", "content-length"] {
        let headers = json!({"headers": {forged: "x"}});
        tenant.client.put(&path, headers).await.expect(422);
    }
    tenant.send(json!({})).await;
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].header("x-tenant"), "one");
    assert_eq!(got[0].header("authorization"), "Bearer s3cret");
    assert!(!gateway.log().contains("s3cret"));
}

#[tokio::test]
async fn rotation_overlaps_for_its_grace_period() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let old = tenant.secret(&endpoint).await;
    let rotate = tenant.path(&format!("/endpoint/{endpoint}/secret/rotate"));
    let body = json!({"gracePeriodSeconds": 3});
    let new = tenant
        .client
        .post(&rotate, body)
        .await
        .expect(200)
        .text("key");
    assert_ne!(new, old);

    tenant.send(json!({"n": 0})).await;
    let first = &receiver.wait_for(1).await[0];
    assert!(
        verifies(first, &old) && verifies(first, &new),
        "both in the overlap"
    );
    assert_eq!(first.header("webhook-signature").split(' ').count(), 2);

    // The end of the grace period is not announced; the next deliveries show it.
    eventually("the old secret's end", async || {
        let sent = receiver.count();
        tenant.send(json!({"n": sent})).await;
        let last = receiver.wait_for(sent + 1).await.pop().unwrap();
        assert!(verifies(&last, &new), "the new one is always good");
        match last.header("webhook-signature").split(' ').count() {
            1 if !verifies(&last, &old) => Ok(()),
            count => Err(format!("{count} signatures")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_old_secret_at_once() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let old = tenant.secret(&endpoint).await;
    let ours = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let rotate = tenant.path(&format!("/endpoint/{endpoint}/secret/rotate"));
    let body = json!({"key": ours, "gracePeriodSeconds": 0});
    assert_eq!(
        tenant
            .client
            .post(&rotate, body)
            .await
            .expect(200)
            .text("key"),
        ours
    );
    tenant.send(json!({})).await;
    let got = receiver.wait_for(1).await;
    assert!(verifies(&got[0], ours) && !verifies(&got[0], &old));
}

#[tokio::test]
async fn a_retry_repeats_the_bytes_under_a_fresh_signature() {
    // Over a second apart, because the signed timestamp counts in seconds.
    let gateway = Gateway::builder()
        .retry_schedule("1500ms,1500ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(503).times(2).then(200).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let secret = tenant.secret(&endpoint).await;
    let message = tenant.send(json!({"n": 1.50})).await;
    let got = receiver.wait_for(3).await;
    for request in &got {
        assert!(verifies(request, &secret));
        assert_eq!(request.message_id(), message);
        assert_eq!(request.body, got[0].body);
    }
    for pair in got.windows(2) {
        for fresh in ["webhook-timestamp", "webhook-signature"] {
            assert_ne!(pair[0].header(fresh), pair[1].header(fresh));
        }
    }
    let attempts = tenant.attempts(&message, 3).await;
    let codes: Vec<_> = attempts
        .iter()
        .map(|one| &one["responseStatusCode"])
        .collect();
    assert_eq!(codes, [200, 503, 503], "the newest first");
}
