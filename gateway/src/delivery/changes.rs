//! Tells lanes what was changed about their endpoints, and lets a mended plugin heal its backlog: after a
//! change of a chain, the deliveries that wait because a plugin failed are due at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use super::directory::Directory;
use super::record::last_attempt;
use super::scheduler::{Input, LaneSpec};
use super::shape::failed_in_plugin;
use crate::domain::{
    ApplicationId, AttemptStatus, Clock, DeliveryRow, DeliveryState, EndpointId, Seq, Timestamp,
};
use crate::store::{Change, Kind, Lease, Store, StoreError};

/// Parked deliveries looked at before the lane has to have written what came of it. Chosen: one group of the
/// store.
const HEAL_PAGE: usize = 256;

/// Between two tries while the store can not be read. Chosen: it reopens within a second.
const RETRY: Duration = Duration::from_millis(250);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

/// What was changed and not yet passed on. Holds each endpoint once, however often it changes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    noted: Mutex<Noted>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Noted {
    endpoints: BTreeMap<EndpointId, ApplicationId>,
    /// By application; its own chain concerns all its endpoints.
    chains: BTreeSet<(ApplicationId, Option<EndpointId>)>,
}

impl Changes {
    /// Plugins of this application's chain, or of one of its endpoints', were resumed.
    pub(super) fn resumed(&self, app: ApplicationId, endpoint: Option<EndpointId>) {
        self.noted.lock().chains.insert((app, endpoint));
        self.wake.notify_one();
    }

    /// Called by the store inside its commit, so it only takes notes.
    pub(super) fn note(&self, change: &Change) {
        let Ok(app) = change.parent.parse::<ApplicationId>() else {
            return;
        };
        let mut noted = self.noted.lock();
        match change.kind {
            Kind::Endpoint => {
                if let Ok(endpoint) = change.id.parse() {
                    noted.endpoints.insert(endpoint, app);
                }
            }
            Kind::Chain | Kind::Transformation => {
                let endpoint = change.id.parse::<EndpointId>().ok();
                noted.chains.insert((app, endpoint));
            }
            _ => return,
        }
        drop(noted);
        self.wake.notify_one();
    }
}

/// Passes changes on to the lanes.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) changes: Arc<Changes>,
    pub(super) directory: Arc<Directory>,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lease: Lease,
    pub(super) inputs: mpsc::Sender<Input>,
}

impl Watcher {
    /// Runs until it is dropped. Cancel-safe: what was not passed on is read from the store at the next
    /// attempt; a healing that was cut short leaves the rest to their schedule.
    pub(super) async fn run(self) {
        let mut untold = false;
        loop {
            let wake = self.changes.wake.notified();
            if untold {
                // Whatever comes first: another change, or the next try.
                drop(tokio::time::timeout(RETRY, wake).await);
            } else {
                wake.await;
            }
            untold = false;
            loop {
                untold |= !self.tell_lanes().await;
                let next = self.changes.noted.lock().chains.pop_first();
                let Some((app, endpoint)) = next else { break };
                if let Err(error) = self.heal(app, endpoint).await {
                    tracing::warn!(%app, error = &error as &dyn std::error::Error,
                        "deliveries that wait for a mended plugin stay with their schedule");
                }
            }
        }
    }

    /// False: some could not be read; they are noted again.
    async fn tell_lanes(&self) -> bool {
        let endpoints = std::mem::take(&mut self.changes.noted.lock().endpoints);
        let mut all = true;
        for (id, app) in endpoints {
            let input = match self.directory.endpoint(app, id).await {
                Ok(Some(view)) => Input::Changed(view.spec.clone()),
                Ok(None) => Input::Deleted(id),
                Err(error) => {
                    tracing::warn!(endpoint = %id, error = &error as &dyn std::error::Error,
                        "a changed endpoint can not be read at present");
                    self.changes.noted.lock().endpoints.insert(id, app);
                    all = false;
                    continue;
                }
            };
            if self.inputs.send(input).await.is_err() {
                break;
            }
        }
        all
    }

    async fn heal(
        &self,
        app: ApplicationId,
        endpoint: Option<EndpointId>,
    ) -> Result<(), StoreError> {
        let Some(view) = self.directory.app(app).await? else {
            return Ok(());
        };
        for (id, endpoint_view) in &view.endpoints {
            if endpoint.is_none_or(|wanted| wanted == *id) {
                self.heal_lane(&endpoint_view.spec).await?;
            }
        }
        Ok(())
    }

    async fn heal_lane(&self, spec: &LaneSpec) -> Result<(), StoreError> {
        let lane = spec.endpoint;
        // What is due already runs the new chain by itself.
        let mut after = Some((self.clock.now(), Seq(u64::MAX)));
        loop {
            let page = self
                .store
                .due(&self.lease, lane, END_OF_TIME, after, HEAL_PAGE)
                .await?;
            let full = page.len() == HEAL_PAGE;
            after = page.last().and_then(place).or(after);
            let mut mended = Vec::new();
            for row in page {
                if row.tries > 0 && self.waits_for_plugin(&row).await? {
                    mended.push(due_at(row, self.clock.now()));
                }
            }
            if !mended.is_empty() && !reschedule(&self.inputs, spec, mended).await {
                return Ok(());
            }
            if !full {
                return Ok(());
            }
            // A healing of many must not keep others' pauses waiting. What is left is told after it.
            self.tell_lanes().await;
        }
    }

    async fn waits_for_plugin(&self, row: &DeliveryRow) -> Result<bool, StoreError> {
        let last = last_attempt(self.store.as_ref(), row.key).await?;
        Ok(last.is_some_and(|attempt| {
            attempt.status == AttemptStatus::Fail && failed_in_plugin(&attempt)
        }))
    }
}

/// Where a parked delivery stands in its lane.
pub(super) fn place(row: &DeliveryRow) -> Option<(Timestamp, Seq)> {
    match row.state {
        DeliveryState::Parked { due, .. } => Some((due, row.key.message)),
        _ => None,
    }
}

/// The parked delivery with another due time.
pub(super) fn due_at(mut row: DeliveryRow, due: Timestamp) -> DeliveryRow {
    if let DeliveryState::Parked { trigger, .. } = row.state {
        row.state = DeliveryState::Parked { due, trigger };
    }
    row
}

/// Gives these rows of a lane the due times they carry, and waits until that is on disk. False: the gateway
/// is shutting down.
pub(super) async fn reschedule(
    inputs: &mpsc::Sender<Input>,
    spec: &LaneSpec,
    rows: Vec<DeliveryRow>,
) -> bool {
    let (reply, written) = oneshot::channel();
    let input = Input::Reschedule(spec.clone(), rows, reply);
    inputs.send(input).await.is_ok() && written.await.is_ok()
}
