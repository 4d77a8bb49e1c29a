//! A store in memory that fails, or holds back, what a test says.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};

use super::rig::Setup;
use crate::domain::{Clock, EndpointId, Message, NewMessage, Seq, SystemClock};
use crate::store::between::Between;
use crate::store::memory::MemoryStore;
use crate::store::{
    AcceptItem, AcceptRefusal, DueLane, Kind, Lease, Outcome, PageRequest, Record, Store,
    StoreError,
};

#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    /// So many listings of lanes or records fail.
    pub(crate) failures: AtomicU32,
    /// So many reads of a record by its identifier fail.
    pub(crate) record_failures: AtomicU32,
    /// One place per write of outcomes; taken away to hold them back.
    gate: Semaphore,
    /// One place per read of a message by its number; taken away to hold them back.
    messages: Semaphore,
    /// One place per acceptance; taken away to hold them back.
    accepts: Semaphore,
    /// No write succeeds and no lease is renewed.
    broken: AtomicBool,
    /// A lease was not renewed.
    pub(crate) not_renewed: Notify,
    /// A write of outcomes has begun.
    pub(crate) recording: Notify,
    /// What surfaced and was not asked for yet.
    surfaced: (
        mpsc::UnboundedSender<RangeInclusive<Seq>>,
        Mutex<mpsc::UnboundedReceiver<RangeInclusive<Seq>>>,
    ),
}

impl FaultyStore {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let (surface, surfaced) = mpsc::unbounded_channel();
        Arc::new(Self {
            surfaced: (surface, Mutex::new(surfaced)),
            inner: MemoryStore::new(clock),
            failures: AtomicU32::new(0),
            record_failures: AtomicU32::new(0),
            gate: Semaphore::new(1_000_000),
            messages: Semaphore::new(1_000_000),
            accepts: Semaphore::new(1_000_000),
            broken: AtomicBool::new(false),
            not_renewed: Notify::new(),
            recording: Notify::new(),
        })
    }

    /// Holds outcomes back until [`FaultyStore::resume`].
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(self.gate.available_permits());
    }

    pub(crate) fn resume(&self) {
        self.gate.add_permits(1_000_000);
    }

    /// Holds reads of messages back until [`FaultyStore::resume_messages`].
    pub(crate) fn hold_messages(&self) {
        self.messages
            .forget_permits(self.messages.available_permits());
    }

    pub(crate) fn resume_messages(&self) {
        self.messages.add_permits(1_000_000);
    }

    /// Keeps a message of which nobody is told, as a fault of the disk does.
    pub(crate) async fn leave_behind(&self, message: NewMessage) {
        let item = AcceptItem {
            new: message,
            idempotency: None,
        };
        let kept = self.inner.accept(vec![item]).await.unwrap().remove(0);
        let seq = kept.unwrap().seq;
        self.surfaced.0.send(seq..=seq).unwrap();
    }

    /// Holds acceptances back until [`FaultyStore::resume_accepts`].
    pub(crate) fn hold_accepts(&self) {
        self.accepts
            .forget_permits(self.accepts.available_permits());
    }

    pub(crate) fn resume_accepts(&self) {
        self.accepts.add_permits(1_000_000);
    }

    /// Fails like a disk that does not take writes, until it is mended.
    pub(crate) fn set_broken(&self, broken: bool) {
        self.broken.store(broken, Ordering::SeqCst);
    }

    fn writing(&self) -> Result<(), StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Backend("the disk fails".into()));
        }
        Ok(())
    }
}

/// While some of these are to fail: one less.
fn fails(failures: &AtomicU32) -> Result<(), StoreError> {
    let one_less = |left: u32| left.checked_sub(1);
    let order = Ordering::SeqCst;
    match failures.fetch_update(order, order, one_less) {
        Ok(_) => Err(StoreError::Busy),
        Err(_) => Ok(()),
    }
}

/// A gateway over a store that fails as told.
pub(crate) fn over_faulty_store() -> (Arc<FaultyStore>, Setup) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = FaultyStore::new(Arc::clone(&clock));
    let setup = Setup {
        store: Some(Arc::clone(&store) as Arc<dyn Store>),
        clock: Some(clock),
        ..Setup::default()
    };
    (store, setup)
}

#[async_trait]
impl Between for FaultyStore {
    fn behind(&self) -> &dyn Store {
        &self.inner
    }

    async fn record_by_id(&self, kind: Kind, id: &str) -> Result<Option<Record>, StoreError> {
        fails(&self.record_failures)?;
        self.inner.record_by_id(kind, id).await
    }

    async fn records_of(
        &self,
        kind: Kind,
        parent: &str,
        page: PageRequest,
    ) -> Result<Vec<Record>, StoreError> {
        fails(&self.failures)?;
        self.inner.records_of(kind, parent, page).await
    }

    async fn due_lanes(
        &self,
        lease: &Lease,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Result<Vec<DueLane>, StoreError> {
        fails(&self.failures)?;
        self.inner.due_lanes(lease, after, limit).await
    }

    async fn accept(
        &self,
        items: Vec<AcceptItem>,
    ) -> Result<Vec<Result<Message, AcceptRefusal>>, StoreError> {
        let _place = self.accepts.acquire().await;
        self.writing()?;
        self.inner.accept(items).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<(), StoreError> {
        self.writing()
            .inspect_err(|_| self.not_renewed.notify_one())?;
        self.inner.renew(lease, ttl).await
    }

    async fn record(&self, lease: &Lease, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        self.recording.notify_one();
        self.gate.acquire().await.unwrap().forget();
        self.writing()?;
        self.inner.record(lease, outcomes).await
    }

    async fn message(&self, seq: Seq) -> Result<Option<Message>, StoreError> {
        let _place = self.messages.acquire().await;
        self.inner.message(seq).await
    }

    async fn surfaced(&self) -> RangeInclusive<Seq> {
        let mut surfaced = self.surfaced.1.lock().await;
        surfaced.recv().await.unwrap()
    }
}
