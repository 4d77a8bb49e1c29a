//! Deliveries that wait in the store for their turn and for nothing else: parked before their first try, with
//! nothing made of their payload yet. All there is to know of one is that it waits, so it is a key in two sets, that
//! of its lane and that of its message, and has neither a row of its own nor one in the due index.

use sled::{IVec, Tree};

use super::codec::damaged;
use super::group::Group;
use super::keys;
use super::packed::{self, Key, Packed};
use crate::domain::{DeliveryKey, DeliveryRow, DeliveryState, EndpointId, Seq, Trigger};
use crate::store::{Shard, StoreError};

/// A key of [`keys::TURN`]: shard, endpoint, message.
pub(super) type TurnKey = Key<30>;
/// A key of [`keys::TURN_OF`]: message, endpoint.
pub(super) type TurnOfKey = Key<29>;

const IN_TURN: DeliveryState = DeliveryState::Parked {
    due: DeliveryState::IN_TURN,
    trigger: Trigger::Scheduled,
};

/// What a group changes about them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    of_lanes: Packed<30>,
    of_messages: Packed<29>,
}

/// Whether this row says only that its delivery waits for its turn.
pub(super) fn says_only_that(row: &DeliveryRow) -> bool {
    *row == row_of(row.key)
}

fn row_of(key: DeliveryKey) -> DeliveryRow {
    DeliveryRow {
        key,
        state: IN_TURN,
        tries: 0,
        resume_due: None,
    }
}

impl Group<'_> {
    pub(super) fn enter_turn(&mut self, at: DeliveryKey) -> Result<(), StoreError> {
        let Turns {
            of_lanes,
            of_messages,
        } = &mut self.turns;
        of_lanes.insert(self.tree, keys::turn(at))?;
        of_messages.insert(self.tree, keys::turn_of(at))
    }

    /// Nothing happens to a delivery that does not wait.
    pub(super) fn leave_turn(&mut self, at: DeliveryKey) -> Result<(), StoreError> {
        let Turns {
            of_lanes,
            of_messages,
        } = &mut self.turns;
        // Spares each first attempt a look where nothing waits. After a fault it is not known.
        let none_before = self.tally.of(keys::TURN_OF) == 0 && self.doubtful.is_none();
        if none_before && of_messages.is_untouched() {
            return Ok(());
        }
        if of_messages.remove(self.tree, &keys::turn_of(at))? {
            of_lanes.remove(self.tree, &keys::turn(at))?;
        }
        Ok(())
    }

    /// Stages the rows of both sets.
    pub(super) fn write_turns(&mut self) {
        let Turns {
            of_lanes,
            of_messages,
        } = std::mem::take(&mut self.turns);
        for (key, value) in of_lanes.into_rows() {
            self.stage(IVec::from(&key[..]), value);
        }
        for (key, value) in of_messages.into_rows() {
            self.stage(IVec::from(&key[..]), value);
        }
    }

    /// Deliveries of a message that wait.
    pub(super) fn turns_of(&self, message: Seq) -> Result<Vec<DeliveryKey>, StoreError> {
        let rows = of_message(self.tree, message)?;
        rows.map(|row| Ok(row?.key)).collect()
    }
}

/// Whether a delivery waits.
pub(super) fn row(tree: &Tree, at: DeliveryKey) -> Result<Option<DeliveryRow>, StoreError> {
    Ok(packed::holds(tree, &keys::turn_of(at))?.then(|| row_of(at)))
}

/// Those of a message.
pub(super) fn of_message(
    tree: &Tree,
    message: Seq,
) -> Result<impl Iterator<Item = Result<DeliveryRow, StoreError>> + use<>, StoreError> {
    let first = DeliveryKey {
        endpoint: EndpointId::from_bytes([0; 20]),
        message,
    };
    let keys = packed::keys_from(tree, &keys::turns_of(message), keys::turn_of(first))?;
    Ok(keys.map(|key| Ok(row_of(read_turn_of(&key?)?))))
}

/// Those of a lane from this message on, in order of acceptance.
pub(super) fn of_lane(
    tree: &Tree,
    endpoint: EndpointId,
    from: Seq,
) -> Result<impl Iterator<Item = Result<DeliveryRow, StoreError>> + use<>, StoreError> {
    let first = DeliveryKey {
        endpoint,
        message: from,
    };
    let keys = packed::keys_from(tree, &keys::turns_at(endpoint), keys::turn(first))?;
    Ok(keys.map(|key| Ok(row_of(read_turn(&key?)?))))
}

/// The first lane of a shard behind this one that has any; from the first on without one.
pub(super) fn lane_behind(
    tree: &Tree,
    shard: Shard,
    lane: Option<EndpointId>,
) -> Result<Option<EndpointId>, StoreError> {
    let mut from = [0; 30];
    from[..2].copy_from_slice(&[keys::TURN, shard.0]);
    if let Some(endpoint) = lane {
        from = keys::turn(DeliveryKey {
            endpoint,
            message: Seq(u64::MAX),
        });
    }
    let next = packed::keys_from(tree, &[keys::TURN, shard.0], from)?.next();
    next.map(|key| Ok(read_turn(&key?)?.endpoint)).transpose()
}

fn read_turn(key: &TurnKey) -> Result<DeliveryKey, StoreError> {
    let endpoint = key[2..22].try_into().ok().map(EndpointId::from_bytes);
    let message = keys::read_seq(key, 22);
    let at = endpoint
        .zip(message)
        .map(|(endpoint, message)| DeliveryKey { endpoint, message });
    at.ok_or_else(|| damaged("the place of a turn is cut short"))
}

pub(super) fn read_turn_of(key: &TurnOfKey) -> Result<DeliveryKey, StoreError> {
    keys::read_delivery(key).ok_or_else(|| damaged("a turn is cut short"))
}
