//! Accepted, delivered, retried, settled.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faulty::over_faulty_store;
use super::rig::{Receiver, Rig, SECRET, Setup, eventually, seal};
use crate::domain::{AttemptStatus, DeliveryState, Endpoint, PauseState, Trigger, Uid};
use crate::store::Store as _;

#[tokio::test]
async fn an_event_reaches_every_endpoint_that_wants_it() {
    let rig = Rig::start().await;
    let (first, second, other) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    let wants = |name: &str| Some(vec![Uid::parse(name).unwrap()]);
    let all = rig.endpoint(&first.url(), |_| {}).await;
    let some = rig
        .endpoint(&second.url(), |e| e.event_types = wants("invoice.paid"))
        .await;
    let none = rig
        .endpoint(&other.url(), |e| e.event_types = wants("user.created"))
        .await;
    let message = rig.submit(r#"{"n": 1 }"#).await;
    for receiver in [&first, &second] {
        let request = receiver.next().await;
        assert_eq!(request.body, r#"{"n": 1 }"#, "bytes are never rewritten");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("webhook-id"), message.id.to_string());
        assert_eq!(request.header("svix-id"), message.id.to_string());
        let verified = standardwebhooks::Webhook::new(SECRET)
            .unwrap()
            .verify(&request.body, &request.headers);
        assert!(verified.is_ok(), "{verified:?}");
    }
    for endpoint in [&all, &some] {
        assert_eq!(
            rig.settled(&message, endpoint).await,
            DeliveryState::Success
        );
    }
    assert_eq!(rig.row(&message, &none).await, None);
    assert!(other.unseen().await.is_none());
    let attempts = rig.attempts(&message).await;
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|attempt| {
        attempt.status == AttemptStatus::Success
            && attempt.response_code == Some(200)
            && attempt.response == "seen"
            && attempt.message == message.id
            && attempt.trigger == Trigger::Scheduled
    }));
    let text = rig.metrics_text();
    assert!(
        text.contains("hookmill_deliveries_total{outcome=\"success\"} 2"),
        "{text}"
    );
    rig.stop().await;
}

#[tokio::test]
async fn an_event_that_nobody_wants_leaves_the_outbox() {
    let rig = Rig::start().await;
    rig.submit("{}").await;
    let receiver = Receiver::start().await;
    rig.endpoint(&receiver.url(), |_| {}).await;
    let wanted = rig.submit("{}").await;
    assert_eq!(
        receiver.next().await.header("webhook-id"),
        wanted.id.to_string(),
        "an endpoint gets what came after it"
    );
    let rig = rig.stop().await.again().start().await;
    let last = rig.submit("{}").await;
    assert_eq!(
        receiver.next().await.header("webhook-id"),
        last.id.to_string(),
        "nothing is left of the first"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_failed_delivery_is_retried_with_the_same_bytes_and_a_fresh_signature() {
    let rig = Setup::default().retry("20ms,20ms").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(404);
    let endpoint = rig
        .endpoint(&receiver.url(), |e| {
            e.headers = Some(seal(r#"{"authorization":"Bearer t"}"#));
        })
        .await;
    let message = rig.submit("[1,2]").await;
    let tries = [
        receiver.next().await,
        receiver.next().await,
        receiver.next().await,
    ];
    for request in &tries {
        assert_eq!(request.body, "[1,2]");
        assert_eq!(request.header("webhook-id"), message.id.to_string());
        assert_eq!(request.header("authorization"), "Bearer t");
    }
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    let codes: Vec<_> = rig
        .attempts(&message)
        .await
        .iter()
        .map(|attempt| (attempt.response_code, attempt.status))
        .collect();
    let expected = [
        (Some(500), AttemptStatus::Fail),
        (Some(404), AttemptStatus::Fail),
        (Some(200), AttemptStatus::Success),
    ];
    assert_eq!(codes, expected);
    assert_eq!(rig.row(&message, &endpoint).await.unwrap().tries, 3);
    rig.stop().await;
}

#[tokio::test]
async fn a_used_up_schedule_fails_for_good() {
    let rig = Setup::default().retry("5ms").start().await;
    let receiver = Receiver::start().await;
    receiver.always(503);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Failed
    );
    assert_eq!(rig.attempts(&message).await.len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_receiver_can_stop_the_retries_of_one_message() {
    let rig = Setup::default().retry("5ms,5ms").start().await;
    let receiver = Receiver::start().await;
    receiver.then_with(500, "webhook-delivery", "abort-message");
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let (stopped, next) = (rig.submit("1").await, rig.submit("2").await);
    assert_eq!(rig.settled(&next, &endpoint).await, DeliveryState::Success);
    assert_eq!(
        rig.settled(&stopped, &endpoint).await,
        DeliveryState::Failed
    );
    assert_eq!(rig.attempts(&stopped).await.len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let rig = Setup::default().retry("5ms").start().await;
    let receiver = Receiver::start().await;
    receiver.then_with(503, "retry-after", "3600");
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    let row = rig.row_that(&message, &endpoint, |_| true).await;
    let DeliveryState::Parked { due, .. } = row.state else {
        panic!("{row:?}")
    };
    assert!(due.since(rig.clock.now()) > Duration::from_secs(3500));
    rig.stop().await;
}

#[tokio::test]
async fn deliver_at_waits() {
    let rig = Rig::start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let mut later = rig.submission("later");
    later.deliver_at = Some(rig.clock.now().after(Duration::from_millis(80)));
    let due = later.deliver_at;
    let later = rig.try_submit(later).await.unwrap();
    rig.submit("now").await;
    assert_eq!(receiver.next().await.body, "now");
    assert_eq!(receiver.next().await.body, "later");
    assert!(Some(rig.clock.now()) >= due);
    assert_eq!(rig.settled(&later, &endpoint).await, DeliveryState::Success);
    rig.stop().await;
}

#[tokio::test]
async fn more_than_a_window_waits_in_the_store_and_arrives() {
    let mut setup = Setup::default();
    setup.delivery.lane_window = 4;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    receiver.hold();
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let mut messages = Vec::new();
    for n in 0..100 {
        messages.push(rig.submit(n.to_string()).await);
    }
    let parked = async || {
        let row = rig.row(messages.last()?, &endpoint).await?;
        matches!(row.state, DeliveryState::Parked { .. }).then_some(())
    };
    eventually(parked).await;
    receiver.release();
    let mut bodies = Vec::new();
    for _ in 0..100 {
        bodies.push(receiver.next().await.body);
    }
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 100, "each once");
    for message in &messages {
        assert_eq!(
            rig.settled(message, &endpoint).await,
            DeliveryState::Success
        );
    }
    rig.stop().await;
    assert!(receiver.unseen().await.is_none());
}

#[tokio::test]
async fn a_paused_endpoint_keeps_its_queue() {
    let rig = Rig::start().await;
    let receiver = Receiver::start().await;
    let paused = |e: &mut Endpoint| e.pause = PauseState::Paused;
    let endpoint = rig.endpoint(&receiver.url(), paused).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |row| !row.state.is_settled())
        .await;
    assert!(receiver.unseen().await.is_none());
    rig.change_endpoint(endpoint.id, |e| e.pause = PauseState::Running)
        .await;
    receiver.next().await;
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_slow_neighbour_holds_nobody_up() {
    let rig = Rig::start().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.hold();
    rig.endpoint(&slow.url(), |_| {}).await;
    rig.endpoint(&quick.url(), |_| {}).await;
    for n in 0..200 {
        rig.submit(n.to_string()).await;
    }
    for _ in 0..200 {
        quick.next().await;
    }
    slow.release();
    for _ in 0..200 {
        slow.next().await;
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_resend_is_one_more_try() {
    let rig = Setup::default().retry("1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(200).then(500).then(500).then(500).then(200);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let done = rig.submit("done").await;
    assert_eq!(rig.settled(&done, &endpoint).await, DeliveryState::Success);
    receiver.next().await;

    rig.deliveries.resend(&done, endpoint.id).await.unwrap();
    assert_eq!(receiver.next().await.body, "done");
    let failed = |row: &crate::domain::DeliveryRow| row.state == DeliveryState::Failed;
    rig.row_that(&done, &endpoint, failed).await;

    let waiting = rig.submit("waiting").await;
    let row = rig
        .row_that(&waiting, &endpoint, |row| row.tries == 1)
        .await;
    receiver.next().await;
    rig.deliveries.resend(&waiting, endpoint.id).await.unwrap();
    receiver.next().await;
    let resumed = rig
        .row_that(&waiting, &endpoint, |new| new.state == row.state)
        .await;
    assert_eq!(resumed.tries, 1, "a try by hand does not count");
    rig.deliveries.resend(&waiting, endpoint.id).await.unwrap();
    assert_eq!(
        rig.settled(&waiting, &endpoint).await,
        DeliveryState::Success
    );
    let triggers: Vec<_> = rig
        .attempts(&waiting)
        .await
        .iter()
        .map(|attempt| attempt.trigger)
        .collect();
    assert_eq!(
        triggers,
        [Trigger::Scheduled, Trigger::Manual, Trigger::Manual]
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_resend_right_after_its_endpoint_was_enabled_is_made() {
    let (store, setup) = over_faulty_store();
    let rig = setup.retry("1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(200);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |row| row.tries == 1)
        .await;
    receiver.next().await;
    rig.change_endpoint(endpoint.id, |endpoint| endpoint.disabled = true)
        .await;
    // Its lane knows.
    let failed = rig.settled(&message, &endpoint).await;
    assert_eq!(failed, DeliveryState::Failed);
    let stored = rig.store.get::<Endpoint>(endpoint.id).await.unwrap();
    let write = stored.unwrap().update(&endpoint).unwrap();
    store.record_failures.store(1, Ordering::SeqCst);
    store.commit(vec![write], None).await.unwrap();
    // Who tells the lane could not read it, and tries again in a while.
    let was_read = || store.record_failures.load(Ordering::SeqCst) == 0;
    eventually(async || was_read().then_some(())).await;
    rig.deliveries.resend(&message, endpoint.id).await.unwrap();
    receiver.next().await;
    rig.row_that(&message, &endpoint, |row| {
        row.state == DeliveryState::Success
    })
    .await;
    rig.stop().await;
}
