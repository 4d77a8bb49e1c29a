//! Writes what happened to deliveries: gathers outcomes, commits them in one batch, then tells the lanes. The
//! one place that counts tickets down, so that an outbox entry goes in the batch of its last delivery.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::payloads::Payloads;
use super::scheduler::{Input, Reply};
use super::ticket::Ticket;
use crate::domain::{Attempt, DeliveryKey, DeliveryRow, Seq};
use crate::store::{
    AttemptFilter, AttemptsOf, Direction, Lease, Order, Outcome, PageRequest, Store, StoreError,
};

/// Between two tries while the store does not take writes. Chosen: outcomes are kept meanwhile, and the
/// store reopens within a second.
const RETRY: Duration = Duration::from_millis(250);

/// One thing to write.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) outcome: Outcome,
    /// The outbox entry that covered the delivery until now.
    pub(crate) ticket: Option<Arc<Ticket>>,
    /// Told when it is on disk.
    pub(crate) reply: Option<Reply>,
    /// Bytes under way that the outcome still holds.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// The one writer.
#[derive(Debug)]
pub(super) struct Recorder {
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: Lease,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Told which messages are done with.
    pub(super) payloads: Arc<Payloads>,
    pub(super) inputs: mpsc::Sender<Input>,
    pub(super) batch: usize,
    /// Cancelled by this room when somebody else holds the lanes.
    pub(super) fenced: CancellationToken,
    /// The gateway gives up on what can not be written.
    pub(super) abort: CancellationToken,
}

impl Job {
    /// A row and nothing else.
    pub(super) fn row(row: DeliveryRow, ticket: Option<Arc<Ticket>>, reply: Option<Reply>) -> Self {
        Self {
            outcome: Outcome {
                row: Some(row),
                ..Outcome::default()
            },
            ticket,
            reply,
            permit: None,
        }
    }

    /// A message that nobody wants.
    pub(super) fn unwanted(message: Seq) -> Self {
        Self {
            outcome: Outcome {
                outbox_done: Some(message),
                ..Outcome::default()
            },
            ticket: None,
            reply: None,
            permit: None,
        }
    }
}

impl Recorder {
    /// Runs until every sender of jobs is gone and all is written.
    pub(super) async fn run(mut self) {
        let mut jobs = Vec::with_capacity(self.batch);
        while self.jobs.recv_many(&mut jobs, self.batch).await > 0 {
            let outcomes: Vec<Outcome> = jobs.iter_mut().map(outcome).collect();
            let rows: Vec<DeliveryRow> =
                outcomes.iter().filter_map(|out| out.row.clone()).collect();
            let done: Vec<Seq> = outcomes.iter().filter_map(|out| out.outbox_done).collect();
            match self.commit(outcomes).await {
                Ok(()) => {}
                Err(StoreError::Fenced) => {
                    tracing::error!(
                        "another gateway delivers for these lanes: their work is dropped"
                    );
                    self.fenced.cancel();
                    return;
                }
                // What could not be written is tried again after the next start: its outbox entry or its
                // row is still there.
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        outcomes = rows.len(),
                        "outcomes are not recorded"
                    );
                    return;
                }
            }
            for message in done {
                self.payloads.forget(message);
            }
            for Job { reply, permit, .. } in jobs.drain(..) {
                drop(permit);
                // Who asked may be gone.
                reply.and_then(|reply| reply.send(()).ok());
            }
            for row in rows {
                // The lanes are gone at the end of a shutdown.
                if self.inputs.send(Input::Recorded(row)).await.is_err() {
                    break;
                }
            }
        }
    }

    async fn commit(&self, outcomes: Vec<Outcome>) -> Result<(), StoreError> {
        let mut warned = false;
        loop {
            let error = match self.store.record(&self.lease, outcomes.clone()).await {
                Ok(()) => return Ok(()),
                Err(error @ StoreError::Fenced) => return Err(error),
                Err(error) => error,
            };
            if self.abort.is_cancelled() {
                return Err(error);
            }
            if !matches!(error, StoreError::Busy) && !warned {
                warned = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "outcomes can not be recorded at present; they are kept"
                );
            }
            self.abort
                .run_until_cancelled(tokio::time::sleep(RETRY))
                .await;
        }
    }
}

/// What was recorded last about this delivery's tries.
pub(super) async fn last_attempt(
    store: &dyn Store,
    key: DeliveryKey,
) -> Result<Option<Attempt>, StoreError> {
    let last = PageRequest {
        cursor: None,
        direction: Direction::Forward,
        limit: 1,
        order: Order::Descending,
    };
    let filter = AttemptFilter {
        endpoint: Some(key.endpoint),
        ..AttemptFilter::default()
    };
    let of = AttemptsOf::Message(key.message);
    let attempts = store.attempts(of, &filter, last).await?.rows;
    Ok(attempts.into_iter().next())
}

fn outcome(job: &mut Job) -> Outcome {
    let mut outcome = std::mem::take(&mut job.outcome);
    if let Some(ticket) = job.ticket.take() {
        outcome.outbox_done = ticket.close_one();
    }
    outcome
}
