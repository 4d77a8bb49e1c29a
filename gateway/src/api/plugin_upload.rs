//! Uploads of plugins. The same name uploaded again is a new version, and `latest` moves to it in every chain
//! that follows it: all of them, or none unless the caller asks for a part.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use super::error::ApiError;
use super::extract::receive;
use super::following::{self, Moved};
use super::plugin::{Owner, UploadedOut};
use super::plugin_files;
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::domain::{Digest, Plugin, PluginId, PluginLimit, PluginLimits, PluginVersion, Uid};
use crate::sandbox::{AdmitError, Admitted, SandboxError};
use crate::store::{COMMIT_TRIES, PageRequest, Stored, Write, records};

/// `POST /plugin?name=…`, `POST /app/{app_id}/plugin?name=…`: the same upload again changes nothing, so it
/// needs no idempotency key.
pub(crate) async fn create(
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
    let limits = state.plugin_limits_of(owner.org, owner.app).await?;
    let bytes = most(&limits, PluginLimit::ModuleBytes);
    let received = receive(&state, &headers, body, bytes).await?;
    let upload = received.bytes.clone();
    // Before the work of taking it in, and again when it is kept.
    refuse_too_many(&state, &owner, &limits, (&name, Digest::of(&upload))).await?;
    let tenant = owner.parent().into();
    let admitted = state.sandbox.admit_for(&tenant, &limits, upload.clone());
    let admitted = admitted.await;
    let admitted = admitted.map_err(not_admitted)?;
    let held = plugin_files::hold(&state, upload).await?;
    let kept = keep(&state, (&owner, &limits), name, admitted, partial).await;
    drop(held);
    if kept.is_err() {
        plugin_files::remove_unnamed(&state).await;
    }
    let (created, out) = kept?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, axum::Json(out)).into_response())
}

/// The figure of a limit that every tenant has.
fn most(limits: &PluginLimits, limit: PluginLimit) -> usize {
    let most = limits.get(limit).unwrap_or(u64::MAX);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Refuses what would be one plugin or one version too many.
async fn refuse_too_many(
    state: &ApiState,
    owner: &Owner,
    limits: &PluginLimits,
    (name, digest): (&Uid, Digest),
) -> Result<(), ApiError> {
    let plugin = state
        .store
        .find::<Plugin>(owner.parent(), name.as_str())
        .await?;
    let Some(plugin) = plugin else {
        let most = most(limits, PluginLimit::Plugins);
        let page = PageRequest::first(most);
        let have = state.store.list::<Plugin>(owner.parent(), page).await?;
        if have.len() < most {
            return Ok(());
        }
        return Err(ApiError::Conflict(format!(
            "there are {most} plugins already, which is the limit; remove one first"
        )));
    };
    let most = most(limits, PluginLimit::Versions);
    let page = PageRequest::first(most);
    let plugin = plugin.value.id;
    let have = state.store.list::<PluginVersion>(plugin, page).await?;
    // What it has already is no version more.
    if have.len() < most || have.iter().any(|version| version.value.digest == digest) {
        return Ok(());
    }
    Err(ApiError::Conflict(format!(
        "the plugin has {most} versions already, which is the limit; upload under another name"
    )))
}

/// Commits an admitted version, whose files are held; whether the plugin is new.
async fn keep(
    state: &ApiState,
    (owner, limits): (&Owner, &PluginLimits),
    name: Uid,
    admitted: Admitted,
    partial: bool,
) -> Result<(bool, UploadedOut), ApiError> {
    refuse_too_many(state, owner, limits, (&name, admitted.digest)).await?;
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
            Err(error) if error.is_conflict() && tries < COMMIT_TRIES => {}
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
        | AdmitError::TooCostly { .. }
        | AdmitError::Describe(_)
        | AdmitError::Manifest { .. }
        | AdmitError::Schema(_)) => ApiError::invalid(["body"], fault.to_string()),
    }
}
