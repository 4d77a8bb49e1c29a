//! Deliveries that wait in the store for their turn, many and in any order: a backend may keep them in another way
//! than those that wait for a moment, and nobody may notice.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

use super::upkeep::{add_endpoint, record};
use super::*;
use crate::store::{DueLane, Kind, Write};

/// More than any piece of a list holds, at each lane.
const MANY: usize = 300;
/// Changes of one batch.
const BATCH: usize = 40;
const BATCHES: usize = 60;

/// Each delivery that has a row.
type Model = BTreeMap<DeliveryKey, DeliveryRow>;

fn in_turn(key: DeliveryKey) -> DeliveryRow {
    let state = DeliveryState::Parked {
        due: DeliveryState::IN_TURN,
        trigger: Trigger::Scheduled,
    };
    DeliveryRow {
        tries: 0,
        ..super::row(key.endpoint, key.message, state)
    }
}

fn outcome(row: DeliveryRow) -> Outcome {
    Outcome {
        row: Some(row),
        ..Outcome::default()
    }
}

async fn accept_many(subject: &Subject, app: ApplicationId) -> Vec<Seq> {
    let items = (0..MANY).map(|_| item(app, "{}")).collect();
    let accepted = subject.store.accept(items).await.unwrap();
    let messages = accepted.into_iter().map(Result::unwrap);
    messages.map(|message| message.seq).collect()
}

/// Parks, postpones, settles and parks again at random, and compares all that can be read after each batch.
pub(crate) async fn turns_and_moments_are_told_apart(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let messages = accept_many(&subject, app()).await;
    // Two of a shard, so that they lie side by side.
    let lanes = [endpoint_in(3), endpoint_in(3), endpoint_in(200)];
    let mut dice = StdRng::seed_from_u64(7);
    let mut model = Model::new();
    for batch in 0..BATCHES {
        let mut outcomes = Vec::new();
        for _ in 0..BATCH {
            let key = DeliveryKey {
                endpoint: *lanes.choose(&mut dice).unwrap(),
                message: *messages.choose(&mut dice).unwrap(),
            };
            let moment = DeliveryState::Parked {
                due: later(dice.random_range(0..5)),
                trigger: Trigger::Scheduled,
            };
            // More is parked at first, and more is settled later.
            let row = match dice.random_range(0..BATCHES + batch) {
                0..50 => in_turn(key),
                50..60 => super::row(key.endpoint, key.message, moment),
                _ => super::row(key.endpoint, key.message, DeliveryState::Success),
            };
            model.insert(key, row.clone());
            outcomes.push(outcome(row));
        }
        store.record(&lease, outcomes).await.unwrap();
        for lane in lanes {
            let waiting = waiting_at(&model, lane);
            assert_eq!(
                store.parked(&lease, lane).await.unwrap(),
                waiting.len() as u64
            );
            let next = waiting.first().map(place);
            let next_due = store.next_due(&lease, lane).await.unwrap();
            assert_eq!(next_due, next.map(|(due, _)| due));
            assert_eq!(all_due(&subject, &lease, lane).await, waiting);
        }
        let due_lanes = store.due_lanes(&lease, None, 10).await.unwrap();
        assert_eq!(due_lanes, lanes_of(&model, lanes));
        for message in messages.sample(&mut dice, 5) {
            let rows = model.values().filter(|row| row.key.message == *message);
            let rows: Vec<_> = rows.cloned().collect();
            let mut found = store.deliveries(*message).await.unwrap();
            found.sort_unstable_by_key(|row| row.key);
            assert_eq!(found, rows);
            for row in rows {
                assert_eq!(store.delivery(row.key).await.unwrap(), Some(row));
            }
        }
    }
}

fn place(row: &DeliveryRow) -> (Timestamp, Seq) {
    let DeliveryState::Parked { due, .. } = row.state else {
        panic!("{row:?}");
    };
    (due, row.key.message)
}

fn waiting_at(model: &Model, lane: EndpointId) -> Vec<DeliveryRow> {
    let rows = model.values();
    let waiting = rows.filter(|row| row.key.endpoint == lane && !row.state.is_settled());
    let mut waiting: Vec<_> = waiting.cloned().collect();
    waiting.sort_unstable_by_key(place);
    waiting
}

fn lanes_of(model: &Model, mut lanes: [EndpointId; 3]) -> Vec<DueLane> {
    lanes.sort_unstable_by_key(|lane| (crate::store::Shard::of(*lane), *lane));
    let due = lanes.map(|endpoint| {
        let first = waiting_at(model, endpoint).first().map(place);
        first.map(|(earliest, _)| DueLane { endpoint, earliest })
    });
    due.into_iter().flatten().collect()
}

async fn all_due(subject: &Subject, lease: &Lease, lane: EndpointId) -> Vec<DeliveryRow> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = subject.store.due(lease, lane, later(100), after, 70);
        let page = page.await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(place(last));
        all.extend(page);
    }
}

pub(crate) async fn turns_are_rows_of_the_outbox(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let mut messages = accept_many(&subject, app()).await;
    let lane = endpoint();
    messages.shuffle(&mut StdRng::seed_from_u64(8));
    let (waiting, rest) = messages.split_at(MANY / 2);
    let parked = waiting.iter().map(|message| {
        outcome(in_turn(DeliveryKey {
            endpoint: lane,
            message: *message,
        }))
    });
    store.record(&lease, parked.collect()).await.unwrap();
    let entries = store.unsettled(&lease, Seq(0), MANY).await.unwrap();
    assert_eq!(entries.len(), MANY);
    for entry in entries {
        let is_waiting = !rest.contains(&entry.message.seq);
        assert_eq!(entry.have_rows == [lane], is_waiting, "{entry:?}");
    }
}

/// An attempt that ends a delivery tells of it; nothing waits any more.
pub(crate) async fn a_first_attempt_ends_a_turn(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let message = subject.accept(item(app(), "{}")).await;
    let lane = endpoint();
    let key = DeliveryKey {
        endpoint: lane,
        message: message.seq,
    };
    store
        .record(&lease, vec![outcome(in_turn(key))])
        .await
        .unwrap();
    let done = delivered(lane, &message, true);
    store.record(&lease, vec![done]).await.unwrap();
    let row = super::row(lane, message.seq, DeliveryState::Success);
    assert_eq!(store.delivery(key).await.unwrap(), Some(row.clone()));
    assert_eq!(store.deliveries(message.seq).await.unwrap(), [row]);
    assert_eq!(store.parked(&lease, lane).await.unwrap(), 0);
    assert!(store.due_lanes(&lease, None, 1).await.unwrap().is_empty());
}

pub(crate) async fn turns_go_with_their_endpoint_and_their_message(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, gone, kept) = (app(), endpoint(), endpoint());
    let owner = record(Kind::Application, "org", &app.to_string());
    store.commit(vec![owner], None).await.unwrap();
    add_endpoint(store, app, gone).await;
    add_endpoint(store, app, kept).await;
    let messages = accept_many(&subject, app).await;
    let at = |endpoint| {
        let messages = messages.iter();
        messages.map(move |message| {
            outcome(in_turn(DeliveryKey {
                endpoint,
                message: *message,
            }))
        })
    };
    let outcomes = at(gone).chain(at(kept)).collect();
    store.record(&lease, outcomes).await.unwrap();
    let removal = Write::Remove {
        kind: Kind::Endpoint,
        id: gone.to_string(),
    };
    store.commit(vec![removal], None).await.unwrap();
    sweep_all(store, later(1)).await;
    assert_eq!(store.parked(&lease, gone).await.unwrap(), 0);
    assert_eq!(store.parked(&lease, kept).await.unwrap(), MANY as u64);
    let rows = store.deliveries(messages[0]).await.unwrap();
    assert_eq!(rows.len(), 1);
    let removal = Write::Remove {
        kind: Kind::Application,
        id: app.to_string(),
    };
    store.commit(vec![removal], None).await.unwrap();
    sweep_all(store, later(1)).await;
    assert_eq!(store.parked(&lease, kept).await.unwrap(), 0);
    assert!(store.deliveries(messages[0]).await.unwrap().is_empty());
}
