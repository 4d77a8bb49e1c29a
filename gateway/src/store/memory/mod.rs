//! The store in memory: for tests, simulations and embedding where nothing needs to outlive the process.
//! Passes the same conformance suite as every other backend. Touches no file and keeps no secret promise:
//! what it answers with `Ok` lives as long as the process.

mod deliveries;
mod records;
mod sweep;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::lease_table::LeaseTable;
use super::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord, Kind,
    Lease, MessageFilter, Observer, OutboxEntry, Outcome, PageRequest, Record, Shaped, ShardSet,
    Store, StoreError, Write,
};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, Clock, DeliveryKey, DeliveryRow, EndpointId, Message, Seq,
    Timestamp,
};
use deliveries::Events;
use records::Records;

/// Everything under one lock.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    observers: Mutex<Vec<Observer>>,
}

#[derive(Debug)]
struct State {
    kept: Kept,
    leases: LeaseTable,
    closed: bool,
}

/// What an export carries.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Kept {
    seq: u64,
    records: Records,
    events: Events,
}

impl Kept {
    fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        Seq(self.seq)
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store; the clock says when leases lapse and idempotency keys expire.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                kept: Kept::default(),
                leases: LeaseTable::above(0),
                closed: false,
            }),
            observers: Mutex::new(Vec::new()),
        }
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(StoreError::Closed);
        }
        act(&mut state)
    }

    /// Reads as the holder of a shard.
    fn as_holder<T>(
        &self,
        lease: &Lease,
        read: impl FnOnce(&Kept, ShardSet) -> T,
    ) -> Result<T, StoreError> {
        self.with(|state| {
            let held = state.leases.still_held(lease)?;
            Ok(read(&state.kept, held))
        })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn record_by_id(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        self.with(|state| Ok(state.kept.records.by_id(kind, id)))
    }

    async fn record_by_uid(
        &self,
        kind: Kind,
        parent: &str,
        uid: &str,
    ) -> Result<Option<Record>, StoreError> {
        self.with(|state| Ok(state.kept.records.by_uid(kind, parent, uid)))
    }

    async fn records_of(
        &self,
        kind: Kind,
        parent: &str,
        page: PageRequest,
    ) -> Result<Vec<Record>, StoreError> {
        self.with(|state| state.kept.records.of(kind, parent, page))
    }

    async fn commit(
        &self,
        writes: Vec<Write>,
        idempotency: Option<IdempotencyRecord>,
    ) -> Result<Vec<Record>, StoreError> {
        let now = self.clock.now();
        self.with(|state| {
            if let Some(taken) = idempotency
                .as_ref()
                .and_then(|new| state.kept.events.idempotency_taken(new, now))
            {
                return Err(StoreError::IdempotencyKeyTaken(Box::new(taken)));
            }
            let Kept { seq, records, .. } = &mut state.kept;
            let (written, changes) = records.apply(writes, seq)?;
            if let Some(new) = idempotency {
                state.kept.events.keep_idempotency(new);
            }
            // Under the state's lock, so that observers see changes in the order of the commits.
            let observers = self.observers.lock();
            for change in &changes {
                observers.iter().for_each(|observer| observer(change));
            }
            Ok(written)
        })
    }

    fn observe(&self, observer: Observer) {
        self.observers.lock().push(observer);
    }

    async fn idempotency(
        &self,
        scope: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.with(|state| Ok(state.kept.events.idempotency(scope, key, now)))
    }

    async fn accept(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
        let now = self.clock.now();
        self.with(|state| {
            let answers = items
                .into_iter()
                .map(|item| state.kept.accept(item, now))
                .collect();
            Ok(answers)
        })
    }

    async fn lease_shards(
        &self,
        holder: &str,
        want: ShardSet,
        ttl: Duration,
    ) -> Result<Lease, StoreError> {
        let now = self.clock.now();
        self.with(|state| Ok(state.leases.take(holder, want, now.after(ttl), now)))
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
        let until = self.clock.now().after(ttl);
        self.with(|state| state.leases.renew(lease, until))
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.with(|state| {
            state.leases.release(&lease);
            Ok(())
        })
    }

    async fn unsettled(
        &self,
        lease: &Lease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        self.as_holder(lease, |kept, _| kept.events.unsettled(after, limit))
    }

    async fn due_lanes(
        &self,
        lease: &Lease,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<DueLane>, StoreError> {
        self.as_holder(lease, |kept, held| {
            kept.events.due_lanes(held, after, limit)
        })
    }

    async fn due(
        &self,
        lease: &Lease,
        lane: EndpointId,
        until: Timestamp,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        self.with(|state| {
            state.leases.check(lease, super::Shard::of(lane))?;
            Ok(state.kept.events.due(lane, until, after, limit))
        })
    }

    async fn next_due(
        &self,
        lease: &Lease,
        lane: EndpointId,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.with(|state| {
            state.leases.check(lease, super::Shard::of(lane))?;
            Ok(state.kept.events.next_due(lane))
        })
    }

    async fn parked(&self, lease: &Lease, lane: EndpointId) -> Result<u64, StoreError> {
        self.with(|state| {
            state.leases.check(lease, super::Shard::of(lane))?;
            Ok(state.kept.events.parked(lane))
        })
    }

    async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        self.with(|state| {
            for outcome in &outcomes {
                match outcome.endpoint() {
                    Some(endpoint) => state.leases.check(lease, super::Shard::of(endpoint))?,
                    None => drop(state.leases.still_held(lease)?),
                }
            }
            for outcome in outcomes {
                state.kept.record(outcome);
            }
            Ok(())
        })
    }

    async fn surfaced(&self) -> RangeInclusive<Seq> {
        // Nothing fails half-way here.
        std::future::pending().await
    }

    async fn message(&self, seq: Seq) -> Result<Option<Message>, StoreError> {
        self.with(|state| Ok(state.kept.events.message(seq)))
    }

    async fn message_by_id(
        &self,
        app: ApplicationId,
        id_or_event_id: &str,
    ) -> Result<Option<Message>, StoreError> {
        self.with(|state| Ok(state.kept.events.message_by_id(app, id_or_event_id)))
    }

    async fn payload(&self, seq: Seq) -> Result<Option<Bytes>, StoreError> {
        self.with(|state| Ok(state.kept.events.payload(seq)))
    }

    async fn events(
        &self,
        messages: Vec<Seq>,
        most: usize,
    ) -> Result<Vec<(Message, Bytes)>, StoreError> {
        self.with(|state| Ok(state.kept.events.events(&messages, most)))
    }

    async fn messages(
        &self,
        app: ApplicationId,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<Found<Message>, StoreError> {
        self.with(|state| state.kept.events.messages(app, filter, page))
    }

    async fn attempts(
        &self,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest,
    ) -> Result<Found<Attempt>, StoreError> {
        self.with(|state| state.kept.events.attempts(of, filter, page))
    }

    async fn attempt(&self, message: Seq, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        self.with(|state| Ok(state.kept.events.attempt(message, id)))
    }

    async fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError> {
        self.with(|state| Ok(state.kept.events.delivery(key)))
    }

    async fn deliveries(&self, message: Seq) -> Result<Vec<DeliveryRow>, StoreError> {
        self.with(|state| Ok(state.kept.events.deliveries(message)))
    }

    async fn shaped(&self, key: DeliveryKey) -> Result<Option<Shaped>, StoreError> {
        self.with(|state| Ok(state.kept.events.shaped(key)))
    }

    async fn sweep(&self, now: Timestamp, budget: usize) -> Result<usize, StoreError> {
        self.with(|state| {
            let (deleted, changes) = state.kept.sweep(now, budget);
            let observers = self.observers.lock();
            for change in &changes {
                observers.iter().for_each(|observer| observer(change));
            }
            Ok(deleted)
        })
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.with(|_| Ok(()))
    }

    async fn export(&self) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError> {
        let copy = self.with(|state| {
            postcard::to_stdvec(&state.kept).map_err(|source| StoreError::Backend(source.into()))
        })?;
        let (chunks, receiver) = mpsc::channel(1);
        // The channel is empty and has room for the one chunk.
        chunks
            .try_send(Ok(copy.into()))
            .map_err(|source| StoreError::Backend(source.into()))?;
        Ok(receiver)
    }

    async fn import(&self, mut chunks: mpsc::Receiver<Bytes>) -> Result<(), StoreError> {
        let mut copy = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            copy.extend_from_slice(&chunk);
        }
        let kept: Kept = postcard::from_bytes(&copy).map_err(|source| StoreError::Damaged {
            what: format!("the export does not decode: {source}"),
        })?;
        self.with(|state| {
            if state.kept.seq != 0 {
                return Err(StoreError::Backend(
                    "only an empty store takes an export in".into(),
                ));
            }
            state.kept = kept;
            Ok(())
        })
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.with(|state| {
            state.closed = true;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, Subject};
    use super::MemoryStore;

    fn memory() -> Subject {
        Subject::of(MemoryStore::new)
    }

    conformance::suite!(super::memory);
}
