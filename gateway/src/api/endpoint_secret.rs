//! The signing secrets of an endpoint: shown, and rotated with an overlap in which old and new both sign.

use std::time::Duration;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::access::ReachedEndpoint;
use super::error::ApiError;
use super::extract::JsonBody;
use super::idempotency::{Answer, Twin};
use super::state::{ApiState, Shared};
use crate::domain::{Endpoint, EndpointSecret, Timestamp};
use crate::signing::{KeyError, SigningKey};

/// How long the old secret signs along unless said otherwise, and at most, in seconds (Svix v1 contract).
const DEFAULT_GRACE: u64 = 24 * 3600;
const MAX_GRACE: u64 = 7 * 24 * 3600;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RotateIn {
    key: Option<String>,
    grace_period_seconds: Option<u64>,
}

/// A secret in the clear, for its owner.
#[derive(Serialize)]
pub(crate) struct SecretOut {
    key: String,
}

/// A secret that may be kept and shown once.
pub(super) struct NewSecret {
    pub(super) sealed: crate::domain::Sealed,
    out: SecretOut,
}

/// The given secret, or a new one; a fault is that of the body's `field`.
pub(super) fn new_secret(
    state: &ApiState,
    given: Option<&str>,
    field: &str,
) -> Result<NewSecret, ApiError> {
    let key = match given {
        Some(text) => SigningKey::parse(text),
        None => SigningKey::generate(),
    };
    let key = key.map_err(|error| match error {
        KeyError::Randomness(_) => ApiError::internal(error),
        fault @ (KeyError::Shape
        | KeyError::Base64
        | KeyError::Length { .. }
        | KeyError::Ed25519
        | KeyError::PublicKey) => ApiError::invalid(["body", field], fault.to_string()),
    })?;
    let text = key.expose();
    Ok(NewSecret {
        sealed: state.seal(text.as_bytes())?,
        out: SecretOut {
            key: text.to_string(),
        },
    })
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}/secret`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<axum::Json<SecretOut>, ApiError> {
    let newest = endpoint.value.secrets.first();
    let newest = newest.ok_or_else(|| ApiError::NotFound("secret".to_owned()))?;
    let text = state.open(&newest.sealed)?;
    let key = String::from_utf8(text.expose().to_vec()).map_err(ApiError::internal)?;
    Ok(axum::Json(SecretOut { key }))
}

/// `POST /app/{app_id}/endpoint/{endpoint_id}/secret/rotate`: answers with the new secret.
pub(crate) async fn rotate(
    State(state): State<Shared>,
    ReachedEndpoint {
        endpoint, caller, ..
    }: ReachedEndpoint,
    twin: Twin,
    body: JsonBody,
) -> Result<Answer, ApiError> {
    let wanted: RotateIn = body.parse_or_empty()?;
    let grace = wanted.grace_period_seconds.unwrap_or(DEFAULT_GRACE);
    if grace > MAX_GRACE {
        let msg = format!("must be at most {MAX_GRACE}");
        return Err(ApiError::invalid(["body", "gracePeriodSeconds"], msg));
    }
    let once = twin
        .once(&state, &caller, body.bytes(), async |pending| {
            let new = new_secret(&state, wanted.key.as_deref(), "key")?;
            let answer = Answer::json(StatusCode::OK, &new.out)?;
            let record = pending.record(&state.seal_answer(&answer)?);
            let change = |endpoint: &mut Endpoint| {
                rotate_secrets(
                    endpoint,
                    EndpointSecret {
                        sealed: new.sealed.clone(),
                        expires_at: None,
                    },
                    Duration::from_secs(grace),
                    state.clock.wall(),
                );
                Ok(())
            };
            state.edit(endpoint, record, change).await?;
            Ok(answer)
        })
        .await?;
    state.open_answer(once)
}

/// Puts the new secret in front; the one that was there ends after `grace`, the oldest too many at once.
fn rotate_secrets(endpoint: &mut Endpoint, new: EndpointSecret, grace: Duration, now: Timestamp) {
    if let Some(newest) = endpoint.secrets.first_mut() {
        newest.expires_at = Some(now.after(grace));
    }
    endpoint.secrets.retain(|secret| secret.signs_at(now));
    endpoint.secrets.insert(0, new);
    endpoint.secrets.truncate(1 + Endpoint::MAX_OLD_SECRETS);
    endpoint.updated_at = now;
}
