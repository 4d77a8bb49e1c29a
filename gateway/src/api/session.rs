//! Tokens over the API: one for an application's portal, and the ways to end them.

use std::time::Duration;

use axum::extract::State;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use super::access::{OfOrganization, OwnedApp};
use super::application::{self, ApplicationIn};
use super::auth::{Caller, DeniedToken};
use super::error::ApiError;
use super::extract::{JsonBody, PathNames};
use super::idempotency::{Answer, Twin};
use super::state::{ApiState, Shared};
use super::token::{PORTAL_TTL, Scope};
use crate::domain::{Application, Timestamp};
use crate::store::{PageRequest, StoreError, records};

/// How long a portal's token may be good, in seconds: an hour to a week (Svix v1).
const EXPIRY: std::ops::RangeInclusive<u64> = 3600..=7 * 24 * 3600;

/// Ended refusals that are removed whenever one is added.
const SWEEP: usize = 16;

#[derive(Debug, Deserialize)]
struct PortalIn {
    application: Option<ApplicationIn>,
    expiry: Option<u64>,
}

#[derive(Serialize)]
struct PortalOut {
    token: String,
    url: String,
}

/// `POST /auth/app-portal-access/{app_id}`
pub(crate) async fn portal(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    path: PathNames,
    headers: HeaderMap,
    twin: Twin,
    body: JsonBody,
) -> Result<Answer, ApiError> {
    let name = path.name("app_id")?;
    let wanted: PortalIn = body.parse_or_empty()?;
    let ttl = match wanted.expiry {
        None => PORTAL_TTL,
        Some(seconds) if EXPIRY.contains(&seconds) => Duration::from_secs(seconds),
        Some(_) => {
            let msg = format!("must be from {} to {}", EXPIRY.start(), EXPIRY.end());
            return Err(ApiError::invalid(["body", "expiry"], msg));
        }
    };
    let base = portal_base(&state, &headers);
    let once = twin
        .once(&state, &caller, body.bytes(), async |pending| {
            let app = application::get_or_create(&state, org, &name, wanted.application).await?;
            let scope = Scope::Application { org, app: app.id };
            let token = state
                .jwt
                .mint(&scope, ttl, state.clock.wall())
                .map_err(ApiError::internal)?;
            // After the `#`: a browser sends it to nobody.
            let url = format!("{base}#token={token}");
            let answer = Answer::json(StatusCode::OK, &PortalOut { token, url })?;
            let record = pending.record(&state.seal_answer(&answer)?);
            if record.is_some() {
                state.store.commit(Vec::new(), record).await?;
            }
            Ok(answer)
        })
        .await?;
    state.open_answer(once)
}

/// Where the portal lies: as configured, or at the address that the caller used.
fn portal_base(state: &ApiState, headers: &HeaderMap) -> String {
    if let Some(url) = &state.config.portal_url {
        return url.clone();
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    format!("http://{host}/portal")
}

/// `POST /auth/logout`: the token that is sent along is refused from now on.
pub(crate) async fn logout(
    State(state): State<Shared>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    let of = caller.key_scope();
    let denied = DeniedToken {
        jti: caller.jti,
        of,
        expires_at: caller.expires_at,
    };
    match state.store.insert(&denied, None).await {
        // Twice at once.
        Ok(()) | Err(StoreError::Exists { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    sweep(&state, &denied.of, state.clock.wall()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes refusals of tokens that have ended by themselves, the oldest first.
async fn sweep(state: &ApiState, of: &str, now: Timestamp) -> Result<(), ApiError> {
    let oldest = state
        .store
        .list::<DeniedToken>(of, PageRequest::first(SWEEP))
        .await?;
    for ended in oldest.iter().filter(|denied| denied.value.expires_at < now) {
        let write = records::remove::<DeniedToken>(&ended.value.jti);
        match state.store.commit(vec![write], None).await {
            Ok(_) | Err(StoreError::NoSuchRecord { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// `POST /auth/app/{app_id}/expire-all`: every token of the application that was minted before now.
pub(crate) async fn expire_all(
    State(state): State<Shared>,
    OwnedApp { app, .. }: OwnedApp,
) -> Result<StatusCode, ApiError> {
    let change = |app: &mut Application| {
        app.tokens_not_before = Some(state.clock.wall());
        Ok(())
    };
    state.edit(app, None, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
