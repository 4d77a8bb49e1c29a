//! The chain of an application or endpoint: which plugins run, in which order, each with a config that fits
//! its version's schema.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::{OwnedApp, ReachedApp, ReachedEndpoint};
use super::error::ApiError;
use super::extract::Json;
use super::plugin::version_of;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{
    Application, Chain, ChainEntry, Digest, OnFailure, Plugin, PluginId, Uid, VersionPin,
};
use crate::sandbox::Sandbox;
use crate::store::records::{self, ChainOwner, ChainRecord};
use crate::store::{COMMIT_TRIES, Stored, Write};

/// The name of the version that a chain follows.
const LATEST: &str = "latest";

/// A chain as it is to be.
#[derive(Debug, Deserialize)]
pub(crate) struct ChainIn {
    chain: Vec<EntryIn>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryIn {
    /// Name or identifier: in an endpoint's chain the application's own plugin comes first, in an
    /// application's the organization's does.
    plugin: Uid,
    version: Option<String>,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    on_failure: OnFailure,
}

/// A chain as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChainOut {
    chain: Vec<EntryOut>,
    /// 0: none was ever set.
    revision: u64,
    updated_at: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryOut {
    plugin: String,
    plugin_id: PluginId,
    /// As asked for.
    version: String,
    /// What runs now.
    resolved_version: Digest,
    config: Value,
    on_failure: OnFailure,
}

impl From<Chain> for ChainOut {
    fn from(chain: Chain) -> Self {
        let entries = chain.entries.into_iter();
        Self {
            chain: entries.map(EntryOut::from).collect(),
            revision: chain.revision,
            updated_at: Some(chain.updated_at.to_string()),
        }
    }
}

impl From<ChainEntry> for EntryOut {
    fn from(entry: ChainEntry) -> Self {
        Self {
            plugin: entry.name,
            plugin_id: entry.plugin,
            version: match entry.pin {
                VersionPin::Exact(digest) => digest.to_string(),
                VersionPin::Latest => LATEST.to_owned(),
            },
            resolved_version: entry.version,
            config: entry.config,
            on_failure: entry.on_failure,
        }
    }
}

/// `GET /app/{app_id}/plugin-chain`
pub(crate) async fn get_application(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
) -> Result<axum::Json<ChainOut>, ApiError> {
    get(&state, ChainOwner::Application(app.value.id)).await
}

/// `PUT /app/{app_id}/plugin-chain`
pub(crate) async fn put_application(
    State(state): State<Shared>,
    OwnedApp { app, .. }: OwnedApp,
    Json(wanted): Json<ChainIn>,
) -> Result<axum::Json<ChainOut>, ApiError> {
    put(
        &state,
        &app.value,
        ChainOwner::Application(app.value.id),
        wanted,
    )
    .await
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}/plugin-chain`
pub(crate) async fn get_endpoint(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<axum::Json<ChainOut>, ApiError> {
    get(&state, ChainOwner::Endpoint(endpoint.value.id)).await
}

/// `PUT /app/{app_id}/endpoint/{endpoint_id}/plugin-chain`
pub(crate) async fn put_endpoint(
    State(state): State<Shared>,
    ReachedEndpoint { app, endpoint, .. }: ReachedEndpoint,
    Json(wanted): Json<ChainIn>,
) -> Result<axum::Json<ChainOut>, ApiError> {
    put(
        &state,
        &app.value,
        ChainOwner::Endpoint(endpoint.value.id),
        wanted,
    )
    .await
}

async fn get(state: &ApiState, owner: ChainOwner) -> Result<axum::Json<ChainOut>, ApiError> {
    Ok(axum::Json(
        match state.store.get::<ChainRecord>(owner).await? {
            Some(found) => found.value.chain.into(),
            None => ChainOut {
                chain: Vec::new(),
                revision: 0,
                updated_at: None,
            },
        },
    ))
}

async fn put(
    state: &ApiState,
    app: &Application,
    owner: ChainOwner,
    wanted: ChainIn,
) -> Result<axum::Json<ChainOut>, ApiError> {
    let most = state.sandbox.chain_limit();
    let mut faults = Faults::default();
    let count = wanted.chain.len();
    faults.check(
        count <= most,
        "chain",
        format!("must have at most {most} plugins"),
    );
    faults.none()?;
    let mut tries = 0;
    loop {
        tries += 1;
        let (entries, mut writes) = resolve(state, app, owner, &wanted).await?;
        let found = state.store.get::<ChainRecord>(owner).await?;
        if let Some(found) = &found
            && found.value.chain.entries == entries
        {
            // Nothing changes, so nothing that was memoised is wrong.
            return Ok(axum::Json(found.value.chain.clone().into()));
        }
        let revision = found.as_ref().map_or(0, |found| found.value.chain.revision);
        let updated_at = state.clock.wall();
        let chain = Chain {
            revision: revision + 1,
            entries,
            updated_at,
        };
        let record = ChainRecord {
            owner,
            app: app.id,
            chain,
        };
        writes.push(match found {
            Some(found) => found.update(&record)?,
            None => records::insert(&record)?,
        });
        match state.store.commit(writes, None).await {
            Ok(_) => return Ok(axum::Json(record.chain.into())),
            // Another change of the chain, or of a plugin: look again.
            Err(error) if error.is_conflict() && tries < COMMIT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The entries of the chain, and a write that touches each plugin: it fails if the plugin was removed or its
/// latest moved since we looked, and the other way round.
async fn resolve(
    state: &ApiState,
    app: &Application,
    owner: ChainOwner,
    wanted: &ChainIn,
) -> Result<(Vec<ChainEntry>, Vec<Write>), ApiError> {
    let mut faults = Faults::default();
    let mut entries = Vec::with_capacity(wanted.chain.len());
    let mut plugins: Vec<Stored<Plugin>> = Vec::new();
    for (index, entry) in wanted.chain.iter().enumerate() {
        let Some(plugin) = plugin_named(state, app, owner, &entry.plugin).await? else {
            faults.add(at(index, "plugin"), "there is no plugin of this name");
            continue;
        };
        if let Some(entry) = resolve_entry(state, index, entry, &plugin.value, &mut faults).await? {
            entries.push(entry);
        }
        if plugins.iter().all(|have| have.value.id != plugin.value.id) {
            plugins.push(plugin);
        }
    }
    faults.none()?;
    let touches = plugins.iter().map(|plugin| plugin.update(&plugin.value));
    Ok((entries, touches.collect::<Result<_, _>>()?))
}

async fn resolve_entry(
    state: &ApiState,
    index: usize,
    entry: &EntryIn,
    plugin: &Plugin,
    faults: &mut Faults,
) -> Result<Option<ChainEntry>, ApiError> {
    if entry.on_failure == OnFailure::Pass && !state.config.allow_pass_on_failure {
        let msg = "`pass` sends what a failed plugin should have changed; an operator allows it with \
                   allow_pass_on_failure";
        faults.add(at(index, "onFailure"), msg);
    }
    let pin = match entry.version.as_deref() {
        None | Some(LATEST) => VersionPin::Latest,
        Some(text) => match text.parse() {
            Ok(digest) => VersionPin::Exact(digest),
            Err(_) => {
                let msg = "must be `latest` or `sha256:` and 64 hexadecimal digits";
                faults.add(at(index, "version"), msg);
                return Ok(None);
            }
        },
    };
    let digest = match pin {
        VersionPin::Latest => plugin.latest,
        VersionPin::Exact(digest) => digest,
    };
    let version = match version_of(state, plugin.id, digest).await {
        Err(ApiError::NotFound(_)) => {
            faults.add(at(index, "version"), "the plugin has no such version");
            return Ok(None);
        }
        other => other?,
    };
    let config = Value::Object(entry.config.clone());
    for problem in Sandbox::validate_config(&version.config_schema, &config)
        .err()
        .unwrap_or_default()
    {
        let loc = at(index, "config").into_iter().chain([problem.pointer]);
        faults.add(loc.filter(|step| !step.is_empty()), problem.message);
    }
    Ok(Some(ChainEntry {
        plugin: plugin.id,
        name: plugin.name.to_string(),
        pin,
        version: digest,
        config,
        on_failure: entry.on_failure,
    }))
}

/// An application's token uploads plugins but does not set the application's chain, so what it uploads must
/// not take the place of the organization's plugin there.
async fn plugin_named(
    state: &ApiState,
    app: &Application,
    owner: ChainOwner,
    name: &Uid,
) -> Result<Option<Stored<Plugin>>, ApiError> {
    let (own, organizations) = (app.id.to_string(), app.org.to_string());
    let order = match owner {
        ChainOwner::Application(_) => [organizations, own],
        ChainOwner::Endpoint(_) => [own, organizations],
    };
    for parent in order {
        let found = state.store.find::<Plugin>(parent, name.as_str()).await?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn at(index: usize, field: &str) -> [String; 4] {
    [
        "body".to_owned(),
        "chain".to_owned(),
        index.to_string(),
        field.to_owned(),
    ]
}
