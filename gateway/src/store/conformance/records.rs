//! Records: names, revisions, commits, observers, pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{Subject, key, later};
use crate::domain::Seq;
use crate::store::{Direction, Kind, Order, PageRequest, Record, Store, StoreError, Write};

fn record(kind: Kind, parent: &str, id: &str, uid: Option<&str>) -> Record {
    Record {
        kind,
        id: id.into(),
        parent: parent.into(),
        uid: uid.map(Into::into),
        seq: Seq(0),
        revision: 0,
        body: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    }
}

fn remove(id: &str) -> Write {
    Write::Remove {
        kind: Kind::EventType,
        id: id.into(),
    }
}

async fn insert(store: &Arc<dyn Store>, id: &str, uid: Option<&str>) -> Record {
    let write = Write::Insert(record(Kind::EventType, "org", id, uid));
    store.commit(vec![write], None).await.unwrap().remove(0)
}

pub(crate) async fn inserts_are_found(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let written = insert(store, "a", Some("name")).await;
    assert_eq!(written.revision, 1);
    assert_ne!(written.seq, Seq(0));
    let by_id = store.record_by_id(Kind::EventType, "a").await.unwrap();
    assert_eq!(by_id.as_ref(), Some(&written));
    let by_uid = store.record_by_uid(Kind::EventType, "org", "name").await;
    assert_eq!(by_uid.unwrap(), Some(written));
    for (kind, parent, name) in [
        (Kind::Plugin, "org", "name"),
        (Kind::EventType, "or", "name"),
        (Kind::EventType, "org", "nam"),
        (Kind::EventType, "", "orgname"),
    ] {
        let found = store.record_by_uid(kind, parent, name).await.unwrap();
        assert_eq!(found, None, "{kind} {parent} {name}");
    }
    assert_eq!(store.record_by_id(Kind::Plugin, "a").await.unwrap(), None);
    assert_eq!(store.record_by_id(Kind::EventType, "").await.unwrap(), None);
}

pub(crate) async fn updates_check_the_revision(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let first = insert(store, "a", Some("old")).await;
    let change = Record {
        uid: Some("new".into()),
        body: Bytes::from_static(b"2"),
        ..first.clone()
    };
    let second = store
        .commit(vec![Write::Update(change.clone())], None)
        .await;
    let second = second.unwrap().remove(0);
    assert_eq!((second.revision, second.seq), (2, first.seq));
    assert_eq!(second.body, "2");
    let by_new = store.record_by_uid(Kind::EventType, "org", "new").await;
    assert_eq!(by_new.unwrap(), Some(second));
    let by_old = store.record_by_uid(Kind::EventType, "org", "old").await;
    assert_eq!(by_old.unwrap(), None);
    let stale = store
        .commit(vec![Write::Update(change.clone())], None)
        .await;
    assert!(matches!(stale, Err(StoreError::Stale { id, .. }) if id == "a"));
    let missing = Record {
        id: "b".into(),
        ..change
    };
    let missing = store.commit(vec![Write::Update(missing)], None).await;
    assert!(matches!(missing, Err(StoreError::NoSuchRecord { id, .. }) if id == "b"));
}

pub(crate) async fn removals_free_the_names(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let first = insert(store, "a", Some("name")).await;
    let removed = store.commit(vec![remove("a")], None).await.unwrap();
    assert_eq!(removed, std::slice::from_ref(&first));
    let gone = store.record_by_id(Kind::EventType, "a").await.unwrap();
    assert_eq!(gone, None);
    let page = PageRequest::first(10);
    let list = store
        .records_of(Kind::EventType, "org", page)
        .await
        .unwrap();
    assert!(list.is_empty());
    let again = store.commit(vec![remove("a")], None).await;
    assert!(matches!(again, Err(StoreError::NoSuchRecord { .. })));
    let second = insert(store, "a", Some("name")).await;
    assert!(second.seq > first.seq);
}

pub(crate) async fn uids_are_unique_in_their_parent(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    insert(store, "a", Some("name")).await;
    let b = insert(store, "b", None).await;
    for twin in [
        Write::Insert(record(Kind::EventType, "org", "a", None)),
        Write::Insert(record(Kind::EventType, "other", "a", None)),
        Write::Insert(record(Kind::EventType, "org", "c", Some("name"))),
        Write::Update(Record {
            uid: Some("name".into()),
            ..b
        }),
    ] {
        let refused = store.commit(vec![twin], None).await;
        assert!(
            matches!(refused, Err(StoreError::Exists { .. })),
            "{refused:?}"
        );
    }
    for neighbour in [
        record(Kind::EventType, "other", "c", Some("name")),
        record(Kind::Plugin, "org", "a", Some("name")),
    ] {
        let write = Write::Insert(neighbour);
        store.commit(vec![write], None).await.unwrap();
    }
}

pub(crate) async fn a_commit_is_all_or_nothing(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let kept = insert(store, "kept", Some("kept")).await;
    let writes = vec![
        Write::Insert(record(Kind::EventType, "org", "new", Some("new"))),
        Write::Update(Record {
            uid: None,
            ..kept.clone()
        }),
        remove("kept"),
        remove("missing"),
    ];
    let refused = store.commit(writes, Some(key("k"))).await;
    assert!(matches!(refused, Err(StoreError::NoSuchRecord { .. })));
    let page = PageRequest::first(10);
    let list = store
        .records_of(Kind::EventType, "org", page)
        .await
        .unwrap();
    assert_eq!(list, std::slice::from_ref(&kept));
    let by_uid = store.record_by_uid(Kind::EventType, "org", "kept").await;
    assert_eq!(by_uid.unwrap(), Some(kept));
    let key = store.idempotency("org_1", "k", later(0)).await.unwrap();
    assert_eq!(key, None);
}

pub(crate) async fn writes_of_a_commit_see_earlier_ones(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    insert(store, "a", Some("name")).await;
    let writes = vec![
        remove("a"),
        Write::Insert(record(Kind::EventType, "org", "b", Some("name"))),
        Write::Insert(record(Kind::EventType, "org", "a", None)),
    ];
    let written = store.commit(writes, None).await.unwrap();
    let ids: Vec<_> = written.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "a"]);
    let by_uid = store.record_by_uid(Kind::EventType, "org", "name").await;
    assert_eq!(by_uid.unwrap().unwrap().id, "b");
    let twins = vec![
        Write::Insert(record(Kind::EventType, "org", "c", None)),
        Write::Insert(record(Kind::EventType, "org", "c", None)),
    ];
    let refused = store.commit(twins, None).await;
    assert!(matches!(refused, Err(StoreError::Exists { .. })));
}

pub(crate) async fn observers_run_before_the_answer(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    insert(store, "before", None).await;
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = seen.clone();
    store.observe(Box::new(move |change| sink.lock().push(change.clone())));
    insert(store, "a", None).await;
    let change = seen.lock().pop().unwrap();
    assert_eq!((change.id.as_str(), change.removed), ("a", false));
    assert_eq!(
        (change.kind, change.parent.as_str()),
        (Kind::EventType, "org")
    );
    store.commit(vec![remove("a")], None).await.unwrap();
    assert!(seen.lock().pop().unwrap().removed);
    store.commit(vec![remove("a")], None).await.unwrap_err();
    assert!(seen.lock().is_empty());
}

pub(crate) async fn pages_both_ways(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(insert(store, &format!("r{n}"), None).await.seq);
    }
    for order in [Order::Ascending, Order::Descending] {
        let mut expected = all.clone();
        if order == Order::Descending {
            expected.reverse();
        }
        let read = async |direction, cursor| {
            let page = PageRequest {
                cursor,
                direction,
                limit: 3,
                order,
            };
            let rows = store
                .records_of(Kind::EventType, "org", page)
                .await
                .unwrap();
            rows.iter().map(|record| record.seq).collect::<Vec<_>>()
        };
        assert_eq!(read(Direction::Forward, None).await, expected[..3]);
        assert_eq!(
            read(Direction::Forward, Some(expected[2])).await,
            expected[3..6]
        );
        assert_eq!(
            read(Direction::Forward, Some(expected[5])).await,
            expected[6..]
        );
        assert!(read(Direction::Forward, Some(expected[6])).await.is_empty());
        assert_eq!(read(Direction::Backward, None).await, expected[4..]);
        assert_eq!(
            read(Direction::Backward, Some(expected[4])).await,
            expected[1..4]
        );
        assert_eq!(
            read(Direction::Backward, Some(expected[1])).await,
            expected[..1]
        );
        assert!(
            read(Direction::Backward, Some(expected[0]))
                .await
                .is_empty()
        );
    }
    for cursor in [Seq(0), Seq(u64::MAX)] {
        for direction in [Direction::Forward, Direction::Backward] {
            let page = PageRequest {
                cursor: Some(cursor),
                direction,
                ..PageRequest::first(10)
            };
            let rows = store
                .records_of(Kind::EventType, "org", page)
                .await
                .unwrap();
            assert!(rows.is_empty() || rows.len() == 7);
        }
    }
}

pub(crate) async fn pages_hold_under_writes(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let mut stable = Vec::new();
    for n in 0..40 {
        stable.push(insert(store, &format!("stable{n}"), None).await.seq);
    }
    let writer = store.clone();
    let churn = tokio::spawn(async move {
        for n in 0..60 {
            insert(&writer, &format!("new{n}"), None).await;
            if n % 2 == 0 {
                let gone = remove(&format!("new{n}"));
                writer.commit(vec![gone], None).await.unwrap();
            }
        }
    });
    let mut seen = Vec::new();
    let mut page = PageRequest::first(3);
    loop {
        let rows = store
            .records_of(Kind::EventType, "org", page)
            .await
            .unwrap();
        let Some(last) = rows.last() else { break };
        page.cursor = Some(last.seq);
        seen.extend(rows.iter().map(|record| record.seq));
        tokio::task::yield_now().await;
    }
    churn.await.unwrap();
    assert!(seen.is_sorted_by(|a, b| a < b));
    assert!(stable.iter().all(|seq| seen.contains(seq)));
}

pub(crate) async fn concurrent_updates_have_one_winner(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let first = insert(store, "a", None).await;
    let won = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..16)
        .map(|n| {
            let (store, won) = (store.clone(), won.clone());
            let change = Record {
                body: Bytes::from(n.to_string()),
                ..first.clone()
            };
            tokio::spawn(async move {
                match store.commit(vec![Write::Update(change)], None).await {
                    Ok(_) => drop(won.fetch_add(1, Ordering::SeqCst)),
                    Err(StoreError::Stale { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(won.load(Ordering::SeqCst), 1);
}

/// A chain with large configurations is a record of some 500 KB.
pub(crate) async fn big_bodies_come_back(make: impl Fn() -> Subject) {
    let Subject { store, .. } = &make();
    let body = |fill: u8, len: usize| Bytes::from(vec![fill; len]);
    let mut last = insert(store, "a", None).await;
    for (fill, len) in [(b'1', 500_000), (b'2', 100), (b'3', 4_000), (b'4', 90_000)] {
        last.body = body(fill, len);
        let written = store.commit(vec![Write::Update(last)], None).await;
        last = written.unwrap().remove(0);
        let read = store.record_by_id(Kind::EventType, "a").await.unwrap();
        assert_eq!(read.unwrap().body, body(fill, len));
    }
    let removed = store.commit(vec![remove("a")], None).await.unwrap();
    assert_eq!(removed[0].body.len(), 90_000);
}
