//! One message on its way to one endpoint.

use serde::{Deserialize, Serialize};

use super::{EndpointId, Seq, Timestamp, Trigger};

/// Names a delivery: one message at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryKey {
    /// The endpoint it goes to.
    pub endpoint: EndpointId,
    /// The message, by its sequence number.
    pub message: Seq,
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryState {
    /// Parked: waits in the store until `due`.
    Parked {
        /// When it is tried again.
        due: Timestamp,
        /// Who asked for that try: the schedule, a person, or a recovery of all that had failed.
        trigger: Trigger,
    },
    /// The receiver has it.
    Success,
    /// Failed for good.
    Failed,
    /// Dropped by a plugin, or its endpoint or payload was deleted.
    Canceled,
}

/// What the store keeps of a delivery. While all goes well there is no row until it settles:
/// the outbox entry covers a crash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRow {
    /// Which delivery.
    pub key: DeliveryKey,
    /// Where it stands.
    pub state: DeliveryState,
    /// Scheduled tries made so far; manual ones do not count.
    pub tries: u16,
    /// For a parked manual try of a delivery that was waiting by schedule: when it waits for if the manual
    /// try fails.
    pub resume_due: Option<Timestamp>,
}

impl DeliveryState {
    /// The due time of a delivery that waits in the store for its turn and for no moment: before all others of
    /// its lane, in order of acceptance, whatever the clock said when it was parked.
    pub const IN_TURN: Timestamp = Timestamp::from_millis(0);

    /// Whether nothing more will happen by itself.
    pub fn is_settled(&self) -> bool {
        !matches!(self, DeliveryState::Parked { .. })
    }
}
