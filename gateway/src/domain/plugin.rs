//! A named WebAssembly component and its versions. A version is its SHA-256 and never changes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ApplicationId, OrganizationId, PluginId, Timestamp, Uid};

/// A named plugin of an organization or of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// Its identifier; chains hold this, so a later plugin of the same name never shadows it.
    pub id: PluginId,
    /// The organization it belongs to.
    pub org: OrganizationId,
    /// The application it belongs to; none: every application of the organization may use it.
    pub app: Option<ApplicationId>,
    /// Unique among the organization's or the application's plugins.
    pub name: Uid,
    /// The version that chains with `latest` run.
    pub latest: Digest,
    /// When it was first uploaded.
    pub created_at: Timestamp,
    /// When its latest version moved.
    pub updated_at: Timestamp,
}

/// One uploaded version of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// The plugin it is a version of.
    pub plugin: PluginId,
    /// SHA-256 of the upload.
    pub digest: Digest,
    /// Bytes uploaded.
    pub size: u64,
    /// What its manifest calls it.
    pub manifest_name: String,
    /// Its manifest's version label.
    pub label: String,
    /// Its manifest's summary.
    pub summary: String,
    /// JSON Schema that a config must fit.
    pub config_schema: serde_json::Value,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// A SHA-256, shown as `sha256:<64 hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// The text is not of the form `sha256:<64 hex digits>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest has the form `sha256:` and 64 hex digits")]
pub struct DigestError;

impl Digest {
    const PREFIX: &'static str = "sha256:";

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// With these 64 hex digits.
    pub fn from_hex(digits: &str) -> Result<Self, DigestError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| DigestError)?;
        Ok(Self(bytes))
    }

    /// The 64 hex digits, as file names use them.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Self::PREFIX, self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::from_hex(text.strip_prefix(Self::PREFIX).ok_or(DigestError)?)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            to.collect_str(self)
        } else {
            self.0.serialize(to)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?
                .parse()
                .map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(from).map(Self)
        }
    }
}
