//! What the API tells the organization of an endpoint that somebody changed.

use super::state::ApiState;
use crate::domain::Endpoint;
use crate::events::What;

pub(super) fn created(state: &ApiState, endpoint: &Endpoint) {
    state.events.tell(endpoint, What::Created);
}

/// `was_disabled`: before the change.
pub(super) fn updated(state: &ApiState, was_disabled: bool, endpoint: &Endpoint) {
    state.events.tell(endpoint, What::Updated);
    match (was_disabled, endpoint.disabled) {
        (true, false) => state.events.tell(endpoint, What::Enabled),
        (false, true) => {
            let what = What::Disabled {
                // The contract wants one; of an endpoint that did not fail it is the moment of the change.
                fail_since: endpoint.failing_since.unwrap_or(endpoint.updated_at),
                reason: None,
            };
            state.events.tell(endpoint, what);
        }
        _ => {}
    }
}

pub(super) fn deleted(state: &ApiState, endpoint: &Endpoint) {
    state.events.tell(endpoint, What::Deleted);
}
