//! The outbox, parked rows, the due index and shaped results.

use bytes::Bytes;

use super::{Subject, TTL, app, delivered, endpoint, endpoint_in, item, later, parked, row};
use crate::domain::{DeliveryKey, DeliveryState, Seq};
use crate::store::{Outcome, Shaped};

pub(crate) async fn unsettled_names_what_has_rows(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let app = app();
    let (a, b) = (endpoint(), endpoint());
    let first = subject.accept(item(app, "1")).await;
    let second = subject.accept(item(app, "2")).await;
    let outcomes = vec![
        delivered(a, &first, false),
        parked(b, first.seq, 5),
        delivered(a, &second, true),
    ];
    store.record(&lease, outcomes).await.unwrap();
    let entries = store.unsettled(&lease, Seq(0), 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].message, first);
    let mut have = entries[0].have_rows.clone();
    have.sort_unstable();
    let mut expected = vec![a, b];
    expected.sort_unstable();
    assert_eq!(have, expected);
    let done = Outcome {
        outbox_done: Some(first.seq),
        ..Outcome::default()
    };
    store.record(&lease, vec![done]).await.unwrap();
    assert!(
        store
            .unsettled(&lease, Seq(0), 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn outbox_entries_page(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let app = app();
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(subject.accept(item(app, "{}")).await.seq);
    }
    let mut after = Seq(0);
    let mut seen = Vec::new();
    loop {
        let page = subject.store.unsettled(&lease, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = last.message.seq;
        seen.extend(page.iter().map(|entry| entry.message.seq));
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn rows_replace_rows(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let lane = endpoint();
    let message = subject.accept(item(app(), "{}")).await;
    let key = DeliveryKey {
        endpoint: lane,
        message: message.seq,
    };
    assert_eq!(store.delivery(key).await.unwrap(), None);
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
    // Twice in one call: the later one stands.
    let twice = vec![parked(lane, message.seq, 50), parked(lane, message.seq, 20)];
    store.record(&lease, twice).await.unwrap();
    let expected = parked(lane, message.seq, 20).row;
    assert_eq!(store.delivery(key).await.unwrap(), expected);
    let all = store
        .due(&lease, lane, later(1000), None, 10)
        .await
        .unwrap();
    assert_eq!(all, Vec::from_iter(expected));
    store
        .record(&lease, vec![parked(lane, message.seq, 90)])
        .await
        .unwrap();
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), Some(later(90)));
    assert_eq!(store.parked(&lease, lane).await.unwrap(), 1);
    let none = store.due(&lease, lane, later(89), None, 10).await.unwrap();
    assert!(none.is_empty());
    store
        .record(&lease, vec![delivered(lane, &message, true)])
        .await
        .unwrap();
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
    assert_eq!(store.parked(&lease, lane).await.unwrap(), 0);
    let due = store
        .due(&lease, lane, later(1000), None, 10)
        .await
        .unwrap();
    assert!(due.is_empty());
    let rows = store.deliveries(message.seq).await.unwrap();
    assert_eq!(rows, [row(lane, message.seq, DeliveryState::Success)]);
    // A person may send it again.
    store
        .record(&lease, vec![parked(lane, message.seq, 5)])
        .await
        .unwrap();
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), Some(later(5)));
}

pub(crate) async fn due_is_ordered_and_paged(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (lane, neighbour) = (endpoint_in(4), endpoint_in(4));
    let app = app();
    let mut expected = Vec::new();
    for n in 0..9u64 {
        let message = subject.accept(item(app, "{}")).await;
        let seconds = 10 + n % 3;
        let outcomes = vec![
            parked(lane, message.seq, seconds),
            parked(neighbour, message.seq, 1),
        ];
        store.record(&lease, outcomes).await.unwrap();
        expected.push((later(seconds), message.seq));
    }
    expected.sort_unstable();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.due(&lease, lane, later(12), after, 2).await.unwrap();
        assert!(page.len() <= 2);
        for row in &page {
            assert_eq!(row.key.endpoint, lane);
            let DeliveryState::Parked { due, .. } = row.state else {
                panic!("{row:?}");
            };
            after = Some((due, row.key.message));
            seen.extend(after);
        }
        if page.is_empty() {
            break;
        }
    }
    assert_eq!(seen, expected);
    let early = store.due(&lease, lane, later(10), None, 100).await.unwrap();
    assert_eq!(early.len(), 3);
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), Some(later(10)));
}

pub(crate) async fn due_lanes_are_paged_within_shards(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let some = (0..=9).map(crate::store::Shard).collect();
    let lease = store.lease_shards("test", some, TTL);
    let lease = lease.await.unwrap();
    let rest = store.lease_shards("rest", crate::store::ShardSet::ALL, TTL);
    let rest = rest.await.unwrap();
    let message = subject.accept(item(app(), "{}")).await;
    let other = subject.accept(item(app(), "{}")).await;
    let mut lanes = Vec::new();
    for n in 0..12u8 {
        let lane = endpoint_in(n / 2);
        let both = vec![
            parked(lane, message.seq, 30 + u64::from(n)),
            parked(lane, other.seq, 20 + u64::from(n)),
        ];
        store.record(&lease, both).await.unwrap();
        lanes.push((n / 2, lane, later(20 + u64::from(n))));
    }
    let foreign = vec![parked(endpoint_in(200), message.seq, 1)];
    store.record(&rest, foreign).await.unwrap();
    lanes.sort_unstable();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = store.due_lanes(&lease, after, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.endpoint);
        seen.extend(page.iter().map(|lane| (lane.endpoint, lane.earliest)));
    }
    let expected: Vec<_> = lanes
        .into_iter()
        .map(|(_, lane, due)| (lane, due))
        .collect();
    assert_eq!(seen, expected);
}

pub(crate) async fn shaped_is_kept_until_settled(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let lane = endpoint();
    let message = subject.accept(item(app(), "{}")).await;
    let key = DeliveryKey {
        endpoint: lane,
        message: message.seq,
    };
    for len in [0, 10, 200_000] {
        let shaped = Shaped {
            content_type: "text/plain".into(),
            headers: vec![("x-one".into(), "1".into())],
            payload: (len > 0).then(|| Bytes::from(vec![b's'; len])),
        };
        let first = Outcome {
            shaped: Some(shaped.clone()),
            ..parked(lane, message.seq, 5)
        };
        store.record(&lease, vec![first]).await.unwrap();
        assert_eq!(store.shaped(key).await.unwrap(), Some(shaped.clone()));
        // The next failure brings no result of its own.
        let again = vec![parked(lane, message.seq, 9)];
        store.record(&lease, again).await.unwrap();
        assert_eq!(store.shaped(key).await.unwrap(), Some(shaped.clone()));
        let late = Outcome {
            shaped: Some(shaped),
            ..delivered(lane, &message, true)
        };
        store.record(&lease, vec![late]).await.unwrap();
        assert_eq!(store.shaped(key).await.unwrap(), None);
    }
}
