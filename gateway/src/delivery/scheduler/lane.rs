//! The deliveries waiting for one endpoint: a window in memory, the rest parked in the store. Pure.
//!
//! Every delivery that this gateway has in its hands is in `held`, from the moment it comes until its outcome
//! is on disk: rows keep their place in the store's due index that long, so a read may show them again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::concurrency::Concurrency;
use super::health::{Health, HealthChange};
use super::rate::Rate;
use super::tree::Turn;
use super::{Action, Feedback, Item, LaneSpec, Limits, Refill, Refilled, Reply, Start};
use crate::domain::{
    ApplicationId, DeliveryRow, DeliveryState, OrganizationId, Seq, Timestamp, Trigger,
};

/// First tries go before retries, but one start in so many is a retry where some wait. Chosen: retries get
/// a fifth of a busy lane and never starve.
const RETRY_EVERY: u8 = 5;

/// How long a lane waits after its parked deliveries could not be read. Chosen: the store answers again
/// within a second of reopening.
const REFILL_RETRY: Duration = Duration::from_secs(1);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

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
    /// A read is under way; what was recorded meanwhile is taken in after it, since the read may show it in
    /// its old place.
    refill: Option<Vec<DeliveryRow>>,
    pub(super) refill_queued: bool,
    pub(super) turn: Turn,
    pub(super) timer: Option<Timestamp>,
    pub(super) idle_queued: bool,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, limits: &Limits) -> Self {
        let mut lane = Self {
            closed: None,
            manual: VecDeque::new(),
            first: VecDeque::new(),
            retries: VecDeque::new(),
            since_retry: 0,
            held: HashMap::new(),
            in_flight: 0,
            concurrency: Concurrency::new(limits.lane_start, limits.lane_max),
            rate: Rate::default(),
            health: Health::default(),
            rests_until: None,
            overflowed: false,
            next_due: None,
            cursor: None,
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
        self.rate.set(self.spec.rate);
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
        if self.held.contains_key(&item.message) {
            return;
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

    // --- deliveries go -----------------------------------------------------------------------------

    /// Bytes of the delivery that would start now; none if nothing may.
    pub(super) fn next_bytes(&self, now: Timestamp) -> Option<u32> {
        if !self.startable(now) {
            return None;
        }
        let fronts = [&self.manual, &self.first, &self.retries];
        fronts
            .into_iter()
            .find_map(|queue| queue.front())
            .map(|item| item.bytes)
    }

    pub(super) fn startable(&self, now: Timestamp) -> bool {
        self.has_room()
            && self.rate.wait(now).is_none()
            && (!self.manual.is_empty() || (self.has_scheduled() && !self.rests(now)))
    }

    pub(super) fn start(&mut self, now: Timestamp) -> Option<Start> {
        let item = self.pick(now)?;
        self.rate.take(now);
        self.in_flight += 1;
        self.held
            .insert(item.message, Held::InFlight(self.concurrency.round()));
        Some(Start {
            lane: self.spec.endpoint,
            app: self.spec.app,
            item,
        })
    }

    fn pick(&mut self, now: Timestamp) -> Option<Item> {
        if let Some(item) = self.manual.pop_front() {
            return Some(item);
        }
        if self.rests(now) {
            return None;
        }
        let retry_turn = self.since_retry + 1 >= RETRY_EVERY || self.first.is_empty();
        if retry_turn && let Some(item) = self.retries.pop_front() {
            self.since_retry = 0;
            return Some(item);
        }
        self.since_retry = (self.since_retry + 1).min(RETRY_EVERY);
        self.first.pop_front()
    }

    fn has_room(&self) -> bool {
        self.closed.is_none() && !self.spec.paused && self.in_flight < self.concurrency.limit()
    }

    fn has_scheduled(&self) -> bool {
        !self.first.is_empty() || !self.retries.is_empty()
    }

    fn rests(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    pub(super) fn finished(
        &mut self,
        now: Timestamp,
        message: Seq,
        feedback: Feedback,
        limits: &Limits,
    ) -> Option<HealthChange> {
        self.in_flight = self.in_flight.saturating_sub(1);
        let round = match self.held.get_mut(&message) {
            Some(held) => match *held {
                Held::InFlight(round) => {
                    *held = Held::Recording;
                    round
                }
                Held::InFlightAgain(round) => {
                    *held = Held::RecordingAgain;
                    round
                }
                // The record overtook this message.
                _ => self.concurrency.round(),
            },
            None => self.concurrency.round(),
        };
        match feedback {
            Feedback::Success => {
                self.concurrency.grow();
                self.rests_until = None;
                self.health.success()
            }
            Feedback::Failure => self.health.failure(now, &limits.silence),
            Feedback::Overloaded(wait) => {
                if self.concurrency.shrink(round) {
                    let wait = wait.unwrap_or(limits.slow_down_floor);
                    self.rests_until = Some(now.after(wait));
                }
                self.health.failure(now, &limits.silence)
            }
            Feedback::NotAsked => {
                self.rate.refund();
                None
            }
        }
    }

    /// The attempt was not made: the delivery goes back to where it came from.
    pub(super) fn postpone(&mut self, until: Timestamp, item: Item, actions: &mut Vec<Action>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.rate.refund();
        if self.closed.is_some() {
            return self.settle(item, actions);
        }
        self.held.insert(item.message, Held::Waiting);
        self.rests_until = self.rests_until.max(Some(until));
        // A manual one is not held back by a resting lane, and would be tried again at once.
        if item.tries == 0 {
            self.first.push_front(item);
        } else {
            self.retries.push_front(item);
        }
    }

    /// A row is on disk.
    pub(super) fn recorded(&mut self, now: Timestamp, row: DeliveryRow, actions: &mut Vec<Action>) {
        if let Some(meanwhile) = &mut self.refill {
            meanwhile.push(row);
            return;
        }
        let message = row.key.message;
        if self.held.remove(&message) == Some(Held::RecordingAgain) {
            let item = Item::manual(Some(row), message, now);
            return self.write_manual(now, item, None, actions);
        }
        if let DeliveryState::Parked { due, .. } = row.state {
            self.note_parked(due, message);
        }
    }

    // --- parked deliveries -------------------------------------------------------------------------

    /// There is a parked delivery that is not held.
    pub(super) fn note_parked(&mut self, due: Timestamp, message: Seq) {
        let due_here = match self.closed {
            Some(DeliveryState::Canceled) => return,
            Some(_) => Timestamp::default(),
            None => due,
        };
        self.next_due = Some(self.next_due.map_or(due_here, |known| known.min(due_here)));
        if self.cursor.is_some_and(|read| (due, message) <= read) {
            self.cursor = Some((due, Seq(message.0.saturating_sub(1))));
        }
    }

    pub(super) fn wants_refill(&self, now: Timestamp, window: usize) -> bool {
        let due = self.next_due.is_some_and(|due| due <= now);
        let room = match self.closed {
            Some(_) => self.held.len() < window / 2,
            None => !self.spec.paused && self.window_len() <= window / 2,
        };
        due && room && self.refill.is_none() && !self.refill_queued
    }

    pub(super) fn start_refill(&mut self, now: Timestamp, window: usize) -> Option<Refill> {
        self.refill_queued = false;
        if !self.wants_refill(now, window) {
            return None;
        }
        self.refill = Some(Vec::new());
        self.next_due = None;
        Some(Refill {
            lane: self.spec.endpoint,
            until: if self.closed.is_some() {
                END_OF_TIME
            } else {
                now
            },
            after: self.cursor,
            limit: (window - self.window_len().min(window)).max(1),
        })
    }

    pub(super) fn refilled(
        &mut self,
        now: Timestamp,
        refilled: Refilled,
        actions: &mut Vec<Action>,
    ) {
        let meanwhile = self.refill.take().unwrap_or_default();
        for row in refilled.rows {
            let DeliveryState::Parked { due, .. } = row.state else {
                continue;
            };
            let message = row.key.message;
            self.cursor = self.cursor.max(Some((due, message)));
            if self.held.contains_key(&message) {
                continue;
            }
            let item = Item::of_row(&row, due);
            if self.closed.is_some() {
                self.settle(item, actions);
                continue;
            }
            self.held.insert(message, Held::Waiting);
            match item {
                item if item.trigger == Trigger::Manual => self.manual.push_back(item),
                item if item.tries == 0 => self.first.push_back(item),
                item => self.retries.push_back(item),
            }
        }
        if refilled.full {
            self.next_due = match (self.closed, self.cursor) {
                (None, Some((due, _))) => Some(due),
                _ => Some(Timestamp::default()),
            };
        } else {
            self.overflowed = false;
            if let Some(due) = refilled.next_due {
                self.next_due = Some(self.next_due.map_or(due, |known| known.min(due)));
            }
        }
        for row in meanwhile {
            self.recorded(now, row, actions);
        }
    }

    pub(super) fn refill_failed(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.next_due = Some(now.after(REFILL_RETRY));
        for row in self.refill.take().unwrap_or_default() {
            self.recorded(now, row, actions);
        }
    }

    // --- time --------------------------------------------------------------------------------------

    /// The first moment at which time alone lets this lane do something that it can not do now.
    pub(super) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        if self.spec.paused && self.closed.is_none() {
            return None;
        }
        let rested = (self.has_scheduled() && self.closed.is_none())
            .then_some(self.rests_until)
            .flatten();
        let allowed = (self.has_room() && self.window_len() > 0)
            .then(|| self.rate.wait(now))
            .flatten();
        let ahead = |moment: &Timestamp| *moment > now;
        [rested, allowed, self.next_due]
            .into_iter()
            .flatten()
            .filter(ahead)
            .min()
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

impl Item {
    /// A parked delivery.
    fn of_row(row: &DeliveryRow, due: Timestamp) -> Self {
        let trigger = match row.state {
            DeliveryState::Parked { trigger, .. } => trigger,
            _ => Trigger::Scheduled,
        };
        Self {
            message: row.key.message,
            tries: row.tries,
            due,
            trigger,
            resume_due: row.resume_due,
            bytes: 0,
            ticket: None,
        }
    }

    /// A try by hand of a delivery with this row, or without one: the endpoint did not want the message then.
    fn manual(row: Option<DeliveryRow>, message: Seq, now: Timestamp) -> Self {
        let item = match row {
            Some(row) => match row.state {
                DeliveryState::Parked { due, .. } => return Self::of_row(&row, due).by_hand(),
                _ => Self::of_row(&row, now),
            },
            None => Self {
                message,
                tries: 0,
                due: now,
                trigger: Trigger::Manual,
                resume_due: None,
                bytes: 0,
                ticket: None,
            },
        };
        Self {
            resume_due: None,
            ..item
        }
    }

    /// What waits by schedule goes on doing so if the try by hand fails.
    fn by_hand(mut self) -> Self {
        if self.trigger == Trigger::Scheduled {
            self.resume_due = Some(self.due);
        }
        self
    }
}
