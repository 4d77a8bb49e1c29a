//! The deliveries waiting for one endpoint: a window in memory, the rest parked in the store. Pure.
//!
//! Every delivery that this gateway has in its hands is in `held`, from the moment it comes until its outcome
//! is on disk: rows keep their place in the store's due index that long, so a read may show them again.

mod flow;
mod parked;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::concurrency::Concurrency;
use super::health::Health;
use super::tree::Turn;
use super::{Action, Item, LaneSpec, Limits, Reply};
use crate::delivery::pending::Count;
use crate::domain::{
    ApplicationId, DeliveryRow, DeliveryState, OrganizationId, Rate, Seq, Timestamp, Trigger,
};

/// How far a lane may catch up after its driver woke late. Chosen: a few ticks of the timer (1 ms), so that
/// rates over 1,000/s are reached and no burst exceeds five milliseconds' worth.
const CATCH_UP: Duration = Duration::from_millis(5);

/// Where a delivery is that the gateway has in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// In the window.
    Waiting,
    /// Under way, started in this round.
    InFlight(u32),
    /// Under way, and asked for once more meanwhile.
    InFlightAgain(u32),
    /// On its way to the store.
    Recording,
    /// The same, and asked for once more meanwhile.
    RecordingAgain,
}

/// One lane.
#[derive(Debug)]
pub(super) struct Lane {
    spec: LaneSpec,
    /// Nothing is delivered any more; what waits ends in this state.
    closed: Option<DeliveryState>,
    /// Asked for by a person; not held back by an overloaded receiver.
    manual: VecDeque<Item>,
    first: VecDeque<Item>,
    retries: VecDeque<Item>,
    /// Starts since the last retry.
    since_retry: u8,
    held: HashMap<Seq, Held>,
    /// New deliveries that came while the same message was held: a try by hand was asked for before fan-out
    /// came to it. No more than are held; what they have besides goes into the row once it is on disk.
    late: HashMap<Seq, Item>,
    in_flight: u32,
    concurrency: Concurrency,
    rate: Rate,
    health: Health,
    /// The receiver is left alone until then.
    rests_until: Option<Timestamp>,
    /// The window was full, so that new deliveries queue up in the store behind those parked there.
    overflowed: bool,
    /// Not later than the first parked delivery that is not held; none: there is none.
    next_due: Option<Timestamp>,
    /// Parked deliveries up to this one have been read.
    cursor: Option<(Timestamp, Seq)>,
    /// Parked deliveries that are not held; relative until those from before the start are counted.
    parked: i64,
    /// Its organization's unfinished deliveries, and how many of them it was told are here.
    count: Count,
    reported: i64,
    /// A read is under way; what was recorded meanwhile is taken in after it, since the read may show it in
    /// its old place.
    refill: Option<Vec<DeliveryRow>>,
    pub(super) refill_queued: bool,
    pub(super) turn: Turn,
    pub(super) timer: Option<Timestamp>,
    pub(super) idle_queued: bool,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, limits: &Limits, count: Count) -> Self {
        let mut lane = Self {
            closed: None,
            manual: VecDeque::new(),
            first: VecDeque::new(),
            retries: VecDeque::new(),
            since_retry: 0,
            held: HashMap::new(),
            late: HashMap::new(),
            in_flight: 0,
            concurrency: Concurrency::new(limits.lane_start, limits.lane_max),
            rate: Rate::default(),
            health: Health::default(),
            rests_until: None,
            overflowed: false,
            next_due: None,
            cursor: None,
            parked: 0,
            count,
            reported: 0,
            refill: None,
            refill_queued: false,
            turn: Turn::default(),
            timer: None,
            idle_queued: false,
            spec,
        };
        lane.apply_spec();
        lane
    }

    pub(super) fn org(&self) -> OrganizationId {
        self.spec.org
    }

    pub(super) fn app(&self) -> ApplicationId {
        self.spec.app
    }

    pub(super) fn window_len(&self) -> usize {
        self.manual.len() + self.first.len() + self.retries.len()
    }

    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        if self.closed.is_some() {
            return None;
        }
        let fronts = [&self.manual, &self.first, &self.retries];
        let waiting = fronts.into_iter().filter_map(|queue| queue.front());
        waiting.map(|item| item.due).chain(self.next_due).min()
    }

    // --- what the endpoint says --------------------------------------------------------------------

    /// Takes over what is newer than what it knows.
    pub(super) fn learn(&mut self, spec: LaneSpec) {
        if spec.revision > self.spec.revision {
            self.spec = spec;
            self.apply_spec();
        }
    }

    pub(super) fn change(&mut self, spec: LaneSpec, actions: &mut Vec<Action>) {
        self.learn(spec);
        if self.closed.is_some() {
            self.settle_window(actions);
        }
    }

    pub(super) fn delete(&mut self, actions: &mut Vec<Action>) {
        self.closed = Some(DeliveryState::Canceled);
        // Deleted, so the store's sweeper takes the parked ones.
        self.next_due = None;
        self.settle_window(actions);
    }

    fn apply_spec(&mut self) {
        self.rate.set(self.spec.rate.map(u32::from), CATCH_UP);
        self.health.load(self.spec.failing_since);
        let was_closed = self.closed.is_some();
        self.closed = self.spec.disabled.then_some(DeliveryState::Failed);
        if self.closed.is_some() && !was_closed && self.next_due.is_some() {
            // All parked ones fail now, whenever they are due.
            self.next_due = Some(Timestamp::default());
        }
    }

    fn settle_window(&mut self, actions: &mut Vec<Action>) {
        let queues = [&mut self.manual, &mut self.first, &mut self.retries];
        let waiting: Vec<Item> = queues.into_iter().flat_map(std::mem::take).collect();
        for item in waiting {
            self.settle(item, actions);
        }
    }

    fn settle(&mut self, item: Item, actions: &mut Vec<Action>) {
        let state = self.closed.unwrap_or(DeliveryState::Failed);
        self.write(item, state, None, actions);
    }

    fn write(
        &mut self,
        item: Item,
        state: DeliveryState,
        reply: Option<Reply>,
        actions: &mut Vec<Action>,
    ) {
        self.held.insert(item.message, Held::Recording);
        actions.push(Action::Write {
            row: item.row(self.spec.endpoint, state),
            ticket: item.ticket,
            reply,
        });
    }

    // --- deliveries come ---------------------------------------------------------------------------

    pub(super) fn deliver(
        &mut self,
        now: Timestamp,
        item: Item,
        window: usize,
        actions: &mut Vec<Action>,
    ) {
        match self.held.get(&item.message) {
            None => {}
            Some(Held::Waiting) => {
                if let Some(waiting) = self.queued(item.message) {
                    waiting.join(item);
                }
                return;
            }
            Some(_) => {
                self.late.entry(item.message).or_insert(item);
                return;
            }
        }
        if self.closed.is_some() {
            return self.settle(item, actions);
        }
        if self.window_len() >= window {
            self.overflowed = true;
        }
        if self.overflowed || self.spec.paused || item.due > now {
            let due = item.due.max(now);
            let trigger = Trigger::Scheduled;
            return self.write(item, DeliveryState::Parked { due, trigger }, None, actions);
        }
        self.held.insert(item.message, Held::Waiting);
        self.first.push_back(item);
    }

    /// One more try, by hand: a row that is due now, unless the delivery is under way.
    pub(super) fn resend(
        &mut self,
        now: Timestamp,
        message: Seq,
        row: Option<DeliveryRow>,
        reply: Reply,
        actions: &mut Vec<Action>,
    ) {
        match self.held.get_mut(&message) {
            Some(held @ Held::InFlight(_)) => {
                let Held::InFlight(round) = *held else { return };
                *held = Held::InFlightAgain(round);
            }
            Some(held @ Held::Recording) => *held = Held::RecordingAgain,
            Some(Held::InFlightAgain(_) | Held::RecordingAgain) => {}
            Some(Held::Waiting) => {
                if let Some(item) = self.unqueue(message) {
                    return self.write_manual(now, item.by_hand(), Some(reply), actions);
                }
            }
            None => {
                let was_parked = row.as_ref().is_some_and(|row| !row.state.is_settled());
                self.parked -= i64::from(was_parked);
                let item = Item::manual(row, message, now);
                return self.write_manual(now, item, Some(reply), actions);
            }
        }
        // The store covers a delivery that is under way, so the answer need not wait for its end. An asker
        // who left needs no answer.
        reply.send(()).ok();
    }

    fn write_manual(
        &mut self,
        now: Timestamp,
        item: Item,
        reply: Option<Reply>,
        actions: &mut Vec<Action>,
    ) {
        let state = DeliveryState::Parked {
            due: now,
            trigger: Trigger::Manual,
        };
        self.write(item, state, reply, actions);
    }

    fn queued(&mut self, message: Seq) -> Option<&mut Item> {
        let queues = [&mut self.manual, &mut self.first, &mut self.retries];
        let mut waiting = queues.into_iter().flatten();
        waiting.find(|item| item.message == message)
    }

    fn unqueue(&mut self, message: Seq) -> Option<Item> {
        let queues = [&mut self.manual, &mut self.first, &mut self.retries];
        queues.into_iter().find_map(|queue| {
            let place = queue.iter().position(|item| item.message == message)?;
            queue.remove(place)
        })
    }

    /// Gives parked deliveries the due time that they carry, where nothing happens to them at present.
    pub(super) fn reschedule(
        &mut self,
        rows: Vec<DeliveryRow>,
        reply: Reply,
        actions: &mut Vec<Action>,
    ) {
        let mut reply = Some(reply);
        let free: Vec<DeliveryRow> = rows
            .into_iter()
            .filter(|row| !self.held.contains_key(&row.key.message))
            .collect();
        let last = free.len().saturating_sub(1);
        for (place, row) in free.into_iter().enumerate() {
            self.parked -= 1;
            self.held.insert(row.key.message, Held::Recording);
            actions.push(Action::Write {
                row,
                ticket: None,
                reply: (place == last).then(|| reply.take()).flatten(),
            });
        }
        if let Some(reply) = reply {
            reply.send(()).ok();
        }
    }

    // --- how many there are ------------------------------------------------------------------------

    /// A delivery was handed in, which was counted as one by whoever did so: until it is counted here.
    pub(super) fn count_handed_in(&mut self) {
        self.report_pending();
        self.count.add(-1);
    }

    /// So many were parked before anything happened here.
    pub(super) fn count_parked(&mut self, parked: u64) {
        self.parked += i64::try_from(parked).unwrap_or(i64::MAX);
    }

    /// Tells the organization's count what has changed. What waits for an endpoint that is gone is canceled.
    pub(super) fn report_pending(&mut self) {
        let held = i64::try_from(self.held.len()).unwrap_or(i64::MAX);
        let pending = match self.closed {
            Some(DeliveryState::Canceled) => 0,
            _ => held.saturating_add(self.parked),
        };
        self.count.add(pending - self.reported);
        self.reported = pending;
    }

    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        self.is_forgettable() && !self.rests(now)
    }

    /// Nothing is lost with it but what it learned about its receiver.
    pub(super) fn is_forgettable(&self) -> bool {
        self.held.is_empty()
            && self.next_due.is_none()
            && self.refill.is_none()
            && !self.refill_queued
            && !self.turn.queued
    }
}
