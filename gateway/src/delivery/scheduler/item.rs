//! One delivery as a lane holds it: identifiers, never a payload.

use std::sync::Arc;

use crate::delivery::ticket::Ticket;
use crate::domain::{DeliveryKey, DeliveryRow, DeliveryState, EndpointId, Seq, Timestamp, Trigger};

/// One delivery as a lane holds it.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The message.
    pub(crate) message: Seq,
    /// Scheduled tries made so far.
    pub(crate) tries: u16,
    /// Not before this moment.
    pub(crate) due: Timestamp,
    /// Why the next try is made.
    pub(crate) trigger: Trigger,
    /// What a failed manual try goes back to.
    pub(crate) resume_due: Option<Timestamp>,
    /// Too old to be tried from then on, as far as is known here; the worker decides.
    pub(crate) expires: Option<Timestamp>,
    /// Bytes of the payload where known; for fairness only.
    pub(crate) bytes: u32,
    /// The message's outbox entry; none once the delivery has a row.
    pub(crate) ticket: Option<Arc<Ticket>>,
}

impl Item {
    /// A delivery that has no row yet.
    pub(crate) fn first(message: Seq, due: Timestamp, bytes: u32, ticket: Arc<Ticket>) -> Self {
        Self {
            message,
            tries: 0,
            due,
            trigger: Trigger::Scheduled,
            resume_due: None,
            expires: None,
            bytes,
            ticket: Some(ticket),
        }
    }

    /// Whether it has outlived its policy's maximum age.
    pub(super) fn is_too_old(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// The row of this delivery at this endpoint in this state.
    pub(crate) fn row(&self, endpoint: EndpointId, state: DeliveryState) -> DeliveryRow {
        DeliveryRow {
            key: DeliveryKey {
                endpoint,
                message: self.message,
            },
            state,
            tries: self.tries,
            resume_due: self.resume_due,
        }
    }

    /// A parked delivery.
    pub(super) fn of_row(row: &DeliveryRow, due: Timestamp) -> Self {
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
            expires: None,
            bytes: 0,
            ticket: None,
        }
    }

    /// A try by hand of a delivery with this row, or without one: the endpoint did not want the message then.
    pub(super) fn manual(row: Option<DeliveryRow>, message: Seq, now: Timestamp) -> Self {
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
                expires: None,
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
    pub(super) fn by_hand(mut self) -> Self {
        if self.trigger != Trigger::Manual {
            self.resume_due = Some(self.due);
        }
        self
    }
    /// A try by hand was asked for before fan-out came to this message: it takes over what the new delivery
    /// has, its schedule and its outbox entry. A twin of a new delivery brings nothing.
    pub(super) fn join(&mut self, new: Self) {
        if self.ticket.is_some() {
            return;
        }
        if self.tries == 0 && self.trigger == Trigger::Manual {
            self.resume_due.get_or_insert(new.due);
        }
        self.ticket = new.ticket;
    }

    /// The same where the try by hand has left this row: a failed one leaves the schedule to begin.
    pub(super) fn schedule(self, mut row: DeliveryRow) -> (DeliveryRow, Option<Arc<Ticket>>) {
        if row.tries == 0 {
            match row.state {
                DeliveryState::Parked {
                    trigger: Trigger::Manual,
                    ..
                } => {
                    row.resume_due.get_or_insert(self.due);
                }
                DeliveryState::Failed => {
                    row.state = DeliveryState::Parked {
                        due: self.due,
                        trigger: Trigger::Scheduled,
                    };
                }
                _ => {}
            }
        }
        (row, self.ticket)
    }
}
