//! For tests: what stands between a gateway and its store, and delays, refuses or changes what it is asked. Every
//! call of [`Store`] is handed through here once, so a new one needs a line here and nothing elsewhere.

use std::ops::RangeInclusive;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord, Kind,
    Lease, MessageFilter, Observer, OutboxEntry, Outcome, PageRequest, Record, Shaped, ShardSet,
    Store, StoreError, Write,
};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, DeliveryKey, DeliveryRow, EndpointId, Message, Seq,
    Timestamp,
};

macro_rules! handed_through {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        /// A store that asks another one. What it does not say otherwise is handed through as it is.
        #[async_trait]
        pub(crate) trait Between: std::fmt::Debug + Send + Sync + 'static {
            /// The store that is asked in the end.
            fn behind(&self) -> &dyn Store;

            /// Before the call of this name; what is refused here is not asked.
            async fn before(&self, _call: &'static str) -> Result<(), StoreError> {
                Ok(())
            }

            /// Between the store's answer and whoever asked.
            async fn after(&self) {}

            $(async fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
                self.behind().$name($($arg),*).await
            })*

            fn observe(&self, observer: Observer) {
                self.behind().observe(observer);
            }

            async fn surfaced(&self) -> RangeInclusive<Seq> {
                self.behind().surfaced().await
            }
        }

        #[async_trait]
        impl<B: Between> Store for B {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
                self.before(stringify!($name)).await?;
                let answer = Between::$name(self, $($arg),*).await;
                self.after().await;
                answer
            })*

            fn observe(&self, observer: Observer) {
                Between::observe(self, observer);
            }

            async fn surfaced(&self) -> RangeInclusive<Seq> {
                Between::surfaced(self).await
            }

            fn writable(&self) -> Result<(), StoreError> {
                self.behind().writable()
            }
        }
    };
}

handed_through! {
    record_by_id(kind: Kind, id: &str) -> Option<Record>;
    record_by_uid(kind: Kind, parent: &str, uid: &str) -> Option<Record>;
    records_of(kind: Kind, parent: &str, page: PageRequest) -> Vec<Record>;
    commit(writes: Vec<Write>, idempotency: Option<IdempotencyRecord>) -> Vec<Record>;
    idempotency(scope: &str, key: &str, now: Timestamp) -> Option<IdempotencyRecord>;
    accept(items: Vec<AcceptItem>) -> Vec<Result<Message, AcceptRefusal>>;
    lease_shards(holder: &str, want: ShardSet, ttl: Duration) -> Lease;
    renew(lease: &Lease, ttl: Duration) -> ();
    release(lease: Lease) -> ();
    unsettled(lease: &Lease, after: Seq, limit: usize) -> Vec<OutboxEntry>;
    due_lanes(lease: &Lease, after: Option<EndpointId>, limit: usize) -> Vec<DueLane>;
    due(lease: &Lease, lane: EndpointId, until: Timestamp, after: Option<(Timestamp, Seq)>, limit: usize)
        -> Vec<DeliveryRow>;
    next_due(lease: &Lease, lane: EndpointId) -> Option<Timestamp>;
    parked(lease: &Lease, lane: EndpointId) -> u64;
    record(lease: &Lease, outcomes: Vec<Outcome>) -> ();
    message(seq: Seq) -> Option<Message>;
    message_by_id(app: ApplicationId, id_or_event_id: &str) -> Option<Message>;
    payload(seq: Seq) -> Option<Bytes>;
    events(messages: Vec<Seq>, most: usize) -> Vec<(Message, Bytes)>;
    messages(app: ApplicationId, filter: &MessageFilter, page: PageRequest) -> Found<Message>;
    attempts(of: AttemptsOf, filter: &AttemptFilter, page: PageRequest) -> Found<Attempt>;
    attempt(message: Seq, id: AttemptId) -> Option<Attempt>;
    delivery(key: DeliveryKey) -> Option<DeliveryRow>;
    deliveries(message: Seq) -> Vec<DeliveryRow>;
    shaped(key: DeliveryKey) -> Option<Shaped>;
    sweep(now: Timestamp, budget: usize) -> usize;
    export() -> mpsc::Receiver<Result<Bytes, StoreError>>;
    import(chunks: mpsc::Receiver<Bytes>) -> ();
    close() -> ();
}
