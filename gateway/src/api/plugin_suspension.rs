//! Plugins that are suspended in the chain of an application or endpoint: shown, and run again when somebody says so.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::access::{OwnedApp, ReachedApp, ReachedEndpoint};
use super::error::ApiError;
use super::extract::Json;
use super::state::{ApiState, Shared};
use crate::domain::{ApplicationId, Digest, EndpointId, PluginId, Suspension, Uid};
use crate::store::records::{ChainOwner, ChainRecord, SuspensionRecord};

/// What is to be run again.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ResumeIn {
    /// By name or identifier; none: all that is suspended in this chain.
    plugin: Option<Uid>,
}

/// What is suspended in a chain as it stands.
#[derive(Debug, Serialize)]
pub(crate) struct SuspendedOut {
    suspended: Vec<SuspensionOut>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SuspensionOut {
    plugin: String,
    plugin_id: PluginId,
    version: Digest,
    /// Its place in the chain, from 0.
    position: usize,
    since: String,
    /// Calls that failed in a row.
    failures: u32,
    /// What the last of them said.
    reason: String,
}

impl From<Suspension> for SuspensionOut {
    fn from(suspension: Suspension) -> Self {
        Self {
            plugin: suspension.name,
            plugin_id: suspension.plugin,
            version: suspension.version,
            position: suspension.position,
            since: suspension.since.to_string(),
            failures: suspension.failures,
            reason: suspension.reason,
        }
    }
}

/// `GET /app/{app_id}/plugin-chain/suspensions`
pub(crate) async fn of_application(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
) -> Result<axum::Json<SuspendedOut>, ApiError> {
    shown(&state, ChainOwner::Application(app.value.id)).await
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}/plugin-chain/suspensions`
pub(crate) async fn of_endpoint(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<axum::Json<SuspendedOut>, ApiError> {
    shown(&state, ChainOwner::Endpoint(endpoint.value.id)).await
}

/// `POST /app/{app_id}/plugin-chain/resume`
pub(crate) async fn resume_application(
    State(state): State<Shared>,
    OwnedApp { app, .. }: OwnedApp,
    Json(wanted): Json<ResumeIn>,
) -> Result<axum::Json<SuspendedOut>, ApiError> {
    resume(&state, (app.value.id, None), wanted).await
}

/// `POST /app/{app_id}/endpoint/{endpoint_id}/plugin-chain/resume`
pub(crate) async fn resume_endpoint(
    State(state): State<Shared>,
    ReachedEndpoint { app, endpoint, .. }: ReachedEndpoint,
    Json(wanted): Json<ResumeIn>,
) -> Result<axum::Json<SuspendedOut>, ApiError> {
    resume(&state, (app.value.id, Some(endpoint.value.id)), wanted).await
}

async fn shown(state: &ApiState, owner: ChainOwner) -> Result<axum::Json<SuspendedOut>, ApiError> {
    let chain = state.store.get::<ChainRecord>(owner).await?;
    let record = state.store.get::<SuspensionRecord>(owner).await?;
    let (Some(chain), Some(record)) = (chain, record) else {
        return Ok(axum::Json(SuspendedOut {
            suspended: Vec::new(),
        }));
    };
    // What was suspended in an earlier revision is run again.
    let revision = chain.value.chain.revision;
    let suspended = record.value.suspended.into_iter();
    let in_force = suspended.filter(|suspension| suspension.revision == revision);
    let suspended = in_force.map(SuspensionOut::from).collect();
    Ok(axum::Json(SuspendedOut { suspended }))
}

/// Answers with what is suspended still.
async fn resume(
    state: &ApiState,
    (app, endpoint): (ApplicationId, Option<EndpointId>),
    wanted: ResumeIn,
) -> Result<axum::Json<SuspendedOut>, ApiError> {
    let owner = endpoint.map_or(ChainOwner::Application(app), ChainOwner::Endpoint);
    let is_wanted = |suspension: &Suspension| {
        let Some(wanted) = &wanted.plugin else {
            return true;
        };
        suspension.name == wanted.as_str() || suspension.plugin.to_string() == wanted.as_str()
    };
    let found = state.store.get::<SuspensionRecord>(owner).await?;
    match found {
        Some(found) if found.value.suspended.iter().any(is_wanted) => {
            let change = |record: &mut SuspensionRecord| {
                record.suspended.retain(|one| !is_wanted(one));
                Ok(())
            };
            state.edit(found, None, change).await?;
            state.deliveries.plugins_resumed(app, endpoint);
        }
        // To be told, since the name may be wrong.
        _ if wanted.plugin.is_some() => {
            return Err(ApiError::NotFound("suspended plugin".to_owned()));
        }
        _ => {}
    }
    shown(state, owner).await
}
