//! What a person can ask for: one more try of a delivery, or of all that failed.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::changes::Changes;
use super::circuits::Circuits;
use super::directory::Directory;
use super::lanes::Leased;
use super::pending::Pending;
use super::plugin_stats::VersionFigures;
use super::scheduler::{Input, OpenCircuit};
use crate::domain::{
    ApplicationId, DeliveryKey, Digest, EndpointId, Message, OrganizationId, PluginId, RecoverTask,
};
use crate::store::{IdempotencyRecord, Kind, Store, StoreError};

/// Asks the lanes for something. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub(super) store: Arc<dyn Store>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) circuits: Arc<Circuits>,
    /// There is a new task.
    pub(super) recover: Arc<Notify>,
    pub(super) pending: Arc<Pending>,
    pub(super) directory: Arc<Directory>,
    pub(super) changes: Arc<Changes>,
    pub(super) lease: Leased,
}

/// Why a try was not scheduled.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// The gateway is shutting down.
    #[error("the gateway is shutting down")]
    Stopped,
    /// The store failed.
    #[error("the delivery can not be read")]
    Store(#[from] StoreError),
}

impl Deliveries {
    /// How an endpoint's circuit stands; none: closed.
    pub fn circuit(&self, endpoint: EndpointId) -> Option<OpenCircuit> {
        self.circuits.get(endpoint)
    }

    /// What a plugin version did in deliveries since the gateway's start; all zero if it was not called.
    pub fn plugin_figures(&self, plugin: PluginId, version: Digest) -> VersionFigures {
        self.directory.plugin_figures(plugin, version)
    }

    /// Suspended plugins of the application's chain, or of the endpoint's, are run again: what waits for them is due
    /// at once.
    pub fn plugins_resumed(&self, app: ApplicationId, endpoint: Option<EndpointId>) {
        self.changes.resumed(app, endpoint);
    }

    /// Has what failed at an endpoint made due again, in the background. When this answers, the task is on disk,
    /// with the idempotency record. [`StoreError::Exists`] if the endpoint has one already.
    pub async fn recover(
        &self,
        task: &RecoverTask,
        idempotency: Option<IdempotencyRecord>,
    ) -> Result<(), StoreError> {
        self.store.insert(task, idempotency).await?;
        self.recover.notify_one();
        Ok(())
    }

    /// How many deliveries of this organization are neither settled nor canceled. In the first moments after a
    /// start those from before it are being counted, and the number is lower than it will be.
    pub fn pending(&self, org: OrganizationId) -> u64 {
        u64::try_from(self.pending.of(org).get()).unwrap_or(0)
    }

    /// Has a message tried once more at an endpoint, whatever became of it there. When this answers, the try
    /// is on disk, or one is under way that the store covers. The chains run as they stand. A failed try by
    /// hand schedules nothing: a delivery that waited goes on waiting for what it waited for.
    /// [`StoreError::NoSuchRecord`] if the endpoint is gone.
    pub async fn resend(&self, message: &Message, endpoint: EndpointId) -> Result<(), ResendError> {
        // Before anything is read: until then another gateway delivers.
        let lease = self.lease.clone().await;
        lease.map_err(|_| ResendError::Stopped)?;
        // As it stands: the lane may not have been told yet that it was enabled, and would fail the try.
        let view = self.directory.endpoint(message.app, endpoint).await?;
        let view = view.ok_or_else(|| StoreError::NoSuchRecord {
            kind: Kind::Endpoint,
            id: endpoint.to_string(),
        })?;
        let key = DeliveryKey {
            endpoint,
            message: message.seq,
        };
        let row = self.store.delivery(key).await?;
        let (reply, written) = oneshot::channel();
        self.inputs
            .send(Input::Resend(view.spec.clone(), message.seq, row, reply))
            .await
            .map_err(|_| ResendError::Stopped)?;
        written.await.map_err(|_| ResendError::Stopped)
    }
}
