//! Decides which delivery starts when. Sans-I/O: it is told what happened and the time, and says what to do,
//! so a simulation and the real runtime drive the same code. It reads no clock, no store and no socket, and
//! holds identifiers only, never a payload.
//!
//! - `input`, `action`, `item`: what it is told, what it wants done, what it holds
//! - `lane`: the deliveries waiting for one endpoint, in memory and in the store, in order where asked
//! - `tree`: whose turn it is, organization by application by lane, and the limits at all four levels
//! - `places`, `pace`: how many places there are at a level, and what part of them a slow receiver may hold
//! - `concurrency`, `health`, `circuit`, and the domain's `Rate`: what a lane knows about its receiver
//!
//! A lane holds a window of deliveries. What does not fit waits in the store for its turn, and the lane asks
//! for it once its window is half empty; apart from that it asks for retries when their time has come. All
//! windows shrink as memory fills (`share`).

mod action;
mod circuit;
mod concurrency;
mod health;
mod input;
mod item;
mod lane;
mod pace;
mod places;
mod share;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use action::{Action, Refill, Start};
pub(crate) use circuit::CircuitLimits;
pub use circuit::OpenCircuit;
pub(crate) use health::{HealthChange, SilenceLimits};
pub(crate) use input::{Feedback, Input, LaneSpec, Refilled, Reply};
pub(crate) use item::Item;
use lane::Lane;
pub(crate) use places::UNKNOWN_BYTES;
use tree::Tree;

use super::pending::Pending;
use crate::domain::{EndpointId, Seq, Timestamp};

/// Bounds of the scheduler.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Attempts under way in this gateway.
    pub(crate) gateway: u32,
    /// Of one organization.
    pub(crate) organization: u32,
    /// Of one application.
    pub(crate) application: u32,
    /// Bytes of their payloads in this gateway. An organization takes three quarters of them, an application
    /// half.
    pub(crate) bytes: u64,
    /// Attempts of one lane before anything is known about its receiver.
    pub(crate) lane_start: u32,
    /// Of one lane at most.
    pub(crate) lane_max: u32,
    /// Deliveries that a lane holds in memory at most.
    pub(crate) window: usize,
    /// Deliveries that all lanes hold in memory.
    pub(crate) total: usize,
    /// Lanes without work that are remembered.
    pub(crate) idle_lanes: usize,
    /// Reads of parked deliveries under way.
    pub(crate) refills: usize,
    /// How long a lane rests whose receiver is overloaded by one delivery at a time.
    pub(crate) slow_down_floor: Duration,
    /// When silence ends in disabling.
    pub(crate) silence: SilenceLimits,
    /// When a receiver is spared.
    pub(crate) circuit: CircuitLimits,
}

/// Every lane of this gateway.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    pending: Arc<Pending>,
    lanes: HashMap<EndpointId, Lane>,
    tree: Tree,
    /// At most one moment per lane: when time alone lets it do something.
    timers: BTreeSet<(Timestamp, EndpointId)>,
    /// Lanes that want parked deliveries, in order of asking.
    refills: VecDeque<EndpointId>,
    refilling: usize,
    /// Lanes that ran out of work, the longest idle first.
    idle: VecDeque<EndpointId>,
    /// Deliveries in the windows of all lanes.
    waiting: usize,
    /// Lanes whose circuit is not what it was.
    circuit_news: Vec<EndpointId>,
    /// Fan-out has handed over what the outbox held at the start.
    caught_up: bool,
}

impl Scheduler {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            tree: Tree::new(&limits),
            limits,
            pending: Arc::default(),
            lanes: HashMap::new(),
            timers: BTreeSet::new(),
            refills: VecDeque::new(),
            refilling: 0,
            idle: VecDeque::new(),
            waiting: 0,
            circuit_news: Vec::new(),
            caught_up: false,
        }
    }

    /// The same, with these counts of what its lanes have waiting.
    pub(crate) fn counting(self, pending: Arc<Pending>) -> Self {
        Self { pending, ..self }
    }

    /// Takes in what happened. [`Scheduler::advance`] then says what to start; many inputs may come first.
    pub(crate) fn take(&mut self, now: Timestamp, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Deliver(spec, item) => {
                let id = spec.endpoint;
                let lane = self.lane(spec);
                lane.deliver(now, item, actions);
                lane.count_handed_in();
                self.touch(now, id);
            }
            Input::CaughtUp => self.caught_up(now),
            Input::Open(spec, due, parked) => {
                let id = spec.endpoint;
                self.lane(spec).open(due, parked);
                self.touch(now, id);
            }
            Input::Changed(spec) => {
                let id = spec.endpoint;
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.change(spec, actions);
                }
                self.touch(now, id);
            }
            Input::Deleted(id) => {
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.delete(actions);
                }
                self.touch(now, id);
            }
            Input::Finished(id, message, feedback) => {
                self.finished(now, id, message, feedback, actions);
            }
            Input::Postponed(id, item, wait) => {
                self.tree.finished(now, id, item.message);
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.postpone(now.after(wait), item, actions);
                }
                self.touch(now, id);
            }
            Input::Recorded(row) => {
                let id = row.key.endpoint;
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.recorded(now, row, actions);
                }
                self.touch(now, id);
            }
            Input::Refilled(id, refilled) => {
                self.refilling -= 1;
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.refilled(now, refilled, actions);
                    lane.withdraw(actions);
                }
                self.touch(now, id);
            }
            Input::RefillFailed(id) => {
                self.refilling -= 1;
                if let Some(lane) = self.lanes.get_mut(&id) {
                    lane.refill_failed(now, actions);
                }
                self.touch(now, id);
            }
            Input::Reschedule(spec, rows, reply) => {
                let id = spec.endpoint;
                self.lane(spec).reschedule(rows, reply, actions);
                self.touch(now, id);
            }
            Input::Resend(spec, message, row, reply) => {
                let id = spec.endpoint;
                self.lane(spec).resend(now, message, row, reply, actions);
                self.touch(now, id);
            }
        }
    }

    /// Fires what is due and starts what may start.
    pub(crate) fn advance(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.timer = None;
            }
            self.touch(now, id);
        }
        while let Some(pick) = self.tree.next(now, &mut self.lanes) {
            if let Some(lane) = self.lanes.get_mut(&pick.lane)
                && let Some(start) = lane.start(now)
            {
                self.tree.started(now, pick, start.item.message);
                actions.push(Action::Start(start));
            }
            self.touch(now, pick.lane);
        }
        while self.refilling < self.limits.refills
            && let Some(id) = self.refills.pop_front()
        {
            if let Some(lane) = self.lanes.get_mut(&id)
                && let Some(refill) = lane.start_refill(now, &self.limits, self.waiting)
            {
                self.refilling += 1;
                actions.push(Action::Refill(refill));
            }
        }
        self.forget_idle(now);
        for id in self.circuit_news.drain(..) {
            let circuit = self.lanes.get(&id).and_then(Lane::circuit);
            actions.push(Action::Circuit(id, circuit));
        }
    }

    /// When [`Scheduler::advance`] has something to do by time alone; none: not before the next input.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// How many deliveries wait in memory, and since when the longest waiting one is due. Looks at every
    /// lane.
    pub(crate) fn backlog(&self) -> (usize, Option<Timestamp>) {
        let oldest = self.lanes.values().filter_map(Lane::oldest_due).min();
        (self.waiting, oldest)
    }

    /// The lane of this endpoint, made if need be, knowing at least this about its endpoint.
    fn lane(&mut self, spec: LaneSpec) -> &mut Lane {
        let (limits, caught_up) = (&self.limits, self.caught_up);
        let lane = self.lanes.entry(spec.endpoint).or_insert_with(|| {
            Lane::new(spec.clone(), limits, self.pending.of(spec.org), caught_up)
        });
        lane.learn(spec);
        lane.measure(limits, self.waiting);
        lane
    }

    fn caught_up(&mut self, now: Timestamp) {
        self.caught_up = true;
        let lanes: Vec<EndpointId> = self.lanes.keys().copied().collect();
        for id in lanes {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.caught_up = true;
            }
            self.touch(now, id);
        }
    }

    fn finished(
        &mut self,
        now: Timestamp,
        id: EndpointId,
        message: Seq,
        feedback: Feedback,
        actions: &mut Vec<Action>,
    ) {
        let ended = self.tree.finished(now, id, message);
        if let Some(lane) = self.lanes.get_mut(&id) {
            if let Some(after) = ended {
                lane.pace.ended(after);
            }
            if let Some(change) = lane.finished(now, message, feedback, &self.limits) {
                actions.push(Action::Health(id, change));
            }
            lane.withdraw(actions);
        }
        self.touch(now, id);
    }

    /// After every change of a lane: counts what it holds, gives it its place in the ring, its timer, its place
    /// among those that want parked deliveries, or among the idle.
    fn touch(&mut self, now: Timestamp, id: EndpointId) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        lane.report_pending();
        self.waiting -= lane.counted;
        lane.counted = lane.window_len();
        self.waiting += lane.counted;
        if lane.startable(now) {
            self.tree.offer(id, lane);
        }
        let timer = lane.wake(now);
        if timer != lane.timer {
            if let Some(old) = lane.timer.take() {
                self.timers.remove(&(old, id));
            }
            if let Some(new) = timer {
                self.timers.insert((new, id));
            }
            lane.timer = timer;
        }
        if lane.circuit_news() {
            self.circuit_news.push(id);
        }
        lane.measure(&self.limits, self.waiting);
        if lane.wants_refill(now) {
            lane.refill_queued = true;
            self.refills.push_back(id);
        }
        if lane.is_forgettable(now) && !lane.idle_queued {
            lane.idle_queued = true;
            self.idle.push_back(id);
        }
    }

    fn forget_idle(&mut self, now: Timestamp) {
        while self.idle.len() > self.limits.idle_lanes
            && let Some(id) = self.idle.pop_front()
        {
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.idle_queued = false;
                if lane.is_forgettable(now) {
                    if lane.circuit().is_some() {
                        self.circuit_news.push(id);
                    }
                    self.lanes.remove(&id);
                }
            }
        }
    }
}
