//! A plugin version that failed over and over in one chain, and is not run there until somebody says so.

use serde::{Deserialize, Serialize};

use super::{Digest, PluginId, Timestamp};

/// One entry of a chain that is not run. It holds for one revision of the chain: any change gives every plugin in it
/// another chance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// The plugin.
    pub plugin: PluginId,
    /// The name it was set by, for people.
    pub name: String,
    /// The version that failed.
    pub version: Digest,
    /// The entry's place in the chain, from 0.
    pub position: usize,
    /// The chain's revision.
    pub revision: u64,
    /// When it was suspended.
    pub since: Timestamp,
    /// Calls that failed in a row.
    pub failures: u32,
    /// What the last of them said.
    pub reason: String,
}

impl Suspension {
    /// Whether it is about this entry of its chain.
    pub fn is_of(&self, revision: u64, position: usize, version: Digest) -> bool {
        (self.revision, self.position, self.version) == (revision, position, version)
    }
}
