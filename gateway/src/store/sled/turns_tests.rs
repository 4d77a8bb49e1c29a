//! Turns beside rows of the older form, and what an offline export makes of them.

use tempfile::TempDir;

use super::codec::DeliveryValue;
use super::tests::{config, open_in};
use super::*;
use crate::domain::{DeliveryState, Trigger};
use crate::store::Shard;
use crate::store::conformance::{self, TTL};

const IN_TURN: DeliveryState = DeliveryState::Parked {
    due: DeliveryState::IN_TURN,
    trigger: Trigger::Scheduled,
};

fn in_turn(endpoint: EndpointId, message: Seq) -> DeliveryRow {
    DeliveryRow {
        key: DeliveryKey { endpoint, message },
        state: IN_TURN,
        tries: 0,
        resume_due: None,
    }
}

fn parked(row: DeliveryRow) -> Outcome {
    Outcome {
        row: Some(row),
        ..Outcome::default()
    }
}

async fn accept_some(store: &SledStore, many: usize) -> Vec<Message> {
    let app = conformance::app();
    let items = (0..many).map(|_| conformance::item(app, "{}")).collect();
    let accepted = store.accept(items).await.unwrap();
    accepted.into_iter().map(Result::unwrap).collect()
}

/// As format 2 had them: a row of its own and one in the due index.
async fn park_as_before(store: &SledStore, key: DeliveryKey) {
    let value = DeliveryValue {
        state: IN_TURN,
        tries: 0,
        resume_due: None,
        shaped: false,
    };
    let act = move |group: &mut group::Group<'_>| {
        let due = keys::due(key.endpoint, DeliveryState::IN_TURN, key.message);
        group.put(&due[..], keys::NOTHING);
        group.put(&keys::delivery(key)[..], value.encode()?);
        Ok(())
    };
    store.queue.between_groups(act).await.unwrap();
}

#[tokio::test]
async fn turns_of_format_2_keep_their_places() {
    let directory = TempDir::new().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let lease = store.lease_shards("test", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let lane = conformance::endpoint();
    let messages = accept_some(&store, 6).await;
    for (n, message) in messages.iter().enumerate() {
        let row = in_turn(lane, message.seq);
        if n % 2 == 0 {
            park_as_before(&store, row.key).await;
        } else {
            store.record(&lease, vec![parked(row)]).await.unwrap();
        }
    }
    let far = Timestamp::from_millis(u64::MAX);
    let expected: Vec<_> = messages.iter().map(|it| in_turn(lane, it.seq)).collect();
    let mut seen = Vec::new();
    let mut after = None;
    for _ in 0..3 {
        let page = store.due(&lease, lane, far, after, 2).await.unwrap();
        after = page
            .last()
            .map(|row| (DeliveryState::IN_TURN, row.key.message));
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    assert_eq!(store.parked(&lease, lane).await.unwrap(), 6);
    for (n, message) in messages.iter().enumerate() {
        let done = conformance::delivered(lane, message, true);
        store.record(&lease, vec![done]).await.unwrap();
        assert_eq!(store.parked(&lease, lane).await.unwrap(), 5 - n as u64);
    }
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
}

#[tokio::test]
async fn an_export_of_a_store_that_nobody_has_open_keeps_turns() {
    let directory = TempDir::new().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let lease = store.lease_shards("test", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let lanes = [3, 3, 9].map(conformance::endpoint_in);
    let messages = accept_some(&store, 100).await;
    let rows: Vec<_> = lanes
        .iter()
        .flat_map(|lane| messages.iter().map(|it| in_turn(*lane, it.seq)))
        .collect();
    let outcomes = rows.iter().cloned().map(parked).collect();
    store.record(&lease, outcomes).await.unwrap();
    store.close().await.unwrap();
    drop(store);

    let mut pieces = Vec::new();
    let written = salvage::salvage(&config(directory.path()), |piece| {
        pieces.push(piece);
        Ok(())
    });
    assert!(written.unwrap().is_whole());
    let copy = TempDir::new().unwrap();
    let store = open_in(config(copy.path())).unwrap();
    let (give, given) = tokio::sync::mpsc::channel(pieces.len());
    for piece in pieces {
        give.send(piece).await.unwrap();
    }
    drop(give);
    store.import(given).await.unwrap();
    let lease = store.lease_shards("test", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let far = Timestamp::from_millis(u64::MAX);
    for lane in lanes {
        let found = store.due(&lease, lane, far, None, 1_000).await.unwrap();
        let expected = rows.iter().filter(|row| row.key.endpoint == lane);
        assert!(found.iter().eq(expected), "{:?}", Shard::of(lane));
    }
    let found = store.deliveries(messages[7].seq).await.unwrap();
    assert_eq!(found.len(), lanes.len());
}
