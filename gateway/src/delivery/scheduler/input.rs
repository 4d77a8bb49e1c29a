//! What the scheduler is told.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Item;
use crate::domain::{
    ApplicationId, DeliveryOrder, DeliveryRow, Endpoint, EndpointId, OrganizationId, PauseState,
    Seq, Timestamp,
};

/// What a lane needs to know about its endpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LaneSpec {
    pub(crate) endpoint: EndpointId,
    pub(crate) app: ApplicationId,
    pub(crate) org: OrganizationId,
    /// Deliveries per second.
    pub(crate) rate: Option<u16>,
    pub(crate) order: DeliveryOrder,
    pub(crate) paused: bool,
    pub(crate) disabled: bool,
    pub(crate) failing_since: Option<Timestamp>,
    /// When its owner changed it last.
    pub(crate) changed_at: Timestamp,
    /// Of the endpoint's record: an older one never overwrites a newer one.
    pub(crate) revision: u64,
}

/// Told when a requested row is on disk.
pub(crate) type Reply = oneshot::Sender<()>;

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A new delivery; whoever hands it in has counted it, from now on its lane does.
    Deliver(LaneSpec, Item),
    /// Fan-out has handed over everything that the outbox held at the start. Lanes that keep an order start
    /// nothing before, since something older may still come.
    CaughtUp,
    /// At start: a lane of which it was not told, with parked deliveries: when the earliest is due, and how many
    /// they are.
    Open(LaneSpec, Timestamp, u64),
    /// The endpoint was changed.
    Changed(LaneSpec),
    /// The endpoint was deleted.
    Deleted(EndpointId),
    /// An attempt has ended and is on its way to the store.
    Finished(EndpointId, Seq, Feedback),
    /// An attempt could not be made, through no fault of receiver or plugin.
    Postponed(EndpointId, Item, Duration),
    /// This row is on disk.
    Recorded(DeliveryRow),
    /// Parked deliveries were read.
    Refilled(EndpointId, Refilled),
    /// Reading parked deliveries failed.
    RefillFailed(EndpointId),
    /// These parked deliveries get the due time they carry, unless they are under way.
    Reschedule(LaneSpec, Vec<DeliveryRow>, Reply),
    /// Somebody asks for one more try of this delivery, whose row is this.
    Resend(LaneSpec, Seq, Option<DeliveryRow>, Reply),
}

/// What an attempt says about the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// It took the delivery.
    Success,
    /// It did not.
    Failure,
    /// It is overloaded and wants to be left alone for so long.
    Overloaded(Option<Duration>),
    /// It was not asked: a plugin dropped or failed the delivery.
    NotAsked,
}

/// Parked deliveries of a lane.
#[derive(Debug)]
pub(crate) struct Refilled {
    /// In order of due time.
    pub(crate) rows: Vec<DeliveryRow>,
    /// When they are too old to be tried, where the policy says so.
    pub(crate) expires: HashMap<Seq, Timestamp>,
    /// There may be more that are due.
    pub(crate) full: bool,
    /// When the first one after these is due.
    pub(crate) next_due: Option<Timestamp>,
}

impl LaneSpec {
    /// What the lane of this endpoint needs to know.
    pub(crate) fn of(endpoint: &Endpoint, revision: u64) -> Self {
        Self {
            endpoint: endpoint.id,
            app: endpoint.app,
            org: endpoint.org,
            rate: endpoint.throttle_rate,
            order: endpoint.order,
            paused: endpoint.pause == PauseState::Paused,
            disabled: endpoint.disabled,
            failing_since: endpoint.failing_since,
            changed_at: endpoint.updated_at,
            revision,
        }
    }
}

impl Refilled {
    /// This row of these as a lane holds it, due then.
    pub(super) fn item(&self, row: &DeliveryRow, due: Timestamp) -> Item {
        let mut item = Item::of_row(row, due);
        item.expires = self.expires.get(&item.message).copied();
        item
    }
}
