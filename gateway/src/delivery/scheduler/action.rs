//! What the scheduler wants done.

use std::sync::Arc;

use super::{HealthChange, Item, OpenCircuit, Reply};
use crate::delivery::ticket::Ticket;
use crate::domain::{ApplicationId, DeliveryRow, EndpointId, Seq, Timestamp};

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    /// Make an attempt.
    Start(Start),
    /// Write a row; the outbox entry, if it has one, is one delivery nearer to its end.
    Write {
        /// The row.
        row: DeliveryRow,
        /// The outbox entry that covered the delivery until now.
        ticket: Option<Arc<Ticket>>,
        /// Told when it is on disk.
        reply: Option<Reply>,
    },
    /// Read parked deliveries.
    Refill(Refill),
    /// Write what is known about an endpoint's health.
    Health(EndpointId, HealthChange),
    /// Show that an endpoint's circuit is so; none: closed.
    Circuit(EndpointId, Option<OpenCircuit>),
}

/// An attempt to be made.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) lane: EndpointId,
    pub(crate) app: ApplicationId,
    pub(crate) item: Item,
}

/// Parked deliveries to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refill {
    pub(crate) lane: EndpointId,
    pub(crate) app: ApplicationId,
    /// Due by then.
    pub(crate) until: Timestamp,
    /// After this one.
    pub(crate) after: Option<(Timestamp, Seq)>,
    /// At most so many.
    pub(crate) limit: usize,
    /// Along with their messages: the lane moves, so they will be wanted next.
    pub(crate) ahead: bool,
}
