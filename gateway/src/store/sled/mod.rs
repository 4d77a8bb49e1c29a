//! The embedded store: sled 0.34.7, kept honest. The rules that were measured are all in here: one tree and
//! one batch a group, one writer that syncs the disk itself before it answers, no value long enough to leave
//! the log, an opening that expects damage, a handle that is dropped and reopened after any I/O error.
//!
//! Owned by one process; its shards are therefore all leased from a table in memory, with tokens above every
//! earlier boot's. Reads run on blocking threads, never in an async task, except of records read a moment ago,
//! which are kept in memory.

mod codec;
mod config;
mod export;
mod group;
mod keys;
mod known;
mod log;
mod marker;
mod offline;
mod open;
mod packed;
mod queue;
mod reads;
mod records;
mod runs;
mod salvage;
mod shared;
mod space;
mod surfaced;
mod sweep;
mod tally;
mod turns;
mod writer;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod flip_tests;
#[cfg(test)]
mod measure;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turns_tests;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::lease_table::LeaseTable;
use super::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord, Kind,
    Lease, MessageFilter, Observer, OutboxEntry, Outcome, PageRequest, Record, Shaped, Shard,
    ShardSet, Store, StoreError, Write,
};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, Clock, DeliveryKey, DeliveryRow, EndpointId, Message, Seq,
    Timestamp,
};
use crate::metrics::Metrics;
use codec::{NewKey, NewOutcome, NewRow};
use queue::Queue;
use shared::Shared;
use writer::{Job, Writer};

pub use config::SledConfig;
pub use offline::{Checked, check};
pub use salvage::{Salvaged, salvage};

/// Low bits of a lease's token count within a boot; the boot number stands above them.
const TOKENS_A_BOOT: u32 = 32;

/// The store of one gateway in one directory.
pub struct SledStore {
    shared: Arc<Shared>,
    queue: Queue,
    /// Taken to be waited for when the store is dropped.
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore")
            .field("dir", &self.shared.config.dir)
            .finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the directory, or makes it. Blocks for as long as opening takes: call it before serving. The
    /// clock says when leases lapse and idempotency keys expire.
    pub fn open(
        config: SledConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, StoreError> {
        let opened = open::open(&config)?;
        let leases = LeaseTable::above(opened.boot << TOKENS_A_BOOT);
        // Items bound the queue before this does; outcomes may take it to twice its size.
        let (jobs, waiting) = sync_channel(2 * config.queue.max(1));
        let shared = Shared::new(config, clock, metrics, leases, opened.handle, opened.seq);
        let shared = Arc::new(shared);
        let writer = Writer {
            shared: shared.clone(),
            jobs: waiting,
            marker: opened.marker,
            seq: opened.seq,
            tally: opened.tally,
            doubtful: None,
            lock: opened.lock,
        };
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(marker::failed)?;
        Ok(Self {
            queue: Queue::new(jobs, shared.clone()),
            shared,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Reads as the holder of a lane.
    fn check_lane(&self, lease: &Lease, lane: EndpointId) -> Result<(), StoreError> {
        self.shared.check_open()?;
        self.shared.leases.lock().check(lease, Shard::of(lane))
    }

    fn still_held(&self, lease: &Lease) -> Result<ShardSet, StoreError> {
        self.shared.check_open()?;
        self.shared.leases.lock().still_held(lease)
    }
}

/// Waits for the writer, so that the directory is free when the store is gone.
impl Drop for SledStore {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

#[async_trait]
impl Store for SledStore {
    async fn record_by_id(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        self.shared.record(kind, id).await
    }

    async fn record_by_uid(
        &self,
        kind: Kind,
        parent: &str,
        uid: &str,
    ) -> Result<Option<Record>, StoreError> {
        let key = keys::record_uid(kind, parent, uid);
        match self.shared.id_of_uid(key).await? {
            Some(id) => self.shared.record(kind, &id).await,
            None => Ok(None),
        }
    }

    async fn records_of(
        &self,
        kind: Kind,
        parent: &str,
        page: PageRequest,
    ) -> Result<Vec<Record>, StoreError> {
        let (parent, page) = (parent.to_owned(), self.shared.committed(page));
        let read = move |tree: &sled::Tree| reads::records_of(tree, kind, &parent, page);
        self.shared.read(read).await
    }

    async fn commit(
        &self,
        writes: Vec<Write>,
        idempotency: Option<IdempotencyRecord>,
    ) -> Result<Vec<Record>, StoreError> {
        let key = idempotency.as_ref().map(NewKey::of).transpose()?;
        self.queue
            .ask(|answer| Job::Commit(writes, key, answer))
            .await
    }

    fn observe(&self, observer: Observer) {
        self.shared.observers.write().push(observer);
    }

    async fn idempotency(
        &self,
        scope: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        let read = move |tree: &sled::Tree| reads::idempotency(tree, &scope, &key, now);
        self.shared.read_durable(read).await
    }

    async fn accept(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
        let rows: Vec<NewRow> = items
            .into_iter()
            .map(|item| NewRow::of(item.new, item.idempotency.as_ref()))
            .collect::<Result<_, _>>()?;
        self.queue.ask(|answer| Job::Accept(rows, answer)).await
    }

    async fn lease_shards(
        &self,
        holder: &str,
        want: ShardSet,
        ttl: Duration,
    ) -> Result<Lease, StoreError> {
        let (holder, shared) = (holder.to_owned(), self.shared.clone());
        // Between two groups: what an earlier holder recorded in time is visible to the new one, and
        // nothing of it comes later.
        let take = move |_: &mut group::Group<'_>| {
            let now = shared.clock.now();
            let mut leases = shared.leases.lock();
            Ok(leases.take(&holder, want, now.after(ttl), now))
        };
        self.queue.between_groups(take).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
        self.shared.check_open()?;
        let until = self.shared.clock.now().after(ttl);
        self.shared.leases.lock().renew(lease, until)
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.shared.check_open()?;
        self.shared.leases.lock().release(&lease);
        Ok(())
    }

    async fn unsettled(
        &self,
        lease: &Lease,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        self.still_held(lease)?;
        let page = PageRequest {
            cursor: Some(after),
            ..PageRequest::first(limit)
        };
        let page = self.shared.committed(page);
        let read = move |tree: &sled::Tree| reads::unsettled(tree, page);
        self.shared.read(read).await
    }

    async fn due_lanes(
        &self,
        lease: &Lease,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<DueLane>, StoreError> {
        let held = self.still_held(lease)?;
        let read = move |tree: &sled::Tree| reads::due_lanes(tree, held, after, limit);
        self.shared.read(read).await
    }

    async fn due(
        &self,
        lease: &Lease,
        lane: EndpointId,
        until: Timestamp,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        self.check_lane(lease, lane)?;
        let read = move |tree: &sled::Tree| reads::due(tree, lane, until, after, limit);
        self.shared.read(read).await
    }

    async fn next_due(
        &self,
        lease: &Lease,
        lane: EndpointId,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.check_lane(lease, lane)?;
        let read = move |tree: &sled::Tree| reads::next_due(tree, lane);
        self.shared.read(read).await
    }

    async fn parked(&self, lease: &Lease, lane: EndpointId) -> Result<u64, StoreError> {
        self.check_lane(lease, lane)?;
        let read = move |tree: &sled::Tree| reads::parked(tree, lane);
        self.shared.read(read).await
    }

    async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        let outcomes: Vec<NewOutcome> = outcomes
            .into_iter()
            .map(NewOutcome::of)
            .collect::<Result<_, _>>()?;
        let lease = lease.clone();
        self.queue
            .ask(|answer| Job::Record(lease, outcomes, answer))
            .await
    }

    async fn surfaced(&self) -> RangeInclusive<Seq> {
        self.shared.surfaced.take().await
    }

    async fn message(&self, seq: Seq) -> Result<Option<Message>, StoreError> {
        let read = move |tree: &sled::Tree| reads::message(tree, seq);
        self.shared.read(read).await
    }

    async fn message_by_id(
        &self,
        app: ApplicationId,
        id_or_event_id: &str,
    ) -> Result<Option<Message>, StoreError> {
        let name = id_or_event_id.to_owned();
        let read = move |tree: &sled::Tree| reads::message_by_id(tree, app, &name);
        self.shared.read_durable(read).await
    }

    async fn payload(&self, seq: Seq) -> Result<Option<Bytes>, StoreError> {
        let read = move |tree: &sled::Tree| reads::payload(tree, seq);
        self.shared.read(read).await
    }

    async fn events(
        &self,
        messages: Vec<Seq>,
        most: usize,
    ) -> Result<Vec<(Message, Bytes)>, StoreError> {
        let read = move |tree: &sled::Tree| reads::events(tree, &messages, most);
        self.shared.read_list(read).await
    }

    async fn messages(
        &self,
        app: ApplicationId,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<Found<Message>, StoreError> {
        let (filter, page) = (filter.clone(), self.shared.committed(page));
        let read = move |tree: &sled::Tree| reads::messages(tree, app, &filter, page);
        self.shared.read_list(read).await
    }

    async fn attempts(
        &self,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest,
    ) -> Result<Found<Attempt>, StoreError> {
        let (filter, page) = (filter.clone(), self.shared.committed(page));
        let read = move |tree: &sled::Tree| reads::attempts(tree, of, &filter, page);
        self.shared.read_list(read).await
    }

    async fn attempt(&self, message: Seq, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        let read = move |tree: &sled::Tree| reads::attempt(tree, message, id);
        self.shared.read(read).await
    }

    async fn delivery(&self, key: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError> {
        let read = move |tree: &sled::Tree| reads::delivery(tree, key);
        self.shared.read(read).await
    }

    async fn deliveries(&self, message: Seq) -> Result<Vec<DeliveryRow>, StoreError> {
        let read = move |tree: &sled::Tree| reads::deliveries(tree, message);
        self.shared.read(read).await
    }

    async fn shaped(&self, key: DeliveryKey) -> Result<Option<Shaped>, StoreError> {
        let read = move |tree: &sled::Tree| reads::shaped(tree, key);
        self.shared.read(read).await
    }

    async fn sweep(&self, now: Timestamp, budget: usize) -> Result<usize, StoreError> {
        let mut deleted = 0;
        while deleted < budget {
            let limit = sweep::STEP.min(budget - deleted);
            let step = move |group: &mut group::Group<'_>| group.sweep(now, limit);
            let swept = self.queue.between_groups(step).await?;
            deleted += swept.deleted;
            if !swept.more {
                break;
            }
        }
        Ok(deleted)
    }

    fn writable(&self) -> Result<(), StoreError> {
        self.shared.check_open()?;
        // The writer looks before each group.
        self.shared.space.check_if_full()
    }

    async fn export(&self) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError> {
        self.shared.check_open()?;
        let (chunks, receiver) = mpsc::channel(4);
        let queue = self.queue.clone();
        tokio::task::spawn_blocking(move || {
            let shared = queue.shared.clone();
            export::export(&shared, |act| queue.between_groups_blocking(act), chunks);
        });
        Ok(receiver)
    }

    async fn import(&self, chunks: mpsc::Receiver<Bytes>) -> Result<(), StoreError> {
        let queue = self.queue.clone();
        let import = tokio::task::spawn_blocking(move || {
            export::import(|act| queue.between_groups_blocking(act), chunks)
        });
        import
            .await
            .unwrap_or_else(|_| Err(self.shared.unanswered()))
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.queue.ask(Job::Close).await
    }
}
