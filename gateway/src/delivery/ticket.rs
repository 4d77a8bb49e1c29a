//! Counts down to the end of a message's outbox entry: one ticket per message, shared by its deliveries that
//! have no row yet. The recorder alone counts, so that the entry goes in the batch of the last of them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::domain::Seq;

/// An outbox entry and how many deliveries it still covers.
#[derive(Debug)]
pub(crate) struct Ticket {
    message: Seq,
    open: AtomicU32,
}

impl Ticket {
    pub(crate) fn new(message: Seq, deliveries: u32) -> Self {
        Self {
            message,
            open: AtomicU32::new(deliveries),
        }
    }

    /// One delivery has a row now. The message, if it was the last: its entry may go.
    pub(super) fn close_one(&self) -> Option<Seq> {
        // Relaxed: only the recorder counts.
        (self.open.fetch_sub(1, Ordering::Relaxed) == 1).then_some(self.message)
    }
}
