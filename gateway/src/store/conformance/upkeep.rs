//! Sweeping, export and import, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    Subject, app, attempt, delivered, endpoint, item, key, later, parked, sweep_all, with_event_id,
};
use crate::domain::{
    Application, ApplicationId, Digest, EndpointId, Message, Organization, OrganizationId, Plugin,
    PluginId, PluginVersion, Seq,
};
use crate::store::records::{self, ChainOwner, ChainRecord};
use crate::store::{
    AcceptItem, AttemptFilter, AttemptsOf, Kind, MessageFilter, Outcome, PageRequest, Record,
    Shaped, Store, StoreError, Write,
};

/// After every expiry, with room for the second look at what was held up.
const LONG_AFTER: u64 = 86_400 + 3 * 3600;

pub(super) fn record(kind: Kind, parent: &str, id: &str) -> Write {
    Write::Insert(Record {
        kind,
        id: id.into(),
        parent: parent.into(),
        uid: Some(id.into()),
        seq: Seq(0),
        revision: 0,
        body: "{}".into(),
    })
}

pub(super) async fn add_endpoint(store: &Arc<dyn Store>, app: ApplicationId, endpoint: EndpointId) {
    let write = record(Kind::Endpoint, &app.to_string(), &endpoint.to_string());
    store.commit(vec![write], None).await.unwrap();
}

async fn all_of(store: &Arc<dyn Store>, app: ApplicationId) -> Vec<Message> {
    let page = PageRequest::first(10_000);
    let everything = MessageFilter::default();
    let messages = store.messages(app, &everything, page);
    messages.await.unwrap().rows
}

async fn attempts_at(store: &Arc<dyn Store>, of: AttemptsOf) -> usize {
    let page = PageRequest::first(1000);
    let everything = AttemptFilter::default();
    let attempts = store.attempts(of, &everything, page);
    attempts.await.unwrap().rows.len()
}

pub(crate) async fn expired_messages_go_whole(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, lane) = (app(), endpoint());
    let mut gone = Vec::new();
    for n in 0..30 {
        let message = subject.accept(with_event_id(app, &format!("e{n}"))).await;
        let outcome = vec![delivered(lane, &message, true)];
        store.record(&lease, outcome).await.unwrap();
        gone.push(message);
    }
    let mut kept = item(app, vec![1; 100_000]);
    kept.new.message.expires_at = later(30 * 86_400);
    let kept = subject.accept(kept).await;
    store
        .record(&lease, vec![delivered(lane, &kept, true)])
        .await
        .unwrap();
    assert_eq!(sweep_all(store, later(86_399 - 3600)).await, 0);
    assert_eq!(all_of(store, app).await.len(), 31);
    assert!(sweep_all(store, later(LONG_AFTER)).await >= 30);
    assert_eq!(all_of(store, app).await, std::slice::from_ref(&kept));
    for message in &gone {
        let seq = message.seq;
        assert_eq!(store.message(seq).await.unwrap(), None);
        assert_eq!(store.payload(seq).await.unwrap(), None);
        let by_id = store.message_by_id(app, &message.id.to_string()).await;
        assert_eq!(by_id.unwrap(), None);
        assert!(store.deliveries(seq).await.unwrap().is_empty());
        assert_eq!(attempts_at(store, AttemptsOf::Message(seq)).await, 0);
    }
    assert_eq!(attempts_at(store, AttemptsOf::Endpoint(lane)).await, 1);
    assert!(store.payload(kept.seq).await.unwrap().is_some());
    // The event id is free again.
    subject.accept(with_event_id(app, "e0")).await;
}

pub(crate) async fn nothing_goes_before_its_deliveries_end(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, lane) = (app(), endpoint());
    add_endpoint(store, app, lane).await;
    let pending = subject.accept(item(app, "1")).await;
    let waiting = subject.accept(item(app, "2")).await;
    let outcome = Outcome {
        outbox_done: Some(waiting.seq),
        ..parked(lane, waiting.seq, 5)
    };
    store.record(&lease, vec![outcome]).await.unwrap();
    assert_eq!(sweep_all(store, later(LONG_AFTER)).await, 0);
    assert_eq!(all_of(store, app).await.len(), 2);
    let ends = vec![
        delivered(lane, &pending, true),
        delivered(lane, &waiting, false),
    ];
    store.record(&lease, ends).await.unwrap();
    assert!(sweep_all(store, later(2 * LONG_AFTER)).await >= 2);
    assert!(all_of(store, app).await.is_empty());
}

pub(crate) async fn expired_keys_are_swept(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let with_key = AcceptItem {
        idempotency: Some(key("k")),
        ..item(app(), "{}")
    };
    subject.accept(with_key).await;
    let write = record(Kind::EventType, "org", "a");
    store.commit(vec![write], Some(key("k2"))).await.unwrap();
    assert_eq!(sweep_all(store, later(3600)).await, 0);
    assert_eq!(sweep_all(store, later(14 * 3600)).await, 2);
    for name in ["k", "k2"] {
        let kept = store.idempotency("org_1", name, later(1)).await.unwrap();
        assert_eq!(kept, None);
    }
}

pub(crate) async fn a_removed_organization_takes_its_management_application(
    make: impl Fn() -> Subject,
) {
    let store = &make().store;
    let org = Organization::new(OrganizationId::generate(super::START), super::START);
    let management = Application::management(org.id, super::START);
    store.insert(&org, None).await.unwrap();
    store.insert(&management, None).await.unwrap();
    let listed = store.list::<Application>(org.id, PageRequest::first(10));
    assert!(listed.await.unwrap().is_empty(), "it is no tenant");
    let gone = records::remove::<Organization>(org.id);
    store.commit(vec![gone], None).await.unwrap();
    sweep_all(store, later(1)).await;
    let kept = store.get::<Application>(management.id).await.unwrap();
    assert!(kept.is_none());
}

pub(crate) async fn a_removed_application_takes_everything(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, other, lane) = (app(), app(), endpoint());
    let chain = |owner: String, app: ApplicationId| record(Kind::Chain, &app.to_string(), &owner);
    let suspension = |owner: String| record(Kind::Suspension, &app.to_string(), &owner);
    let plugin = PluginId::generate(super::START).to_string();
    let writes = vec![
        record(Kind::Application, "org", &app.to_string()),
        record(Kind::Application, "org", &other.to_string()),
        chain(app.to_string(), app),
        chain(other.to_string(), other),
        chain(lane.to_string(), app),
        record(Kind::Transformation, &app.to_string(), &lane.to_string()),
        suspension(app.to_string()),
        suspension(lane.to_string()),
        record(Kind::Plugin, &app.to_string(), &plugin),
        record(Kind::PluginVersion, &plugin, "version"),
        record(Kind::Plugin, "org", "kept"),
    ];
    store.commit(writes, None).await.unwrap();
    add_endpoint(store, app, lane).await;
    let settled = subject.accept(item(app, vec![1; 50_000])).await;
    let waiting = subject.accept(with_event_id(app, "e")).await;
    let pending = subject.accept(item(app, "3")).await;
    let neighbour = subject.accept(item(other, "4")).await;
    let shaped = Shaped {
        content_type: "text/plain".into(),
        headers: Vec::new(),
        payload: Some(Bytes::from(vec![2; 9_000])),
    };
    let retried = Outcome {
        attempt: Some(attempt(lane, &waiting)),
        shaped: Some(shaped),
        ..parked(lane, waiting.seq, 5)
    };
    let outcomes = vec![delivered(lane, &settled, true), retried];
    store.record(&lease, outcomes).await.unwrap();
    let seen = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = seen.clone();
    store.observe(Box::new(move |change| sink.lock().push(change.clone())));
    let gone = Write::Remove {
        kind: Kind::Application,
        id: app.to_string(),
    };
    store.commit(vec![gone], None).await.unwrap();
    assert!(sweep_all(store, later(1)).await > 0);
    assert!(all_of(store, app).await.is_empty());
    for message in [&settled, &waiting, &pending] {
        assert_eq!(store.payload(message.seq).await.unwrap(), None);
        assert!(store.deliveries(message.seq).await.unwrap().is_empty());
        let of = AttemptsOf::Message(message.seq);
        assert_eq!(attempts_at(store, of).await, 0);
    }
    assert_eq!(attempts_at(store, AttemptsOf::Endpoint(lane)).await, 0);
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
    let unsettled = store.unsettled(&lease, Seq(0), 10).await.unwrap();
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].message, neighbour);
    for (kind, id, kept) in [
        (Kind::Endpoint, lane.to_string(), false),
        (Kind::Chain, app.to_string(), false),
        (Kind::Chain, lane.to_string(), false),
        (Kind::Transformation, lane.to_string(), false),
        (Kind::Suspension, app.to_string(), false),
        (Kind::Suspension, lane.to_string(), false),
        (Kind::Plugin, plugin.clone(), false),
        (Kind::PluginVersion, "version".into(), false),
        (Kind::Chain, other.to_string(), true),
        (Kind::Plugin, "kept".into(), true),
    ] {
        let found = store.record_by_id(kind, &id).await.unwrap();
        assert_eq!(found.is_some(), kept, "{kind} {id}");
    }
    // The removed application and all eight that went with it were shown.
    assert_eq!(
        seen.lock().iter().filter(|change| change.removed).count(),
        9
    );
}

pub(crate) async fn a_removed_endpoint_takes_its_lane(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, lane, other) = (app(), endpoint(), endpoint());
    add_endpoint(store, app, lane).await;
    add_endpoint(store, app, other).await;
    let chain = ChainRecord {
        owner: ChainOwner::Endpoint(lane),
        app,
        chain: crate::domain::Chain {
            revision: 1,
            entries: Vec::new(),
            updated_at: later(0),
        },
    };
    store.insert(&chain, None).await.unwrap();
    let message = subject.accept(item(app, "{}")).await;
    let with_attempt = |lane: EndpointId| Outcome {
        attempt: Some(attempt(lane, &message)),
        ..parked(lane, message.seq, 5)
    };
    let outcomes = vec![with_attempt(lane), with_attempt(other)];
    store.record(&lease, outcomes).await.unwrap();
    let gone = Write::Remove {
        kind: Kind::Endpoint,
        id: lane.to_string(),
    };
    store.commit(vec![gone], None).await.unwrap();
    assert!(sweep_all(store, later(1)).await > 0);
    assert!(store.get::<ChainRecord>(lane).await.unwrap().is_none());
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
    assert_eq!(store.next_due(&lease, other).await.unwrap(), Some(later(5)));
    let rows = store.deliveries(message.seq).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].key.endpoint, other);
    assert_eq!(attempts_at(store, AttemptsOf::Endpoint(lane)).await, 0);
    assert_eq!(attempts_at(store, AttemptsOf::Endpoint(other)).await, 1);
    // Parked too late for the sweep, and for nobody: does not keep the message for ever.
    let late = vec![
        parked(lane, message.seq, 5),
        delivered(other, &message, true),
    ];
    store.record(&lease, late).await.unwrap();
    sweep_all(store, later(LONG_AFTER)).await;
    assert!(all_of(store, app).await.is_empty());
}

pub(crate) async fn late_outcomes_of_deleted_messages_are_dropped(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let lease = subject.lease().await;
    let (app, lane) = (app(), endpoint());
    let application = record(Kind::Application, "org", &app.to_string());
    store.commit(vec![application], None).await.unwrap();
    let message = subject.accept(item(app, "{}")).await;
    let gone = Write::Remove {
        kind: Kind::Application,
        id: app.to_string(),
    };
    store.commit(vec![gone], None).await.unwrap();
    sweep_all(store, later(1)).await;
    let late = Outcome {
        attempt: Some(attempt(lane, &message)),
        outbox_done: Some(message.seq),
        ..parked(lane, message.seq, 5)
    };
    store.record(&lease, vec![late]).await.unwrap();
    assert!(store.deliveries(message.seq).await.unwrap().is_empty());
    assert_eq!(store.next_due(&lease, lane).await.unwrap(), None);
    assert_eq!(attempts_at(store, AttemptsOf::Endpoint(lane)).await, 0);
}

/// Collects an export and cuts it into other pieces, as a network does.
async fn copy_of(store: &Arc<dyn Store>) -> Vec<u8> {
    let mut chunks = store.export().await.unwrap();
    let mut copy = Vec::new();
    while let Some(chunk) = chunks.recv().await {
        copy.extend_from_slice(&chunk.unwrap());
    }
    copy
}

async fn import(store: &Arc<dyn Store>, copy: &[u8]) -> Result<(), StoreError> {
    let (sender, receiver) = mpsc::channel(2);
    let pieces: Vec<Bytes> = copy.chunks(1_013).map(Bytes::copy_from_slice).collect();
    let feed = tokio::spawn(async move {
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
    });
    let answer = store.import(receiver).await;
    feed.await.unwrap();
    answer
}

pub(crate) async fn exports_are_imported(make: impl Fn() -> Subject) {
    let (from, to) = (make(), make());
    let lease = from.lease().await;
    let (app, lane) = (app(), endpoint());
    let plugin = Plugin {
        id: PluginId::generate(super::START),
        org: crate::domain::OrganizationId::generate(super::START),
        app: None,
        name: super::uid("redact"),
        latest: Digest::of(b"wasm"),
        created_at: later(0),
        updated_at: later(0),
    };
    let version = PluginVersion {
        plugin: plugin.id,
        digest: Digest::of(b"wasm"),
        size: 4,
        manifest_name: "redact".into(),
        label: "1".into(),
        summary: "s".repeat(20_000),
        config_schema: serde_json::json!({"type": "object"}),
        created_at: later(0),
    };
    from.store.insert(&plugin, Some(key("k"))).await.unwrap();
    from.store.insert(&version, None).await.unwrap();
    let big = from.accept(item(app, vec![3; 1 << 20])).await;
    let small = from.accept(with_event_id(app, "e")).await;
    let outcomes = vec![delivered(lane, &big, true), parked(lane, small.seq, 5)];
    from.store.record(&lease, outcomes).await.unwrap();
    import(&to.store, &copy_of(&from.store).await)
        .await
        .unwrap();
    let lease = to.lease().await;
    let read = to
        .store
        .get::<PluginVersion>(format!("{}:{}", plugin.id, version.digest));
    assert_eq!(read.await.unwrap().unwrap().value, version);
    assert_eq!(all_of(&to.store, app).await, [big.clone(), small.clone()]);
    let payload = to.store.payload(big.seq).await.unwrap().unwrap();
    assert!(payload == vec![3; 1 << 20]);
    assert_eq!(
        to.store.next_due(&lease, lane).await.unwrap(),
        Some(later(5))
    );
    let entries = to.store.unsettled(&lease, Seq(0), 10).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(attempts_at(&to.store, AttemptsOf::Endpoint(lane)).await, 1);
    let kept = to.store.idempotency("org_1", "k", later(1)).await.unwrap();
    assert_eq!(kept, Some(key("k")));
    let next = to.accept(item(app, "{}")).await;
    assert!(next.seq > small.seq);
    let again = import(&to.store, &copy_of(&from.store).await).await;
    assert!(again.is_err(), "only an empty store takes an export in");
    assert_eq!(all_of(&to.store, app).await.len(), 3);
}

/// Every message of the copy is whole, and everything that was answered before the export began is in it.
pub(crate) async fn export_is_consistent_under_writes(make: impl Fn() -> Subject) {
    let (from, to) = (make(), make());
    let lease = from.lease().await;
    let (app, lane) = (app(), endpoint());
    for _ in 0..200 {
        from.accept(item(app, vec![b'o'; 2_000])).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let (store, stop) = (from.store.clone(), done.clone());
    let churn = tokio::spawn(async move {
        while !stop.load(Ordering::SeqCst) {
            let new = store.accept(vec![item(app, vec![b'n'; 6_000])]).await;
            let message = new.unwrap().remove(0).unwrap();
            let outcome = vec![delivered(lane, &message, true)];
            store.record(&lease, outcome).await.unwrap();
        }
    });
    let copy = copy_of(&from.store).await;
    done.store(true, Ordering::SeqCst);
    churn.await.unwrap();
    import(&to.store, &copy).await.unwrap();
    let lease = to.lease().await;
    let messages = all_of(&to.store, app).await;
    assert!(messages.len() >= 200);
    let unsettled = to.store.unsettled(&lease, Seq(0), 10_000).await.unwrap();
    for message in &messages {
        let payload = to.store.payload(message.seq).await.unwrap().unwrap();
        assert_eq!(payload.len(), message.payload_len as usize);
        let by_id = to.store.message_by_id(app, &message.id.to_string()).await;
        assert_eq!(by_id.unwrap().as_ref(), Some(message));
        let rows = to.store.deliveries(message.seq).await.unwrap().len();
        let attempts = attempts_at(&to.store, AttemptsOf::Message(message.seq)).await;
        let open = unsettled.iter().any(|entry| entry.message == *message);
        assert_eq!((rows, attempts), if open { (0, 0) } else { (1, 1) });
    }
}

pub(crate) async fn broken_exports_are_refused(make: impl Fn() -> Subject) {
    let from = make();
    let app = app();
    for _ in 0..20 {
        from.accept(item(app, vec![4; 3_000])).await;
    }
    let copy = copy_of(&from.store).await;
    for broken in [
        &copy[..copy.len() / 2],
        &copy[..copy.len() - 1],
        b"",
        b"something else",
    ] {
        let to = make();
        let refused = import(&to.store, broken).await;
        assert!(
            matches!(refused, Err(StoreError::Damaged { .. })),
            "{refused:?}"
        );
        assert!(all_of(&to.store, app).await.is_empty());
    }
}

pub(crate) async fn closed_is_closed(make: impl Fn() -> Subject) {
    let subject = make();
    let store = &subject.store;
    let message = subject.accept(item(app(), "{}")).await;
    store.writable().unwrap();
    store.close().await.unwrap();
    let refused = store.accept(vec![item(app(), "{}")]).await;
    assert!(matches!(refused, Err(StoreError::Closed)));
    assert!(matches!(store.writable(), Err(StoreError::Closed)));
    let read = store.message(message.seq).await;
    assert!(matches!(read, Err(StoreError::Closed)));
    let write = record(Kind::EventType, "org", "a");
    let refused = store.commit(vec![write], None).await;
    assert!(matches!(refused, Err(StoreError::Closed)));
}
