//! From a message to the lanes of the endpoints that want it. Matching only: chains run with each delivery,
//! where their results are shared, so no plugin can hold fan-out up.
//!
//! After a start the outbox is read first; what is accepted meanwhile is left to it. From then on messages
//! come through a bounded queue, and those that do not fit leave their number behind, to be read from the
//! store when the queue has drained.
//!
//! A lane gets its messages in order: one that was posted after another was answered comes after it. So while
//! any number is left behind, all later ones are, and what a fault of the disk had hidden comes after what was
//! accepted before it and before what was accepted since. Messages accepted at the same moment have no order
//! but the one in which they come here.

use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::delivery::{HandOver, OneMore, Stopped};
use crate::domain::{Clock, EndpointId, Message, Seq};
use crate::store::{OutboxEntry, Store, StoreError};

/// Outbox entries read at a time.
const PAGE: usize = 256;

/// Messages taken at a time from the queue, and from those that did not fit into it.
const BATCH: usize = 64;

/// Between two tries while the store can not be read. Chosen: it reopens within a second.
const RETRY: Duration = Duration::from_millis(250);

/// Where accepted messages arrive.
#[derive(Debug)]
pub(super) struct Arrivals {
    queue: mpsc::Sender<Arrival>,
    shared: Arc<Shared>,
}

/// A message, and its place among the unfinished deliveries until its own are.
type Arrival = (Message, Option<OneMore>);

/// The same of one whose message is to be read.
type Missed = (Seq, Option<OneMore>);

#[derive(Debug)]
struct Shared {
    /// The outbox has been read: what arrives from now on is passed on from the queue.
    live: AtomicBool,
    /// Messages that did not fit into the queue.
    missed: Mutex<VecDeque<Missed>>,
    /// There are such messages: those that come now go behind them.
    spills: AtomicBool,
    missed_limit: usize,
    wake: Notify,
}

/// Passes messages on to the lanes.
#[derive(Debug)]
pub struct FanOut {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    lanes: HandOver,
    queue: mpsc::Receiver<Arrival>,
    shared: Arc<Shared>,
    /// Read from the outbox although they arrive in the queue too.
    twins: HashSet<Seq>,
    /// The start read the outbox up to here.
    recovered_to: Seq,
}

pub(super) fn new(
    config: &Config,
    (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
    lanes: HandOver,
) -> (Arrivals, FanOut) {
    let (sender, queue) = mpsc::channel(config.fan_out_queue.max(1));
    let shared = Arc::new(Shared {
        live: AtomicBool::new(false),
        missed: Mutex::new(VecDeque::new()),
        spills: AtomicBool::new(false),
        missed_limit: config.fan_out_backlog,
        wake: Notify::new(),
    });
    let arrivals = Arrivals {
        queue: sender,
        shared: Arc::clone(&shared),
    };
    let fan_out = FanOut {
        store,
        clock,
        lanes,
        queue,
        shared,
        twins: HashSet::new(),
        recovered_to: Seq::default(),
    };
    (arrivals, fan_out)
}

impl Arrivals {
    /// Whether fan-out keeps up well enough for more to be accepted.
    pub(super) fn has_room(&self) -> bool {
        self.shared.missed.lock().len() <= self.shared.missed_limit
    }

    /// A message that is on disk. Never waits.
    pub(super) fn push(&self, message: Message, unfinished: Option<OneMore>) {
        if !self.shared.live.load(Ordering::SeqCst) {
            return;
        }
        let seq = message.seq;
        let unfinished = if self.shared.spills.load(Ordering::Acquire) {
            unfinished
        } else {
            match self.queue.try_send((message, unfinished)) {
                Err(TrySendError::Full((_, unfinished))) => unfinished,
                Ok(()) | Err(TrySendError::Closed(_)) => return,
            }
        };
        let mut missed = self.shared.missed.lock();
        missed.push_back((seq, unfinished));
        self.shared.spills.store(true, Ordering::Release);
        drop(missed);
        self.shared.wake.notify_one();
    }
}

impl FanOut {
    /// Runs until `shutdown`. Cancel-safe: what was not passed on is in the outbox.
    pub async fn run(mut self, shutdown: CancellationToken) {
        // An error is the lanes' end, so this room's too.
        if let Some(Err(Stopped)) = shutdown.run_until_cancelled(self.pass_on()).await {
            tracing::debug!("the lanes have ended");
        }
    }

    async fn pass_on(&mut self) -> Result<(), Stopped> {
        self.recover().await?;
        self.lanes.caught_up().await?;
        let mut arrived = Vec::with_capacity(BATCH);
        loop {
            // In a fixed order, so that a simulation can repeat a run: what surfaces is rare, and what was missed
            // gets its turn below.
            tokio::select! {
                biased;
                numbers = self.store.surfaced() => self.surface(numbers, &mut arrived).await?,
                count = self.queue.recv_many(&mut arrived, BATCH) => {
                    if count == 0 {
                        return Err(Stopped);
                    }
                }
                () = self.shared.wake.notified() => {}
            }
            self.pass_arrived(&mut arrived).await?;
            self.catch_up(&mut arrived).await?;
        }
    }

    /// Passes on what the outbox holds. The last reading begins after the queue is open, so nothing falls
    /// between; what both show is remembered.
    async fn recover(&mut self) -> Result<(), Stopped> {
        let lease = self.lanes.lease().await?;
        let mut after = Seq::default();
        loop {
            let live = self.shared.live.load(Ordering::SeqCst);
            let reading = || self.store.unsettled(&lease, after, PAGE);
            let entries = patiently(reading).await;
            let full = entries.len() == PAGE;
            for OutboxEntry { message, have_rows } in entries {
                after = message.seq;
                if live {
                    self.twins.insert(message.seq);
                }
                self.fan_out(&message, &have_rows).await?;
            }
            match (live, full) {
                (true, false) => {
                    self.recovered_to = after;
                    return Ok(());
                }
                (false, false) => self.shared.live.store(true, Ordering::SeqCst),
                (_, true) => {}
            }
        }
    }

    /// Passes on messages that are on disk although whoever sent them was answered with an error: they never
    /// were in the queue, so nobody else does. What came before them goes first; the rest of the queue joins
    /// `arrived`.
    async fn surface(
        &mut self,
        numbers: RangeInclusive<Seq>,
        arrived: &mut Vec<Arrival>,
    ) -> Result<(), Stopped> {
        let is_before = |seq: Seq| seq < *numbers.start();
        let missed: VecDeque<Missed> = {
            let mut missed = self.shared.missed.lock();
            let (before, rest) = missed.drain(..).partition(|(seq, _)| is_before(*seq));
            *missed = rest;
            before
        };
        while let Ok(message) = self.queue.try_recv() {
            arrived.push(message);
        }
        for (message, _unfinished) in arrived.extract_if(.., |(message, _)| is_before(message.seq))
        {
            self.pass(&message).await?;
        }
        for (seq, _unfinished) in missed {
            self.pass_missed(seq).await?;
        }
        self.pass_surfaced(numbers).await
    }

    async fn pass_surfaced(&mut self, numbers: RangeInclusive<Seq>) -> Result<(), Stopped> {
        let lease = self.lanes.lease().await?;
        // What surfaced during the start was read by it: it passed no number that was still in doubt.
        let mut after = Seq(numbers.start().0.saturating_sub(1)).max(self.recovered_to);
        loop {
            let entries = patiently(|| self.store.unsettled(&lease, after, PAGE)).await;
            let full = entries.len() == PAGE;
            for OutboxEntry { message, have_rows } in entries {
                if message.seq > *numbers.end() {
                    return Ok(());
                }
                after = message.seq;
                self.fan_out(&message, &have_rows).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// Passes on what has arrived, after what surfaced before it was accepted.
    async fn pass_arrived(&mut self, arrived: &mut Vec<Arrival>) -> Result<(), Stopped> {
        while let Some(numbers) = self.store.surfaced().now_or_never() {
            self.surface(numbers, arrived).await?;
        }
        for (message, _unfinished) in arrived.drain(..) {
            self.pass(&message).await?;
        }
        Ok(())
    }

    /// Passes on some of what did not fit into the queue.
    async fn catch_up(&mut self, arrived: &mut Vec<Arrival>) -> Result<(), Stopped> {
        for _ in 0..BATCH {
            let next = {
                let missed = self.shared.missed.lock();
                if missed.is_empty() {
                    // Only now: the last one has been passed on.
                    self.shared.spills.store(false, Ordering::Release);
                    return Ok(());
                }
                missed.front().map(|(seq, _)| *seq)
            };
            // What is in the queue fitted into it, so it came before.
            while let Ok(message) = self.queue.try_recv() {
                arrived.push(message);
            }
            self.pass_arrived(arrived).await?;
            // Unless it went before something that surfaced.
            let first = {
                let mut missed = self.shared.missed.lock();
                missed.pop_front_if(|(seq, _)| Some(*seq) == next)
            };
            if let Some((seq, _unfinished)) = first {
                self.pass_missed(seq).await?;
            }
        }
        self.shared.wake.notify_one();
        Ok(())
    }

    async fn pass(&mut self, message: &Message) -> Result<(), Stopped> {
        if self.twins.remove(&message.seq) {
            return Ok(());
        }
        self.fan_out(message, &[]).await
    }

    async fn pass_missed(&mut self, seq: Seq) -> Result<(), Stopped> {
        match patiently(|| self.store.message(seq)).await {
            Some(message) => self.pass(&message).await,
            None => Ok(()),
        }
    }

    async fn fan_out(&self, message: &Message, have_rows: &[EndpointId]) -> Result<(), Stopped> {
        let app = patiently(|| self.lanes.app(message.app)).await;
        let wanted: Vec<_> = app
            .iter()
            .flat_map(|app| app.endpoints.values())
            .filter(|view| {
                let endpoint = &view.endpoint;
                !endpoint.disabled
                    && view.seq < message.seq
                    && endpoint.wants(message.event_type.as_str(), &message.channels)
                    && !have_rows.contains(&endpoint.id)
            })
            .cloned()
            .collect();
        for endpoint in &wanted {
            patiently(|| self.lanes.open(endpoint)).await?;
        }
        self.lanes.deliver(message, &wanted, self.clock.now()).await
    }
}

/// Reads until the store answers: what is in the outbox can wait.
async fn patiently<T, F>(mut read: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut warned = false;
    loop {
        match read().await {
            Ok(read) => return read,
            Err(error) if !warned => {
                warned = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "accepted messages wait for the store"
                );
            }
            Err(_) => {}
        }
        tokio::time::sleep(RETRY).await;
    }
}
