//! What a gateway finds when it starts where another one ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;

use super::faulty::over_faulty_store;
use super::rig::{Receiver, Rig, Setup};
use crate::domain::{
    DeliveryKey, DeliveryRow, DeliveryState, Endpoint, ManualClock, PauseState, Timestamp, Trigger,
};

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
async fn lanes_are_taken_over_in_time_though_the_clock_went_back_an_hour() {
    let mut setup = Setup::default();
    setup.delivery.lease_ttl_ms = 50;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.submit("{}").await;
    // It has the lanes.
    receiver.next().await;
    let an_hour_ago = rig.clock.now().millis() - 3_600_000;
    let left = rig.kill().await;
    let behind = ManualClock::at(Timestamp::from_millis(an_hour_ago));
    let later = Setup {
        clock: Some(Arc::new(behind)),
        ..left.again()
    };
    let rig = later.start().await;
    let message = rig.submit("{}").await;
    let settled = rig.settled(&message, &endpoint).await;
    assert_eq!(settled, DeliveryState::Success);
    rig.stop().await;
}

#[tokio::test]
async fn a_resend_asked_of_a_gateway_that_waits_for_the_lanes_goes_by_what_is_true_once_it_has_them()
 {
    let rig = Setup::default().retry("1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(200).then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |row| row.tries == 1)
        .await;
    let mut waits = Setup {
        store: Some(Arc::clone(&rig.store)),
        app: Some(rig.app.clone()),
        ..Setup::default().retry("1h")
    };
    waits.delivery.lease_ttl_ms = 50;
    let waiting = waits.start().await;
    let mut asked = Box::pin(waiting.deliveries.resend(&message, endpoint.id));
    assert!(asked.as_mut().now_or_never().is_none());
    // Who has them delivers it meanwhile.
    rig.deliveries.resend(&message, endpoint.id).await.unwrap();
    let settled = rig.settled(&message, &endpoint).await;
    assert_eq!(settled, DeliveryState::Success);
    rig.stop().await;
    asked.await.unwrap();
    // It has failed, and does not go back to a schedule that had ended.
    let is_again = |row: &DeliveryRow| row.state != DeliveryState::Success && !by_hand(row);
    let row = waiting.row_that(&message, &endpoint, is_again).await;
    assert_eq!(row.state, DeliveryState::Failed);
    waiting.stop().await;
}

fn by_hand(row: &DeliveryRow) -> bool {
    let DeliveryState::Parked { trigger, .. } = row.state else {
        return false;
    };
    trigger == Trigger::Manual
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

#[tokio::test]
async fn a_store_that_can_not_be_read_at_start_delays_parked_deliveries_only() {
    let (store, setup) = over_faulty_store();
    let rig = setup.retry("150ms,1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |row| row.tries == 1)
        .await;
    let left = rig.stop().await;
    store.failures.store(2, Ordering::SeqCst);
    let rig = left.again().start().await;
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_lane_learns_of_a_change_that_could_not_be_read_at_once() {
    let (store, setup) = over_faulty_store();
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    let paused = |e: &mut Endpoint| e.pause = PauseState::Paused;
    let endpoint = rig.endpoint(&receiver.url(), paused).await;
    let message = rig.submit("{}").await;
    rig.row_that(&message, &endpoint, |_| true).await;
    store.failures.store(1, Ordering::SeqCst);
    rig.change_endpoint(endpoint.id, |e| e.pause = PauseState::Running)
        .await;
    assert_eq!(
        rig.settled(&message, &endpoint).await,
        DeliveryState::Success
    );
    rig.stop().await;
}

#[tokio::test]
async fn shutdown_writes_more_rows_than_its_queues_hold() {
    let (store, mut setup) = over_faulty_store();
    setup.delivery.record_queue = 1;
    setup.delivery.record_batch = 1;
    setup.delivery.lane_queue = 1;
    let rig = setup.start().await;
    let (slow, neighbour) = (Receiver::start().await, Receiver::start().await);
    let endpoint = rig
        .endpoint(&slow.url(), |e| e.throttle_rate = Some(1))
        .await;
    let quick = rig.endpoint(&neighbour.url(), |_| {}).await;
    let mut messages = Vec::new();
    for n in 0..10 {
        messages.push(rig.submit(n.to_string()).await);
    }
    for message in &messages {
        rig.settled(message, &quick).await;
    }
    rig.settled(&messages[0], &endpoint).await;
    // What has begun until now is not what is waited for.
    store.recording.notify_one();
    store.recording.notified().await;
    store.hold();
    rig.change_endpoint(endpoint.id, |e| e.disabled = true)
        .await;
    store.recording.notified().await;
    let stopping = tokio::spawn(rig.stop());
    // On this one thread, the lanes come to their end before the store goes on.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    store.resume();
    let left = stopping.await.unwrap();
    for message in &messages {
        let key = DeliveryKey {
            endpoint: endpoint.id,
            message: message.seq,
        };
        assert!(left.store.delivery(key).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_store_that_fails_for_longer_than_a_lease_costs_neither_lanes_nor_outcomes() {
    let (store, mut setup) = over_faulty_store();
    setup.delivery.lease_ttl_ms = 15;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    receiver.hold();
    let under_way = rig.submit("{}").await;
    receiver.next().await;
    store.set_broken(true);
    receiver.release();
    assert!(rig.try_submit(rig.submission("{}")).await.is_err());
    // Three renewals make a lease's life.
    for _ in 0..10 {
        store.not_renewed.notified().await;
    }
    assert!(rig.row(&under_way, &endpoint).await.is_none());
    store.set_broken(false);
    let after = rig.submit("{}").await;
    for message in [&under_way, &after] {
        assert_eq!(
            rig.settled(message, &endpoint).await,
            DeliveryState::Success
        );
    }
    rig.stop().await;
    receiver.next().await;
    assert!(receiver.unseen().await.is_none(), "nothing is sent again");
}
