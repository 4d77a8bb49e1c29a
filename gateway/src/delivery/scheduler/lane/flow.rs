//! Which of a lane's deliveries goes next, and when it may: rate, concurrency, rest.

use super::{Held, Lane};
use crate::delivery::scheduler::health::HealthChange;
use crate::delivery::scheduler::{Action, Feedback, Item, Limits, Start};
use crate::domain::{Seq, Timestamp};

/// First tries go before retries, but one start in so many is a retry where some wait. Chosen: retries get
/// a fifth of a busy lane and never starve.
const RETRY_EVERY: u8 = 5;

impl Lane {
    /// Bytes of the delivery that would start now; none if nothing may.
    pub(in crate::delivery::scheduler) fn next_bytes(&self, now: Timestamp) -> Option<u32> {
        if !self.startable(now) {
            return None;
        }
        let first = if self.is_ready(now) {
            self.first.front()
        } else {
            None
        };
        let next = self.manual.front().or(first);
        next.or(self.retries.front()).map(|item| item.bytes)
    }

    pub(in crate::delivery::scheduler) fn startable(&self, now: Timestamp) -> bool {
        self.has_room()
            && self.rate.wait(now).is_none()
            && (!self.manual.is_empty()
                || (self.has_scheduled(now) && self.lets_through(now))
                || self.has_outlived(now))
    }

    pub(in crate::delivery::scheduler) fn start(&mut self, now: Timestamp) -> Option<Start> {
        let item = self.pick(now)?;
        self.begin(&item);
        self.rate.take(now);
        self.in_flight += 1;
        if !item.is_too_old(now) {
            self.circuit.started(item.message);
        }
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
        if !self.lets_through(now) {
            return self.pick_outlived(now);
        }
        let is_ready = self.is_ready(now);
        let retry_turn = self.since_retry + 1 >= RETRY_EVERY || !is_ready;
        if retry_turn && let Some(item) = self.retries.pop_front() {
            self.since_retry = 0;
            return Some(item);
        }
        self.since_retry = (self.since_retry + 1).min(RETRY_EVERY);
        is_ready.then(|| self.first.pop_front()).flatten()
    }

    fn has_room(&self) -> bool {
        self.closed.is_none() && !self.spec.paused && self.in_flight < self.most_in_flight()
    }

    /// Whether any by schedule is in memory, whether or not it may start.
    pub(super) fn waits_by_schedule(&self) -> bool {
        !self.first.is_empty() || !self.retries.is_empty()
    }

    fn has_scheduled(&self, now: Timestamp) -> bool {
        self.is_ready(now) || !self.retries.is_empty()
    }

    /// Whether a delivery by schedule may go to the receiver.
    fn lets_through(&self, now: Timestamp) -> bool {
        !self.rests(now) && self.circuit.lets_through(now)
    }

    pub(super) fn rests(&self, now: Timestamp) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    pub(in crate::delivery::scheduler) fn finished(
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
                self.decided(message);
                self.concurrency.grow();
                self.rests_until = None;
                if self.circuit.success() {
                    self.concurrency.restart();
                }
                self.health.success()
            }
            Feedback::Failure => {
                self.circuit.failure(now, message, &limits.circuit);
                self.health.failure(now, &limits.silence)
            }
            Feedback::Overloaded(wait) => {
                if self.concurrency.shrink(round) || self.fifo.is_some() {
                    let wait = wait.unwrap_or(limits.slow_down_floor);
                    self.rests_until = Some(now.after(wait));
                }
                self.circuit.failure(now, message, &limits.circuit);
                self.health.failure(now, &limits.silence)
            }
            Feedback::NotAsked => {
                self.circuit.not_asked(message);
                self.rate.refund();
                None
            }
        }
    }

    /// The attempt was not made: the delivery goes back to where it came from.
    pub(in crate::delivery::scheduler) fn postpone(
        &mut self,
        until: Timestamp,
        mut item: Item,
        actions: &mut Vec<Action>,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.rate.refund();
        self.circuit.not_asked(item.message);
        if let Some(late) = self.late.remove(&item.message) {
            item.join(late);
        }
        if self.closed.is_some() {
            return self.settle(item, actions);
        }
        self.held.insert(item.message, Held::Waiting);
        self.rests_until = self.rests_until.max(Some(until));
        self.put_back(item);
    }

    /// The first moment at which time alone lets this lane do something that it can not do now.
    pub(in crate::delivery::scheduler) fn wake(&self, now: Timestamp) -> Option<Timestamp> {
        let ahead = |moment: &Timestamp| *moment > now;
        if self.is_spent() {
            // To be forgotten then.
            let ends = [self.rests_until, self.rate.wait(now)];
            return ends.into_iter().flatten().filter(ahead).max();
        }
        if self.spec.paused && self.closed.is_none() {
            return None;
        }
        let rested = (self.waits_by_schedule() && self.closed.is_none())
            .then_some(self.rests_until)
            .flatten();
        let allowed = (self.has_room() && self.window_len() > 0)
            .then(|| self.rate.wait(now))
            .flatten();
        [
            rested,
            allowed,
            self.head_due(),
            self.next_due,
            self.read_after,
            self.spared_wake(now),
        ]
        .into_iter()
        .flatten()
        .filter(ahead)
        .min()
    }
}
