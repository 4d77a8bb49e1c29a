//! Delivering in order of acceptance. One is under way at a time, and the next one starts when it is known what
//! became of those before it: settled, or failed often enough to be skipped. Pure.
//!
//! Those that have their place in the order wait in `first`, by number, the lowest ones in memory and the
//! others behind them in the store. One that fails goes back to its place and waits there for its time, unless
//! it is to be skipped: then it is parked like any retry. What a moment was asked for has no place before that
//! moment. A success lets the next one go before it is on disk: outcomes are written in the order in which
//! they came, so a crash that loses the first one's loses both, and both are sent again, in order. Of anything
//! else only the row says what it means, so the row is waited for.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::parked::{Reading, What};
use super::{Held, Lane};
use crate::delivery::scheduler::{Action, Item};
use crate::domain::{DeliveryOrder, DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};

/// What a lane that keeps the order knows besides.
#[derive(Debug)]
pub(super) struct Fifo {
    /// After so many failed tries one is overtaken; none: never.
    skip_after: Option<u16>,
    /// Have their place in the order and do not wait in it, since they are under way, being written or about
    /// to be tried by hand: none behind them starts.
    undecided: BTreeMap<Seq, Kept>,
    /// How far the store was looked through for those that have their place.
    survey: Survey,
}

/// What its row does not say of one that keeps its place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    /// Too old from then on, where known.
    pub(super) expires: Option<Timestamp>,
}

/// Nothing starts before all of the lane's rows were looked at once: the next one may be anywhere among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survey {
    /// Those waiting for their turn come first.
    Turns,
    /// Those parked until a moment, after this one.
    Timed(Option<(Timestamp, Seq)>),
    Done,
}

/// Where a parked delivery belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind those that wait for their turn.
    Turn,
    /// In its place in the order, where it waits for its time: it was tried, and was not overtaken.
    Head,
    /// To be tried by hand; it goes back to its place if that fails.
    ByHand,
    /// Nowhere before its time.
    Due,
}

impl Fifo {
    fn skips(&self, tries: u16) -> bool {
        self.skip_after.is_some_and(|most| tries >= most)
    }
}

impl Lane {
    /// Begins to deliver in the order that is asked for now. Only what has no row stays in memory: the rest is
    /// found again where it belongs.
    pub(super) fn start_over(&mut self) {
        self.fifo = match self.spec.order {
            DeliveryOrder::Free => None,
            DeliveryOrder::Fifo { skip_after } => {
                let on_its_way = self.held.iter().filter(|(_, held)| **held != Held::Waiting);
                Some(Box::new(Fifo {
                    skip_after,
                    undecided: on_its_way
                        .map(|(message, _)| (*message, Kept::default()))
                        .collect(),
                    survey: Survey::Turns,
                }))
            }
        };
        let queues = [&mut self.manual, &mut self.first, &mut self.retries];
        let waiting: Vec<Item> = queues.into_iter().flat_map(std::mem::take).collect();
        for item in waiting {
            if item.ticket.is_some() {
                self.hold(item);
            } else {
                self.held.remove(&item.message);
                self.parked += 1;
            }
        }
        self.behind = true;
        self.read_to = Seq(0);
        self.read_from_start();
    }

    /// All that is parked is looked at anew; what a read under way shows is not taken.
    pub(super) fn read_from_start(&mut self) {
        self.cursor = None;
        self.next_due = Some(DeliveryState::IN_TURN);
        if let Some(Reading { what, .. }) = &mut self.refill {
            *what = What::Nothing;
        }
    }

    pub(super) fn is_surveyed(&self) -> bool {
        self.survey() == Survey::Done
    }

    pub(super) fn survey(&self) -> Survey {
        self.fifo.as_ref().map_or(Survey::Done, |fifo| fifo.survey)
    }

    pub(super) fn surveyed(&mut self, to: Survey) {
        if let Some(fifo) = &mut self.fifo {
            fifo.survey = to;
        }
    }

    /// How many may be under way.
    pub(super) fn most_in_flight(&self) -> u32 {
        match self.fifo {
            Some(_) => 1,
            None => self.concurrency.limit(),
        }
    }

    /// Whether the first one may start, as far as order is concerned.
    pub(super) fn is_ready(&self, now: Timestamp) -> bool {
        let (Some(next), Some(fifo)) = (self.first.front(), &self.fifo) else {
            return !self.first.is_empty();
        };
        let message = next.message;
        self.caught_up
            && fifo.survey == Survey::Done
            && next.due <= now
            && (!self.behind || message <= self.read_to)
            && fifo
                .undecided
                .keys()
                .next()
                .is_none_or(|other| *other > message)
    }

    /// When the first one may start that waits for its time at the head of the order.
    pub(super) fn head_due(&self) -> Option<Timestamp> {
        self.fifo.as_ref()?;
        self.first.front().map(|item| item.due)
    }

    /// Whether this one belongs into the window rather than behind those in the store.
    pub(super) fn takes(&self, message: Seq) -> bool {
        let has_room = self.first.len() < self.first_room();
        if self.fifo.is_none() {
            return has_room && !self.behind;
        }
        let is_next = self.behind && message <= self.read_to;
        // Nothing starts during a survey, and it will find what belongs before this one.
        is_next || (has_room && (!self.behind || !self.is_surveyed()))
    }

    /// Whether it is tried again out of order.
    pub(super) fn is_retry(&self, item: &Item) -> bool {
        match &self.fifo {
            Some(fifo) => fifo.skips(item.tries) || item.trigger == Trigger::Recovered,
            None => item.tries > 0,
        }
    }

    pub(super) fn queue_first(&mut self, item: Item) {
        if self.fifo.is_none() {
            return self.first.push_back(item);
        }
        let place = self
            .first
            .partition_point(|other| other.message < item.message);
        self.first.insert(place, item);
    }

    /// Sends the last ones back to the store where there are more than there is room for.
    pub(super) fn trim(&mut self, actions: &mut Vec<Action>) {
        // A read under way begins behind those that wait.
        if self.fifo.is_none() || self.refill.is_some() {
            return;
        }
        while self.first.len() > self.first_room()
            && let Some(last) = self.first.pop_back()
        {
            self.give_back(last, actions);
        }
    }

    /// Sends one that waits back to the store.
    pub(super) fn give_back(&mut self, item: Item, actions: &mut Vec<Action>) {
        let message = item.message;
        let in_turn = item.due == DeliveryState::IN_TURN;
        let for_moment = self.fifo.is_none() || self.is_retry(&item);
        if item.ticket.is_none() && (in_turn || for_moment) {
            // Its row says so.
            self.held.remove(&message);
            self.parked += 1;
            return match in_turn {
                true => self.note_turn(message),
                false => self.note_due(item.due, message),
            };
        }
        let (due, trigger) = (item.due, item.trigger);
        if trigger == Trigger::Manual {
            return self.write(item, DeliveryState::Parked { due, trigger }, None, actions);
        }
        if self.fifo.is_none() {
            // Those that come meanwhile line up behind it.
            self.note_turn(message);
        }
        self.wait_in_store(item, actions);
    }

    /// None behind this one starts until it is decided.
    pub(super) fn keep_place(&mut self, message: Seq, expires: Option<Timestamp>) {
        if let Some(fifo) = &mut self.fifo {
            let known = fifo.undecided.entry(message).or_default();
            known.expires = known.expires.or(expires);
        }
    }

    /// It is known what became of this one, or it waits again. Some: it kept its place until now.
    pub(super) fn decided(&mut self, message: Seq) -> Option<Kept> {
        self.fifo.as_mut()?.undecided.remove(&message)
    }

    /// An attempt begins: if in order, none behind it starts.
    pub(super) fn begin(&mut self, item: &Item) {
        if item.trigger == Trigger::Scheduled && !self.is_retry(item) {
            self.keep_place(item.message, item.expires);
        }
    }

    /// The attempt was not made: back to where it came from.
    pub(super) fn put_back(&mut self, item: Item) {
        let in_order = match &self.fifo {
            Some(_) => item.trigger == Trigger::Scheduled && !self.is_retry(&item),
            None => item.tries == 0,
        };
        // A manual one is not held back by a resting lane, and would be tried again at once.
        if !in_order {
            self.retries.push_front(item);
        } else if self.fifo.is_none() {
            self.first.push_front(item);
        } else {
            self.decided(item.message);
            self.queue_first(item);
        }
    }

    /// Whether a try by hand is made of one that has its place in the order, and goes back to it if that fails.
    pub(super) fn keeps_place_by_hand(
        &self,
        now: Timestamp,
        tries: u16,
        resume_due: Option<Timestamp>,
    ) -> bool {
        let Some(fifo) = &self.fifo else { return false };
        let has_come = |due: Timestamp| tries > 0 || due <= now;
        !fifo.skips(tries) && resume_due.is_some_and(has_come)
    }

    /// Whether a parked delivery holds those behind it back.
    pub(super) fn blocks(&self, row: &DeliveryRow) -> bool {
        let DeliveryState::Parked { trigger, .. } = row.state else {
            return false;
        };
        let fifo = self.fifo.as_ref();
        trigger == Trigger::Scheduled
            && row.tries > 0
            && fifo.is_some_and(|fifo| !fifo.skips(row.tries))
    }

    /// Where a parked delivery belongs. `had_place`: it was the next in order when it was tried.
    pub(super) fn place(&self, now: Timestamp, row: &DeliveryRow, had_place: bool) -> Place {
        let DeliveryState::Parked { due, trigger } = row.state else {
            return Place::Due;
        };
        match (&self.fifo, trigger) {
            (_, Trigger::Scheduled) if due == DeliveryState::IN_TURN => Place::Turn,
            (None, _) => Place::Due,
            (Some(fifo), _) if fifo.skips(row.tries) => Place::Due,
            (Some(_), Trigger::Manual) => {
                if self.keeps_place_by_hand(now, row.tries, row.resume_due) {
                    Place::ByHand
                } else {
                    Place::Due
                }
            }
            (Some(_), Trigger::Scheduled) if row.tries > 0 || had_place => Place::Head,
            // What is recovered had failed, so it was overtaken.
            (Some(_), Trigger::Scheduled | Trigger::Recovered) => Place::Due,
        }
    }

    /// Takes one that waits in its place out of it, to be written anew, if it is as this row says.
    pub(super) fn withdraw_head(&mut self, row: &DeliveryRow) -> bool {
        let message = row.key.message;
        if !self.blocks(row) {
            return false;
        }
        let as_read = |item: &&Item| item.message == message && item.tries == row.tries;
        self.first.iter().any(|item| as_read(&item)) && self.unqueue(message).is_some()
    }
}
