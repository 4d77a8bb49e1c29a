//! Applications: the tenants of an organization.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::access::{OfOrganization, OwnedApp, ReachedApp};
use super::error::ApiError;
use super::extract::{Json, JsonBody, PathNames};
use super::idempotency::{Answer, Once, Twin};
use super::paging::{Page, Paging};
use super::patch::{Patch, not_null};
use super::plugin_files;
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use super::validate::{Faults, not_empty};
use crate::domain::{Application, ApplicationId, OrganizationId, Plugin, PluginLimits, Uid};
use crate::store::{PageRequest, StoreError, records};

/// Longest name of an application, in characters. Chosen: what a list can show.
const MAX_NAME: usize = 1_000;

/// A new application, or all of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplicationIn {
    #[serde(deserialize_with = "not_empty")]
    name: String,
    #[serde(default)]
    uid: Patch<Uid>,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    #[serde(default, deserialize_with = "not_null")]
    metadata: Option<BTreeMap<String, String>>,
}

/// Some of an application.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplicationPatch {
    #[serde(default, deserialize_with = "not_null")]
    name: Option<String>,
    #[serde(default)]
    uid: Patch<Uid>,
    #[serde(default)]
    throttle_rate: Patch<u16>,
    #[serde(default)]
    rate_limit: Patch<u16>,
    #[serde(default, deserialize_with = "not_null")]
    metadata: Option<BTreeMap<String, String>>,
}

/// An application as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ApplicationOut {
    id: String,
    uid: Option<Uid>,
    name: String,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    metadata: BTreeMap<String, String>,
    created_at: String,
    updated_at: String,
}

impl From<Application> for ApplicationOut {
    fn from(app: Application) -> Self {
        Self {
            id: app.id.to_string(),
            uid: app.uid,
            name: app.name,
            throttle_rate: app.throttle_rate,
            rate_limit: app.throttle_rate,
            metadata: app.metadata,
            created_at: app.created_at.to_string(),
            updated_at: app.updated_at.to_string(),
        }
    }
}

/// The fields of an [`ApplicationIn`], checked.
struct Checked {
    name: String,
    uid: Patch<Uid>,
    throttle_rate: Option<u16>,
    metadata: BTreeMap<String, String>,
}

impl ApplicationIn {
    /// The uid that it asks for.
    pub(crate) fn uid(&self) -> Option<&Uid> {
        self.uid.value()
    }

    /// The same under this uid.
    pub(crate) fn with_uid(self, uid: Uid) -> Self {
        Self {
            uid: Patch::Set(uid),
            ..self
        }
    }

    fn check(self, state: &ApiState) -> Result<Checked, ApiError> {
        let mut faults = Faults::default();
        faults.at_most(&self.name, "name", MAX_NAME);
        let throttle_rate = faults.either(
            self.throttle_rate,
            "throttleRate",
            self.rate_limit,
            "rateLimit",
        );
        faults.rate(throttle_rate);
        let metadata = self.metadata.unwrap_or_default();
        faults.metadata(&metadata, state.config.metadata_bytes);
        faults.none()?;
        Ok(Checked {
            name: self.name,
            uid: self.uid,
            throttle_rate,
            metadata,
        })
    }

    /// The application that it describes.
    pub(crate) fn build(
        self,
        state: &ApiState,
        org: OrganizationId,
    ) -> Result<Application, ApiError> {
        let checked = self.check(state)?;
        let now = state.clock.wall();
        Ok(Application {
            id: ApplicationId::generate(now),
            org,
            uid: checked.uid.value().cloned(),
            name: checked.name,
            throttle_rate: checked.throttle_rate,
            plugin_limits: PluginLimits::default(),
            metadata: checked.metadata,
            created_at: now,
            updated_at: now,
            tokens_not_before: None,
            management: false,
        })
    }
}

/// `GET /app`
pub(crate) async fn list(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    mut query: QueryParams,
) -> Result<axum::Json<Page<ApplicationOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let rows = state
        .store
        .list::<Application>(org, paging.request())
        .await?;
    Ok(axum::Json(paging.page(
        rows,
        |row| row.seq,
        |row| row.value.into(),
    )))
}

/// `POST /app`
pub(crate) async fn create(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    mut query: QueryParams,
    twin: Twin,
    body: JsonBody,
) -> Result<Once<Answer>, ApiError> {
    let get_if_exists = query.flag("get_if_exists", false);
    query.done()?;
    let wanted: ApplicationIn = body.parse()?;
    twin.once(&state, &caller, body.bytes(), async |pending| {
        if get_if_exists
            && let Some(uid) = wanted.uid()
            && let Some(found) = state.store.find::<Application>(org, uid.as_str()).await?
        {
            return Answer::json(StatusCode::OK, &ApplicationOut::from(found.value));
        }
        let app = wanted.build(&state, org)?;
        let answer = Answer::json(StatusCode::CREATED, &ApplicationOut::from(app.clone()))?;
        state.store.insert(&app, pending.record(&answer)).await?;
        Ok(answer)
    })
    .await
}

/// `GET /app/{app_id}`
pub(crate) async fn get(ReachedApp { app, .. }: ReachedApp) -> axum::Json<ApplicationOut> {
    axum::Json(app.value.into())
}

/// `PUT /app/{app_id}`: replaces, or creates under the uid in the path.
pub(crate) async fn put(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    path: PathNames,
    Json(wanted): Json<ApplicationIn>,
) -> Result<impl IntoResponse, ApiError> {
    let name = path.name("app_id")?;
    let (status, app) = match state.store.find::<Application>(org, name.as_str()).await? {
        Some(found) => {
            let checked = wanted.check(&state)?;
            let app = state
                .edit(found, None, |app| {
                    app.name.clone_from(&checked.name);
                    // Left out it stays: the path may be the uid itself.
                    checked.uid.clone().apply(&mut app.uid);
                    app.throttle_rate = checked.throttle_rate;
                    app.metadata.clone_from(&checked.metadata);
                    app.updated_at = state.clock.wall();
                    Ok(())
                })
                .await?;
            (StatusCode::OK, app)
        }
        None => {
            if name.as_str().parse::<ApplicationId>().is_ok() {
                return Err(ApiError::NotFound("application".to_owned()));
            }
            let app = for_path(wanted, name)?.build(&state, org)?;
            state.store.insert(&app, None).await?;
            (StatusCode::CREATED, app)
        }
    };
    Ok((status, axum::Json(ApplicationOut::from(app))))
}

/// `PATCH /app/{app_id}`
pub(crate) async fn patch(
    State(state): State<Shared>,
    OwnedApp { app, .. }: OwnedApp,
    Json(change): Json<ApplicationPatch>,
) -> Result<axum::Json<ApplicationOut>, ApiError> {
    let mut faults = Faults::default();
    if let Some(name) = &change.name {
        faults.text(name, "name", MAX_NAME);
    }
    if let Some(metadata) = &change.metadata {
        faults.metadata(metadata, state.config.metadata_bytes);
    }
    let rate = change.throttle_rate.mentioned();
    let rate = faults.either(
        rate,
        "throttleRate",
        change.rate_limit.mentioned(),
        "rateLimit",
    );
    let rate = rate.unwrap_or_default();
    faults.rate(rate.value().copied());
    faults.none()?;
    let app = state
        .edit(app, None, |app| {
            if let Some(name) = &change.name {
                app.name.clone_from(name);
            }
            change.uid.clone().apply(&mut app.uid);
            rate.apply(&mut app.throttle_rate);
            if let Some(metadata) = &change.metadata {
                app.metadata.clone_from(metadata);
            }
            app.updated_at = state.clock.wall();
            Ok(())
        })
        .await?;
    Ok(axum::Json(app.into()))
}

/// `DELETE /app/{app_id}`: what belongs to it is swept later, but for the files of its plugins, of which the
/// store knows nothing.
pub(crate) async fn delete(
    State(state): State<Shared>,
    OwnedApp { app, .. }: OwnedApp,
) -> Result<StatusCode, ApiError> {
    let plugins = state
        .store
        .list::<Plugin>(app.value.id, PageRequest::first(1))
        .await?;
    state
        .store
        .commit(vec![records::remove::<Application>(app.value.id)], None)
        .await?;
    if !plugins.is_empty() {
        plugin_files::remove_unnamed(&state).await;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The application in the path, made from `wanted` if there is none: a message or a portal may bring its own.
pub(crate) async fn get_or_create(
    state: &ApiState,
    org: OrganizationId,
    name: &Uid,
    wanted: Option<ApplicationIn>,
) -> Result<Application, ApiError> {
    let not_found = || ApiError::NotFound("application".to_owned());
    if let Some(found) = state.store.find::<Application>(org, name.as_str()).await? {
        return Ok(found.value);
    }
    let wanted = wanted.ok_or_else(not_found)?;
    if name.as_str().parse::<ApplicationId>().is_ok() {
        return Err(not_found());
    }
    let app = for_path(wanted, name.clone())?.build(state, org)?;
    match state.store.insert(&app, None).await {
        Ok(()) => Ok(app),
        // Another request brought it first.
        Err(StoreError::Exists { .. }) => {
            let found = state.store.find::<Application>(org, name.as_str()).await?;
            found.map(|found| found.value).ok_or_else(not_found)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is made at a path lies at that path afterwards.
fn for_path(wanted: ApplicationIn, name: Uid) -> Result<ApplicationIn, ApiError> {
    match wanted.uid() {
        Some(uid) if *uid != name => Err(ApiError::invalid(
            ["body", "uid"],
            "differs from the uid in the path",
        )),
        _ => Ok(wanted.with_uid(name)),
    }
}
