//! Retry policies of endpoints.

use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::{Value, json};

#[tokio::test]
async fn an_endpoint_follows_its_own_policy() {
    // The gateway's would end after one try.
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    for (policy, tries) in [
        (json!("20ms,20ms"), 3),
        (json!({"delays": ["20ms"]}), 2),
        (
            json!({"exponential": {"first": "10ms", "factor": 2, "cap": "30ms", "retries": 4}}),
            5,
        ),
        (Value::Null, 1),
    ] {
        let receiver = Receiver::start().answer(500).await;
        let endpoint = json!({"url": receiver.url(), "retryPolicy": policy});
        let endpoint = tenant.endpoint_with(endpoint).await;
        let message = tenant.send(json!({})).await;
        tenant.settled(&message, &endpoint, "fail").await;
        assert_eq!(receiver.count(), tries, "{policy}");
        tenant
            .client
            .delete(&tenant.path(&format!("/endpoint/{endpoint}")))
            .await
            .expect(204);
    }
}

#[tokio::test]
async fn a_changed_policy_holds_from_the_next_failure_on() {
    let gateway = Gateway::builder().retry_schedule("100ms").start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let policy = json!({"retryPolicy": "20ms,20ms,20ms,20ms"});
    let shown = tenant.patch_endpoint(&endpoint, policy).await;
    let delays = json!({"delays": ["20ms", "20ms", "20ms", "20ms"], "maxAge": null});
    assert_eq!(shown["retryPolicy"], delays);
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(receiver.count(), 5);
    let policy = json!({"retryPolicy": null});
    let shown = tenant.patch_endpoint(&endpoint, policy).await;
    assert_eq!(shown["retryPolicy"], Value::Null);
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(receiver.count(), 7);
}

#[tokio::test]
async fn a_maximum_age_ends_a_delivery_before_its_schedule_does() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    // The second retry would come after an hour.
    let policy = json!({"delays": ["10ms", "1h"], "maxAge": "30m"});
    let endpoint = json!({"url": receiver.url(), "retryPolicy": policy});
    let endpoint = tenant.endpoint_with(endpoint).await;
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(receiver.count(), 2);
}

#[tokio::test]
async fn what_waited_too_long_fails_without_being_sent() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = json!({"url": receiver.url(), "retryPolicy": {"delays": [], "maxAge": "1ms"}});
    let endpoint = tenant.endpoint_with(endpoint).await;
    let path = |verb: &str| tenant.path(&format!("/endpoint/{endpoint}/{verb}"));
    let client = &tenant.client;
    client.post(&path("pause"), json!({})).await.expect(200);
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "pending").await;
    client.post(&path("resume"), json!({})).await.expect(200);
    tenant.settled(&message, &endpoint, "fail").await;
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    let why = attempt["response"].as_str().unwrap();
    assert!(why.contains("maximum age of 1ms"), "{why}");
    assert_eq!(receiver.count(), 0);
    // Who asks for it by hand knows its age.
    let resend = tenant.path(&format!("/msg/{message}/endpoint/{endpoint}/resend"));
    client.post(&resend, json!({})).await.expect(202);
    tenant.settled(&message, &endpoint, "success").await;
}

#[tokio::test]
async fn a_policy_that_can_not_be_is_told_where_it_is_wrong() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    for (policy, place, word) in [
        (json!("sviks"), vec!["retryPolicy"], "preset"),
        (json!(7), vec!["retryPolicy"], "retry policy"),
        (json!({}), vec!["retryPolicy"], "one of"),
        (
            json!({"delays": ["5s", "5 minutes"]}),
            vec!["retryPolicy", "delays", "1"],
            "5 minutes",
        ),
        (
            json!({"exponential": {"first": "5s", "factor": 2, "cap": "1h", "retries": -1}}),
            vec!["retryPolicy", "exponential", "retries"],
            "-1",
        ),
        (
            json!({"preset": "svix", "maxAge": "0s"}),
            vec!["retryPolicy"],
            "maximum age",
        ),
    ] {
        let body = json!({"url": "https://example.com/", "retryPolicy": policy});
        let reply = tenant.client.post(&tenant.path("/endpoint"), body).await;
        let fault = reply.expect(422).json()["detail"][0].clone();
        let loc = [vec!["body"], place].concat();
        assert_eq!(fault["loc"], json!(loc), "{policy}: {fault}");
        assert!(fault["msg"].as_str().unwrap().contains(word), "{fault}");
    }
}

#[tokio::test]
async fn the_command_line_takes_every_form() {
    for schedule in [
        "svix",
        "standard-webhooks;max-age=3d",
        "exponential:first=5s,factor=1.5,cap=12h,retries=20;max-age=2d",
    ] {
        let gateway = Gateway::builder().retry_schedule(schedule).start().await;
        drop(gateway);
    }
    let refusal = Gateway::builder().retry_schedule("sviks").refuse().await;
    assert_eq!(refusal.code, Some(2));
    assert!(
        refusal.message.contains("standard-webhooks"),
        "{}",
        refusal.message
    );
}
