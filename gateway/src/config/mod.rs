//! The settings tree: what an operator may choose, with its defaults. The only room that reads files of
//! settings and the environment; every other room is handed its own struct.
//!
//! Order of precedence: built-in defaults, then `hookmill.toml`, then `HOOKMILL_…` variables, then
//! flags. A key that nobody reads is an error, not a surprise.

mod hidden;
mod load;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use hidden::Hidden;
pub use load::{ConfigError, Overrides, load};

use crate::store::sled::SledConfig;
use crate::{api, delivery, ingest, outbound, sandbox, server};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the API listens. Port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where the store, compiled plugins and key files live.
    pub data_dir: PathBuf,
    /// Signs tokens (HS256), at least 16 bytes, better 32; none: a file made in the data directory at first start.
    pub jwt_secret: Option<Hidden>,
    /// Seals secrets in the store: 32 bytes as base64 or hex; none: a file made in the data directory at
    /// first start.
    pub sealing_key: Option<Hidden>,
    /// How connections are taken.
    pub server: server::Config,
    /// What is logged, and how.
    pub log: Log,
    /// Where events are kept.
    pub store: Store,
    /// How messages are accepted.
    pub ingest: ingest::Config,
    /// How they are delivered.
    pub delivery: delivery::Config,
    /// Which receivers may be reached, and how.
    pub outbound: outbound::Config,
    /// What plugins may use.
    pub sandbox: sandbox::Config,
    /// Limits of the HTTP API.
    pub api: api::Config,
}

/// What is logged to standard error.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `hookmill=debug,warn`.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where events are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// Which backend.
    pub backend: Backend,
    /// Settings of the embedded one.
    pub sled: SledConfig,
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Embedded, in the data directory.
    #[default]
    Sled,
    /// Forgets everything at exit: for trials and tests.
    Memory,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Loopback: open to the network only when told to.
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: PathBuf::from("data"),
            jwt_secret: None,
            sealing_key: None,
            server: server::Config::default(),
            log: Log::default(),
            store: Store::default(),
            ingest: ingest::Config::default(),
            delivery: delivery::Config::default(),
            outbound: outbound::Config::default(),
            sandbox: sandbox::Config::default(),
            api: api::Config::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

impl Settings {
    /// What is in force, as TOML; secrets show as `[redacted]`.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let proxy = "http://gate:proxy-hush@10.0.0.1:3128";
        let outbound = outbound::Config {
            proxy: Some(proxy.parse().unwrap()),
            ..outbound::Config::default()
        };
        let settings = Settings {
            outbound,
            jwt_secret: Some(Hidden::from("jwt-hush".to_owned())),
            sealing_key: Some(Hidden::from("seal-hush".to_owned())),
            ..Settings::default()
        };
        let text = settings.to_toml().unwrap();
        assert!(!text.contains("hush") && !format!("{settings:?}").contains("hush"));
        assert!(text.contains("jwt_secret = \"[redacted]\""));
        assert!(text.contains("proxy = \"http://[redacted]@10.0.0.1:3128\""));
    }
}
