//! Accepting messages: one result per item, twins, payloads, lists.

use super::{START, Subject, app, item, key, later, uid, with_event_id};
use crate::domain::{ApplicationId, Message, Seq, Timestamp};
use crate::store::{
    AcceptItem, AcceptRefusal, Direction, Kind, MessageFilter, Order, PASSED_OVER, PageRequest,
    Record, Write,
};

pub(crate) async fn messages_are_found(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let app = app();
    let given = with_event_id(app, "order-7");
    let message = subject.accept(given.clone()).await;
    let expected = Message {
        seq: message.seq,
        ..given.new.message
    };
    assert_eq!(message, expected);
    assert_eq!(
        store.message(message.seq).await.unwrap(),
        Some(message.clone())
    );
    let payload = store.payload(message.seq).await.unwrap();
    assert_eq!(payload, Some(given.new.payload));
    let id = message.id.to_string();
    for name in [id.as_str(), "order-7"] {
        let found = store.message_by_id(app, name).await.unwrap();
        assert_eq!(found.as_ref(), Some(&message), "{name}");
        let elsewhere = store.message_by_id(ApplicationId::generate(START), name);
        assert_eq!(elsewhere.await.unwrap(), None, "{name}");
    }
    for name in ["order-8", "", "msg_x", "not a name"] {
        assert_eq!(store.message_by_id(app, name).await.unwrap(), None);
    }
    let missing = Seq(message.seq.0 + 100);
    assert_eq!(store.message(missing).await.unwrap(), None);
    assert_eq!(store.payload(missing).await.unwrap(), None);
}

pub(crate) async fn one_result_per_item(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let items = vec![
        item(app, "1"),
        with_event_id(app, "twin"),
        with_event_id(app, "twin"),
        item(app, "4"),
    ];
    let ids: Vec<_> = items.iter().map(|item| item.new.message.id).collect();
    let answers = subject.store.accept(items).await.unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[0].as_ref().unwrap().id, ids[0]);
    assert_eq!(
        answers[2],
        Err(AcceptRefusal::EventIdTaken { existing: ids[1] })
    );
    assert_eq!(answers[3].as_ref().unwrap().id, ids[3]);
    assert!(subject.store.accept(Vec::new()).await.unwrap().is_empty());
}

pub(crate) async fn event_ids_are_unique_in_their_application(make: impl Fn() -> Subject) {
    let subject = make();
    let (app, other) = (app(), app());
    let first = subject.accept(with_event_id(app, "e")).await;
    subject.accept(with_event_id(other, "e")).await;
    let twin = subject.store.accept(vec![with_event_id(app, "e")]).await;
    assert_eq!(
        twin.unwrap(),
        [Err(AcceptRefusal::EventIdTaken { existing: first.id })]
    );
}

pub(crate) async fn idempotency_is_committed_along(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let app = app();
    let with_key = |name: &str| AcceptItem {
        idempotency: Some(key(name)),
        ..item(app, "{}")
    };
    subject.accept(with_key("k")).await;
    let kept = store.idempotency("org_1", "k", later(1)).await.unwrap();
    assert_eq!(kept, Some(key("k")));
    assert_eq!(
        store.idempotency("org_2", "k", later(1)).await.unwrap(),
        None
    );
    let expired = store.idempotency("org_1", "k", key("k").expires_at).await;
    assert_eq!(expired.unwrap(), None);
    let twin = store.accept(vec![with_key("k")]).await.unwrap();
    assert_eq!(
        twin,
        [Err(AcceptRefusal::IdempotencyKeyTaken(Box::new(key("k"))))]
    );
    let record = Record {
        kind: Kind::EventType,
        id: "a".into(),
        parent: "org".into(),
        uid: None,
        seq: Seq(0),
        revision: 0,
        body: "1".into(),
    };
    let write = vec![Write::Insert(record)];
    let twin = store.commit(write.clone(), Some(key("k"))).await;
    let Err(crate::store::StoreError::IdempotencyKeyTaken(taken)) = twin else {
        panic!("{twin:?}");
    };
    assert_eq!(*taken, key("k"));
    assert_eq!(
        store.record_by_id(Kind::EventType, "a").await.unwrap(),
        None
    );
    store.commit(write, Some(key("k2"))).await.unwrap();
    let kept = store.idempotency("org_1", "k2", later(1)).await.unwrap();
    assert_eq!(kept, Some(key("k2")));
    // Once it has expired the key is free again.
    subject
        .clock
        .advance(std::time::Duration::from_secs(13 * 3600));
    let again = store.accept(vec![with_key("k")]).await.unwrap();
    assert!(again[0].is_ok());
}

pub(crate) async fn concurrent_twins_have_one_winner(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let store = subject.store.clone();
            let twin = AcceptItem {
                idempotency: Some(key("one")),
                ..with_event_id(app, "one")
            };
            tokio::spawn(async move { store.accept(vec![twin]).await.unwrap().remove(0) })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refusal) => assert_eq!(
                refusal,
                AcceptRefusal::IdempotencyKeyTaken(Box::new(key("one")))
            ),
        }
    }
    assert_eq!(won, 1);
    let page = PageRequest::first(10);
    let everything = MessageFilter::default();
    let messages = subject.store.messages(app, &everything, page);
    assert_eq!(messages.await.unwrap().rows.len(), 1);
}

pub(crate) async fn sequence_is_shared_and_rises(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let mut last = Seq(0);
    for n in 0..5 {
        let message = subject.accept(item(app, "{}")).await;
        assert!(message.seq > last);
        let record = Record {
            kind: Kind::EventType,
            id: n.to_string(),
            parent: "org".into(),
            uid: None,
            seq: Seq(0),
            revision: 0,
            body: "1".into(),
        };
        let written = subject
            .store
            .commit(vec![Write::Insert(record)], None)
            .await;
        last = written.unwrap()[0].seq;
        assert!(last > message.seq);
    }
}

pub(crate) async fn payloads_of_every_size_come_back(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    for len in [
        0, 1, 3_000, 3_500, 3_584, 3_585, 4_095, 4_096, 4_097, 8_192, 65_536, 65_537, 1_048_576,
    ] {
        let payload: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
        let message = subject.accept(item(app, payload.clone())).await;
        let read = subject.store.payload(message.seq).await.unwrap().unwrap();
        assert!(read == payload, "{len} bytes differ");
        assert_eq!(
            subject.store.message(message.seq).await.unwrap(),
            Some(message)
        );
    }
    // A header that is itself too large for one row.
    let mut wide = item(app, vec![b'x'; 5_000]);
    wide.new.message.tags = (0..200).map(|n| format!("{n:0>60}")).collect();
    let message = subject.accept(wide).await;
    assert_eq!(
        subject.store.message(message.seq).await.unwrap(),
        Some(message.clone())
    );
    let payload = subject.store.payload(message.seq).await.unwrap();
    assert_eq!(payload.unwrap(), vec![b'x'; 5_000]);
}

pub(crate) async fn events_are_read_together(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let app = app();
    let mut all = Vec::new();
    for len in [3, 0, 5_000, 7] {
        let payload = bytes::Bytes::from(vec![b'x'; len]);
        all.push((subject.accept(item(app, payload.clone())).await, payload));
    }
    // As they are asked for, and without one that is not there.
    let wanted = [3, 0, 2].map(|at: usize| all[at].0.seq);
    let asked = [&wanted[..1], &[Seq(u64::MAX)], &wanted[1..]].concat();
    let read = store.events(asked.clone(), 5_010).await.unwrap();
    let expected = [3, 0, 2].map(|at: usize| all[at].clone());
    assert_eq!(read, expected);
    let read = store.events(asked, 5_009).await.unwrap();
    assert_eq!(read, expected[..2], "the third does not fit");
}

pub(crate) async fn messages_are_paged_and_filtered(make: impl Fn() -> Subject) {
    let subject = make();
    let (app, other) = (app(), app());
    let mut all = Vec::new();
    for n in 0..6u64 {
        let mut new = item(app, "{}");
        let message = &mut new.new.message;
        message.created_at = later(n);
        if n % 2 == 1 {
            message.event_type = uid("user.created");
            message.channels = vec![uid("asia")];
            message.tags = vec!["odd".into()];
        }
        all.push(subject.accept(new).await);
        subject.accept(item(other, "{}")).await;
    }
    let read = async |filter: MessageFilter, page: PageRequest| {
        let messages = subject.store.messages(app, &filter, page).await.unwrap();
        let at = |message: &Message| all.iter().position(|one| one == message).unwrap();
        messages.rows.iter().map(at).collect::<Vec<_>>()
    };
    let newest = PageRequest {
        order: Order::Descending,
        ..PageRequest::first(4)
    };
    let everything = MessageFilter::default;
    assert_eq!(read(everything(), newest).await, [5, 4, 3, 2]);
    let next = PageRequest {
        cursor: Some(all[2].seq),
        ..newest
    };
    assert_eq!(read(everything(), next).await, [1, 0]);
    let back = PageRequest {
        direction: Direction::Backward,
        limit: 2,
        ..next
    };
    assert_eq!(read(everything(), back).await, [4, 3]);
    let odd = [
        MessageFilter {
            channel: Some(uid("asia")),
            ..everything()
        },
        MessageFilter {
            tag: Some("odd".into()),
            ..everything()
        },
        MessageFilter {
            event_types: Some(vec![uid("user.created")]),
            ..everything()
        },
    ];
    for filter in odd {
        assert_eq!(read(filter, PageRequest::first(2)).await, [1, 3]);
    }
    let between = MessageFilter {
        after: Some(later(1)),
        before: Some(Timestamp::from_millis(later(4).millis())),
        ..everything()
    };
    assert_eq!(read(between, PageRequest::first(10)).await, [2, 3]);
}

/// A reader that pages along behind the writers sees each message once, in order.
pub(crate) async fn a_reader_that_follows_misses_nothing(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let store = subject.store.clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                for _ in 0..25 {
                    let batch = (0..8).map(|_| item(app, "{}")).collect();
                    let batch = store.accept(batch).await.unwrap();
                    accepted.extend(batch.into_iter().map(|one| one.unwrap().seq));
                }
                accepted
            })
        })
        .collect();
    let everything = MessageFilter::default();
    let mut page = PageRequest::first(5);
    let mut seen = Vec::new();
    loop {
        let written = writers.iter().all(|writer| writer.is_finished());
        let rows = subject
            .store
            .messages(app, &everything, page)
            .await
            .unwrap()
            .rows;
        seen.extend(rows.iter().map(|message| message.seq));
        match rows.last() {
            Some(last) => page.cursor = Some(last.seq),
            None if written => break,
            None => tokio::task::yield_now().await,
        }
    }
    let mut accepted = Vec::new();
    for writer in writers {
        accepted.extend(writer.await.unwrap());
    }
    accepted.sort_unstable();
    assert_eq!(seen, accepted);
}

/// A filter that fits few rows of many: each page looks at so many, and a reader goes on behind them.
pub(crate) async fn pages_of_few_end_early(make: impl Fn() -> Subject) {
    let subject = make();
    let app = app();
    let accept = async |item: AcceptItem| subject.accept(item).await;
    let wanted = |event_id: &str| {
        let mut new = with_event_id(app, event_id);
        new.new.message.tags = vec!["wanted".into()];
        new
    };
    let first = accept(wanted("first")).await;
    let mut others = Vec::new();
    for _ in 0..PASSED_OVER / 500 {
        let batch = (0..500).map(|_| item(app, "{}")).collect();
        let batch = subject.store.accept(batch).await.unwrap();
        others.extend(batch.into_iter().map(|one| one.unwrap().seq));
    }
    let last = accept(wanted("last")).await;
    let filter = MessageFilter {
        tag: Some("wanted".into()),
        ..MessageFilter::default()
    };
    let read = async |page: PageRequest| subject.store.messages(app, &filter, page).await.unwrap();
    for (order, near, far, edge) in [
        (Order::Ascending, &first, &last, others.last()),
        (Order::Descending, &last, &first, others.first()),
    ] {
        let all = PageRequest {
            order,
            ..PageRequest::first(2)
        };
        let page = read(all).await;
        assert_eq!(page.rows.as_slice(), std::slice::from_ref(near));
        assert_eq!(page.looked_to, edge.copied());
        let rest = PageRequest {
            cursor: page.looked_to,
            ..all
        };
        let page = read(rest).await;
        assert_eq!(
            (page.rows.as_slice(), page.looked_to),
            (std::slice::from_ref(far), None)
        );
        // Full before that many were passed over.
        let one = read(PageRequest { limit: 1, ..all }).await;
        assert_eq!(one.looked_to, None);
    }
}
