//! The store as one life of a gateway reaches it: over its line, with delays and faults. What it says yes to is
//! noted.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::line::Line;
use super::plan::Sabotage;
use super::world::World;
use crate::domain::{
    ApplicationId, Attempt, AttemptId, DeliveryKey, DeliveryRow, EndpointId, Message, Seq,
    Timestamp,
};
use crate::store::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord, Kind,
    Lease, MessageFilter, Observer, OutboxEntry, Outcome, PageRequest, Record, Shaped, ShardSet,
    Store, StoreError, Write,
};

/// How many accepted messages are answered with an error although they are on disk, where calls fail at all.
const SURFACING: f64 = 0.05;

/// How many outcomes a store loses that is broken on purpose.
const LOST: f64 = 0.1;

/// How early it shows what is parked.
const EARLY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct SimStore {
    world: Arc<World>,
    line: Arc<Line>,
    /// Messages that are on disk although their acceptance was answered with an error.
    surfaced: Mutex<VecDeque<RangeInclusive<Seq>>>,
    surfacing: Notify,
}

impl SimStore {
    pub(super) fn new(world: &Arc<World>, line: &Arc<Line>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            line: Arc::clone(line),
            surfaced: Mutex::default(),
            surfacing: Notify::new(),
        })
    }

    fn inner(&self) -> &dyn Store {
        self.world.store.as_ref()
    }

    /// Asks the store over the line. What was asked may have been done although the answer is never heard.
    async fn call<T>(
        &self,
        name: &'static str,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.line.pass(&self.world).await;
        if let Some(fault) = self.world.store_fault() {
            self.world
                .say(|| format!("life {}: {name} fails: {fault}", self.line.life));
            return Err(fault);
        }
        let answer = ask.await;
        self.line.pass(&self.world).await;
        answer
    }

    async fn record_noted(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        let (world, life) = (&self.world, self.line.life);
        if world.plan.sabotage == Sabotage::LosesOutcomes && world.chance(LOST) {
            return Ok(());
        }
        let holder = world.truth().holder.clone();
        let lease = match &holder {
            Some(holder) if world.plan.sabotage == Sabotage::Unfenced => &holder.lease,
            _ => lease,
        };
        let rows = outcomes.iter().filter_map(|outcome| outcome.row.clone());
        let rows: Vec<_> = rows.collect();
        let recorded = self.inner().record(lease, outcomes).await;
        world.say(|| format!("life {life}: records {rows:?}: {recorded:?}"));
        if recorded.is_ok() && holder.is_some_and(|holder| holder.life != life) {
            world.broken(format!(
                "life {life} records {rows:?} although another gateway has taken the lanes over"
            ));
        }
        recorded
    }

    /// The process that has the store takes messages. (One whose lanes were taken over has lost its store.)
    async fn accept_noted(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
        let (world, life) = (&self.world, self.line.life);
        let holder = world.truth().holder.as_ref().map(|holder| holder.life);
        if holder.is_some_and(|holder| holder != life) {
            return Err(StoreError::Closed);
        }
        let answers = self.inner().accept(items).await?;
        let accepted: Vec<Message> = answers.iter().flatten().cloned().collect();
        for message in &accepted {
            world.say(|| format!("life {life}: accepts {:?}", message.seq));
            world.truth().accepted(message.clone(), world.ms());
        }
        if let (Some(first), Some(last)) = (accepted.first(), accepted.last())
            && world.plan.faults > 0.0
            && world.chance(SURFACING)
        {
            world.say(|| format!("life {life}: {:?} surfaces later", first.seq));
            self.surfaced.lock().push_back(first.seq..=last.seq);
            self.surfacing.notify_one();
            return Err(StoreError::Backend("a fault after the write".into()));
        }
        Ok(answers)
    }

    async fn lease_noted(
        &self,
        holder: &str,
        want: ShardSet,
        ttl: Duration,
    ) -> Result<Lease, StoreError> {
        let lease = self.inner().lease_shards(holder, want, ttl).await?;
        if lease.shards == want {
            self.world
                .say(|| format!("life {}: takes the lanes over", self.line.life));
            self.world.truth().taken_over(self.line.life, lease.clone());
        }
        Ok(lease)
    }

    async fn due_noted(
        &self,
        lease: &Lease,
        lane: EndpointId,
        until: Timestamp,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let until = match self.world.plan.sabotage {
            Sabotage::Hasty => until.after(EARLY),
            _ => until,
        };
        self.inner().due(lease, lane, until, after, limit).await
    }

    async fn unsettled_noted(
        &self,
        lease: &Lease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut entries = self.inner().unsettled(lease, after, limit).await?;
        if self.world.plan.sabotage == Sabotage::Forgetful {
            entries.iter_mut().for_each(|entry| entry.have_rows.clear());
        }
        Ok(entries)
    }

    async fn release_noted(&self, lease: Lease) -> Result<(), StoreError> {
        self.inner().release(lease.clone()).await?;
        self.world.truth().given_back(&lease);
        Ok(())
    }
}

macro_rules! over_the_line {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $out:ty;)*) => {
        #[async_trait]
        impl Store for SimStore {
            $(async fn $name(&self, $($arg: $kind),*) -> Result<$out, StoreError> {
                self.call(stringify!($name), self.inner().$name($($arg),*)).await
            })*

            async fn accept(
                &self,
                items: Vec<AcceptItem>,
            ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
                self.call("accept", self.accept_noted(items)).await
            }

            async fn lease_shards(
                &self,
                holder: &str,
                want: ShardSet,
                ttl: Duration,
            ) -> Result<Lease, StoreError> {
                let taking = self.lease_noted(holder, want, ttl);
                self.call("lease_shards", taking).await
            }

            async fn release(&self, lease: Lease) -> Result<(), StoreError> {
                self.call("release", self.release_noted(lease)).await
            }

            async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
                self.call("record", self.record_noted(lease, outcomes)).await
            }

            async fn due(
                &self,
                lease: &Lease,
                lane: EndpointId,
                until: Timestamp,
                after: Option<(Timestamp, Seq)>,
                limit: usize,
            ) -> Result<Vec<DeliveryRow>, StoreError> {
                let reading = self.due_noted(lease, lane, until, after, limit);
                self.call("due", reading).await
            }

            async fn unsettled(
                &self,
                lease: &Lease,
                after: Seq,
                limit: usize,
            ) -> Result<Vec<OutboxEntry>, StoreError> {
                let reading = self.unsettled_noted(lease, after, limit);
                self.call("unsettled", reading).await
            }

            fn observe(&self, observer: Observer) {
                let line = Arc::clone(&self.line);
                self.inner().observe(Box::new(move |change| {
                    if !line.is_cut() {
                        observer(change);
                    }
                }));
            }

            async fn surfaced(&self) -> RangeInclusive<Seq> {
                loop {
                    if let Some(range) = self.surfaced.lock().pop_front() {
                        return range;
                    }
                    self.surfacing.notified().await;
                }
            }

            fn writable(&self) -> Result<(), StoreError> {
                self.inner().writable()
            }
        }
    };
}

over_the_line! {
    record_by_id(kind: Kind, id: &str) -> Option<Record>;
    record_by_uid(kind: Kind, parent: &str, uid: &str) -> Option<Record>;
    records_of(kind: Kind, parent: &str, page: PageRequest) -> Vec<Record>;
    commit(writes: Vec<Write>, idempotency: Option<IdempotencyRecord>) -> Vec<Record>;
    idempotency(scope: &str, key: &str, now: Timestamp) -> Option<IdempotencyRecord>;
    renew(lease: &Lease, ttl: Duration) -> ();
    due_lanes(lease: &Lease, after: Option<EndpointId>, limit: usize) -> Vec<DueLane>;
    next_due(lease: &Lease, lane: EndpointId) -> Option<Timestamp>;
    parked(lease: &Lease, lane: EndpointId) -> u64;
    message(seq: Seq) -> Option<Message>;
    message_by_id(app: ApplicationId, id_or_event_id: &str) -> Option<Message>;
    payload(seq: Seq) -> Option<Bytes>;
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
