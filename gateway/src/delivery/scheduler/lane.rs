//! The deliveries waiting for one endpoint: a window in memory, the rest parked in the store. Pure.
//!
//! Every delivery that this gateway has in its hands is in `held`, from the moment it comes until its outcome
//! is on disk: rows keep their place in the store's due index that long, so a read may show them again.
//!
//! - `asked`: what somebody asks for beside the schedule
//! - `flow`: which goes next and when
//! - `order`: what a lane does besides that delivers in order of acceptance
//! - `parked`: the part in the store
//! - `spared`: what an open circuit does to it

mod asked;
mod flow;
mod order;
mod parked;
mod spared;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::circuit::Circuit;
use super::concurrency::Concurrency;
use super::health::Health;
use super::pace::Pace;
use super::tree::Turns;
use super::{Action, Item, LaneSpec, Limits, Reply, share};
use crate::delivery::pending::Count;
use crate::domain::{
    ApplicationId, DeliveryOrder, DeliveryState, OrganizationId, Rate, Seq, Timestamp, Trigger,
};
use order::Fifo;
use parked::Reading;

/// The part of the window that is kept for retries and tries by hand, so that new deliveries find room however
/// many wait to be tried again. Chosen: a little more than the share of starts that retries get.
const AGAIN_PART: usize = 4;

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
    /// First tries; in a lane that keeps the order all that have their place in it, in that order.
    first: VecDeque<Item>,
    retries: VecDeque<Item>,
    /// Starts since the last retry.
    since_retry: u8,
    held: HashMap<Seq, Held>,
    /// New deliveries that came while the same message was held: a try by hand was asked for before fan-out
    /// came to it. No more than are held; what they have besides goes into the row once it is on disk.
    late: HashMap<Seq, Item>,
    /// Who asked for one more try after the last one had ended: answered once it is on disk.
    askers: HashMap<Seq, Vec<Reply>>,
    /// None: one that fails is overtaken.
    fifo: Option<Box<Fifo>>,
    /// Fan-out has handed over what the outbox held at the start.
    pub(super) caught_up: bool,
    /// Its share of memory as the scheduler measured it last, in deliveries.
    window: usize,
    in_flight: u32,
    concurrency: Concurrency,
    rate: Rate,
    health: Health,
    circuit: Circuit,
    /// The receiver is left alone until then.
    rests_until: Option<Timestamp>,
    /// Deliveries wait in the store for their turn: new ones queue up behind them.
    behind: bool,
    /// Those of them that are not held come after this one.
    read_to: Seq,
    /// Not later than the first one not held that is parked until a moment; none: there is none.
    next_due: Option<Timestamp>,
    /// Those parked until a moment have been read up to this one.
    cursor: Option<(Timestamp, Seq)>,
    refill: Option<Reading>,
    /// The store could not be read; not again before this moment.
    read_after: Option<Timestamp>,
    /// Parked deliveries that are not held; relative until those from before the start are counted. One may be
    /// counted twice, until the lane next knows of none: where a try by hand is asked for before fan-out comes to
    /// the delivery, or before the lane is opened.
    parked: i64,
    /// Its organization's unfinished deliveries, and how many of them it was told are here.
    count: Count,
    reported: i64,
    pub(super) refill_queued: bool,
    /// Of its window, what the scheduler has counted.
    pub(super) counted: usize,
    pub(super) turns: Turns,
    pub(super) pace: Pace,
    pub(super) timer: Option<Timestamp>,
    pub(super) idle_queued: bool,
}

impl Lane {
    pub(super) fn new(spec: LaneSpec, limits: &Limits, count: Count, caught_up: bool) -> Self {
        let mut lane = Self {
            closed: None,
            manual: VecDeque::new(),
            first: VecDeque::new(),
            retries: VecDeque::new(),
            since_retry: 0,
            held: HashMap::new(),
            late: HashMap::new(),
            askers: HashMap::new(),
            fifo: None,
            caught_up,
            window: limits.window,
            in_flight: 0,
            concurrency: Concurrency::new(limits.lane_start, limits.lane_max),
            rate: Rate::default(),
            health: Health::default(),
            circuit: Self::first_circuit(spec.failing_since),
            rests_until: None,
            behind: false,
            read_to: Seq(0),
            next_due: None,
            cursor: None,
            parked: 0,
            count,
            reported: 0,
            refill: None,
            read_after: None,
            refill_queued: false,
            counted: 0,
            turns: Turns::default(),
            pace: Pace::default(),
            timer: None,
            idle_queued: false,
            spec,
        };
        lane.apply_spec();
        if lane.spec.order != DeliveryOrder::Free {
            lane.start_over();
        }
        lane
    }

    pub(super) fn org(&self) -> OrganizationId {
        self.spec.org
    }

    pub(super) fn app(&self) -> ApplicationId {
        self.spec.app
    }

    /// How many deliveries the receiver takes at once, as far as it has shown; in order it is one, which shows no
    /// more than that it takes them.
    pub(super) fn shown_concurrency(&self) -> u32 {
        match self.fifo {
            Some(_) => self.concurrency.barely(),
            None => self.concurrency.limit(),
        }
    }

    /// Whether its receiver has shown that it takes what it is given, as fast as it comes.
    pub(super) fn moves(&self, limits: &Limits) -> bool {
        let is_open = self.closed.is_none() && self.spec.rate.is_none();
        is_open && self.shown_concurrency() > limits.lane_start
    }

    /// Measures its share of memory while so many deliveries of all lanes wait there.
    pub(super) fn measure(&mut self, limits: &Limits, waiting: usize) {
        self.window = share::window(limits, waiting, self.shown_concurrency());
    }

    pub(super) fn window_len(&self) -> usize {
        self.first.len() + self.again_len()
    }

    fn again_len(&self) -> usize {
        self.manual.len() + self.retries.len()
    }

    fn again_room(&self) -> usize {
        (self.window_limit() / AGAIN_PART).max(1)
    }

    fn first_room(&self) -> usize {
        let room = self.window_limit().saturating_sub(self.again_room());
        room.max(1)
    }

    pub(super) fn oldest_due(&self) -> Option<Timestamp> {
        if self.closed.is_some() {
            return None;
        }
        let fronts = [&self.manual, &self.first, &self.retries];
        let waiting = fronts.into_iter().filter_map(|queue| queue.front());
        let moments = waiting.map(|item| item.due).chain(self.next_due);
        moments.filter(|due| *due > DeliveryState::IN_TURN).min()
    }

    // --- what the endpoint says --------------------------------------------------------------------

    /// Takes over what is newer than what it knows.
    pub(super) fn learn(&mut self, spec: LaneSpec) {
        if spec.revision <= self.spec.revision {
            return;
        }
        if spec.changed_at > self.spec.changed_at {
            self.reconsider();
        }
        let reordered = spec.order != self.spec.order;
        let was_closed = self.closed.is_some();
        self.spec = spec;
        self.apply_spec();
        let is_closed = self.closed.is_some();
        if reordered || (was_closed && !is_closed) {
            self.start_over();
        }
        let may_be_parked =
            self.next_due.is_some() || self.behind || self.refill.is_some() || !self.is_surveyed();
        if is_closed && !was_closed && may_be_parked {
            // All parked ones fail now, whenever they are due.
            self.read_from_start();
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
        self.circuit.close();
        // Deleted, so the store's sweeper takes the parked ones.
        self.next_due = None;
        self.settle_window(actions);
    }

    fn apply_spec(&mut self) {
        self.rate.set(self.spec.rate.map(u32::from), CATCH_UP);
        self.health.load(self.spec.failing_since);
        self.closed = self.spec.disabled.then_some(DeliveryState::Failed);
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

    pub(super) fn deliver(&mut self, now: Timestamp, item: Item, actions: &mut Vec<Action>) {
        let (message, has_place, expires) = (item.message, item.due <= now, item.expires);
        match self.held.get(&message) {
            None => {}
            Some(Held::Waiting) => {
                let waiting = self.queued(message);
                let by_hand = waiting.is_some_and(|waiting| {
                    waiting.join(item);
                    waiting.trigger == Trigger::Manual
                });
                if by_hand && has_place {
                    self.keep_place(message, expires);
                }
                return;
            }
            Some(_) => {
                if has_place {
                    self.keep_place(message, expires);
                }
                self.late.entry(message).or_insert(item);
                return;
            }
        }
        if self.closed.is_some() {
            return self.settle(item, actions);
        }
        if !has_place {
            let (due, trigger) = (item.due, Trigger::Scheduled);
            return self.write(item, DeliveryState::Parked { due, trigger }, None, actions);
        }
        if self.spec.paused {
            return self.wait_in_store(item, actions);
        }
        self.line_up(item, actions);
    }

    /// Puts a first try into the window, or into the store if it is not its turn to be in the window.
    fn line_up(&mut self, item: Item, actions: &mut Vec<Action>) {
        if self.takes(item.message) {
            self.hold(item);
            self.trim(actions);
        } else {
            self.wait_in_store(item, actions);
        }
    }

    fn wait_in_store(&mut self, item: Item, actions: &mut Vec<Action>) {
        self.keep_place(item.message, item.expires);
        let (due, trigger) = (DeliveryState::IN_TURN, Trigger::Scheduled);
        self.write(item, DeliveryState::Parked { due, trigger }, None, actions);
    }

    fn hold(&mut self, item: Item) {
        self.held.insert(item.message, Held::Waiting);
        if item.trigger == Trigger::Manual {
            self.manual.push_back(item);
        } else if self.is_retry(&item) {
            self.retries.push_back(item);
        } else {
            self.queue_first(item);
        }
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

    // --- how many there are ------------------------------------------------------------------------

    /// A delivery was handed in, which was counted as one by whoever did so: until it is counted here.
    pub(super) fn count_handed_in(&mut self) {
        self.report_pending();
        self.count.add(-1);
    }

    /// Tells the organization's count what has changed. What waits for an endpoint that is gone is canceled.
    pub(super) fn report_pending(&mut self) {
        if self.has_none_stored() {
            // Whatever was counted wrong, as when somebody asked for one more try of a delivery that was
            // changing at that moment, ends here.
            self.parked = 0;
        }
        let held = i64::try_from(self.held.len()).unwrap_or(i64::MAX);
        let pending = match self.closed {
            Some(DeliveryState::Canceled) => 0,
            _ => held.saturating_add(self.parked),
        };
        self.count.add(pending - self.reported);
        self.reported = pending;
    }

    /// Every parked delivery that it knows of is held.
    fn has_none_stored(&self) -> bool {
        self.next_due.is_none()
            && (self.closed.is_some() || !self.behind && self.is_surveyed())
            && self.refill.is_none()
    }

    /// Nothing is lost with it but what it learned about its receiver.
    pub(super) fn is_forgettable(&self, now: Timestamp) -> bool {
        self.is_spent() && !self.rests(now) && self.rate.wait(now).is_none()
    }

    /// It has nothing to deliver, now or later.
    fn is_spent(&self) -> bool {
        self.held.is_empty()
            // Its record may have overtaken the end of an attempt.
            && self.in_flight == 0
            && self.has_none_stored()
            && !self.refill_queued
            && !self.turns.any_queued()
    }
}
