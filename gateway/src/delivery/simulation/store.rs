//! The store as one life of a gateway reaches it: over its line, with delays and faults. What it says yes to is
//! noted.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::line::Line;
use super::plan::Sabotage;
use super::world::World;
use crate::domain::{DeliveryRow, EndpointId, Message, Seq, Timestamp};
use crate::store::between::Between;
use crate::store::{
    AcceptItem, AcceptRefusal, Lease, Observer, OutboxEntry, Outcome, ShardSet, Store, StoreError,
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
}

#[async_trait]
impl Between for SimStore {
    fn behind(&self) -> &dyn Store {
        self.world.store.as_ref()
    }

    async fn before(&self, call: &'static str) -> Result<(), StoreError> {
        self.line.pass(&self.world).await;
        let Some(fault) = self.world.store_fault() else {
            return Ok(());
        };
        self.world
            .say(|| format!("life {}: {call} fails: {fault}", self.line.life));
        Err(fault)
    }

    /// What was asked may have been done although the answer is never heard.
    async fn after(&self) {
        self.line.pass(&self.world).await;
    }

    async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
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
        let recorded = self.behind().record(lease, outcomes).await;
        world.say(|| format!("life {life}: records {rows:?}: {recorded:?}"));
        if recorded.is_ok() && holder.is_some_and(|holder| holder.life != life) {
            world.broken(format!(
                "life {life} records {rows:?} although another gateway has taken the lanes over"
            ));
        }
        recorded
    }

    /// The process that has the store takes messages. (One whose lanes were taken over has lost its store.)
    async fn accept(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
        let (world, life) = (&self.world, self.line.life);
        let holder = world.truth().holder.as_ref().map(|holder| holder.life);
        if holder.is_some_and(|holder| holder != life) {
            return Err(StoreError::Closed);
        }
        let answers = self.behind().accept(items).await?;
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

    async fn lease_shards(
        &self,
        holder: &str,
        want: ShardSet,
        ttl: Duration,
    ) -> Result<Lease, StoreError> {
        let lease = self.behind().lease_shards(holder, want, ttl).await?;
        if lease.shards == want {
            self.world
                .say(|| format!("life {}: takes the lanes over", self.line.life));
            self.world.truth().taken_over(self.line.life, lease.clone());
        }
        Ok(lease)
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.behind().release(lease.clone()).await?;
        self.world.truth().given_back(&lease);
        Ok(())
    }

    async fn due(
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
        self.behind().due(lease, lane, until, after, limit).await
    }

    async fn unsettled(
        &self,
        lease: &Lease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let mut entries = self.behind().unsettled(lease, after, limit).await?;
        if self.world.plan.sabotage == Sabotage::Forgetful {
            entries.iter_mut().for_each(|entry| entry.have_rows.clear());
        }
        Ok(entries)
    }

    fn observe(&self, observer: Observer) {
        let line = Arc::clone(&self.line);
        self.behind().observe(Box::new(move |change| {
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
}
