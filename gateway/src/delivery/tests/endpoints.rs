//! What delivering and its users change about endpoints.

use super::rig::{Receiver, Rig, Setup};
use crate::domain::{DeliveryState, Endpoint};
use crate::store::records;

#[tokio::test]
async fn gone_disables_the_endpoint_and_fails_what_waits() {
    let rig = Setup::default().retry("1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500).then(410);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let waits = rig.submit("1").await;
    rig.row_that(&waits, &endpoint, |row| row.tries == 1).await;
    let gone = rig.submit("2").await;
    assert_eq!(rig.settled(&gone, &endpoint).await, DeliveryState::Failed);
    assert_eq!(rig.settled(&waits, &endpoint).await, DeliveryState::Failed);
    let disabled = rig.read_endpoint(endpoint.id).await;
    assert!(disabled.disabled);
    assert!(disabled.disabled_reason.unwrap().contains("410"));
    let unseen = rig.submit("3").await;
    rig.stop().await;
    receiver.next().await;
    receiver.next().await;
    assert!(receiver.unseen().await.is_none());
    drop(unseen);
}

#[tokio::test]
async fn a_late_410_of_an_old_url_does_not_disable_a_corrected_endpoint() {
    let rig = Rig::start().await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    old.hold();
    old.then(410);
    let endpoint = rig.endpoint(&old.url(), |_| {}).await;
    let gone = rig.submit("1").await;
    old.next().await;
    rig.change_endpoint(endpoint.id, |e| e.url = new.url())
        .await;
    old.release();
    assert_eq!(rig.settled(&gone, &endpoint).await, DeliveryState::Failed);
    let next = rig.submit("2").await;
    assert_eq!(rig.settled(&next, &endpoint).await, DeliveryState::Success);
    assert!(!rig.read_endpoint(endpoint.id).await.disabled);
    rig.stop().await;
}

#[tokio::test]
async fn disabling_fails_what_waits_and_enabling_goes_on() {
    let rig = Setup::default().retry("1h").start().await;
    let receiver = Receiver::start().await;
    receiver.then(500);
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let waits = rig.submit("1").await;
    rig.row_that(&waits, &endpoint, |row| row.tries == 1).await;
    rig.change_endpoint(endpoint.id, |e| e.disabled = true)
        .await;
    assert_eq!(rig.settled(&waits, &endpoint).await, DeliveryState::Failed);
    rig.change_endpoint(endpoint.id, |e| e.disabled = false)
        .await;
    let next = rig.submit("2").await;
    assert_eq!(rig.settled(&next, &endpoint).await, DeliveryState::Success);
    rig.stop().await;
}

#[tokio::test]
async fn a_deleted_endpoint_cancels_what_is_in_its_window() {
    let mut setup = Setup::default();
    setup.delivery.in_flight.endpoint_start = 1;
    setup.delivery.in_flight.endpoint_max = 1;
    let rig = setup.start().await;
    let (receiver, neighbour) = (Receiver::start().await, Receiver::start().await);
    receiver.hold();
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    rig.endpoint(&neighbour.url(), |_| {}).await;
    let under_way = rig.submit("1").await;
    receiver.next().await;
    let waits = rig.submit("2").await;
    rig.submit("3").await;
    for _ in 1..=3 {
        // With its third message, the second is in every lane.
        neighbour.next().await;
    }
    let removal = records::remove::<Endpoint>(endpoint.id);
    rig.store.commit(vec![removal], None).await.unwrap();
    assert_eq!(
        rig.settled(&waits, &endpoint).await,
        DeliveryState::Canceled
    );
    receiver.release();
    assert_eq!(
        rig.settled(&under_way, &endpoint).await,
        DeliveryState::Success
    );
    rig.stop().await;
}

#[tokio::test]
async fn a_changed_url_is_used_at_once() {
    let rig = Rig::start().await;
    let (old, new) = (Receiver::start().await, Receiver::start().await);
    let endpoint = rig.endpoint(&old.url(), |_| {}).await;
    rig.submit("1").await;
    assert_eq!(old.next().await.body, "1");
    rig.change_endpoint(endpoint.id, |e| e.url = new.url())
        .await;
    rig.submit("2").await;
    assert_eq!(new.next().await.body, "2");
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_url_and_a_missing_secret_fail_the_attempt_with_a_reason() {
    let rig = Setup::default().retry("").start().await;
    let refused = rig.endpoint("http://10.0.0.1/hook", |_| {}).await;
    let receiver = Receiver::start().await;
    let unsigned = rig.endpoint(&receiver.url(), |e| e.secrets.clear()).await;
    let message = rig.submit("{}").await;
    for endpoint in [&refused, &unsigned] {
        assert_eq!(rig.settled(&message, endpoint).await, DeliveryState::Failed);
    }
    let attempts = rig.attempts(&message).await;
    let reason_of = |endpoint: &Endpoint| {
        let attempt = attempts
            .iter()
            .find(|attempt| attempt.delivery.endpoint == endpoint.id);
        attempt.unwrap().response.clone()
    };
    assert!(reason_of(&refused).contains("--allow-subnet"));
    assert!(reason_of(&unsigned).contains("no signing secret"));
    assert!(receiver.unseen().await.is_none(), "nothing leaves unsigned");
    rig.stop().await;
}
