//! One more try of a delivery, by hand.

use axum::extract::State;
use http::StatusCode;
use serde_json::json;

use super::access::{ReachedEndpoint, ReachedMessage};
use super::error::ApiError;
use super::idempotency::{Answer, Once, Twin};
use super::state::Shared;
use crate::delivery::ResendError;

/// `POST /app/{app_id}/msg/{msg_id}/endpoint/{endpoint_id}/resend`
pub(crate) async fn create(
    State(state): State<Shared>,
    ReachedMessage { message, .. }: ReachedMessage,
    ReachedEndpoint {
        endpoint, caller, ..
    }: ReachedEndpoint,
    twin: Twin,
) -> Result<Once<Answer>, ApiError> {
    twin.once(&state, &caller, b"", async |pending| {
        if endpoint.value.disabled {
            return Err(ApiError::Conflict("the endpoint is disabled".to_owned()));
        }
        let id = endpoint.value.id;
        let scheduled = state.deliveries.resend(&message, id).await;
        scheduled.map_err(|error| match error {
            ResendError::Stopped => ApiError::Unavailable {
                detail: "the gateway is shutting down",
                retry_after: 1,
            },
            ResendError::Store(error) => error.into(),
        })?;
        let answer = Answer::json(StatusCode::ACCEPTED, &json!({}))?;
        // After the fact: a crash between the two lets the twin ask for one more try.
        if let Some(record) = pending.record(&answer) {
            state.store.commit(Vec::new(), Some(record)).await?;
        }
        Ok(answer)
    })
    .await
}
