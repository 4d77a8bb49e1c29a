//! What a gateway finds when it starts where another one ended.

use super::rig::{Receiver, Rig, Setup};
use crate::domain::DeliveryState;

#[tokio::test]
async fn what_was_under_way_is_delivered_after_a_kill() {
    let mut setup = Setup::default();
    // A killed gateway gives nothing back; the next one waits for its lease to lapse.
    setup.delivery.lease_ttl_ms = 50;
    let rig = setup.start().await;
    let (held, quick) = (Receiver::start().await, Receiver::start().await);
    held.hold();
    let slow_endpoint = rig.endpoint(&held.url(), |_| {}).await;
    let endpoint = rig.endpoint(&quick.url(), |_| {}).await;
    let mut messages = Vec::new();
    for n in 0..30 {
        messages.push(rig.submit(n.to_string()).await);
        quick.next().await;
    }
    for message in &messages {
        rig.settled(message, &endpoint).await;
    }
    let left = rig.kill().await;
    held.release();
    let rig = left.again().start().await;
    for message in &messages {
        assert_eq!(
            rig.settled(message, &slow_endpoint).await,
            DeliveryState::Success
        );
    }
    rig.stop().await;
    assert!(
        quick.unseen().await.is_none(),
        "what is settled stays settled"
    );
}

#[tokio::test]
async fn parked_deliveries_go_on_after_a_start() {
    let rig = Setup::default().retry("150ms,1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |row| row.tries == 1)
        .await;
    let left = rig.stop().await;
    let rig = left.again().start().await;
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    rig.stop().await;
}

#[tokio::test]
async fn shutdown_waits_for_what_is_under_way() {
    let rig = Rig::start().await;
    let receiver = Receiver::start().await;
    receiver.hold();
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    receiver.next().await;
    let stopping = tokio::spawn(rig.stop());
    receiver.release();
    let left = stopping.await.unwrap();
    let rig = left.again().start().await;
    assert_eq!(rig.state(&message, &endpoint).await, DeliveryState::Success);
    rig.stop().await;
    assert!(receiver.unseen().await.is_none());
}
