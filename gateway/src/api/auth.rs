//! Who calls: the bearer token of a request, verified and looked up among the refused ones.

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::state::{ApiState, Shared};
use super::token::Scope;
use crate::domain::Timestamp;
use crate::store::{Kind, Resource};

/// Whoever sent the request, with a good token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// What the token reaches.
    pub(crate) scope: Scope,
    /// The token's own identifier.
    pub(crate) jti: String,
    /// When it was minted; whole seconds.
    pub(crate) issued_at: Timestamp,
    /// When it ends.
    pub(crate) expires_at: Timestamp,
}

impl Caller {
    /// Names whose requests are told apart by their idempotency keys.
    pub(crate) fn key_scope(&self) -> String {
        match self.scope {
            Scope::Administrator => "admin".to_owned(),
            Scope::Organization(org) => org.to_string(),
            Scope::Application { org, app } => format!("{org}/{app}"),
        }
    }
}

/// A token that is refused until it would end by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeniedToken {
    /// The token's own identifier.
    pub(crate) jti: String,
    /// The key scope of its caller.
    pub(crate) of: String,
    /// The record serves no purpose from then on.
    pub(crate) expires_at: Timestamp,
}

impl Resource for DeniedToken {
    const KIND: Kind = Kind::DeniedToken;

    fn record_id(&self) -> String {
        self.jti.clone()
    }

    fn record_parent(&self) -> String {
        self.of.clone()
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        // Several extractors of a route ask; the token is looked at once.
        if let Some(caller) = parts.extensions.get::<Caller>() {
            return Ok(caller.clone());
        }
        let caller = authenticate(parts, state).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

async fn authenticate(parts: &Parts, state: &ApiState) -> Result<Caller, ApiError> {
    let token = bearer(parts).ok_or(ApiError::Unauthenticated)?;
    let leeway = state.config.token_leeway_seconds;
    let (claims, scope) = state
        .jwt
        .verify(token, state.clock.wall(), leeway)
        .ok_or(ApiError::Unauthenticated)?;
    if state.store.get::<DeniedToken>(&claims.jti).await?.is_some() {
        return Err(ApiError::Unauthenticated);
    }
    let span = tracing::Span::current();
    match scope {
        Scope::Administrator => {}
        Scope::Organization(org) | Scope::Application { org, .. } => {
            span.record("org", tracing::field::display(org));
        }
    }
    let moment = |seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000));
    Ok(Caller {
        scope,
        issued_at: moment(claims.iat),
        expires_at: moment(claims.exp.saturating_add(leeway)),
        jti: claims.jti,
    })
}

/// The token of the one `Authorization` header; with two of them nobody knows which one others look at.
fn bearer(parts: &Parts) -> Option<&str> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    let (header, None) = (headers.next()?, headers.next()) else {
        return None;
    };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
