//! What somebody asks for beside the schedule: one more try of a delivery, or parked ones at another time.

use super::{Held, Lane};
use crate::delivery::scheduler::{Action, Item, Reply};
use crate::domain::{DeliveryRow, DeliveryState, Seq, Timestamp, Trigger};

impl Lane {
    /// One more try, by hand: a row that is due now, unless the delivery is under way.
    pub(in crate::delivery::scheduler) fn resend(
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
            Some(Held::InFlightAgain(_)) => {}
            Some(held @ (Held::Recording | Held::RecordingAgain)) => {
                *held = Held::RecordingAgain;
                // What was under way has ended, so nothing covers this.
                return self.askers.entry(message).or_default().push(reply);
            }
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

    pub(super) fn write_manual(
        &mut self,
        now: Timestamp,
        item: Item,
        reply: Option<Reply>,
        actions: &mut Vec<Action>,
    ) {
        if self.keeps_place_by_hand(now, item.tries, item.resume_due) {
            self.keep_place(item.message, item.expires);
        } else {
            self.decided(item.message);
        }
        let state = DeliveryState::Parked {
            due: now,
            trigger: Trigger::Manual,
        };
        self.write(item, state, reply, actions);
    }

    /// Gives parked deliveries the due time that they carry, where nothing happens to them at present.
    pub(in crate::delivery::scheduler) fn reschedule(
        &mut self,
        rows: Vec<DeliveryRow>,
        reply: Reply,
        actions: &mut Vec<Action>,
    ) {
        let mut reply = Some(reply);
        let free: Vec<DeliveryRow> = rows
            .into_iter()
            .filter(|row| !self.held.contains_key(&row.key.message) || self.withdraw_head(row))
            .collect();
        let last = free.len().saturating_sub(1);
        for (place, row) in free.into_iter().enumerate() {
            self.parked -= i64::from(was_parked(&row) && !self.held.contains_key(&row.key.message));
            if self.blocks(&row) {
                self.keep_place(row.key.message, None);
            }
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
}

/// Whether what is to be tried at another time was parked before. What is recovered had failed, and begins anew;
/// of what waits only that is moved which was tried.
fn was_parked(row: &DeliveryRow) -> bool {
    row.tries > 0
}
