//! What every route works with: the other rooms, and the bounds that requests share.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Config;
use super::error::ApiError;
use super::idempotency::InFlight;
use super::plugin_files::PluginFiles;
use super::token::JwtSecret;
use crate::delivery::Deliveries;
use crate::domain::Clock;
use crate::events::Events;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::sandbox::Sandbox;
use crate::store::vault::Vault;
use crate::store::{
    COMMIT_TRIES, IdempotencyRecord, PageRequest, Resource, Store, StoreError, Stored,
};

/// Bytes of a unit of the budget for bodies: a semaphore counts to 2^29 on small machines, and bodies of less
/// than this cost about as much in other memory.
const SHARE: usize = 1024;

/// Records read at once where all of them are. Chosen: a page.
const AT_ONCE: usize = 250;

/// The rooms that the API calls.
#[derive(Debug, Clone)]
pub struct Rooms {
    /// Everything that is kept.
    pub store: Arc<dyn Store>,
    /// Takes messages in.
    pub ingest: Ingest,
    /// Tries deliveries once more.
    pub deliveries: Deliveries,
    /// Seals the secrets of endpoints.
    pub vault: Arc<Vault>,
    /// Takes plugins in and checks their configs.
    pub sandbox: Arc<Sandbox>,
    /// Judges the URLs of endpoints.
    pub outbound: Arc<Outbound>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where operational events are told.
    pub events: Events,
}

/// What every route works with.
pub struct ApiState {
    pub(super) rooms: Rooms,
    pub(super) jwt: JwtSecret,
    pub(super) config: Config,
    pub(super) twins: InFlight,
    pub(super) plugin_files: PluginFiles,
    bodies: Arc<Semaphore>,
}

/// As routes hold it.
pub(crate) type Shared = Arc<ApiState>;

impl ApiState {
    /// Over these rooms.
    pub fn new(rooms: Rooms, jwt: JwtSecret, config: Config) -> Arc<Self> {
        let shares = (config.body_budget_bytes / SHARE).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            rooms,
            jwt,
            config,
            twins: InFlight::default(),
            plugin_files: PluginFiles::default(),
            bodies: Arc::new(Semaphore::new(shares)),
        })
    }

    /// The share of a body of so many bytes in the memory for bodies.
    pub(super) fn reserve_body(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let shares = u32::try_from(bytes.div_ceil(SHARE)).unwrap_or(u32::MAX);
        self.bodies
            .clone()
            .try_acquire_many_owned(shares)
            .map_err(|_| ApiError::Unavailable {
                detail: "too many request bodies are under way",
                retry_after: 1,
            })
    }

    /// Every record of a parent, the oldest first.
    pub(super) async fn all<T: Resource>(&self, parent: &str) -> Result<Vec<Stored<T>>, ApiError> {
        let mut rows: Vec<Stored<T>> = Vec::new();
        let mut page = PageRequest::first(AT_ONCE);
        loop {
            let more = self.store.list::<T>(parent, page).await?;
            let last = more.len() < AT_ONCE;
            rows.extend(more);
            if last {
                return Ok(rows);
            }
            page.cursor = rows.last().map(|row| row.seq);
        }
    }

    /// Changes a record: reads it, lets `change` make the new one, and starts over if somebody was faster.
    pub(super) async fn edit<T: Resource + Clone>(
        &self,
        read: Stored<T>,
        record: Option<IdempotencyRecord>,
        mut change: impl FnMut(&mut T) -> Result<(), ApiError>,
    ) -> Result<T, ApiError> {
        let id = read.value.record_id();
        let mut stored = read;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut value = stored.value.clone();
            change(&mut value)?;
            match self
                .store
                .commit(vec![stored.update(&value)?], record.clone())
                .await
            {
                Ok(_) => return Ok(value),
                // Any other conflict stays one however often it is tried: the uid is another's.
                Err(StoreError::Stale { .. }) if tries < COMMIT_TRIES => {}
                Err(error) => return Err(error.into()),
            }
            stored = self
                .store
                .get::<T>(&id)
                .await?
                .ok_or_else(|| ApiError::NotFound(T::KIND.to_string()))?;
        }
    }
}

impl std::ops::Deref for ApiState {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
