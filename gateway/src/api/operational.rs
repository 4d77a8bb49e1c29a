//! Operational webhooks: endpoints of the organization's management application, which hear what happens to the
//! endpoints of all the others. The routes are those of any endpoint; the application is made with the first of
//! them and is reached by no other route.

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;

use super::access::{OfOrganization, ReachedApp, ReachedEndpoint};
use super::endpoint;
use super::endpoint_secret;
use super::endpoint_shape::EndpointOut;
use super::error::ApiError;
use super::extract::{JsonBody, PathNames};
use super::idempotency::{Answer, Once, Twin};
use super::paging::{Page, Paging};
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::domain::{Application, Endpoint, Organization, OrganizationId};
use crate::store::{COMMIT_TRIES, StoreError, Stored, records};

/// `GET /operational-webhook/endpoint`
pub(crate) async fn list(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    mut query: QueryParams,
) -> Result<axum::Json<Page<EndpointOut>>, ApiError> {
    if let Some(app) = known(&state, org).await? {
        return endpoint::list(State(state), ReachedApp { app, caller }, query).await;
    }
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let none: Vec<Stored<Endpoint>> = Vec::new();
    let show = |row: Stored<Endpoint>| EndpointOut::of(&state, row.value);
    Ok(axum::Json(paging.page(none, |row| row.seq, show)))
}

/// `POST /operational-webhook/endpoint`
pub(crate) async fn create(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    twin: Twin,
    body: JsonBody,
) -> Result<Once<Answer>, ApiError> {
    let app = made(&state, org).await?;
    endpoint::create(State(state), ReachedApp { app, caller }, twin, body).await
}

/// `GET /operational-webhook/endpoint/{endpoint_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    of: OfOrganization,
    path: PathNames,
) -> Result<axum::Json<EndpointOut>, ApiError> {
    let reached = reach(&state, of, &path).await?;
    Ok(endpoint::get(State(state), reached).await)
}

/// `DELETE /operational-webhook/endpoint/{endpoint_id}`
pub(crate) async fn delete(
    State(state): State<Shared>,
    of: OfOrganization,
    path: PathNames,
) -> Result<StatusCode, ApiError> {
    let reached = reach(&state, of, &path).await?;
    endpoint::delete(State(state), reached).await
}

/// `GET /operational-webhook/endpoint/{endpoint_id}/secret`
pub(crate) async fn secret(
    State(state): State<Shared>,
    of: OfOrganization,
    path: PathNames,
) -> Result<impl IntoResponse, ApiError> {
    let reached = reach(&state, of, &path).await?;
    endpoint_secret::get(State(state), reached).await
}

async fn reach(
    state: &ApiState,
    OfOrganization { org, caller }: OfOrganization,
    path: &PathNames,
) -> Result<ReachedEndpoint, ApiError> {
    let not_found = || ApiError::NotFound("endpoint".to_owned());
    let name = path.name("endpoint_id")?;
    let app = known(state, org).await?.ok_or_else(not_found)?;
    let endpoint = state
        .store
        .find::<Endpoint>(app.value.id, name.as_str())
        .await?;
    Ok(ReachedEndpoint {
        app,
        endpoint: endpoint.ok_or_else(not_found)?,
        caller,
    })
}

/// The organization's management application, if there is one.
async fn known(
    state: &ApiState,
    org: OrganizationId,
) -> Result<Option<Stored<Application>>, ApiError> {
    let org = state.store.get::<Organization>(org).await?;
    match org.and_then(|org| org.value.management_app) {
        Some(app) => Ok(state.store.get::<Application>(app).await?),
        None => Ok(None),
    }
}

/// The organization's management application, made if there is none yet.
async fn made(state: &ApiState, org: OrganizationId) -> Result<Stored<Application>, ApiError> {
    for _ in 0..COMMIT_TRIES {
        if let Some(app) = known(state, org).await? {
            return Ok(app);
        }
        let stored = state.store.get::<Organization>(org).await?;
        let stored = stored.ok_or_else(|| ApiError::NotFound("organization".to_owned()))?;
        let now = state.clock.wall();
        let app = Application::management(org, now);
        let changed = Organization {
            management_app: Some(app.id),
            updated_at: now,
            ..stored.value.clone()
        };
        let writes = vec![records::insert(&app)?, stored.update(&changed)?];
        match state.store.commit(writes, None).await {
            // Read again: it is there now, or somebody else has made one meanwhile.
            Ok(_) | Err(StoreError::Stale { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::Conflict(
        "the organization is being changed; try again".to_owned(),
    ))
}
