//! Drives the scheduler in real time: one task that takes in what happened, wakes when time alone lets
//! something start, and carries out what the scheduler says. It waits for nobody: what it starts runs in tasks
//! of its own, so workers and recorder can always hand their results in.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::changes::place;
use super::circuits::Circuits;
use super::directory::Directory;
use super::endpoints::Endpoints;
use super::record::Job;
use super::scheduler::{Action, Input, Refill, Refilled, Scheduler};
use super::worker::Worker;
use crate::domain::{Clock, DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};
use crate::metrics::Metrics;
use crate::store::{Lease, Store, StoreError};

/// Inputs taken in before anything is started. Chosen: some 20 us of work.
const BATCH: usize = 256;

/// Between two readings of the backlog, which look at every lane.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

/// The one owner of the scheduler.
#[derive(Debug)]
pub(super) struct Driver {
    pub(super) scheduler: Scheduler,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) lease: Lease,
    pub(super) worker: Arc<Worker>,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) circuits: Arc<Circuits>,
    /// From workers, recorder, reads and changes: always read.
    pub(super) inputs: mpsc::Receiver<Input>,
    /// For the reads that it starts.
    pub(super) inputs_in: mpsc::Sender<Input>,
    /// From fan-out: not read while rows wait for the recorder, which bounds their number.
    pub(super) fresh: mpsc::Receiver<Input>,
    pub(super) records: mpsc::Sender<Job>,
    /// Rows that wait for a place in the recorder's queue.
    pub(super) pending: VecDeque<Job>,
    /// What was started and has not ended.
    pub(super) tasks: TaskTracker,
    /// Ends what was started.
    pub(super) abort: CancellationToken,
    pub(super) reported: Reported,
}

/// What the metrics were last told about the backlog.
#[derive(Debug, Default)]
pub(super) struct Reported {
    at: Timestamp,
    waiting: usize,
}

impl Driver {
    /// Starts deliveries until `stop`, then only takes in what ends, until `drained`.
    pub(super) async fn run(mut self, stop: CancellationToken, drained: CancellationToken) {
        let (mut inputs, mut fresh) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        let mut actions = Vec::new();
        let (mut stopping, mut fan_out_runs) = (false, true);
        loop {
            let wake = if stopping { None } else { self.next_wake() };
            let wait = wake.map(|moment| moment.since(self.clock.now()));
            let takes_fresh = fan_out_runs && self.pending.is_empty() && !stopping;
            // In a fixed order, so that a simulation can repeat a run.
            tokio::select! {
                biased;
                () = stop.cancelled(), if !stopping => stopping = true,
                place = self.records.reserve(), if !self.pending.is_empty() => {
                    match (place, self.pending.pop_front()) {
                        (Ok(place), Some(job)) => place.send(job),
                        // The recorder is gone: nothing more is written.
                        _ => self.pending.clear(),
                    }
                }
                _ = self.inputs.recv_many(&mut inputs, BATCH) => {}
                n = self.fresh.recv_many(&mut fresh, BATCH), if takes_fresh => {
                    fan_out_runs = n > 0;
                }
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {}
                () = drained.cancelled(), if stopping => break,
            }
            // Under load there always is an input, and new deliveries do not wait for the end of that.
            while takes_fresh
                && fresh.len() < BATCH
                && let Ok(input) = self.fresh.try_recv()
            {
                fresh.push(input);
            }
            let now = self.clock.now();
            for input in inputs.drain(..).chain(fresh.drain(..)) {
                self.scheduler.take(now, input, &mut actions);
            }
            if !stopping {
                self.scheduler.advance(now, &mut actions);
            }
            for action in actions.drain(..) {
                self.perform(action);
            }
            self.report(now);
        }
        let Self {
            inputs,
            records,
            pending,
            ..
        } = self;
        // Nobody takes inputs any more: the recorder must not wait for a place among them while these rows
        // wait for a place with it.
        drop(inputs);
        for job in pending {
            if records.send(job).await.is_err() {
                return;
            }
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let report = (self.reported.waiting > 0).then(|| self.reported.at.after(REPORT_EVERY));
        [self.scheduler.next_wake(), report]
            .into_iter()
            .flatten()
            .min()
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Start(start) => {
                let (worker, abort) = (Arc::clone(&self.worker), self.abort.clone());
                self.tasks.spawn(async move {
                    abort.run_until_cancelled(worker.run(start)).await;
                });
            }
            Action::Write { row, ticket, reply } => {
                self.write(Job::row(row, ticket, reply));
            }
            Action::Refill(refill) => {
                let (worker, lease) = (Arc::clone(&self.worker), self.lease.clone());
                let inputs = self.inputs_in.clone();
                self.tasks.spawn(async move {
                    let input = match read(&worker, &lease, refill).await {
                        Ok(refilled) => Input::Refilled(refill.lane, refilled),
                        Err(error) => {
                            tracing::warn!(endpoint = %refill.lane,
                                error = &error as &dyn std::error::Error,
                                "parked deliveries can not be read at present");
                            Input::RefillFailed(refill.lane)
                        }
                    };
                    // The lanes are gone at the end of a shutdown.
                    drop(inputs.send(input).await);
                });
            }
            Action::Circuit(endpoint, circuit) => self.circuits.set(endpoint, circuit),
            Action::Health(endpoint, change) => {
                let endpoints = Arc::clone(&self.endpoints);
                self.tasks
                    .spawn(async move { endpoints.health(endpoint, change).await });
            }
        }
    }

    fn write(&mut self, job: Job) {
        if !self.pending.is_empty() {
            self.pending.push_back(job);
        } else if let Err(mpsc::error::TrySendError::Full(job)) = self.records.try_send(job) {
            self.pending.push_back(job);
        }
    }

    fn report(&mut self, now: Timestamp) {
        if now.since(self.reported.at) < REPORT_EVERY {
            return;
        }
        let (waiting, oldest) = self.scheduler.backlog();
        let age = oldest.map_or(Duration::ZERO, |due| now.since(due));
        self.metrics.backlog(waiting, age);
        self.reported = Reported { at: now, waiting };
    }
}

async fn read(worker: &Worker, lease: &Lease, refill: Refill) -> Result<Refilled, StoreError> {
    let Refill {
        lane,
        app: _,
        until,
        after,
        limit,
        ahead,
    } = refill;
    let store = worker.store.as_ref();
    let rows = store.due(lease, lane, until, after, limit).await?;
    let expires = deadlines(store, &worker.directory, refill, &rows).await?;
    if ahead {
        let messages = rows.iter().map(|row| row.key.message).collect();
        worker.payloads.read_ahead(lane, messages).await?;
    }
    if rows.len() >= limit {
        return Ok(Refilled {
            rows,
            expires,
            full: true,
            next_due: None,
        });
    }
    // Beyond what was read, since what is held keeps its place among the parked until it is recorded.
    let after = rows.last().and_then(place).or(after);
    let next = store.due(lease, lane, END_OF_TIME, after, 1).await?;
    Ok(Refilled {
        next_due: next.first().and_then(place).map(|(due, _)| due),
        rows,
        expires,
        full: false,
    })
}

/// When parked deliveries are too old to be tried. Looks at their messages only where the policy has a maximum
/// age.
async fn deadlines(
    store: &dyn Store,
    directory: &Directory,
    refill: Refill,
    rows: &[DeliveryRow],
) -> Result<HashMap<Seq, Timestamp>, StoreError> {
    let mut deadlines = HashMap::new();
    let Some(endpoint) = directory.endpoint(refill.app, refill.lane).await? else {
        return Ok(deadlines);
    };
    let org = directory.organization(endpoint.endpoint.org).await?;
    let policy = directory.policy(&org, &endpoint.endpoint);
    if policy.max_age().is_none() {
        return Ok(deadlines);
    }
    for row in rows {
        let by_schedule = matches!(
            row.state,
            DeliveryState::Parked {
                trigger: Trigger::Scheduled,
                ..
            }
        );
        if by_schedule && let Some(message) = store.message(row.key.message).await? {
            let deadline = policy.deadline(message.first_due());
            deadlines.extend(deadline.map(|deadline| (message.seq, deadline)));
        }
    }
    Ok(deadlines)
}
