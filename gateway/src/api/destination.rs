//! Where a message went: every endpoint that it is for, and how its delivery there stands.

use std::collections::HashMap;

use axum::extract::State;
use serde::Serialize;

use super::access::ReachedMessage;
use super::endpoint_shape::EndpointOut;
use super::error::ApiError;
use super::paging::{Page, Paging};
use super::query::QueryParams;
use super::state::Shared;
use crate::domain::{AttemptStatus, DeliveryRow, DeliveryState, Endpoint, EndpointId, Message};
use crate::store::Stored;

/// An endpoint with the state of one delivery to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DestinationOut {
    #[serde(flatten)]
    endpoint: EndpointOut,
    status: u8,
    status_text: &'static str,
    next_attempt: Option<String>,
}

/// `GET /app/{app_id}/msg/{msg_id}/endpoint`
pub(crate) async fn list(
    State(state): State<Shared>,
    ReachedMessage { app, message, .. }: ReachedMessage,
    mut query: QueryParams,
) -> Result<axum::Json<Page<DestinationOut>>, ApiError> {
    let paging = Paging::read(&mut query);
    query.done()?;
    let rows: HashMap<EndpointId, DeliveryRow> = state
        .store
        .deliveries(message.seq)
        .await?
        .into_iter()
        .map(|row| (row.key.endpoint, row))
        .collect();
    let concerned = |found: &Stored<Endpoint>| {
        rows.contains_key(&found.value.id) || is_covered_by_outbox(found, &message)
    };
    let found = paging
        .filtered::<Endpoint>(&*state.store, &app.value.id.to_string(), concerned)
        .await?;
    let show = |found: Stored<Endpoint>| {
        let row = rows.get(&found.value.id);
        let (status, next_attempt) = stand(row.map(|row| row.state));
        DestinationOut {
            endpoint: EndpointOut::of(&state, found.value),
            status: status.code(),
            status_text: status.text(),
            next_attempt,
        }
    };
    Ok(axum::Json(paging.page(found, |found| found.seq, show)))
}

/// Without a row a delivery is on its way, if there is one: to an endpoint that was there when the message came.
fn is_covered_by_outbox(found: &Stored<Endpoint>, message: &Message) -> bool {
    let endpoint = &found.value;
    found.seq < message.seq
        && !endpoint.disabled
        && endpoint.wants(message.event_type.as_str(), &message.channels)
}

fn stand(row: Option<DeliveryState>) -> (AttemptStatus, Option<String>) {
    match row {
        None => (AttemptStatus::Pending, None),
        Some(DeliveryState::Parked { due, .. }) => {
            let moment = (due > DeliveryState::IN_TURN).then(|| due.to_string());
            (AttemptStatus::Pending, moment)
        }
        Some(DeliveryState::Success) => (AttemptStatus::Success, None),
        Some(DeliveryState::Failed) => (AttemptStatus::Fail, None),
        Some(DeliveryState::Canceled) => (AttemptStatus::Canceled, None),
    }
}
