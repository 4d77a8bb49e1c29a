//! What compiled plugins must hash to, kept as records of the store: whoever can write the directory of
//! compiled code cannot also say that it is good.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::Digest;
use crate::sandbox::ArtifactDigests;
use crate::store::{Kind, Resource, Store, StoreError, records};

/// The digests of compiled plugins on this machine, over the store.
#[derive(Debug)]
pub(crate) struct StoredDigests(pub(crate) Arc<dyn Store>);

/// One compiled plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Artifact {
    plugin: Digest,
    /// Names the engine and its settings; compiled code of another one is not loaded.
    engine: String,
    /// Of the compiled file, in hex.
    sha256: String,
}

impl Artifact {
    fn id(plugin: Digest, engine: &str) -> String {
        format!("{engine}:{plugin}")
    }
}

impl Resource for Artifact {
    const KIND: Kind = Kind::Artifact;

    fn record_id(&self) -> String {
        Self::id(self.plugin, &self.engine)
    }

    fn record_parent(&self) -> String {
        self.engine.clone()
    }
}

impl StoredDigests {
    async fn write(&self, artifact: &Artifact) -> Result<(), StoreError> {
        let id = artifact.record_id();
        let write = match self.0.get::<Artifact>(&id).await? {
            Some(stored) => stored.update(artifact)?,
            None => records::insert(artifact)?,
        };
        self.0.commit(vec![write], None).await.map(drop)
    }
}

#[async_trait]
impl ArtifactDigests for StoredDigests {
    async fn get(&self, plugin: Digest, engine: &str) -> Option<[u8; 32]> {
        let stored = self.0.get::<Artifact>(Artifact::id(plugin, engine)).await;
        let artifact = stored
            .inspect_err(|error| tracing::warn!(%plugin, error = error as &dyn std::error::Error, "no digest"))
            .ok()??;
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&artifact.value.sha256, &mut sha256).ok()?;
        Some(sha256)
    }

    async fn put(&self, plugin: Digest, engine: &str, sha256: [u8; 32]) {
        let artifact = Artifact {
            plugin,
            engine: engine.to_owned(),
            sha256: hex::encode(sha256),
        };
        if let Err(error) = self.write(&artifact).await {
            // Costs one compilation after the next start.
            tracing::warn!(%plugin, error = &error as &dyn std::error::Error, "digest not kept");
        }
    }
}
