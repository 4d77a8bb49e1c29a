//! Where fan-out hands new deliveries in.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Shared;
use tokio::sync::{mpsc, oneshot};

use super::directory::{AppView, Directory, EndpointView};
use super::opening::Opening;
use super::payloads::Payloads;
use super::pending::Pending;
use super::record::Job;
use super::scheduler::{Input, Item};
use super::ticket::Ticket;
use crate::domain::{ApplicationId, Message, Seq, Timestamp};
use crate::store::{Lease, StoreError};

/// The way into the lanes, for ingest.
#[derive(Debug)]
pub struct Lanes {
    pub(super) payloads: Arc<Payloads>,
    pub(super) hand_over: HandOver,
}

/// The half of it that fan-out needs.
#[derive(Debug)]
pub(crate) struct HandOver {
    pub(super) directory: Arc<Directory>,
    pub(super) pending: Arc<Pending>,
    pub(super) opening: Arc<Opening>,
    pub(super) fresh: mpsc::Sender<Input>,
    pub(super) records: mpsc::Sender<Job>,
    pub(super) lease: Leased,
}

/// The right to deliver, once this gateway has it; an error: it ends without. Who waits goes on in order.
pub(super) type Leased = Shared<oneshot::Receiver<Lease>>;

/// Remembers recent payloads, so that a first attempt need not read them.
#[derive(Debug, Clone)]
pub(crate) struct Recent(Arc<Payloads>);

/// The gateway is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

impl Lanes {
    pub(crate) fn split(self) -> (Recent, HandOver) {
        (Recent(self.payloads), self.hand_over)
    }
}

impl Recent {
    pub(crate) fn keep(&self, message: Message, payload: Bytes) {
        self.0.keep(message, payload);
    }
}

impl HandOver {
    /// The application with its endpoints; none: deleted.
    pub(crate) async fn app(&self, id: ApplicationId) -> Result<Option<Arc<AppView>>, StoreError> {
        self.directory.app(id).await
    }

    /// How many deliveries each organization has unfinished.
    pub(crate) fn pending(&self) -> Arc<Pending> {
        Arc::clone(&self.pending)
    }

    /// Makes sure that what the endpoint's lane had parked before the start is known: needed before the first
    /// delivery to it.
    pub(crate) async fn open(
        &self,
        endpoint: &EndpointView,
    ) -> Result<Result<(), Stopped>, StoreError> {
        if self.opening.is_done() {
            return Ok(Ok(()));
        }
        match self.lease.peek() {
            Some(Ok(lease)) => self.opening.open(lease, &endpoint.spec).await,
            _ => Ok(Err(Stopped)),
        }
    }

    /// The right to deliver, once this gateway has it.
    pub(crate) async fn lease(&self) -> Result<Lease, Stopped> {
        self.lease.clone().await.map_err(|_| Stopped)
    }

    /// Puts the message into the lanes of these endpoints; its outbox entry goes with the last of them, or now
    /// if there is none.
    pub(crate) async fn deliver(
        &self,
        message: &Message,
        endpoints: &[Arc<EndpointView>],
        now: Timestamp,
    ) -> Result<(), Stopped> {
        let count = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
        if count == 0 {
            return self.unwanted(message.seq).await;
        }
        let ticket = Arc::new(Ticket::new(message.seq, count));
        self.pending.of(message.org).add(count.into());
        let due = message.deliver_at.unwrap_or(now).max(now);
        // Unknown for the moment: the worker asks again.
        let org = self.directory.organization(message.org).await.ok();
        for endpoint in endpoints {
            let mut item = Item::first(message.seq, due, message.payload_len, Arc::clone(&ticket));
            item.expires = org.as_ref().and_then(|org| {
                let policy = self.directory.policy(org, &endpoint.endpoint);
                policy.deadline(message.first_due())
            });
            let input = Input::Deliver(endpoint.spec.clone(), item);
            self.fresh.send(input).await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    /// The lanes have got everything that the outbox held at the start.
    pub(crate) async fn caught_up(&self) -> Result<(), Stopped> {
        let caught_up = self.fresh.send(Input::CaughtUp).await;
        caught_up.map_err(|_| Stopped)
    }

    async fn unwanted(&self, message: Seq) -> Result<(), Stopped> {
        let job = Job::unwanted(message);
        self.records.send(job).await.map_err(|_| Stopped)
    }
}
