//! Endpoints: where an application's messages go.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::access::{ReachedApp, ReachedEndpoint};
use super::endpoint_headers::{check_headers, seal_headers};
use super::endpoint_secret::new_secret;
use super::error::ApiError;
use super::extract::{Json, JsonBody, PathNames};
use super::idempotency::{Answer, Once, Twin};
use super::paging::{Page, Paging};
use super::patch::{Patch, not_null};
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{Application, Endpoint, EndpointId, EndpointSecret, PauseState, Uid};
use crate::store::{Kind, PageRequest, records};

/// Longest description, in characters. Chosen: what a list can show.
const MAX_DESCRIPTION: usize = 2_000;

/// Most channels of an endpoint (Svix v1 contract).
const MAX_CHANNELS: usize = 10;

/// Most event types of an endpoint. Chosen: they are compared with each message's.
const MAX_EVENT_TYPES: usize = 1_000;

/// A new endpoint, or all of one; of one that exists, secret and headers stay.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointIn {
    url: String,
    #[serde(default)]
    uid: Patch<Uid>,
    #[serde(default, deserialize_with = "not_null")]
    description: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    disabled: Option<bool>,
    event_types: Option<BTreeSet<Uid>>,
    filter_types: Option<BTreeSet<Uid>>,
    channels: Option<BTreeSet<Uid>>,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    #[serde(default, deserialize_with = "not_null")]
    metadata: Option<BTreeMap<String, String>>,
    secret: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

/// Some of an endpoint.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointPatch {
    #[serde(default, deserialize_with = "not_null")]
    url: Option<String>,
    #[serde(default)]
    uid: Patch<Uid>,
    #[serde(default, deserialize_with = "not_null")]
    description: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    disabled: Option<bool>,
    #[serde(default)]
    event_types: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    filter_types: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    channels: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    throttle_rate: Patch<u16>,
    #[serde(default)]
    rate_limit: Patch<u16>,
    #[serde(default, deserialize_with = "not_null")]
    metadata: Option<BTreeMap<String, String>>,
}

/// An endpoint as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointOut {
    id: String,
    uid: Option<Uid>,
    url: String,
    /// Clients of the first generation require it.
    version: u8,
    description: String,
    event_types: Option<Vec<Uid>>,
    filter_types: Option<Vec<Uid>>,
    channels: Option<Vec<Uid>>,
    disabled: bool,
    disabled_reason: Option<String>,
    paused: bool,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    metadata: BTreeMap<String, String>,
    created_at: String,
    updated_at: String,
}

impl From<Endpoint> for EndpointOut {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            uid: endpoint.uid,
            url: endpoint.url,
            version: 1,
            description: endpoint.description,
            filter_types: endpoint.event_types.clone(),
            event_types: endpoint.event_types,
            channels: endpoint.channels,
            disabled: endpoint.disabled,
            disabled_reason: endpoint.disabled_reason,
            paused: endpoint.pause == PauseState::Paused,
            throttle_rate: endpoint.throttle_rate,
            rate_limit: endpoint.throttle_rate,
            metadata: endpoint.metadata,
            created_at: endpoint.created_at.to_string(),
            updated_at: endpoint.updated_at.to_string(),
        }
    }
}

/// What [`EndpointIn`] says of an endpoint, new or not, checked.
struct Checked {
    url: String,
    uid: Patch<Uid>,
    description: String,
    disabled: bool,
    event_types: Option<Vec<Uid>>,
    channels: Option<Vec<Uid>>,
    throttle_rate: Option<u16>,
    metadata: BTreeMap<String, String>,
}

impl EndpointIn {
    async fn check(&mut self, state: &ApiState) -> Result<Checked, ApiError> {
        let mut faults = Faults::default();
        let description = self.description.take().unwrap_or_default();
        faults.at_most(&description, "description", MAX_DESCRIPTION);
        let (types, others) = (self.event_types.take(), self.filter_types.take());
        let event_types = faults.either(types, "eventTypes", others, "filterTypes");
        faults.names(event_types.as_ref(), "eventTypes", MAX_EVENT_TYPES);
        faults.channels(self.channels.as_ref(), MAX_CHANNELS);
        let throttle_rate = faults.either(
            self.throttle_rate,
            "throttleRate",
            self.rate_limit,
            "rateLimit",
        );
        faults.rate(throttle_rate);
        let metadata = self.metadata.take().unwrap_or_default();
        faults.metadata(&metadata, state.config.metadata_bytes);
        faults.none()?;
        judge(state, &self.url).await?;
        Ok(Checked {
            url: self.url.clone(),
            uid: self.uid.clone(),
            description,
            disabled: self.disabled.unwrap_or(false),
            event_types: event_types.map(Vec::from_iter),
            channels: self.channels.take().map(Vec::from_iter),
            throttle_rate,
            metadata,
        })
    }

    async fn build(mut self, state: &ApiState, app: &Application) -> Result<Endpoint, ApiError> {
        let headers = self.headers.take().unwrap_or_default();
        check_headers(&headers, &state.config)?;
        let sealed = new_secret(state, self.secret.take().as_deref(), "secret")?.sealed;
        let checked = self.check(state).await?;
        let now = state.clock.wall();
        Ok(Endpoint {
            id: EndpointId::generate(now),
            app: app.id,
            org: app.org,
            uid: checked.uid.value().cloned(),
            url: checked.url,
            description: checked.description,
            event_types: checked.event_types,
            channels: checked.channels,
            disabled: checked.disabled,
            disabled_reason: None,
            pause: PauseState::Running,
            throttle_rate: checked.throttle_rate,
            metadata: checked.metadata,
            secrets: vec![EndpointSecret {
                sealed,
                expires_at: None,
            }],
            headers: seal_headers(state, &headers)?,
            retry: None,
            created_at: now,
            updated_at: now,
            failing_since: None,
        })
    }
}

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
        |row| row.value.into(),
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
        let answer = Answer::json(StatusCode::CREATED, &EndpointOut::from(endpoint.clone()))?;
        state
            .store
            .insert(&endpoint, pending.record(&answer))
            .await?;
        Ok(answer)
    })
    .await
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}`
pub(crate) async fn get(
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> axum::Json<EndpointOut> {
    axum::Json(endpoint.value.into())
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
            let endpoint = state.edit(found, None, |endpoint| {
                endpoint.url.clone_from(&checked.url);
                // Left out it stays: the path may be the uid itself.
                checked.uid.clone().apply(&mut endpoint.uid);
                endpoint.description.clone_from(&checked.description);
                endpoint.event_types.clone_from(&checked.event_types);
                endpoint.channels.clone_from(&checked.channels);
                endpoint.throttle_rate = checked.throttle_rate;
                endpoint.metadata.clone_from(&checked.metadata);
                disable(endpoint, checked.disabled);
                endpoint.updated_at = state.clock.wall();
                Ok(())
            });
            (StatusCode::OK, endpoint.await?)
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
            (StatusCode::CREATED, endpoint)
        }
    };
    Ok((status, axum::Json(EndpointOut::from(endpoint))))
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
        if let Some(metadata) = &change.metadata {
            endpoint.metadata.clone_from(metadata);
        }
        endpoint.updated_at = state.clock.wall();
        Ok(())
    });
    Ok(axum::Json(endpoint.await?.into()))
}

impl EndpointPatch {
    /// Event types and rate by whichever name they were given.
    fn check(&mut self, state: &ApiState) -> Result<(Patch<BTreeSet<Uid>>, Patch<u16>), ApiError> {
        let mut faults = Faults::default();
        if let Some(description) = &self.description {
            faults.at_most(description, "description", MAX_DESCRIPTION);
        }
        let types = std::mem::take(&mut self.event_types).mentioned();
        let others = std::mem::take(&mut self.filter_types).mentioned();
        let types = faults
            .either(types, "eventTypes", others, "filterTypes")
            .unwrap_or_default();
        faults.names(types.value(), "eventTypes", MAX_EVENT_TYPES);
        faults.channels(self.channels.value(), MAX_CHANNELS);
        let (rate, other) = (self.throttle_rate.mentioned(), self.rate_limit.mentioned());
        let rate = faults
            .either(rate, "throttleRate", other, "rateLimit")
            .unwrap_or_default();
        faults.rate(rate.value().copied());
        if let Some(metadata) = &self.metadata {
            faults.metadata(metadata, state.config.metadata_bytes);
        }
        faults.none().map(|()| (types, rate))
    }
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
        return Ok(axum::Json(reached.endpoint.value.into()));
    }
    let endpoint = state.edit(reached.endpoint, None, |endpoint| {
        endpoint.pause = pause;
        endpoint.updated_at = state.clock.wall();
        Ok(())
    });
    Ok(axum::Json(endpoint.await?.into()))
}

/// Enabling forgets why it was disabled, and starts the failure clock anew.
fn disable(endpoint: &mut Endpoint, disabled: bool) {
    if endpoint.disabled != disabled {
        endpoint.disabled = disabled;
        endpoint.disabled_reason = None;
        endpoint.failing_since = None;
    }
}

async fn judge(state: &ApiState, url: &str) -> Result<(), ApiError> {
    match state.outbound.judge_registration(url).await {
        Ok(_) => Ok(()),
        Err(refusal) => Err(ApiError::invalid(["body", "url"], refusal.to_string())),
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
