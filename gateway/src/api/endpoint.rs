//! Endpoints: where an application's messages go.

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;

use super::access::{ReachedApp, ReachedEndpoint};
use super::endpoint_events;
use super::endpoint_shape::{EndpointIn, EndpointOut, EndpointPatch, judge};
use super::error::ApiError;
use super::extract::{Json, JsonBody, PathNames};
use super::idempotency::{Answer, Once, Twin};
use super::paging::{Page, Paging};
use super::patch::Patch;
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::domain::{Application, Endpoint, EndpointId, PauseState};
use crate::store::{Kind, PageRequest, records};

/// `GET /app/{app_id}/endpoint`
pub(crate) async fn list(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
    mut query: QueryParams,
) -> Result<axum::Json<Page<EndpointOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let rows = state
        .store
        .list::<Endpoint>(app.value.id, paging.request())
        .await?;
    Ok(axum::Json(paging.page(
        rows,
        |row| row.seq,
        |row| EndpointOut::of(&state, row.value),
    )))
}

/// `POST /app/{app_id}/endpoint`
pub(crate) async fn create(
    State(state): State<Shared>,
    ReachedApp { app, caller }: ReachedApp,
    twin: Twin,
    body: JsonBody,
) -> Result<Once<Answer>, ApiError> {
    let wanted: EndpointIn = body.parse()?;
    twin.once(&state, &caller, body.bytes(), async |pending| {
        refuse_too_many(&state, &app.value).await?;
        let endpoint = wanted.build(&state, &app.value).await?;
        let answer = Answer::json(
            StatusCode::CREATED,
            &EndpointOut::of(&state, endpoint.clone()),
        )?;
        state
            .store
            .insert(&endpoint, pending.record(&answer))
            .await?;
        endpoint_events::created(&state, &endpoint);
        Ok(answer)
    })
    .await
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> axum::Json<EndpointOut> {
    axum::Json(EndpointOut::of(&state, endpoint.value))
}

/// `PUT /app/{app_id}/endpoint/{endpoint_id}`: replaces, or creates under the uid in the path.
pub(crate) async fn put(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
    path: PathNames,
    Json(mut wanted): Json<EndpointIn>,
) -> Result<impl IntoResponse, ApiError> {
    let name = path.name("endpoint_id")?;
    let found = state
        .store
        .find::<Endpoint>(app.value.id, name.as_str())
        .await?;
    let (status, endpoint) = match found {
        Some(found) => {
            let checked = wanted.check(&state).await?;
            let was_disabled = found.value.disabled;
            let endpoint = state.edit(found, None, |endpoint| {
                endpoint.url.clone_from(&checked.url);
                // Left out it stays: the path may be the uid itself.
                checked.uid.clone().apply(&mut endpoint.uid);
                endpoint.description.clone_from(&checked.description);
                endpoint.event_types.clone_from(&checked.event_types);
                endpoint.channels.clone_from(&checked.channels);
                endpoint.throttle_rate = checked.throttle_rate;
                endpoint.order = checked.order.unwrap_or(endpoint.order);
                endpoint.metadata.clone_from(&checked.metadata);
                endpoint.retry.clone_from(&checked.retry);
                disable(endpoint, checked.disabled);
                endpoint.updated_at = state.clock.wall();
                Ok(())
            });
            let endpoint = endpoint.await?;
            endpoint_events::updated(&state, was_disabled, &endpoint);
            (StatusCode::OK, endpoint)
        }
        None => {
            if name.as_str().parse::<EndpointId>().is_ok() {
                return Err(ApiError::NotFound("endpoint".to_owned()));
            }
            if wanted.uid.value().is_some_and(|uid| *uid != name) {
                let msg = "differs from the uid in the path";
                return Err(ApiError::invalid(["body", "uid"], msg));
            }
            wanted.uid = Patch::Set(name);
            refuse_too_many(&state, &app.value).await?;
            let endpoint = wanted.build(&state, &app.value).await?;
            state.store.insert(&endpoint, None).await?;
            endpoint_events::created(&state, &endpoint);
            (StatusCode::CREATED, endpoint)
        }
    };
    Ok((status, axum::Json(EndpointOut::of(&state, endpoint))))
}

/// `PATCH /app/{app_id}/endpoint/{endpoint_id}`
pub(crate) async fn patch(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
    Json(mut change): Json<EndpointPatch>,
) -> Result<axum::Json<EndpointOut>, ApiError> {
    let (event_types, rate) = change.check(&state)?;
    if let Some(url) = &change.url {
        judge(&state, url).await?;
    }
    let event_types = event_types.map(Vec::from_iter);
    let channels = std::mem::take(&mut change.channels).map(Vec::from_iter);
    let was_disabled = endpoint.value.disabled;
    let retry = std::mem::take(&mut change.retry_policy).map(|policy| policy.0);
    let endpoint = state.edit(endpoint, None, |endpoint| {
        if let Some(url) = &change.url {
            endpoint.url.clone_from(url);
        }
        change.uid.clone().apply(&mut endpoint.uid);
        if let Some(description) = &change.description {
            endpoint.description.clone_from(description);
        }
        if let Some(disabled) = change.disabled {
            disable(endpoint, disabled);
        }
        event_types.clone().apply(&mut endpoint.event_types);
        channels.clone().apply(&mut endpoint.channels);
        rate.apply(&mut endpoint.throttle_rate);
        endpoint.order = change.order.unwrap_or(endpoint.order);
        retry.clone().apply(&mut endpoint.retry);
        if let Some(metadata) = &change.metadata {
            endpoint.metadata.clone_from(metadata);
        }
        endpoint.updated_at = state.clock.wall();
        Ok(())
    });
    let endpoint = endpoint.await?;
    endpoint_events::updated(&state, was_disabled, &endpoint);
    Ok(axum::Json(EndpointOut::of(&state, endpoint)))
}

/// `DELETE /app/{app_id}/endpoint/{endpoint_id}`: its deliveries are canceled and swept later.
pub(crate) async fn delete(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<StatusCode, ApiError> {
    state
        .store
        .commit(vec![records::remove::<Endpoint>(endpoint.value.id)], None)
        .await?;
    endpoint_events::deleted(&state, &endpoint.value);
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /app/{app_id}/endpoint/{endpoint_id}/pause`: deliveries wait and are kept.
pub(crate) async fn pause(
    State(state): State<Shared>,
    reached: ReachedEndpoint,
) -> Result<axum::Json<EndpointOut>, ApiError> {
    set_pause(&state, reached, PauseState::Paused).await
}

/// `POST /app/{app_id}/endpoint/{endpoint_id}/resume`
pub(crate) async fn resume(
    State(state): State<Shared>,
    reached: ReachedEndpoint,
) -> Result<axum::Json<EndpointOut>, ApiError> {
    set_pause(&state, reached, PauseState::Running).await
}

/// Setting it to what it is already changes nothing, so these need no idempotency key.
async fn set_pause(
    state: &ApiState,
    reached: ReachedEndpoint,
    pause: PauseState,
) -> Result<axum::Json<EndpointOut>, ApiError> {
    if reached.endpoint.value.pause == pause {
        return Ok(axum::Json(EndpointOut::of(state, reached.endpoint.value)));
    }
    let endpoint = state.edit(reached.endpoint, None, |endpoint| {
        endpoint.pause = pause;
        endpoint.updated_at = state.clock.wall();
        Ok(())
    });
    let endpoint = endpoint.await?;
    endpoint_events::updated(state, endpoint.disabled, &endpoint);
    Ok(axum::Json(EndpointOut::of(state, endpoint)))
}

/// Enabling forgets why it was disabled, and starts the failure clock anew.
fn disable(endpoint: &mut Endpoint, disabled: bool) {
    if endpoint.disabled != disabled {
        endpoint.disabled = disabled;
        endpoint.disabled_reason = None;
        endpoint.failing_since = None;
    }
}

async fn refuse_too_many(state: &ApiState, app: &Application) -> Result<(), ApiError> {
    let most = state.config.endpoints_per_application;
    let page = PageRequest::first(most);
    let have = state
        .store
        .records_of(Kind::Endpoint, &app.id.to_string(), page)
        .await?;
    if have.len() < most {
        return Ok(());
    }
    Err(ApiError::Conflict(format!(
        "the application has {most} endpoints already, which is the limit"
    )))
}
