//! Which attempts an organization hears of.

use super::record::last_attempt;
use super::scheduler::Item;
use crate::domain::{
    Attempt, AttemptStatus, DeliveryRow, DeliveryState, Endpoint, Message, Trigger,
};
use crate::events::{Events, Tried, What};
use crate::store::{Outcome, Store, StoreError};

/// A delivery that fails so often is told of, though it is tried again (Svix v1 contract: the fourth failure).
const FAILING: u16 = 4;

/// Tells the organization of an attempt, if it is one to be told; `item` is the delivery as it stood before.
pub(super) async fn tell(
    events: &Events,
    store: &dyn Store,
    item: &Item,
    (endpoint, message): (&Endpoint, &Message),
    outcome: &Outcome,
) {
    if let (Some(row), Some(attempt)) = (&outcome.row, &outcome.attempt) {
        // Nothing of the delivery hangs on it, so a store that fails just then is nobody's trouble.
        if let Ok(Some(what)) = told(store, item, message, (row, attempt)).await {
            events.tell(endpoint, what);
        }
    }
}

async fn told(
    store: &dyn Store,
    item: &Item,
    message: &Message,
    (row, attempt): (&DeliveryRow, &Attempt),
) -> Result<Option<What>, StoreError> {
    let tried = || Tried::of(message, attempt);
    Ok(match (row.state, attempt.status) {
        (DeliveryState::Success, _) if had_failed(store, item, row).await? => {
            Some(What::Recovered(tried()))
        }
        (DeliveryState::Failed, AttemptStatus::Fail) if was_waiting(item) => {
            Some(What::Exhausted(tried()))
        }
        (DeliveryState::Parked { .. }, AttemptStatus::Fail)
            if item.trigger != Trigger::Manual && row.tries == FAILING =>
        {
            Some(What::Failing(tried()))
        }
        _ => None,
    })
}

/// Not a try by hand of a delivery that had come to its end.
fn was_waiting(item: &Item) -> bool {
    item.trigger != Trigger::Manual || item.resume_due.is_some()
}

/// Whether a failure of it was told.
async fn had_failed(store: &dyn Store, item: &Item, row: &DeliveryRow) -> Result<bool, StoreError> {
    if item.trigger == Trigger::Recovered || item.tries >= FAILING && was_waiting(item) {
        return Ok(true);
    }
    if was_waiting(item) || item.tries == 0 {
        return Ok(false);
    }
    // One that had arrived may be sent again, too.
    let last = last_attempt(store, row.key).await?;
    Ok(last.is_some_and(|last| last.status == AttemptStatus::Fail))
}
