//! Puts the room together, runs it and ends it: take the lanes over, deliver, and at shutdown start nothing
//! more, let what is under way finish within the grace period, write it, give the lanes back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::changes::{Changes, Watcher};
use super::circuits::Circuits;
use super::config::Config;
use super::directory::Directory;
use super::driver::{Driver, Reported};
use super::endpoints::Endpoints;
use super::lanes::{HandOver, Lanes};
use super::opening::Opening;
use super::payloads::Payloads;
use super::pending::Pending;
use super::record::{Job, Recorder};
use super::recover::Recoverer;
use super::recovery::{Recovery, lease_all};
use super::resend::Deliveries;
use super::scheduler::{Input, Scheduler};
use super::shape::Shaper;
use super::suspension::{Streaks, Suspensions};
use super::worker::Worker;
use crate::domain::Clock;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::sandbox::Sandbox;
use crate::store::vault::Vault;
use crate::store::{Lease, Store, StoreError};

/// What delivering is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where everything is kept.
    pub store: Arc<dyn Store>,
    /// The way out.
    pub outbound: Arc<Outbound>,
    /// Where plugins run.
    pub sandbox: Arc<Sandbox>,
    /// What opens sealed secrets.
    pub vault: Arc<Vault>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where operational events are told.
    pub events: Events,
}

/// Why delivering ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// Another gateway took the lanes over.
    #[error("another gateway has taken the lanes over")]
    Fenced,
    /// The lanes could not be taken over at start.
    #[error("the lanes can not be taken over")]
    Lease(#[source] StoreError),
}

/// Runs the room.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    parts: Parts,
    directory: Arc<Directory>,
    changes: Arc<Changes>,
    circuits: Arc<Circuits>,
    recover: Arc<Notify>,
    payloads: Arc<Payloads>,
    pending: Arc<Pending>,
    opening: Arc<Opening>,
    inputs: (mpsc::Sender<Input>, mpsc::Receiver<Input>),
    fresh: mpsc::Receiver<Input>,
    records: (mpsc::Sender<Job>, mpsc::Receiver<Job>),
    lease: oneshot::Sender<Lease>,
}

/// Puts the room together: what people ask for, the way in, and what runs it.
pub fn open(config: Config, parts: Parts) -> (Deliveries, Lanes, Engine) {
    let changes = Arc::new(Changes::default());
    let directory = Directory::new(
        Arc::clone(&parts.store),
        Arc::clone(&parts.vault),
        Arc::clone(&parts.outbound),
        (config.directory_endpoints, config.retry_schedule.clone()),
        Arc::clone(&changes),
    );
    let payloads = Arc::new(Payloads::new(
        Arc::clone(&parts.store),
        (config.new_bytes, config.ahead_bytes),
        config.in_flight_bytes,
    ));
    let inputs = mpsc::channel(config.lane_queue.max(1));
    let (fresh_in, fresh) = mpsc::channel(config.lane_queue.max(1));
    let records = mpsc::channel(config.record_queue.max(1));
    let (lease, leased) = oneshot::channel();
    let leased = leased.shared();
    let circuits = Arc::new(Circuits::new(Arc::clone(&parts.metrics)));
    let recover = Arc::new(Notify::new());
    let pending = Arc::new(Pending::default());
    let opening = Opening::new(Arc::clone(&parts.store), inputs.0.clone());
    let deliveries = Deliveries {
        circuits: Arc::clone(&circuits),
        recover: Arc::clone(&recover),
        store: Arc::clone(&parts.store),
        inputs: inputs.0.clone(),
        pending: Arc::clone(&pending),
        directory: Arc::clone(&directory),
        changes: Arc::clone(&changes),
        lease: leased.clone(),
    };
    let lanes = Lanes {
        payloads: Arc::clone(&payloads),
        hand_over: HandOver {
            directory: Arc::clone(&directory),
            pending: Arc::clone(&pending),
            opening: Arc::clone(&opening),
            fresh: fresh_in,
            records: records.0.clone(),
            lease: leased,
        },
    };
    let engine = Engine {
        config,
        parts,
        directory,
        changes,
        circuits,
        recover,
        payloads,
        pending,
        opening,
        inputs,
        fresh,
        records,
        lease,
    };
    (deliveries, lanes, engine)
}

/// What ends in which order.
struct Running {
    /// Nothing more is started.
    stop: CancellationToken,
    /// What is under way is given up.
    abort: CancellationToken,
    /// Everything that was started has ended.
    drained: CancellationToken,
    /// Another gateway has the lanes.
    fenced: CancellationToken,
    tasks: TaskTracker,
    driver: JoinSet<()>,
    recorder: JoinSet<()>,
    /// Ends with the engine, at any moment.
    background: JoinSet<()>,
}

impl Engine {
    /// Delivers until `shutdown`, then ends gracefully.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DeliveryError> {
        let store = Arc::clone(&self.parts.store);
        let (ttl, grace) = (self.config.lease_ttl(), self.config.grace());
        let taking = lease_all(store.as_ref(), ttl);
        let Some(lease) = shutdown.run_until_cancelled(taking).await else {
            return Ok(());
        };
        let lease = lease.map_err(DeliveryError::Lease)?;
        let mut running = self.start(&lease);
        let renewing = renew(store.as_ref(), &lease, ttl);
        let ended = tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            () = running.fenced.cancelled() => Err(DeliveryError::Fenced),
            () = renewing => Err(DeliveryError::Fenced),
        };
        running.end(grace, ended.is_err()).await;
        if let Err(error) = store.release(lease).await {
            // It lapses by itself.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the lanes are not given back"
            );
        }
        ended
    }

    fn start(self, lease: &Lease) -> Running {
        let mut running = Running {
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            drained: CancellationToken::new(),
            fenced: CancellationToken::new(),
            tasks: TaskTracker::new(),
            driver: JoinSet::new(),
            recorder: JoinSet::new(),
            background: JoinSet::new(),
        };
        self.start_background(lease, &mut running.background);
        let Self {
            config,
            parts,
            directory,
            circuits,
            payloads,
            pending,
            inputs: (inputs_in, inputs),
            fresh,
            records: (records_in, records),
            lease: told,
            ..
        } = self;
        // Nobody may want to know.
        told.send(lease.clone()).ok();
        let recorder = Recorder {
            store: Arc::clone(&parts.store),
            lease: lease.clone(),
            jobs: records,
            payloads: Arc::clone(&payloads),
            inputs: inputs_in.clone(),
            batch: config.record_batch.max(1),
            fenced: running.fenced.clone(),
            abort: running.abort.clone(),
        };
        running.recorder.spawn(recorder.run());
        let endpoints = Arc::new(Endpoints {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            events: parts.events.clone(),
        });
        let suspensions = Suspensions {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            events: parts.events.clone(),
            metrics: Arc::clone(&parts.metrics),
            streaks: Streaks::new(config.suspend_plugin_after),
        };
        let shaper = Shaper {
            sandbox: parts.sandbox,
            metrics: Arc::clone(&parts.metrics),
            suspensions,
        };
        let worker = Arc::new(Worker {
            directory,
            payloads,
            store: Arc::clone(&parts.store),
            outbound: parts.outbound,
            shaper,
            endpoints: Arc::clone(&endpoints),
            clock: Arc::clone(&parts.clock),
            metrics: Arc::clone(&parts.metrics),
            events: parts.events,
            limits: config.attempt_limits(),
            records: records_in.clone(),
            inputs: inputs_in.clone(),
        });
        let driver = Driver {
            scheduler: Scheduler::new(config.limits()).counting(pending),
            clock: parts.clock,
            lease: lease.clone(),
            worker,
            endpoints,
            metrics: parts.metrics,
            circuits,
            inputs,
            inputs_in,
            fresh,
            records: records_in,
            pending: VecDeque::new(),
            tasks: running.tasks.clone(),
            abort: running.abort.clone(),
            reported: Reported::default(),
        };
        running
            .driver
            .spawn(driver.run(running.stop.clone(), running.drained.clone()));
        running
    }

    fn start_background(&self, lease: &Lease, background: &mut JoinSet<()>) {
        let watcher = Watcher {
            changes: Arc::clone(&self.changes),
            directory: Arc::clone(&self.directory),
            store: Arc::clone(&self.parts.store),
            clock: Arc::clone(&self.parts.clock),
            lease: lease.clone(),
            inputs: self.inputs.0.clone(),
        };
        background.spawn(watcher.run());
        let recovery = Recovery {
            store: Arc::clone(&self.parts.store),
            clock: Arc::clone(&self.parts.clock),
            lease: lease.clone(),
            directory: Arc::clone(&self.directory),
            inputs: self.inputs.0.clone(),
            opening: Arc::clone(&self.opening),
        };
        background.spawn(recovery.run());
        let recoverer = Recoverer {
            store: Arc::clone(&self.parts.store),
            directory: Arc::clone(&self.directory),
            clock: Arc::clone(&self.parts.clock),
            inputs: self.inputs.0.clone(),
            wake: Arc::clone(&self.recover),
        };
        background.spawn(recoverer.run());
    }
}

impl Running {
    async fn end(&mut self, grace: Duration, at_once: bool) {
        self.stop.cancel();
        self.background.shutdown().await;
        self.tasks.close();
        if at_once
            || tokio::time::timeout(grace, self.tasks.wait())
                .await
                .is_err()
        {
            self.abort.cancel();
            self.tasks.wait().await;
        }
        self.drained.cancel();
        // It ends with its last row, and the disk may be full: then the recorder gives up, and it with it.
        if tokio::time::timeout(grace, self.driver.join_next())
            .await
            .is_err()
        {
            self.abort.cancel();
            self.driver.join_next().await;
        }
        // It ends with the last sender: fan-out may still hold one, and the disk may be full.
        if tokio::time::timeout(grace, self.recorder.join_next())
            .await
            .is_err()
        {
            self.abort.cancel();
            self.recorder.shutdown().await;
        }
    }
}

/// Keeps the lease until somebody else has it. Cancel-safe.
async fn renew(store: &dyn Store, lease: &Lease, ttl: Duration) {
    loop {
        // A third, so that two renewals may fail.
        tokio::time::sleep(ttl / 3).await;
        match store.renew(lease, ttl).await {
            Ok(()) => {}
            Err(StoreError::Fenced) => return,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the lease is not renewed; tried again"
            ),
        }
    }
}
