//! At start: takes the lanes over, and gives those with parked deliveries their timers. What the outbox
//! covers is read by fan-out.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::changes::{due_at, reschedule};
use super::directory::Directory;
use super::opening::Opening;
use super::scheduler::{Input, LaneSpec};
use crate::domain::{Clock, DeliveryState, Endpoint, EndpointId, Seq, Timestamp, Trigger};
use crate::store::{Lease, ShardSet, Store, StoreError, Stored};

/// Lanes, and rows of one lane, read at a time.
const PAGE: usize = 256;

/// Between two tries while the store can not be read. Chosen: it reopens within a second.
const RETRY: Duration = Duration::from_millis(250);

/// Longest wait that a receiver can ask for with `Retry-After`; a due time within it may be right.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

/// Takes every lane that is free; waits for those of a gateway that ended without giving them back.
/// Cancel-safe: shards taken meanwhile lapse by themselves.
pub(super) async fn lease_all(store: &dyn Store, ttl: Duration) -> Result<Lease, StoreError> {
    let holder = format!("gateway-{:016x}", rand::random::<u64>());
    loop {
        let lease = store.lease_shards(&holder, ShardSet::ALL, ttl).await?;
        if lease.shards == ShardSet::ALL {
            return Ok(lease);
        }
        tracing::info!("another gateway holds lanes; waiting for them");
        store.release(lease).await?;
        tokio::time::sleep(ttl / 3).await;
    }
}

/// Opens the lanes that have parked deliveries.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lease: Lease,
    pub(super) directory: Arc<Directory>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) opening: Arc<Opening>,
}

impl Recovery {
    /// Runs until every such lane is open, however often the store can not be read meanwhile. Cancel-safe:
    /// lanes that were not opened are opened at the next start.
    pub(super) async fn run(self) {
        let mut after = None;
        let mut warned = false;
        loop {
            match self.open_lanes(&mut after).await {
                // Somebody else has the lanes now.
                Ok(()) => return self.opening.finish().await,
                Err(StoreError::Fenced) => return,
                Err(error) if !warned => {
                    warned = true;
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "parked deliveries wait for the store"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Opens the lanes after this one, and says how far it came.
    async fn open_lanes(&self, after: &mut Option<EndpointId>) -> Result<(), StoreError> {
        loop {
            let lanes = self.store.due_lanes(&self.lease, *after, PAGE).await?;
            let full = lanes.len() == PAGE;
            for lane in lanes {
                // Deleted: the store's sweeper takes what waits for it.
                if let Some(stored) = self.store.get::<Endpoint>(lane.endpoint).await? {
                    let spec = LaneSpec::of(&stored.value, stored.revision);
                    if self.opening.open(&self.lease, &spec).await?.is_err() {
                        return Ok(());
                    }
                    self.clamp(&stored).await?;
                }
                *after = Some(lane.endpoint);
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// A wall clock that stood wrong while retries were scheduled must not hold them back for years. First
    /// tries keep their time: somebody asked for it.
    async fn clamp(&self, stored: &Stored<Endpoint>) -> Result<(), StoreError> {
        let endpoint = &stored.value;
        let org = self.directory.organization(endpoint.org).await?;
        let policy = self.directory.policy(&org, endpoint);
        let longest = policy.longest_step().max(LONGEST_RETRY_AFTER);
        let latest = self.clock.now().after(longest);
        let mut after = Some((latest, Seq(u64::MAX)));
        loop {
            let page = self
                .store
                .due(&self.lease, endpoint.id, END_OF_TIME, after, PAGE)
                .await?;
            let full = page.len() == PAGE;
            after = page.last().and_then(super::changes::place).or(after);
            let retries: Vec<_> = page
                .into_iter()
                .filter(|row| row.tries > 0 && is_scheduled(row.state))
                .map(|row| due_at(row, latest))
                .collect();
            let spec = LaneSpec::of(endpoint, stored.revision);
            if !retries.is_empty() && !reschedule(&self.inputs, &spec, retries).await {
                return Ok(());
            }
            if !full {
                return Ok(());
            }
        }
    }
}

fn is_scheduled(state: DeliveryState) -> bool {
    matches!(
        state,
        DeliveryState::Parked {
            trigger: Trigger::Scheduled | Trigger::Recovered,
            ..
        }
    )
}
