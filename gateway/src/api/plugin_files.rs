//! The files of plugins against the records that name them: a version's files go once no record names it.
//!
//! The sandbox keeps an upload before its record is committed, and in between its files have no name. So a
//! record is committed under the lock of this file, after making sure that the files are still there; and files
//! are removed under the same lock. Nothing else may call [`Sandbox::forget`](crate::sandbox::Sandbox::forget).

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::{Mutex, MutexGuard};

use super::error::ApiError;
use super::state::ApiState;
use crate::domain::{Application, Digest, Organization, Plugin, PluginVersion};

/// Who commits a version or removes files.
#[derive(Debug, Default)]
pub(super) struct PluginFiles(Mutex<()>);

impl PluginFiles {
    pub(super) async fn lock(&self) -> MutexGuard<'_, ()> {
        self.0.lock().await
    }
}

/// For as long as the guard lives, the files of this upload stay: it was admitted, and is kept anew if it went.
pub(super) async fn hold<'a>(
    state: &'a ApiState,
    upload: Bytes,
) -> Result<MutexGuard<'a, ()>, ApiError> {
    let guard = state.plugin_files.lock().await;
    state
        .sandbox
        .keep(upload)
        .await
        .map_err(ApiError::internal)?;
    Ok(guard)
}

/// Removes the files that no record names. What stays on a fault goes the next time, so nobody is told but the
/// log.
pub(super) async fn remove_unnamed(state: &ApiState) {
    if let Err(error) = try_remove_unnamed(state).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "files of removed plugins stay"
        );
    }
}

async fn try_remove_unnamed(state: &ApiState) -> Result<(), ApiError> {
    let _guard = state.plugin_files.lock().await;
    let kept = state.sandbox.kept().await.map_err(ApiError::internal)?;
    let named = named(state).await?;
    for version in kept.into_iter().filter(|version| !named.contains(version)) {
        state
            .sandbox
            .forget(version)
            .await
            .map_err(ApiError::internal)?;
    }
    Ok(())
}

/// Every version of every plugin.
pub(super) async fn named(state: &ApiState) -> Result<BTreeSet<Digest>, ApiError> {
    let mut digests = BTreeSet::new();
    for org in state.all::<Organization>("").await? {
        let mut owners = vec![org.value.id.to_string()];
        let apps = state.all::<Application>(&owners[0]).await?;
        owners.extend(apps.iter().map(|app| app.value.id.to_string()));
        for owner in owners {
            for plugin in state.all::<Plugin>(&owner).await? {
                let versions = state
                    .all::<PluginVersion>(&plugin.value.id.to_string())
                    .await?;
                digests.extend(versions.iter().map(|version| version.value.digest));
            }
        }
    }
    Ok(digests)
}
