//! What the writer, the readers and the store's callers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::codec::damaged;
use super::config::SledConfig;
use super::export::Tap;
use super::group::StagedRows;
use super::known::Known;
use super::open::Handle;
use super::space::Space;
use super::surfaced::Surfaced;
use super::{keys, records};
use crate::domain::{Clock, Seq};
use crate::metrics::Metrics;
use crate::store::lease_table::LeaseTable;
use crate::store::{Kind, Observer, PageRequest, Record, StoreError};

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Open,
    /// After an I/O error; will open again.
    Reopening,
    Closed,
    /// For good: what was found.
    Damaged(String),
}

/// A page of rows that are numbered up to this.
#[derive(Debug, Clone, Copy)]
pub(super) struct Committed {
    pub(super) page: PageRequest,
    pub(super) newest: Seq,
}

/// State of one store.
pub(super) struct Shared {
    pub(super) config: SledConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) space: Space,
    pub(super) known: Known,
    pub(super) surfaced: Surfaced,
    pub(super) leases: Mutex<LeaseTable>,
    pub(super) observers: RwLock<Vec<Observer>>,
    /// Items in the writer's queue.
    pub(super) waiting: AtomicUsize,
    /// The database; none while it is not open. Written only to open and close it.
    pub(super) handle: RwLock<Option<Handle>>,
    /// Held by the writer while rows are visible that are not on disk yet.
    pub(super) unsynced: RwLock<()>,
    health: Mutex<Health>,
    /// Every row with a number up to this is there, whole and on disk.
    committed: AtomicU64,
    pub(super) readers: Arc<Semaphore>,
    pub(super) list_readers: Arc<Semaphore>,
    taps: Mutex<Vec<Arc<Tap>>>,
}

impl Shared {
    pub(super) fn new(
        config: SledConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        leases: LeaseTable,
        handle: Handle,
        seq: u64,
    ) -> Self {
        Self {
            space: Space::of(&config),
            known: Known::holding(config.known_bytes),
            surfaced: Surfaced::default(),
            leases: Mutex::new(leases),
            observers: RwLock::default(),
            waiting: AtomicUsize::new(0),
            handle: RwLock::new(Some(handle)),
            unsynced: RwLock::default(),
            health: Mutex::new(Health::Open),
            committed: AtomicU64::new(seq),
            readers: Arc::new(Semaphore::new(config.readers.max(1))),
            list_readers: Arc::new(Semaphore::new(config.list_readers.max(1))),
            taps: Mutex::default(),
            config,
            clock,
            metrics,
        }
    }

    /// Refuses unless the store is open.
    pub(super) fn check_open(&self) -> Result<(), StoreError> {
        match &*self.health.lock() {
            Health::Open => Ok(()),
            Health::Reopening | Health::Closed => Err(StoreError::Closed),
            Health::Damaged(what) => Err(damaged(what.clone())),
        }
    }

    /// What a caller gets whose answer was dropped.
    pub(super) fn unanswered(&self) -> StoreError {
        self.check_open().err().unwrap_or(StoreError::Closed)
    }

    /// Refuses everything from now on.
    pub(super) fn damage(&self, what: &str) {
        tracing::error!(
            what,
            "the store is damaged and refuses everything from now on"
        );
        *self.health.lock() = Health::Damaged(what.to_owned());
    }

    pub(super) fn drop_handle(&self, health: Health) {
        *self.health.lock() = health;
        // Waits for the reads under way; sled's file lock goes with the last of them.
        let handle = self.handle.write().take();
        drop(handle);
        for tap in self.taps.lock().drain(..) {
            tap.fail();
        }
    }

    pub(super) fn install(&self, handle: Handle) {
        *self.handle.write() = Some(handle);
        // Readers of the old handle have put away what they read.
        let unsynced = self.unsynced.write();
        self.known.clear();
        drop(unsynced);
        *self.health.lock() = Health::Open;
    }

    pub(super) fn shut(&self) {
        self.drop_handle(Health::Closed);
    }

    /// Reads on a blocking thread, at most so many at once.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl Fn(&sled::Tree) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_reader(&self.readers, move |shared| shared.read_here(act))
            .await
    }

    /// As `read`, for lists that may pass over many rows: only other such lists wait for it.
    pub(super) async fn read_list<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl Fn(&sled::Tree) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_reader(&self.list_readers, move |shared| shared.read_here(act))
            .await
    }

    /// As `read`, but sees only what is on disk: for answers that a caller takes as a promise.
    pub(super) async fn read_durable<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl Fn(&sled::Tree) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.on_reader(&self.readers, move |shared| {
            let _synced = shared.unsynced.read();
            shared.judged(&act)
        })
        .await
    }

    /// A record, from memory where it was read before.
    pub(super) async fn record(
        self: &Arc<Self>,
        kind: Kind,
        id: &str,
    ) -> Result<Option<Record>, StoreError> {
        self.check_open()?;
        let key = keys::record(kind, id);
        if let Some(known) = self.known.record(&key) {
            return Ok(known);
        }
        let (id, shared) = (id.to_owned(), self.clone());
        self.read_durable(move |tree| {
            let record = records::by_id(tree, kind, &id)?;
            shared.known.keep_record(&key, record.clone());
            Ok(record)
        })
        .await
    }

    /// The identifier that the uid of this row stands for, from memory where it was read before.
    pub(super) async fn id_of_uid(
        self: &Arc<Self>,
        key: Vec<u8>,
    ) -> Result<Option<String>, StoreError> {
        self.check_open()?;
        if let Some(known) = self.known.uid(&key) {
            return Ok(known);
        }
        let shared = self.clone();
        self.read_durable(move |tree| {
            let id = records::named(tree, &key)?;
            shared.known.keep_uid(&key, id.clone());
            Ok(id)
        })
        .await
    }

    async fn on_reader<T: Send + 'static>(
        self: &Arc<Self>,
        permits: &Arc<Semaphore>,
        act: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.check_open()?;
        let permit = permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::Closed)?;
        let shared = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            // Goes when the read ends, not when its caller goes away: the thread is taken until then.
            let _permit = permit;
            act(&shared)
        })
        .await;
        answer.unwrap_or_else(|stopped| {
            if stopped.is_panic() {
                self.damage("sled panicked in a read");
            }
            Err(self.unanswered())
        })
    }

    /// Reads on this thread, which may block.
    pub(super) fn read_here<T>(
        &self,
        act: impl Fn(&sled::Tree) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.with_tree(&act) {
            // A value that was replaced between two gets looks the same as a broken one. Nothing changes
            // while this lock is held, so a second look decides.
            Err(StoreError::Damaged { .. }) => {
                let _synced = self.unsynced.read();
                self.judged(&act)
            }
            answer => answer,
        }
    }

    fn judged<T>(
        &self,
        act: &impl Fn(&sled::Tree) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let answer = self.with_tree(act);
        if let Err(StoreError::Damaged { what }) = &answer {
            self.damage(what);
        }
        answer
    }

    fn with_tree<T>(
        &self,
        act: &impl Fn(&sled::Tree) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check_open()?;
        // Not free: it is being closed or reopened.
        let handle = self.handle.try_read().ok_or(StoreError::Closed)?;
        act(&handle.as_ref().ok_or(StoreError::Closed)?.db)
    }

    /// The page as far as it is committed. A range may show half of a group that is being applied; a reader
    /// that went on behind the other half would never see it.
    pub(super) fn committed(&self, page: PageRequest) -> Committed {
        Committed {
            page,
            newest: Seq(self.committed.load(Ordering::Acquire)),
        }
    }

    pub(super) fn is_committed(&self, seq: u64) {
        self.committed.store(seq, Ordering::Release);
    }

    /// The first number that is not committed.
    pub(super) fn after_committed(&self) -> Seq {
        Seq(self.committed.load(Ordering::Acquire) + 1)
    }

    pub(super) fn is_exporting(&self) -> bool {
        !self.taps.lock().is_empty()
    }

    pub(super) fn tell_exports(&self, rows: &StagedRows) {
        self.taps.lock().retain(|tap| tap.push(rows));
    }

    pub(super) fn attach(&self, tap: Arc<Tap>) {
        self.taps.lock().push(tap);
    }

    pub(super) fn detach(&self, tap: &Arc<Tap>) {
        self.taps.lock().retain(|other| !Arc::ptr_eq(other, tap));
    }

    /// Counts items into the queue if they fit.
    pub(super) fn enqueue(&self, items: usize, bound: usize) -> Result<(), StoreError> {
        let before = self.waiting.fetch_add(items, Ordering::Relaxed);
        // A batch larger than the queue gets in when nothing else waits.
        if before > 0 && before + items > bound {
            self.dequeue(items);
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    pub(super) fn dequeue(&self, items: usize) {
        self.waiting.fetch_sub(items, Ordering::Relaxed);
    }
}
