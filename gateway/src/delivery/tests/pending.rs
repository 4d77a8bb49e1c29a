//! The count of unfinished deliveries against a recount of what the store says, while everything happens that
//! can happen to a delivery.

use std::time::{Duration, Instant};

use super::rig::{PATIENCE, Receiver, Rig, Setup, eventually};
use crate::domain::{Endpoint, Message, OrganizationId, PauseState, Timestamp};
use crate::ingest::IngestError;

/// How many deliveries of these messages to these endpoints have no end in the store.
async fn recount(rig: &Rig, messages: &[Message], endpoints: &[&Endpoint]) -> u64 {
    let mut pending = 0;
    for message in messages {
        for endpoint in endpoints {
            let row = rig.row(message, endpoint).await;
            pending += u64::from(row.is_none_or(|row| !row.state.is_settled()));
        }
    }
    pending
}

/// Waits until count and recount agree on this number.
async fn agree(rig: &Rig, messages: &[Message], endpoints: &[&Endpoint], expected: u64) {
    let start = Instant::now();
    loop {
        let counted = rig.deliveries.pending(rig.app.org);
        let found = recount(rig, messages, endpoints).await;
        if counted == expected && found == expected {
            return;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{counted} are counted, {found} found, {expected} expected"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn send(rig: &Rig, count: usize) -> Vec<Message> {
    let mut messages = Vec::new();
    for n in 0..count {
        messages.push(rig.submit(n.to_string()).await);
    }
    messages
}

#[tokio::test]
async fn the_count_agrees_with_a_recount_whatever_happens() {
    let mut setup = Setup::default().retry("1ms,2ms,1h");
    // Most of what waits is parked and read back.
    setup.delivery.lane_window = 4;
    let rig = setup.start().await;
    let (good, bad, held) = (
        Receiver::start().await,
        Receiver::start().await,
        Receiver::start().await,
    );
    bad.always(500);
    held.hold();
    let fine = rig.endpoint(&good.url(), |_| {}).await;
    let failing = rig.endpoint(&bad.url(), |_| {}).await;
    let silent = rig.endpoint(&held.url(), |_| {}).await;
    let paused = rig
        .endpoint(&good.url(), |endpoint| endpoint.pause = PauseState::Paused)
        .await;
    let mut messages = send(&rig, 50).await;
    let all = [&fine, &failing, &silent, &paused];
    // The good one has them all; the others wait for an hour, for an answer, for somebody to go on.
    agree(&rig, &messages, &all, 150).await;

    // One more try by hand: of what is settled, of what is parked, of what is under way; twice at once.
    for endpoint in [&fine, &failing, &silent, &paused] {
        for message in messages.iter().take(20) {
            let (one, two) = tokio::join!(
                rig.deliveries.resend(message, endpoint.id),
                rig.deliveries.resend(message, endpoint.id)
            );
            one.and(two).unwrap();
        }
    }
    messages.extend(send(&rig, 10).await);
    agree(&rig, &messages, &all, 180).await;

    held.release();
    agree(&rig, &messages, &all, 120).await;
    let resume = |endpoint: &mut Endpoint| endpoint.pause = PauseState::Running;
    rig.change_endpoint(paused.id, resume).await;
    agree(&rig, &messages, &all, 60).await;

    // Deleted, and disabled: nothing waits there any more.
    held.hold();
    messages.extend(send(&rig, 30).await);
    agree(&rig, &messages, &all, 120).await;
    rig.delete_endpoint(silent.id).await;
    let left = [&fine, &failing, &paused];
    agree(&rig, &messages, &left, 90).await;
    rig.change_endpoint(failing.id, |endpoint| endpoint.disabled = true)
        .await;
    agree(&rig, &messages, &left, 0).await;
    held.release();
    rig.stop().await;
}

#[tokio::test]
async fn the_count_is_made_anew_after_a_start_while_messages_come() {
    let mut setup = Setup::default().retry("1h");
    setup.delivery.lane_window = 4;
    setup.delivery.lease_ttl_ms = 50;
    let rig = setup.start().await;
    let (bad, held) = (Receiver::start().await, Receiver::start().await);
    bad.always(500);
    held.hold();
    let mut endpoints = Vec::new();
    for n in 0..20 {
        let url = if n % 2 == 0 { bad.url() } else { held.url() };
        endpoints.push(rig.endpoint(&url, |_| {}).await);
    }
    let all: Vec<&Endpoint> = endpoints.iter().collect();
    let mut messages = send(&rig, 20).await;
    agree(&rig, &messages, &all, 400).await;
    let left = rig.kill().await;
    let mut setup = left.again().retry("1h");
    setup.delivery.lane_window = 4;
    let rig = setup.start().await;
    messages.extend(send(&rig, 20).await);
    agree(&rig, &messages, &all, 800).await;
    held.release();
    agree(&rig, &messages, &all, 400).await;
    rig.stop().await;
}

#[tokio::test]
async fn past_its_limit_an_organization_has_nothing_accepted_until_something_is_settled() {
    let rig = Setup::default().retry("").start().await;
    let held = Receiver::start().await;
    held.hold();
    rig.endpoint(&held.url(), |_| {}).await;
    // When the second one comes, the outbox has been read, and all are counted.
    for _ in 0..2 {
        send(&rig, 1).await;
        held.next().await;
    }
    eventually(async || (rig.deliveries.pending(rig.app.org) == 2).then_some(())).await;
    rig.limit_pending(Some(5)).await;
    send(&rig, 3).await;
    let refused = rig.try_submit(rig.submission("{}")).await.unwrap_err();
    assert!(matches!(
        refused,
        IngestError::TooManyPending { limit: 5, .. }
    ));
    assert_eq!(rig.deliveries.pending(rig.app.org), 5);
    held.release();
    let again = async || rig.try_submit(rig.submission("{}")).await.ok();
    eventually(again).await;
    // A higher limit, or none, counts at once; another organization has a count of its own.
    held.hold();
    rig.limit_pending(None).await;
    send(&rig, 20).await;
    let other = OrganizationId::generate(Timestamp::from_millis(1));
    assert_eq!(rig.deliveries.pending(other), 0);
    held.release();
    rig.stop().await;
}
