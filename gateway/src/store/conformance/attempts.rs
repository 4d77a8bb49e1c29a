//! Attempts: order, filters, pages.

use super::{Subject, app, attempt, endpoint, item, later, uid};
use crate::domain::{Attempt, AttemptId, AttemptStatus, Digest, PluginReport};
use crate::store::{AttemptFilter, AttemptsOf, Direction, Order, Outcome, PageRequest};

fn only(attempt: Attempt) -> Outcome {
    Outcome {
        attempt: Some(attempt),
        ..Outcome::default()
    }
}

pub(crate) async fn attempts_are_appended(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (lane, other) = (endpoint(), endpoint());
    let message = subject.accept(item(app(), "{}")).await;
    let given = attempt(lane, &message);
    let outcomes = vec![only(given.clone()), only(attempt(other, &message))];
    store.record(&lease, outcomes).await.unwrap();
    let read = store.attempt(message.seq, given.id).await.unwrap().unwrap();
    assert!(read.seq > message.seq);
    let expected = Attempt {
        seq: read.seq,
        ..given
    };
    assert_eq!(read, expected);
    let missing = AttemptId::generate(later(1));
    assert_eq!(store.attempt(message.seq, missing).await.unwrap(), None);
    let everything = AttemptFilter::default();
    let page = PageRequest::first(10);
    let at = store.attempts(AttemptsOf::Endpoint(lane), &everything, page);
    assert_eq!(at.await.unwrap().rows, [read]);
    let of = store.attempts(AttemptsOf::Message(message.seq), &everything, page);
    assert_eq!(of.await.unwrap().rows.len(), 2);
}

pub(crate) async fn attempts_are_filtered(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let (lane, other) = (endpoint(), endpoint());
    let mut odd_message = item(app(), "{}");
    odd_message.new.message.event_type = uid("user.created");
    odd_message.new.message.channels = vec![uid("asia")];
    odd_message.new.message.tags = vec!["odd".into()];
    let odd_message = subject.accept(odd_message).await;
    let message = subject.accept(item(app(), "{}")).await;
    let plain = attempt(lane, &message);
    let failed = Attempt {
        status: AttemptStatus::Fail,
        response_code: Some(503),
        at: later(10),
        ..attempt(lane, &message)
    };
    let unanswered = Attempt {
        status: AttemptStatus::Fail,
        response_code: None,
        ..attempt(other, &message)
    };
    let odd = attempt(lane, &odd_message);
    let all = [plain, failed, unanswered, odd];
    let outcomes = all.iter().cloned().map(only).collect();
    subject.store.record(&lease, outcomes).await.unwrap();
    let read = async |of: AttemptsOf, filter: AttemptFilter| {
        let attempts = subject.store.attempts(of, &filter, PageRequest::first(10));
        let at = |read: &Attempt| all.iter().position(|one| one.id == read.id).unwrap();
        let found = attempts.await.unwrap();
        found.rows.iter().map(at).collect::<Vec<_>>()
    };
    let everything = AttemptFilter::default;
    let (at, of) = (AttemptsOf::Endpoint(lane), AttemptsOf::Message(message.seq));
    assert_eq!(read(at, everything()).await, [0, 1, 3]);
    assert_eq!(read(of, everything()).await, [0, 1, 2]);
    let table = [
        (
            AttemptFilter {
                status: Some(AttemptStatus::Fail),
                ..everything()
            },
            vec![1],
            vec![1, 2],
        ),
        (
            AttemptFilter {
                status_code_class: Some(500),
                ..everything()
            },
            vec![1],
            vec![1],
        ),
        (
            AttemptFilter {
                status_code_class: Some(200),
                ..everything()
            },
            vec![0, 3],
            vec![0],
        ),
        (
            AttemptFilter {
                endpoint: Some(other),
                ..everything()
            },
            vec![],
            vec![2],
        ),
        (
            AttemptFilter {
                channel: Some(uid("asia")),
                ..everything()
            },
            vec![3],
            vec![],
        ),
        (
            AttemptFilter {
                tag: Some("odd".into()),
                ..everything()
            },
            vec![3],
            vec![],
        ),
        (
            AttemptFilter {
                event_types: Some(vec![uid("user.created")]),
                ..everything()
            },
            vec![3],
            vec![],
        ),
        (
            AttemptFilter {
                after: Some(later(5)),
                ..everything()
            },
            vec![1],
            vec![1],
        ),
        (
            AttemptFilter {
                before: Some(later(5)),
                ..everything()
            },
            vec![0, 3],
            vec![0, 2],
        ),
    ];
    for (filter, at_lane, of_message) in table {
        assert_eq!(read(at, filter.clone()).await, at_lane, "{filter:?}");
        assert_eq!(read(of, filter.clone()).await, of_message, "{filter:?}");
    }
}

pub(crate) async fn attempts_are_paged(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let lane = endpoint();
    let message = subject.accept(item(app(), "{}")).await;
    let all: Vec<_> = (0..7).map(|_| attempt(lane, &message)).collect();
    for one in &all {
        let outcome = vec![only(one.clone())];
        subject.store.record(&lease, outcome).await.unwrap();
    }
    for of in [AttemptsOf::Endpoint(lane), AttemptsOf::Message(message.seq)] {
        let read = async |page: PageRequest| {
            let everything = AttemptFilter::default();
            let attempts = subject.store.attempts(of, &everything, page);
            attempts.await.unwrap().rows
        };
        let newest = PageRequest {
            order: Order::Descending,
            ..PageRequest::first(3)
        };
        let ids = |page: &[Attempt]| page.iter().map(|one| one.id).collect::<Vec<_>>();
        let first = read(newest).await;
        assert_eq!(ids(&first), [all[6].id, all[5].id, all[4].id]);
        let cursor = Some(first[2].seq);
        let second = read(PageRequest { cursor, ..newest }).await;
        assert_eq!(ids(&second), [all[3].id, all[2].id, all[1].id]);
        let back = PageRequest {
            cursor: Some(second[0].seq),
            direction: Direction::Backward,
            ..newest
        };
        assert_eq!(ids(&read(back).await), ids(&first));
    }
}

/// Sixteen KiB of answer and the logs of eight plugins.
pub(crate) async fn big_attempts_come_back(make: impl Fn() -> Subject) {
    let subject = make();
    let lease = subject.lease().await;
    let lane = endpoint();
    let message = subject.accept(item(app(), "{}")).await;
    let report = PluginReport {
        plugin: "redact".into(),
        version: Digest::of(b"wasm"),
        outcome: "deliver".into(),
        detail: String::new(),
        micros: 20,
        memory_peak: 1 << 20,
        logs: vec![("info".into(), "l".repeat(8_000))],
    };
    let given = Attempt {
        response: "r".repeat(16_384),
        plugins: vec![report; 8],
        ..attempt(lane, &message)
    };
    let outcome = vec![only(given.clone())];
    subject.store.record(&lease, outcome).await.unwrap();
    let read = subject.store.attempt(message.seq, given.id).await.unwrap();
    let read = read.unwrap();
    assert_eq!(
        (read.response, read.plugins),
        (given.response, given.plugins)
    );
}
