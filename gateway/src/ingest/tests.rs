//! Submissions against a gateway without its API.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::IngestError;
use crate::delivery::tests::faulty::{FaultyStore, over_faulty_store};
use crate::delivery::tests::rig::{Receiver, Rig, Setup};
use crate::domain::{
    ApplicationId, Clock, Digest, Message, MessageId, NewMessage, SystemClock, Timestamp, Uid,
};
use crate::metrics::Metrics;
use crate::store::sled::{SledConfig, SledStore};
use crate::store::{IdempotencyRecord, Store, StoreError};

#[tokio::test]
async fn a_message_is_on_disk_when_it_is_answered() {
    let rig = Rig::start().await;
    let mut event = rig.submission("{}");
    event.tags = vec!["a".to_owned()];
    let message = rig.try_submit(event).await.unwrap();
    assert_eq!(
        rig.store.message(message.seq).await.unwrap(),
        Some(message.clone())
    );
    let payload = rig.store.payload(message.seq).await.unwrap();
    assert_eq!(payload, Some(Bytes::from_static(b"{}")));
    assert_eq!(message.payload_len, 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_sender_that_goes_away_while_its_message_is_written_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    // A build machine's disk may be nearly full.
    let config = SledConfig {
        cache_bytes: 8 << 20,
        min_free_bytes: 1 << 20,
        reserve_bytes: 1 << 20,
        ..SledConfig::in_dir(dir.path())
    };
    let metrics = Arc::new(Metrics::new());
    let store = SledStore::open(config, Arc::clone(&clock), metrics).unwrap();
    let setup = Setup {
        store: Some(Arc::new(store)),
        clock: Some(clock),
        ..Setup::default()
    };
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    rig.endpoint(&receiver.url(), |_| {}).await;
    rig.submit("the outbox has been read").await;
    receiver.next().await;
    let answer = rig.submit("gone").now_or_never();
    assert!(answer.is_none(), "it waits for the disk");
    assert_eq!(receiver.next().await.body, "gone");
    rig.stop().await;
}

#[tokio::test]
async fn an_oversized_payload_is_refused_with_both_numbers() {
    let rig = Rig::start().await;
    let limit = 1 << 20;
    rig.submit(vec![b'x'; limit]).await;
    let refused = rig.try_submit(rig.submission(vec![b'x'; limit + 1])).await;
    assert!(
        matches!(refused, Err(IngestError::TooLarge { given, limit: l }) if given == limit + 1 && l == limit)
    );
    assert!(rig.metrics_text().contains("outcome=\"refused\"} 1"));
    rig.stop().await;
}

#[tokio::test]
async fn a_taken_event_id_names_the_message_that_has_it() {
    let rig = Rig::start().await;
    let mut event = rig.submission("{}");
    event.event_id = Some(Uid::parse("order-7").unwrap());
    let first = rig.try_submit(event.clone()).await.unwrap();
    let twin = rig.try_submit(event).await;
    assert!(matches!(twin, Err(IngestError::EventIdTaken { existing }) if existing == first.id));
    assert!(rig.metrics_text().contains("outcome=\"duplicate\"} 1"));
    rig.stop().await;
}

#[tokio::test]
async fn the_answers_record_is_committed_with_the_message() {
    let rig = Rig::start().await;
    let record = |body: &str| IdempotencyRecord {
        scope: "org".to_owned(),
        key: "k".to_owned(),
        request: Digest::of(b"request"),
        status: 202,
        body: Bytes::copy_from_slice(body.as_bytes()),
        expires_at: Timestamp::from_millis(u64::MAX),
    };
    let first = rig
        .ingest
        .submit(rig.submission("{}"), |message| {
            Some(record(&message.id.to_string()))
        })
        .await
        .unwrap();
    let twin = rig
        .ingest
        .submit(rig.submission("{}"), |_| Some(record("other")))
        .await;
    let Err(IngestError::IdempotencyKeyTaken(answer)) = twin else {
        panic!("{twin:?}")
    };
    assert_eq!(answer.body, first.message.id.to_string());
    rig.stop().await;
}

#[tokio::test]
async fn bodies_in_flight_are_bounded() {
    let mut setup = Setup::default();
    setup.ingest.in_flight_bytes = 10;
    let rig = setup.start().await;
    rig.submit("ten bytes!").await;
    let refused = rig.try_submit(rig.submission("eleven more")).await;
    let Err(IngestError::Overloaded { retry_after }) = refused else {
        panic!("{refused:?}")
    };
    assert!(!retry_after.is_zero());
    rig.submit("ten again.").await;
    rig.stop().await;
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_a_refusal_with_a_time() {
    let rig = Rig::start().await;
    rig.store.close().await.unwrap();
    let refused = rig.try_submit(rig.submission("{}")).await;
    assert!(matches!(
        refused,
        Err(IngestError::Unavailable {
            source: StoreError::Closed,
            ..
        })
    ));
    rig.kill().await;
}

#[tokio::test]
async fn what_the_queue_to_fan_out_does_not_take_is_delivered_all_the_same() {
    let mut setup = Setup::default();
    setup.ingest.fan_out_queue = 1;
    setup.delivery.lane_queue = 1;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    for _ in 0..8 {
        rig.endpoint(&receiver.url(), |_| {}).await;
    }
    let submitting = (0..100).map(|n| rig.submit(n.to_string()));
    futures_util::future::join_all(submitting).await;
    for _ in 0..800 {
        receiver.next().await;
    }
    rig.stop().await;
    assert!(receiver.unseen().await.is_none(), "each once");
}

#[tokio::test]
async fn a_backlog_of_fan_out_is_bounded_too() {
    let (store, mut setup) = over_faulty_store();
    setup.ingest.fan_out_queue = 1;
    setup.ingest.fan_out_backlog = 3;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    rig.endpoint(&receiver.url(), |_| {}).await;
    rig.submit("the outbox has been read").await;
    receiver.next().await;
    // Fan-out stands still at the first message that did not fit into its queue.
    store.hold_messages();
    let submitting = (0..20).map(|n| rig.try_submit(rig.submission(n.to_string())));
    for result in futures_util::future::join_all(submitting).await {
        result.unwrap();
    }
    let refused = rig.try_submit(rig.submission("one too many")).await;
    assert!(
        matches!(refused, Err(IngestError::Overloaded { .. })),
        "{refused:?}"
    );
    store.resume_messages();
    for _ in 0..20 {
        receiver.next().await;
    }
    rig.stop().await;
}

/// The disk fails after the message was written: its sender sees an error, and it is delivered once all the
/// same, as are those around it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_a_fault_left_behind_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let config = SledConfig {
        min_free_bytes: 1 << 20,
        reserve_bytes: 1 << 20,
        ..SledConfig::in_dir(directory.path())
    };
    let store = SledStore::open(config, Arc::clone(&clock), Arc::new(Metrics::new())).unwrap();
    let store = Arc::new(store);
    let setup = Setup {
        store: Some(Arc::clone(&store) as Arc<dyn Store>),
        clock: Some(clock),
        ..Setup::default()
    };
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    let endpoint = rig.endpoint(&receiver.url(), |_| {}).await;
    let before = rig.submit("before").await;
    assert_eq!(receiver.next().await.body, "before");
    // Nothing else is written from here.
    rig.settled(&before, &endpoint).await;
    store.break_next_sync();
    let refused = rig.try_submit(rig.submission("left behind")).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(receiver.next().await.body, "left behind");
    rig.submit("after").await;
    assert_eq!(receiver.next().await.body, "after");
    rig.stop().await;
    assert!(receiver.unseen().await.is_none(), "each once");
}

/// A gateway whose fan-out stands still at the first of five messages sent at once, since it did not fit into
/// the queue. Its one lane delivers one at a time as they come from fan-out: one that keeps the order itself
/// would put right what fan-out does wrong.
async fn standing_still() -> (Arc<FaultyStore>, Rig, Receiver) {
    let (store, mut setup) = over_faulty_store();
    setup.ingest.fan_out_queue = 1;
    setup.delivery.in_flight.endpoint_start = 1;
    setup.delivery.in_flight.endpoint_max = 1;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    rig.endpoint(&receiver.url(), |_| {}).await;
    rig.submit("the outbox has been read").await;
    receiver.next().await;
    store.hold_messages();
    let at_once = (0..5).map(|_| rig.submit("at once"));
    futures_util::future::join_all(at_once).await;
    (store, rig, receiver)
}

#[tokio::test]
async fn what_the_queue_to_fan_out_does_not_take_keeps_its_place() {
    let (store, rig, receiver) = standing_still().await;
    // More than fan-out passes on at a time, each after the answer to the one before.
    for n in 0..200 {
        rig.submit(n.to_string()).await;
    }
    store.resume_messages();
    for n in 200..400 {
        rig.submit(n.to_string()).await;
    }
    for _ in 0..5 {
        assert_eq!(receiver.next().await.body, "at once");
    }
    for n in 0..400 {
        assert_eq!(receiver.next().await.body, n.to_string());
    }
    rig.stop().await;
}

/// Whoever saw the error may send the next event, which comes after it.
#[tokio::test]
async fn what_a_fault_left_behind_keeps_its_place() {
    let (store, rig, receiver) = standing_still().await;
    let before = rig.submit("before").await;
    let message = Message {
        id: MessageId::generate(rig.clock.now()),
        payload_len: 11,
        ..before
    };
    let payload = Bytes::from_static(b"left behind");
    store.leave_behind(NewMessage { message, payload }).await;
    for n in 0..100 {
        rig.submit(n.to_string()).await;
    }
    store.resume_messages();
    for _ in 0..5 {
        assert_eq!(receiver.next().await.body, "at once");
    }
    for expected in ["before", "left behind"] {
        assert_eq!(receiver.next().await.body, expected);
    }
    for n in 0..100 {
        assert_eq!(receiver.next().await.body, n.to_string());
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for_and_what_it_takes_in_the_end_is_delivered() {
    let (store, mut setup) = over_faulty_store();
    setup.ingest.commit_timeout_ms = 20;
    let rig = setup.start().await;
    let receiver = Receiver::start().await;
    rig.endpoint(&receiver.url(), |_| {}).await;
    rig.submit("the outbox has been read").await;
    receiver.next().await;
    store.hold_accepts();
    let refused = rig.try_submit(rig.submission("late")).await;
    assert!(matches!(refused, Err(IngestError::Unavailable { .. })));
    store.resume_accepts();
    assert_eq!(receiver.next().await.body, "late");
    rig.stop().await;
}

#[tokio::test]
async fn a_refused_message_gives_its_place_in_the_rate_back() {
    let rig = Rig::start().await;
    let mut event = rig.submission("{}");
    event.app.throttle_rate = Some(1);
    event.event_id = Some(Uid::parse("order-8").unwrap());
    rig.try_submit(event.clone()).await.unwrap();
    let limited = rig.try_submit(event.clone()).await;
    assert!(matches!(
        limited,
        Err(IngestError::Throttled { whose: "application", retry_after }) if retry_after.as_secs() < 2
    ));
    // More than its burst: each takes a place and gives it back.
    event.app.throttle_rate = Some(100);
    event.app.id = ApplicationId::generate(rig.clock.now());
    rig.try_submit(event.clone()).await.unwrap();
    for _ in 0..200 {
        let refused = rig.try_submit(event.clone()).await;
        assert!(matches!(refused, Err(IngestError::EventIdTaken { .. })));
    }
    rig.stop().await;
}
