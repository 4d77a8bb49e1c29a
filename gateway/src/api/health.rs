//! Whether the gateway lives, whether it takes messages, and what it counts. Open to everybody: nothing here
//! tells of a tenant.

use axum::extract::State;
use axum::response::IntoResponse;
use http::{HeaderValue, StatusCode, header};

use super::error::ApiError;
use super::state::Shared;

/// The media type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `GET /livez`, `GET /api/v1/health/ping`: it answers.
pub(crate) async fn live() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /readyz`, `GET /api/v1/health`: it takes messages.
pub(crate) async fn ready(State(state): State<Shared>) -> Result<StatusCode, ApiError> {
    state.store.writable()?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /metrics`
pub(crate) async fn metrics(State(state): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let text = state.metrics.encode().map_err(ApiError::internal)?;
    Ok((
        [(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))],
        text,
    ))
}
