//! A lane's deliveries in the store: noted when they are written, read back when they are due and there is room.

use std::time::Duration;

use super::{Held, Lane};
use crate::delivery::scheduler::{Action, Item, Refill, Refilled};
use crate::domain::{DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};

/// How long a lane waits after its parked deliveries could not be read. Chosen: the store answers again
/// within a second of reopening.
const REFILL_RETRY: Duration = Duration::from_secs(1);

/// Later than any due time.
const END_OF_TIME: Timestamp = Timestamp::from_millis(u64::MAX);

impl Lane {
    /// A row is on disk.
    pub(in crate::delivery::scheduler) fn recorded(
        &mut self,
        now: Timestamp,
        row: DeliveryRow,
        actions: &mut Vec<Action>,
    ) {
        if let Some(meanwhile) = &mut self.refill {
            meanwhile.push(row);
            return;
        }
        let message = row.key.message;
        // The record may overtake the end of its attempt.
        let again = matches!(
            self.held.remove(&message),
            Some(Held::RecordingAgain | Held::InFlightAgain(_))
        );
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
        if let DeliveryState::Parked { due, .. } = row.state {
            self.parked += 1;
            self.note_parked(due, message);
        }
    }

    /// There is a parked delivery that is not held.
    pub(in crate::delivery::scheduler) fn note_parked(&mut self, due: Timestamp, message: Seq) {
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

    pub(in crate::delivery::scheduler) fn wants_refill(
        &self,
        now: Timestamp,
        window: usize,
    ) -> bool {
        let due = self.next_due.is_some_and(|due| due <= now);
        let room = match self.closed {
            Some(_) => self.held.len() < window / 2,
            None => !self.spec.paused && self.window_len() <= window / 2,
        };
        due && room && self.refill.is_none() && !self.refill_queued
    }

    pub(in crate::delivery::scheduler) fn start_refill(
        &mut self,
        now: Timestamp,
        window: usize,
    ) -> Option<Refill> {
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

    pub(in crate::delivery::scheduler) fn refilled(
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
            self.parked -= 1;
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
            if refilled.next_due.is_none() {
                // All are held. Whatever was counted wrong, as when somebody asked for one more try of a
                // delivery that was changing at that moment, ends here.
                self.parked = 0;
            }
            // A lane that was closed meanwhile wants them all now.
            let all_now = |due| self.closed.map_or(due, |_| Timestamp::default());
            if let Some(due) = refilled.next_due.map(all_now) {
                self.next_due = Some(self.next_due.map_or(due, |known| known.min(due)));
            }
        }
        for row in meanwhile {
            self.recorded(now, row, actions);
        }
    }

    pub(in crate::delivery::scheduler) fn refill_failed(
        &mut self,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        self.next_due = Some(now.after(REFILL_RETRY));
        for row in self.refill.take().unwrap_or_default() {
            self.recorded(now, row, actions);
        }
    }
}
