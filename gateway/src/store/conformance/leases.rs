//! Ownership of shards: one holder, lapse, take-over, fencing.

use std::time::Duration;

use super::{Subject, TTL, app, delivered, endpoint_in, item, later};
use crate::domain::{DeliveryKey, Seq};
use crate::store::{Outcome, Shard, ShardSet, StoreError};

const SECOND: Duration = Duration::from_secs(1);

fn set(shards: impl IntoIterator<Item = u8>) -> ShardSet {
    shards.into_iter().map(Shard).collect()
}

pub(crate) async fn shards_have_one_holder(make: impl Fn() -> Subject) {
    let store = make().store;
    let lease = |name, want| store.lease_shards(name, want, TTL);
    let a = lease("a", set(0..=9)).await.unwrap();
    assert_eq!((a.shards, a.holder.as_str()), (set(0..=9), "a"));
    let b = lease("b", set(5..=14)).await.unwrap();
    assert_eq!(b.shards, set(10..=14));
    assert!(b.token > a.token);
    let again = lease("a", set(0..=9)).await.unwrap();
    assert_eq!(again.shards, ShardSet::default());
    store.renew(&a, TTL).await.unwrap();
    store.renew(&b, TTL).await.unwrap();
}

pub(crate) async fn lapsed_leases_are_taken_over(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let take = |name, want| store.lease_shards(name, want, SECOND * 10);
    let old = take("old", set(0..=9)).await.unwrap();
    subject.clock.advance(SECOND * 9);
    let early = take("new", set(0..=9)).await.unwrap();
    assert_eq!(early.shards, ShardSet::default());
    subject.clock.advance(SECOND * 3);
    // Lapsed, but nobody wants it: the holder goes on.
    store.renew(&old, SECOND * 2).await.unwrap();
    let early = take("new", set(0..=9)).await.unwrap();
    assert_eq!(early.shards, ShardSet::default());
    subject.clock.advance(SECOND * 2);
    let new = take("new", set(0..=4)).await.unwrap();
    assert_eq!(new.shards, set(0..=4));
    assert!(new.token > old.token);
    let renewed = store.renew(&old, TTL).await;
    assert!(matches!(renewed, Err(StoreError::Fenced)));
    let message = subject.accept(item(app(), "{}")).await;
    let lost = store
        .record(&old, vec![delivered(endpoint_in(3), &message, false)])
        .await;
    assert!(matches!(lost, Err(StoreError::Fenced)));
    let kept = vec![delivered(endpoint_in(7), &message, false)];
    store.record(&old, kept).await.unwrap();
    let taken = vec![delivered(endpoint_in(3), &message, true)];
    store.record(&new, taken).await.unwrap();
    let due = store.due(&old, endpoint_in(3), later(60), None, 1).await;
    assert!(matches!(due, Err(StoreError::Fenced)));
    let next = store.next_due(&old, endpoint_in(3)).await;
    assert!(matches!(next, Err(StoreError::Fenced)));
}

pub(crate) async fn concurrent_takers_share_nothing(make: impl Fn() -> Subject) {
    let store = make().store;
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                let want: ShardSet = (0..=255u8).filter(|s| s % 16 >= n / 2).map(Shard).collect();
                let name = n.to_string();
                let lease = store.lease_shards(&name, want, TTL);
                lease.await.unwrap()
            })
        })
        .collect();
    let mut leases = Vec::new();
    for task in tasks {
        leases.push(task.await.unwrap());
    }
    for shard in (0..=255).map(Shard) {
        let holders = leases.iter().filter(|lease| lease.shards.contains(shard));
        assert_eq!(holders.count(), 1, "{shard:?}");
    }
    let mut tokens: Vec<_> = leases.iter().map(|lease| lease.token).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 16);
}

pub(crate) async fn released_shards_are_free(make: impl Fn() -> Subject) {
    let store = make().store;
    let a = store.lease_shards("a", ShardSet::ALL, TTL);
    let a = a.await.unwrap();
    store.release(a.clone()).await.unwrap();
    assert!(matches!(
        store.renew(&a, TTL).await,
        Err(StoreError::Fenced)
    ));
    let b = store.lease_shards("b", ShardSet::ALL, TTL);
    let b = b.await.unwrap();
    assert_eq!(b.shards, ShardSet::ALL);
    // A late second release does not free what is another's now.
    store.release(a).await.unwrap();
    store.renew(&b, TTL).await.unwrap();
}

pub(crate) async fn fenced_outcomes_change_nothing(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let message = subject.accept(item(app(), "{}")).await;
    let take = |name, want| store.lease_shards(name, want, SECOND * 10);
    let old = take("old", set(0..=9)).await.unwrap();
    subject.clock.advance(SECOND * 10);
    let new = take("new", set(0..=4)).await.unwrap();
    let outcomes = vec![
        delivered(endpoint_in(8), &message, true),
        delivered(endpoint_in(2), &message, false),
    ];
    let refused = store.record(&old, outcomes).await;
    assert!(matches!(refused, Err(StoreError::Fenced)));
    assert!(store.deliveries(message.seq).await.unwrap().is_empty());
    let unsettled = store.unsettled(&new, Seq(0), 10).await.unwrap();
    assert_eq!(unsettled.len(), 1);
    let key = DeliveryKey {
        endpoint: endpoint_in(8),
        message: message.seq,
    };
    assert_eq!(store.delivery(key).await.unwrap(), None);
    let done = || {
        vec![Outcome {
            outbox_done: Some(message.seq),
            ..Outcome::default()
        }]
    };
    store.release(new.clone()).await.unwrap();
    let refused = store.record(&new, done()).await;
    assert!(matches!(refused, Err(StoreError::Fenced)));
    store.record(&old, done()).await.unwrap();
    assert!(store.unsettled(&old, Seq(0), 10).await.unwrap().is_empty());
    let refused = store.unsettled(&new, Seq(0), 10).await;
    assert!(matches!(refused, Err(StoreError::Fenced)));
}
