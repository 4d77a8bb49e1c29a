//! A lane's deliveries in the store: noted when they are written, read back when it is their turn or time and
//! there is room. Those that wait for their turn lie before those that wait for a moment, and have a part of
//! the window of their own.

use std::time::Duration;

use super::order::{Kept, Place, Survey};
use super::{Held, Lane};
use crate::delivery::scheduler::{Action, Item, Limits, Refill, Refilled};
use crate::domain::{DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};

/// How long a lane waits after its parked deliveries could not be read. Chosen: the store answers again
/// within a second of reopening.
const REFILL_RETRY: Duration = Duration::from_secs(1);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

/// Behind all that wait for their turn.
const AFTER_TURNS: (Timestamp, Seq) = (DeliveryState::IN_TURN, Seq(u64::MAX));

/// A read that is under way.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) what: What,
    /// Recorded since it began; taken in after it, since the read may show them in their old places.
    meanwhile: Vec<DeliveryRow>,
}

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Those that wait for their turn.
    Turns,
    /// Those whose time has come; of a closed lane all.
    Due,
    /// All that wait for a moment, to find those that have their place in the order.
    Survey,
    /// What is not of interest any more.
    Nothing,
}

impl Lane {
    /// A lane of which so many deliveries are parked, the first of them due then.
    pub(in crate::delivery::scheduler) fn open(&mut self, due: Timestamp, parked: u64) {
        self.parked += i64::try_from(parked).unwrap_or(i64::MAX);
        if self.closed.is_none() && self.fifo.is_some() {
            // It looks by itself.
            return;
        }
        if due == DeliveryState::IN_TURN {
            self.behind = true;
            self.read_to = Seq(0);
            self.read_from_start();
        }
        self.note_due(due, Seq(0));
    }

    /// A row is on disk.
    pub(in crate::delivery::scheduler) fn recorded(
        &mut self,
        now: Timestamp,
        row: DeliveryRow,
        actions: &mut Vec<Action>,
    ) {
        if let Some(reading) = &mut self.refill {
            reading.meanwhile.push(row);
            return;
        }
        let message = row.key.message;
        // The record may overtake the end of its attempt.
        let again = matches!(
            self.held.remove(&message),
            Some(Held::RecordingAgain | Held::InFlightAgain(_))
        );
        if !again {
            for reply in self.askers.remove(&message).unwrap_or_default() {
                // Who asked may be gone.
                reply.send(()).ok();
            }
        }
        let late = self.late.remove(&message);
        let rewrite = again || late.is_some();
        let (row, ticket) = match late {
            Some(late) => late.schedule(row),
            None => (row, None),
        };
        if again {
            let mut item = Item::manual(Some(row), message, now);
            item.ticket = ticket;
            return self.write_manual(now, item, None, actions);
        }
        if rewrite {
            self.held.insert(message, Held::Recording);
            return actions.push(Action::Write {
                row,
                ticket,
                reply: None,
            });
        }
        let kept = self.decided(message);
        if let DeliveryState::Parked { due, .. } = row.state {
            self.parked += 1;
            self.note_parked(now, &row, (due, kept), actions);
        }
    }

    fn note_parked(
        &mut self,
        now: Timestamp,
        row: &DeliveryRow,
        (due, kept): (Timestamp, Option<Kept>),
        actions: &mut Vec<Action>,
    ) {
        let message = row.key.message;
        if self.closed.is_some() {
            return self.note_due(due, message);
        }
        match self.place(now, row, kept.is_some()) {
            Place::Turn if self.spec.paused || !self.takes(message) => self.note_turn(message),
            Place::Turn | Place::Head => {
                let mut item = Item::of_row(row, due);
                item.expires = kept.and_then(|kept| kept.expires);
                self.hold_parked(item);
                self.trim(actions);
            }
            Place::ByHand => {
                self.keep_place(message, kept.and_then(|kept| kept.expires));
                self.wait_for_moment(row, due);
            }
            Place::Due => self.wait_for_moment(row, due),
        }
    }

    fn wait_for_moment(&mut self, row: &DeliveryRow, due: Timestamp) {
        if self.takes_at_once(row) {
            self.hold_parked(Item::of_row(row, due));
        } else {
            self.note_due(due, row.key.message);
        }
    }

    fn hold_parked(&mut self, item: Item) {
        self.parked -= 1;
        self.hold(item);
    }

    /// One that is not held waits for its turn.
    pub(super) fn note_turn(&mut self, message: Seq) {
        let before = Seq(message.0.saturating_sub(1));
        self.read_to = if self.behind {
            self.read_to.min(before)
        } else {
            before
        };
        self.behind = true;
    }

    /// One that is not held waits for a moment.
    pub(super) fn note_due(&mut self, due: Timestamp, message: Seq) {
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

    pub(in crate::delivery::scheduler) fn wants_refill(&self, now: Timestamp) -> bool {
        !self.refill_queued && self.wanted(now).is_some()
    }

    fn wanted(&self, now: Timestamp) -> Option<What> {
        if self.refill.is_some() || self.read_after.is_some_and(|moment| moment > now) {
            return None;
        }
        let has_due = self.next_due.is_some_and(|due| due <= now);
        if self.closed.is_some() {
            return (has_due && self.held.len() < self.window_limit() / 2).then_some(What::Due);
        }
        if self.spec.paused {
            return None;
        }
        // What is read may have to be written to be in order.
        let keeps_up = self.held.len().saturating_sub(self.window_len()) < self.window_limit();
        match self.survey() {
            Survey::Turns => return Some(What::Turns),
            Survey::Timed(_) => return keeps_up.then_some(What::Survey),
            Survey::Done => {}
        }
        let (first, room) = (self.first.len(), self.first_room());
        let has_room = match self.fifo {
            Some(_) => keeps_up,
            None => first <= room,
        };
        if has_due && has_room && self.again_len() <= self.again_room() / 2 {
            return Some(What::Due);
        }
        let is_next_stored = self.fifo.is_some() && {
            let next = self.first.front();
            next.is_some_and(|item| item.message > self.read_to)
        };
        (self.behind && (first <= room / 2 || is_next_stored)).then_some(What::Turns)
    }

    pub(in crate::delivery::scheduler) fn start_refill(
        &mut self,
        now: Timestamp,
        limits: &Limits,
        waiting: usize,
    ) -> Option<Refill> {
        self.refill_queued = false;
        self.measure(limits, waiting);
        let what = self.wanted(now)?;
        let again = self.again_room().saturating_sub(self.again_len());
        let (until, after, limit) = match what {
            What::Turns => {
                let room = self.first_room();
                let limit = room.saturating_sub(self.first.len()).max(room / 2);
                let after = Some((DeliveryState::IN_TURN, self.read_to));
                (DeliveryState::IN_TURN, after, limit)
            }
            What::Due | What::Nothing => {
                self.next_due = None;
                match self.closed {
                    Some(_) => (END_OF_TIME, self.cursor, self.window_limit() / 2),
                    None => (now, self.cursor.max(Some(AFTER_TURNS)), again),
                }
            }
            What::Survey => {
                let after = match self.survey() {
                    Survey::Timed(Some(read)) => read,
                    _ => AFTER_TURNS,
                };
                (END_OF_TIME, Some(after), self.window_limit())
            }
        };
        self.refill = Some(Reading {
            what,
            meanwhile: Vec::new(),
        });
        Some(Refill {
            lane: self.spec.endpoint,
            app: self.spec.app,
            until,
            after,
            limit: limit.max(1),
            ahead: self.moves(limits),
        })
    }

    pub(in crate::delivery::scheduler) fn refilled(
        &mut self,
        now: Timestamp,
        refilled: Refilled,
        actions: &mut Vec<Action>,
    ) {
        let Some(Reading { what, meanwhile }) = self.refill.take() else {
            return;
        };
        match what {
            What::Nothing => {}
            _ if self.closed.is_some() => self.settle_parked(refilled, actions),
            What::Turns => self.turns_read(&refilled),
            What::Due => self.due_read(&refilled, actions),
            What::Survey => self.survey_read(now, &refilled, actions),
        }
        for row in meanwhile {
            self.recorded(now, row, actions);
        }
        self.trim(actions);
    }

    fn settle_parked(&mut self, refilled: Refilled, actions: &mut Vec<Action>) {
        for row in self.unheld(&refilled.rows) {
            self.parked -= 1;
            self.settle(Item::of_row(row, Timestamp::default()), actions);
        }
        self.cursor = self.cursor.max(refilled.rows.last().and_then(place_of));
        self.next_due = match refilled.full {
            true => Some(Timestamp::default()),
            false => self.next_due.into_iter().chain(refilled.next_due).min(),
        };
    }

    fn turns_read(&mut self, refilled: &Refilled) {
        for row in self.unheld(&refilled.rows) {
            self.hold_parked(refilled.item(row, DeliveryState::IN_TURN));
        }
        match refilled.rows.last() {
            Some(last) if refilled.full => self.read_to = last.key.message,
            _ => self.behind = false,
        }
        if self.survey() == Survey::Turns {
            self.surveyed(Survey::Timed(None));
            self.next_due = None;
        }
    }

    fn due_read(&mut self, refilled: &Refilled, actions: &mut Vec<Action>) {
        for row in self.unheld(&refilled.rows) {
            let Some((due, _)) = place_of(row) else {
                continue;
            };
            let item = refilled.item(row, due);
            if self.joins_the_order(row) {
                self.parked -= 1;
                self.line_up(item, actions);
            } else {
                self.hold_parked(item);
            }
        }
        let last = refilled.rows.last().and_then(place_of);
        self.cursor = self.cursor.max(last);
        let next = if refilled.full {
            last.map(|(due, _)| due)
        } else {
            refilled.next_due
        };
        self.next_due = self.next_due.into_iter().chain(next).min();
    }

    /// A first try whose moment has come, in a lane that keeps the order.
    fn joins_the_order(&self, row: &DeliveryRow) -> bool {
        let DeliveryState::Parked { trigger, .. } = row.state else {
            return false;
        };
        self.fifo.is_some() && trigger == Trigger::Scheduled && row.tries == 0
    }

    fn survey_read(&mut self, now: Timestamp, refilled: &Refilled, actions: &mut Vec<Action>) {
        for row in self.unheld(&refilled.rows) {
            let Some((due, message)) = place_of(row) else {
                continue;
            };
            match self.place(now, row, false) {
                Place::Head => self.hold_parked(refilled.item(row, due)),
                Place::ByHand => {
                    self.keep_place(message, None);
                    self.note_due(due, message);
                }
                Place::Due | Place::Turn if due <= now && self.joins_the_order(row) => {
                    self.parked -= 1;
                    self.line_up(refilled.item(row, due), actions);
                }
                Place::Due | Place::Turn => self.note_due(due, message),
            }
        }
        let last = refilled.rows.last().and_then(place_of);
        self.surveyed(match last {
            Some(_) if refilled.full => Survey::Timed(last),
            _ => Survey::Done,
        });
    }

    fn unheld<'a>(&self, rows: &'a [DeliveryRow]) -> Vec<&'a DeliveryRow> {
        let is_free = |row: &&DeliveryRow| !self.held.contains_key(&row.key.message);
        rows.iter().filter(is_free).collect()
    }

    pub(in crate::delivery::scheduler) fn refill_failed(
        &mut self,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        self.read_after = Some(now.after(REFILL_RETRY));
        let Some(Reading { what, meanwhile }) = self.refill.take() else {
            return;
        };
        if what == What::Due {
            self.next_due = Some(DeliveryState::IN_TURN);
        }
        for row in meanwhile {
            self.recorded(now, row, actions);
        }
    }
}

fn place_of(row: &DeliveryRow) -> Option<(Timestamp, Seq)> {
    match row.state {
        DeliveryState::Parked { due, .. } => Some((due, row.key.message)),
        _ => None,
    }
}
