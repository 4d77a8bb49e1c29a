//! Chains between a message and its receiver.

use super::rig::{Receiver, Rig, Setup};
use crate::domain::{AttemptStatus, DeliveryState, Endpoint, Message};
use crate::store::Stored;
use crate::store::records::{ChainOwner, ChainRecord, SuspensionRecord};

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

/// The record of what is suspended at an endpoint.
async fn suspended(rig: &Rig, endpoint: &Endpoint) -> Option<Stored<SuspensionRecord>> {
    let record = rig.store.get::<SuspensionRecord>(endpoint.id).await;
    record.unwrap()
}

/// Calls that the first plugin of the endpoint's chain had.
async fn calls(rig: &Rig, endpoint: &Endpoint) -> u64 {
    let chain = rig.store.get::<ChainRecord>(endpoint.id).await;
    let entry = chain.unwrap().unwrap().value.chain.entries.remove(0);
    let figures = rig.deliveries.plugin_figures(entry.plugin, entry.version);
    figures.outcomes.iter().map(|(_, count)| count).sum()
}

/// Submits, and waits for the first try of it.
async fn tried(rig: &Rig, endpoint: &Endpoint) -> Message {
    let message = rig.submit("x").await;
    rig.row_that(&message, endpoint, |row| row.tries == 1).await;
    message
}

async fn failing_three_times(rig: &Rig, endpoint: &Endpoint) {
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["error"])
        .await;
    for _ in 0..3 {
        assert!(suspended(rig, endpoint).await.is_none());
        tried(rig, endpoint).await;
    }
}

fn suspending_after(failures: u32) -> Setup {
    let mut setup = Setup::default().retry("1h,1h,1h");
    setup.delivery.suspend_plugin_after = failures;
    setup
}

#[tokio::test]
async fn a_plugin_that_fails_over_and_over_is_called_again_only_when_it_is_resumed() {
    let rig = suspending_after(3).start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    failing_three_times(&rig, &endpoint).await;
    let record = suspended(&rig, &endpoint).await.unwrap();
    let one = &record.value.suspended[0];
    assert_eq!((one.failures, one.position, one.revision), (3, 0, 1));
    assert_eq!(one.reason, "the plugin says no");
    let waits = tried(&rig, &endpoint).await;
    let attempt = rig.attempts(&waits).await.remove(0);
    assert!(attempt.response.contains("suspended"), "{attempt:?}");
    assert_eq!(attempt.status, AttemptStatus::Fail);
    assert_eq!(attempt.plugins[0].outcome, "suspended");
    assert_eq!(calls(&rig, &endpoint).await, 3);

    let mut none = record.value.clone();
    none.suspended.clear();
    let resume = record.update(&none).unwrap();
    rig.store.commit(vec![resume], None).await.unwrap();
    rig.deliveries
        .plugins_resumed(rig.app.id, Some(endpoint.id));
    rig.row_that(&waits, &endpoint, |row| row.tries == 2).await;
    let attempts = rig.attempts(&waits).await;
    let said = attempts.iter().map(|attempt| attempt.response.as_str());
    assert!(said.collect::<Vec<_>>().contains(&"the plugin says no"));
    assert_eq!(
        calls(&rig, &endpoint).await,
        4,
        "the others' failures are kept"
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_change_of_the_chain_gives_its_plugins_another_chance() {
    let rig = suspending_after(3).start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    failing_three_times(&rig, &endpoint).await;
    let waits = tried(&rig, &endpoint).await;
    rig.chain(ChainOwner::Endpoint(endpoint.id), &["pass"])
        .await;
    assert_eq!(rig.settled(&waits, &endpoint).await, DeliveryState::Success);
    rig.stop().await;
}
