//! Chains between a message and its receiver.

use super::rig::{Receiver, Rig, Setup};
use crate::domain::{AttemptStatus, DeliveryState};
use crate::store::records::ChainOwner;

#[tokio::test]
async fn both_chains_shape_the_delivery() {
    let rig = Rig::start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.chain(ChainOwner::Application(rig.app.id), &["append"])
        .await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["append", "add-header"])
        .await;
    let message = rig.submit("x").await;
    let request = receiver.next().await;
    assert!(request.body.starts_with(b"x") && request.body.len() > 2);
    assert_eq!(request.header("x-plugin"), "was here");
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    let attempts = rig.attempts(&message).await;
    assert_eq!(attempts[0].plugins.len(), 3);
    rig.stop().await;
}

#[tokio::test]
async fn a_drop_cancels_and_a_rejection_fails() {
    let rig = Setup::default().retry("1h").start().await;
    let receiver = Receiver::start().await;
    let dropping = rig.endpoint(&receiver.url(), |_| {}).await;
    let rejecting = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.chain(ChainOwner::Endpoint(dropping.id), &["drop"])
        .await;
    rig.chain(ChainOwner::Endpoint(rejecting.id), &["reject"])
        .await;
    let message = rig.submit("x").await;
    for (endpoint, state, status, reason) in [
        (
            &dropping,
            DeliveryState::Canceled,
            AttemptStatus::Canceled,
            "not wanted",
        ),
        (
            &rejecting,
            DeliveryState::Failed,
            AttemptStatus::Fail,
            "malformed",
        ),
    ] {
        assert_eq!(rig.settled(&message, endpoint).await, state);
        let attempts = rig.attempts(&message).await;
        let attempt = attempts
            .iter()
            .find(|attempt| attempt.delivery.endpoint == endpoint.id)
            .unwrap();
        assert_eq!(attempt.status, status);
        assert_eq!(attempt.response, reason);
    }
    assert!(receiver.unseen().await.is_none());
    rig.stop().await;
}

#[tokio::test]
async fn retries_send_identical_bytes_though_the_chain_changed_and_a_resend_runs_the_new_one() {
    let rig = Setup::default().retry("100ms,1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["append"])
        .await;
    let message = rig.submit("x").await;
    let first = receiver.next().await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["add-header"])
        .await;
    let second = receiver.next().await;
    assert_eq!(second.body, first.body);
    assert!(!second.headers.contains_key("x-plugin"));
    rig.row_that(&message, &endpoint, |row| row.tries == 2)
        .await;
    rig.deliveries.resend(&message, endpoint.id).await.unwrap();
    let by_hand = receiver.next().await;
    assert_eq!(by_hand.body, "x");
    assert_eq!(by_hand.header("x-plugin"), "was here");
    rig.settled(&message, &endpoint).await;
    let attempts = rig.attempts(&message).await;
    assert!(
        attempts.iter().all(|attempt| attempt.plugins.len() == 1),
        "each names what shaped it"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_mended_plugin_heals_its_backlog() {
    let rig = Setup::default().retry("1h,1h").start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["error"])
        .await;
    let mut broken = Vec::new();
    for n in 0..20 {
        broken.push(rig.submit(n.to_string()).await);
    }
    for message in &broken {
        rig.row_that(message, &endpoint, |row| row.tries == 1).await;
    }
    assert!(receiver.unseen().await.is_none());
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["pass"])
        .await;
    for message in &broken {
        assert_eq!(
            rig.settled(message, &endpoint).await,
            DeliveryState::Success
        );
    }
    rig.stop().await;
}

#[tokio::test]
async fn healing_leaves_a_failing_receivers_schedule_alone() {
    let rig = Setup::default().retry("1h,1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let waits = rig.submit("1").await;
    let row = rig.row_that(&waits, &endpoint, |row| row.tries == 1).await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["error"])
        .await;
    let broken = rig.submit("2").await;
    rig.row_that(&broken, &endpoint, |row| row.tries == 1).await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["pass"])
        .await;
    assert_eq!(
        rig.settled(&broken, &endpoint).await,
        DeliveryState::Success
    );
    assert_eq!(rig.row(&waits, &endpoint).await, Some(row));
    rig.stop().await;
}
