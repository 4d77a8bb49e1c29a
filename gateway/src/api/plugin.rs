//! Plugins of an organization, or of one application: uploaded, listed, removed. A version is the SHA-256 of
//! its bytes; the same name uploaded again is a new version, and `latest` moves to it in every chain that
//! follows it, all of them or none.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use serde_json::Value;

use super::access::{OfOrganization, ReachedApp};
use super::error::ApiError;
use super::extract::{PathNames, receive};
use super::following::{self, Moved};
use super::paging::{Page, Paging};
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::domain::{ApplicationId, Digest, OrganizationId, Plugin, PluginId, PluginVersion, Uid};
use crate::sandbox::{AdmitError, Admitted, SandboxError};
use crate::store::{StoreError, Stored, Write, records};

/// How often an upload is committed anew because a chain was changed meanwhile.
const COMMIT_TRIES: usize = 8;

/// Whose plugins a route is about: the application's in the path, else the organization's.
#[derive(Debug)]
pub(crate) struct Owner {
    org: OrganizationId,
    app: Option<ApplicationId>,
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
    fn parent(&self) -> String {
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

/// A plugin with one of its versions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UploadedOut {
    #[serde(flatten)]
    plugin: PluginOut,
    version: VersionOut,
    /// Owners of chains that stay at the version they have, since their config does not fit this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_moved: Option<Vec<String>>,
}

/// `POST /plugin?name=…`, `POST /app/{app_id}/plugin?name=…`: the same upload again changes nothing, so it
/// needs no idempotency key.
pub(crate) async fn upload(
    State(state): State<Shared>,
    owner: Owner,
    mut query: QueryParams,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = query.name("name");
    if name.is_none() && query.text("name").is_none() {
        query.fault("name", "is required");
    }
    let partial = query.flag("partial", false);
    query.done()?;
    let name = name.ok_or_else(|| ApiError::invalid(["query", "name"], "is required"))?;
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if media_type != Some("application/wasm") {
        return Err(ApiError::MediaType("application/wasm"));
    }
    let received = receive(&state, &headers, body, state.config.plugin_bytes).await?;
    let admitted = state
        .sandbox
        .admit(received.bytes.clone())
        .await
        .map_err(not_admitted)?;
    let (created, out) = keep(&state, &owner, name, admitted, partial).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, axum::Json(out)).into_response())
}

/// Commits an admitted version; whether the plugin is new.
async fn keep(
    state: &ApiState,
    owner: &Owner,
    name: Uid,
    admitted: Admitted,
    partial: bool,
) -> Result<(bool, UploadedOut), ApiError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let found = state
            .store
            .find::<Plugin>(owner.parent(), name.as_str())
            .await?;
        let created = found.is_none();
        let (plugin, mut writes, moved) = match found {
            None => {
                let plugin = new_plugin(state, owner, name.clone(), &admitted);
                let write = records::insert(&plugin)?;
                (plugin, vec![write], Moved::default())
            }
            Some(found) => advance(state, &found, &admitted, partial).await?,
        };
        let version = match state
            .store
            .find::<PluginVersion>(plugin.id, &admitted.digest.to_string())
            .await?
        {
            Some(have) => have.value,
            None => {
                let version = new_version(state, plugin.id, &admitted);
                writes.push(records::insert(&version)?);
                version
            }
        };
        writes.extend(moved.writes);
        match state.store.commit(writes, None).await {
            Ok(_) => {
                let not_moved = Some(moved.left).filter(|left| !left.is_empty());
                let out = UploadedOut {
                    plugin: plugin.into(),
                    version: version.into(),
                    not_moved,
                };
                return Ok((created, out));
            }
            // Another upload, or a change of a chain: look again.
            Err(
                StoreError::Stale { .. }
                | StoreError::Exists { .. }
                | StoreError::NoSuchRecord { .. },
            ) if tries < COMMIT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The plugin with this version as its latest, and the chains that follow it.
async fn advance(
    state: &ApiState,
    found: &Stored<Plugin>,
    admitted: &Admitted,
    partial: bool,
) -> Result<(Plugin, Vec<Write>, Moved), ApiError> {
    let moved = following::advance(state, &found.value, admitted).await?;
    if !moved.left.is_empty() && !partial {
        return Err(ApiError::Conflict(format!(
            "the config of these chains does not fit the new version: {}; add partial=true to leave \
             them at the version they have",
            moved.left.join(", ")
        )));
    }
    let now = state.clock.wall();
    let plugin = Plugin {
        latest: admitted.digest,
        updated_at: now,
        ..found.value.clone()
    };
    let write = found.update(&plugin)?;
    Ok((plugin, vec![write], moved))
}

fn new_plugin(state: &ApiState, owner: &Owner, name: Uid, admitted: &Admitted) -> Plugin {
    let now = state.clock.wall();
    Plugin {
        id: PluginId::generate(now),
        org: owner.org,
        app: owner.app,
        name,
        latest: admitted.digest,
        created_at: now,
        updated_at: now,
    }
}

fn new_version(state: &ApiState, plugin: PluginId, admitted: &Admitted) -> PluginVersion {
    PluginVersion {
        plugin,
        digest: admitted.digest,
        size: admitted.size,
        manifest_name: admitted.manifest.name.clone(),
        label: admitted.manifest.version.clone(),
        summary: admitted.manifest.summary.clone(),
        config_schema: admitted.manifest.config_schema.clone(),
        created_at: state.clock.wall(),
    }
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

/// `DELETE …/plugin/{plugin_id}`: with all its versions, unless a chain has it.
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
    Ok(StatusCode::NO_CONTENT)
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

fn not_admitted(error: AdmitError) -> ApiError {
    match error {
        AdmitError::TooLarge { limit } => ApiError::BodyTooLarge { limit },
        AdmitError::Sandbox(SandboxError::CompileQueueFull) => ApiError::TooMany {
            detail: "too many plugins wait to be compiled".to_owned(),
            // A compilation may take seconds.
            retry_after: 10,
        },
        AdmitError::Sandbox(SandboxError::Busy) => ApiError::Unavailable {
            detail: "the sandbox is busy",
            retry_after: 1,
        },
        AdmitError::Sandbox(error) => ApiError::internal(error),
        fault @ (AdmitError::NotWasm
        | AdmitError::Structure(_)
        | AdmitError::NotAPlugin(_)
        | AdmitError::Malformed(_)
        | AdmitError::Import(_)
        | AdmitError::Export(_)
        | AdmitError::NoTransformer
        | AdmitError::Contract(_)
        | AdmitError::DoesNotCompile(_)
        | AdmitError::TooCostly
        | AdmitError::Describe(_)
        | AdmitError::Manifest { .. }
        | AdmitError::Schema(_)) => ApiError::invalid(["body"], fault.to_string()),
    }
}
