//! What a route needs, as extractors: a route that takes [`OwnedApp`] can not be reached with an application's
//! token, one that takes [`ReachedApp`] can, for that application. What belongs to another tenant is not found.

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::auth::Caller;
use super::error::ApiError;
use super::extract::PathNames;
use super::state::{ApiState, Shared};
use super::token::Scope;
use crate::domain::{Application, Endpoint, Message, Organization, OrganizationId};
use crate::store::{StoreError, Stored};

const NEEDS_ADMINISTRATOR: &str = "this needs an administrator's token";
const NEEDS_ORGANIZATION: &str = "this needs an organization's token";
const NAMES_NO_ORGANIZATION: &str = "an administrator's token names no organization";

/// An administrator.
#[derive(Debug)]
pub(crate) struct Administrator;

/// An organization's token.
#[derive(Debug)]
pub(crate) struct OfOrganization {
    pub(crate) org: OrganizationId,
    pub(crate) caller: Caller,
}

/// The application in the path, under its organization's token.
#[derive(Debug)]
pub(crate) struct OwnedApp {
    pub(crate) app: Stored<Application>,
}

/// The application in the path, under its organization's token or its own.
#[derive(Debug)]
pub(crate) struct ReachedApp {
    pub(crate) app: Stored<Application>,
    pub(crate) caller: Caller,
}

/// The endpoint in the path, under its organization's or its application's token.
#[derive(Debug)]
pub(crate) struct ReachedEndpoint {
    pub(crate) app: Stored<Application>,
    pub(crate) endpoint: Stored<Endpoint>,
    pub(crate) caller: Caller,
}

/// The message in the path, under its organization's or its application's token.
#[derive(Debug)]
pub(crate) struct ReachedMessage {
    pub(crate) app: Stored<Application>,
    pub(crate) message: Message,
}

impl FromRequestParts<Shared> for Administrator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        match Caller::from_request_parts(parts, state).await?.scope {
            Scope::Administrator => Ok(Self),
            Scope::Organization(_) | Scope::Application { .. } => {
                Err(ApiError::Forbidden(NEEDS_ADMINISTRATOR))
            }
        }
    }
}

impl FromRequestParts<Shared> for OfOrganization {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        match caller.scope {
            Scope::Organization(org) => {
                know_organization(state, org).await?;
                Ok(Self { org, caller })
            }
            Scope::Administrator => Err(ApiError::Forbidden(NAMES_NO_ORGANIZATION)),
            Scope::Application { app, .. } => {
                // Its own revocation counts before what it may do.
                let _ = state
                    .live_application(app.to_string().as_str(), &caller)
                    .await?;
                Err(ApiError::Forbidden(NEEDS_ORGANIZATION))
            }
        }
    }
}

impl FromRequestParts<Shared> for OwnedApp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let ReachedApp { app, caller } = ReachedApp::from_request_parts(parts, state).await?;
        match caller.scope {
            Scope::Application { .. } => Err(ApiError::Forbidden(NEEDS_ORGANIZATION)),
            Scope::Administrator | Scope::Organization(_) => Ok(Self { app }),
        }
    }
}

impl FromRequestParts<Shared> for ReachedApp {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let path = PathNames::from_request_parts(parts, state).await?;
        let app = state
            .live_application(path.name("app_id")?.as_str(), &caller)
            .await?;
        Ok(Self { app, caller })
    }
}

impl FromRequestParts<Shared> for ReachedEndpoint {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let ReachedApp { app, caller } = ReachedApp::from_request_parts(parts, state).await?;
        let path = PathNames::from_request_parts(parts, state).await?;
        let name = path.name("endpoint_id")?;
        let endpoint = state
            .store
            .find::<Endpoint>(app.value.id, name.as_str())
            .await?;
        let endpoint = endpoint.ok_or_else(|| ApiError::NotFound("endpoint".to_owned()))?;
        tracing::Span::current().record("endpoint", tracing::field::display(endpoint.value.id));
        Ok(Self {
            app,
            endpoint,
            caller,
        })
    }
}

impl FromRequestParts<Shared> for ReachedMessage {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let ReachedApp { app, .. } = ReachedApp::from_request_parts(parts, state).await?;
        let path = PathNames::from_request_parts(parts, state).await?;
        let name = path.name("msg_id")?;
        let message = state
            .store
            .message_by_id(app.value.id, name.as_str())
            .await?;
        let message = message.ok_or_else(|| ApiError::NotFound("message".to_owned()))?;
        tracing::Span::current().record("msg", tracing::field::display(message.id));
        Ok(Self { app, message })
    }
}

impl ApiState {
    /// The application of this identifier or uid, if the caller may see it and its token is not revoked.
    pub(super) async fn live_application(
        &self,
        id_or_uid: &str,
        caller: &Caller,
    ) -> Result<Stored<Application>, ApiError> {
        let not_found = || ApiError::NotFound("application".to_owned());
        let (org, own) = match caller.scope {
            Scope::Administrator => return Err(ApiError::Forbidden(NAMES_NO_ORGANIZATION)),
            Scope::Organization(org) => (org, None),
            Scope::Application { org, app } => (org, Some(app)),
        };
        if let Some(own) = own {
            let own = self
                .store
                .find::<Application>(org, &own.to_string())
                .await?;
            let revoked = own.as_ref().is_none_or(|own| {
                // `iat` has whole seconds: what was minted within that second falls too.
                own.value
                    .tokens_not_before
                    .is_some_and(|start| caller.issued_at < start)
            });
            if revoked {
                return Err(ApiError::Unauthenticated);
            }
        }
        let app = self
            .store
            .find::<Application>(org, id_or_uid)
            .await?
            .ok_or_else(not_found)?;
        if own.is_some_and(|own| own != app.value.id) {
            return Err(not_found());
        }
        tracing::Span::current().record("app", tracing::field::display(app.value.id));
        Ok(app)
    }
}

/// An organization exists from its first request on.
pub(super) async fn know_organization(
    state: &ApiState,
    org: OrganizationId,
) -> Result<(), ApiError> {
    if state.store.get::<Organization>(org).await?.is_some() {
        return Ok(());
    }
    let new = Organization::new(org, state.clock.wall());
    match state.store.insert(&new, None).await {
        // Another request of it was faster.
        Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
