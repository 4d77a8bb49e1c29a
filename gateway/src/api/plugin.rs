//! Plugins of an organization, or of one application: listed, shown, removed. A version is the SHA-256 of its
//! bytes.

use axum::extract::{FromRequestParts, State};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::{OfOrganization, ReachedApp};
use super::error::ApiError;
use super::extract::PathNames;
use super::following;
use super::paging::{Page, Paging};
use super::plugin_files;
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::delivery::VersionFigures;
use crate::domain::{ApplicationId, Digest, OrganizationId, Plugin, PluginId, PluginVersion, Uid};
use crate::store::{Stored, records};

/// Whose plugins a route is about: the application's in the path, else the organization's.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(super) org: OrganizationId,
    pub(super) app: Option<ApplicationId>,
}

impl FromRequestParts<Shared> for Owner {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, ApiError> {
        let path = PathNames::from_request_parts(parts, state).await?;
        if path.text("app_id").is_empty() {
            let OfOrganization { org, .. } =
                OfOrganization::from_request_parts(parts, state).await?;
            return Ok(Self { org, app: None });
        }
        let ReachedApp { app, .. } = ReachedApp::from_request_parts(parts, state).await?;
        Ok(Self {
            org: app.value.org,
            app: Some(app.value.id),
        })
    }
}

impl Owner {
    /// The parent of its plugins' records.
    pub(super) fn parent(&self) -> String {
        self.app
            .map_or_else(|| self.org.to_string(), |app| app.to_string())
    }

    async fn named(&self, state: &ApiState, path: &PathNames) -> Result<Stored<Plugin>, ApiError> {
        let name = path.name("plugin_id")?;
        let found = state
            .store
            .find::<Plugin>(self.parent(), name.as_str())
            .await?;
        found.ok_or_else(|| ApiError::NotFound("plugin".to_owned()))
    }
}

/// A plugin as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginOut {
    id: PluginId,
    name: Uid,
    application_id: Option<ApplicationId>,
    latest: Digest,
    created_at: String,
    updated_at: String,
}

impl From<Plugin> for PluginOut {
    fn from(plugin: Plugin) -> Self {
        Self {
            id: plugin.id,
            name: plugin.name,
            application_id: plugin.app,
            latest: plugin.latest,
            created_at: plugin.created_at.to_string(),
            updated_at: plugin.updated_at.to_string(),
        }
    }
}

/// A version as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VersionOut {
    version: Digest,
    /// What the plugin calls itself and this version.
    manifest_name: String,
    label: String,
    summary: String,
    config_schema: Value,
    size: u64,
    created_at: String,
}

impl From<PluginVersion> for VersionOut {
    fn from(version: PluginVersion) -> Self {
        Self {
            version: version.digest,
            manifest_name: version.manifest_name,
            label: version.label,
            summary: version.summary,
            config_schema: version.config_schema,
            size: version.size,
            created_at: version.created_at.to_string(),
        }
    }
}

/// What a version did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatsOut {
    calls: u64,
    /// Calls by outcome, every outcome.
    outcomes: Map<String, Value>,
    /// Microseconds for which calls held a thread; null without a call.
    p50_micros: Option<u64>,
    p99_micros: Option<u64>,
    /// Bytes.
    memory_peak: Option<u64>,
}

impl From<VersionFigures> for StatsOut {
    fn from(figures: VersionFigures) -> Self {
        let outcomes = figures.outcomes.iter();
        Self {
            calls: outcomes.clone().map(|(_, count)| count).sum(),
            outcomes: outcomes
                .map(|(outcome, count)| (outcome.as_str().to_owned(), (*count).into()))
                .collect(),
            p50_micros: figures.p50_micros,
            p99_micros: figures.p99_micros,
            memory_peak: figures.memory_peak,
        }
    }
}

/// A plugin with one of its versions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadedOut {
    #[serde(flatten)]
    pub(super) plugin: PluginOut,
    pub(super) version: VersionOut,
    /// Owners of chains that stay at the version they have, since their config does not fit this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_moved: Option<Vec<String>>,
}

/// `GET /plugin`, `GET /app/{app_id}/plugin`
pub(crate) async fn list(
    State(state): State<Shared>,
    owner: Owner,
    mut query: QueryParams,
) -> Result<axum::Json<Page<PluginOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let rows = state
        .store
        .list::<Plugin>(owner.parent(), paging.request())
        .await?;
    Ok(axum::Json(paging.page(
        rows,
        |row| row.seq,
        |row| row.value.into(),
    )))
}

/// `GET …/plugin/{plugin_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    owner: Owner,
    path: PathNames,
) -> Result<axum::Json<UploadedOut>, ApiError> {
    let plugin = owner.named(&state, &path).await?.value;
    let version = version_of(&state, plugin.id, plugin.latest).await?;
    Ok(axum::Json(UploadedOut {
        plugin: plugin.into(),
        version: version.into(),
        not_moved: None,
    }))
}

/// `GET …/plugin/{plugin_id}/version`
pub(crate) async fn versions(
    State(state): State<Shared>,
    owner: Owner,
    path: PathNames,
    mut query: QueryParams,
) -> Result<axum::Json<Page<VersionOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let plugin = owner.named(&state, &path).await?.value;
    let rows = state
        .store
        .list::<PluginVersion>(plugin.id, paging.request())
        .await?;
    Ok(axum::Json(paging.page(
        rows,
        |row| row.seq,
        |row| row.value.into(),
    )))
}

/// `DELETE …/plugin/{plugin_id}`: with all its versions, whose records the store sweeps, unless a chain has it.
pub(crate) async fn delete(
    State(state): State<Shared>,
    owner: Owner,
    path: PathNames,
) -> Result<StatusCode, ApiError> {
    let found = owner.named(&state, &path).await?;
    let users = following::users(&state, &found.value).await?;
    if !users.is_empty() {
        let users = users.join(", ");
        return Err(ApiError::Conflict(format!(
            "the plugin is in use by the chains of {users}"
        )));
    }
    // The update fails if a chain took the plugin up since we looked: setting one touches its plugins.
    let writes = vec![
        found.update(&found.value)?,
        records::remove::<Plugin>(found.value.id),
    ];
    state.store.commit(writes, None).await?;
    plugin_files::remove_unnamed(&state).await;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET …/plugin/{plugin_id}/version/{version}/stats`: what it did in deliveries since the gateway's start.
pub(crate) async fn stats(
    State(state): State<Shared>,
    owner: Owner,
    path: PathNames,
) -> Result<axum::Json<StatsOut>, ApiError> {
    let plugin = owner.named(&state, &path).await?.value;
    let digest = path.text("version");
    let digest = digest
        .parse()
        .map_err(|_| ApiError::NotFound("plugin version".to_owned()))?;
    // One that is not there has no figures either.
    let version = version_of(&state, plugin.id, digest).await?;
    let figures = state.deliveries.plugin_figures(plugin.id, version.digest);
    Ok(axum::Json(figures.into()))
}

/// The record of a version that a plugin or chain names.
pub(super) async fn version_of(
    state: &ApiState,
    plugin: PluginId,
    digest: Digest,
) -> Result<PluginVersion, ApiError> {
    let found = state
        .store
        .find::<PluginVersion>(plugin, &digest.to_string())
        .await?;
    found
        .map(|found| found.value)
        .ok_or_else(|| ApiError::NotFound("plugin version".to_owned()))
}
