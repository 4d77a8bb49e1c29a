//! The engine that runs the transformations of endpoints: a plugin like any other but for being part of the program, so
//! its upload needs no file, no record names it, and nobody can remove it. The code comes with each call.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Serialize;

use super::{OnFailure, Step};
use crate::domain::Digest;

/// The started engine, as `cargo xtask js-engine` made it of `js-engine/`.
pub(super) const ENGINE: &[u8] = include_bytes!("../../assets/js-engine.wasm");

/// Its version. Every version of a chain is compared with it, so it is computed once.
static VERSION: LazyLock<Digest> = LazyLock::new(|| Digest::of(ENGINE));

/// How reports name it.
const NAME: &str = "transformation";

/// How deliveries are sent.
const METHOD: &str = "POST";

/// The code of a transformation, as the engine takes it in its config.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Script<'a> {
    /// JavaScript with a function `handler(webhook)`.
    pub code: &'a str,
    /// What it finds in `webhook.variables`.
    pub variables: Option<&'a BTreeMap<String, String>>,
    /// Where the webhook goes.
    pub url: &'a str,
    /// The event is only an example: what the handler throws is no failure.
    pub dry_run: bool,
}

impl Script<'_> {
    /// The step of a chain that runs it.
    pub fn step(&self) -> Step {
        #[derive(Serialize)]
        struct Config<'a> {
            #[serde(flatten)]
            script: &'a Script<'a>,
            method: &'static str,
        }
        let config = Config {
            script: self,
            method: METHOD,
        };
        // Texts and maps of texts: there is nothing that JSON does not have.
        let config = serde_json::to_string(&config).unwrap_or_default();
        Step {
            plugin_name: NAME.into(),
            version: version(),
            config: config.into(),
            on_failure: OnFailure::Fail,
        }
    }
}

pub(super) fn version() -> Digest {
    *VERSION
}

pub(super) fn is_engine(version: Digest) -> bool {
    version == *VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_the_one_whose_digest_lies_beside_it() {
        let line = include_str!("../../assets/js-engine.wasm.sha256");
        assert_eq!(line, format!("{}  js-engine.wasm\n", version().to_hex()));
    }
}
