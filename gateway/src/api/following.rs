//! Which chains have a plugin, and what a new version of it means for those that follow its latest.

use super::error::ApiError;
use super::state::ApiState;
use crate::domain::{Application, ChainEntry, Endpoint, Plugin, VersionPin};
use crate::sandbox::{Admitted, Sandbox};
use crate::store::records::{ChainOwner, ChainRecord};
use crate::store::{Stored, Write};

/// What becomes of the chains that follow a plugin's latest.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// The chains that go to the new version.
    pub(super) writes: Vec<Write>,
    /// Owners of the chains whose config does not fit it.
    pub(super) left: Vec<String>,
}

/// Moves every chain that follows the plugin's latest to this version, where its config fits.
pub(super) async fn advance(
    state: &ApiState,
    plugin: &Plugin,
    admitted: &Admitted,
) -> Result<Moved, ApiError> {
    let mut moved = Moved::default();
    for found in chains_with(state, plugin).await? {
        let mut record = found.value.clone();
        let follows = |entry: &&mut ChainEntry| {
            entry.plugin == plugin.id
                && entry.pin == VersionPin::Latest
                && entry.version != admitted.digest
        };
        let mut changed = false;
        let mut fits = true;
        for entry in record.chain.entries.iter_mut().filter(follows) {
            let schema = &admitted.manifest.config_schema;
            fits &= Sandbox::validate_config(schema, &entry.config).is_ok();
            entry.version = admitted.digest;
            changed = true;
        }
        if !fits {
            moved.left.push(found.value.owner.to_string());
        } else if changed {
            record.chain.revision += 1;
            record.chain.updated_at = state.clock.wall();
            moved.writes.push(found.update(&record)?);
        }
    }
    Ok(moved)
}

/// Owners of the chains that have the plugin.
pub(super) async fn users(state: &ApiState, plugin: &Plugin) -> Result<Vec<String>, ApiError> {
    let chains = chains_with(state, plugin).await?;
    Ok(chains
        .iter()
        .map(|chain| chain.value.owner.to_string())
        .collect())
}

/// Every chain that has the plugin: of its application, or of all applications of its organization.
async fn chains_with(
    state: &ApiState,
    plugin: &Plugin,
) -> Result<Vec<Stored<ChainRecord>>, ApiError> {
    let apps = match plugin.app {
        Some(app) => vec![app],
        None => {
            let apps = state.all::<Application>(&plugin.org.to_string()).await?;
            apps.iter().map(|app| app.value.id).collect()
        }
    };
    let mut chains = Vec::new();
    for app in apps {
        for chain in state.all::<ChainRecord>(&app.to_string()).await? {
            let has = chain
                .value
                .chain
                .entries
                .iter()
                .any(|entry| entry.plugin == plugin.id);
            if has && owner_lives(state, &chain.value).await? {
                chains.push(chain);
            }
        }
    }
    Ok(chains)
}

/// The chain of a deleted endpoint is there until the sweeper comes.
async fn owner_lives(state: &ApiState, chain: &ChainRecord) -> Result<bool, ApiError> {
    Ok(match chain.owner {
        ChainOwner::Application(_) => true,
        ChainOwner::Endpoint(id) => state.store.get::<Endpoint>(id).await?.is_some(),
    })
}
