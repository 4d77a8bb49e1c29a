//! What a person can ask for: one more try of a delivery, or of all that failed.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot};

use super::circuits::Circuits;
use super::pending::Pending;
use super::scheduler::{Input, LaneSpec, OpenCircuit};
use crate::domain::{DeliveryKey, Endpoint, EndpointId, Message, OrganizationId, RecoverTask};
use crate::store::{IdempotencyRecord, Store, StoreError, Stored};

/// Asks the lanes for something. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Deliveries {
    pub(super) store: Arc<dyn Store>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) circuits: Arc<Circuits>,
    /// There is a new task.
    pub(super) recover: Arc<Notify>,
    pub(super) pending: Arc<Pending>,
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
    pub async fn resend(
        &self,
        message: &Message,
        endpoint: &Stored<Endpoint>,
    ) -> Result<(), ResendError> {
        let key = DeliveryKey {
            endpoint: endpoint.value.id,
            message: message.seq,
        };
        let row = self.store.delivery(key).await?;
        let (reply, written) = oneshot::channel();
        // The lane may not have been told yet that its endpoint was enabled, and would fail the try.
        let spec = LaneSpec::of(&endpoint.value, endpoint.revision);
        self.inputs
            .send(Input::Resend(spec, message.seq, row, reply))
            .await
            .map_err(|_| ResendError::Stopped)?;
        written.await.map_err(|_| ResendError::Stopped)
    }
}
