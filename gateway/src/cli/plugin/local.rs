//! A plugin on this machine: read from its file, and run in the gateway's sandbox under the gateway's settings.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clap::Args;
use parking_lot::Mutex;
use serde_json::Value;
use tempfile::TempDir;

use super::Failure;
use crate::config::{self, Overrides};
use crate::domain::{Digest, OnFailure};
use crate::sandbox::{
    Admitted, ArtifactDigests, ChainOutcome, ChainRun, Config, Event, Inspection, Sandbox, Step,
    StepReport,
};

/// Guest slots: one call at a time is made, and every slot reserves address space.
const SLOTS: u32 = 4;

/// Whose limits apply.
#[derive(Debug, Default, Args)]
pub(super) struct Rules {
    /// Settings file of the gateway whose limits apply; without it `hookmill.toml` in the working directory, where
    /// there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The sandbox, in a directory that goes away with it.
#[derive(Debug)]
pub(super) struct Local {
    sandbox: Sandbox,
    _dir: TempDir,
}

/// What came of one call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) outcome: ChainOutcome,
    pub(super) report: StepReport,
}

/// Machine code is kept for the life of this process.
#[derive(Debug, Default)]
struct Digests(Mutex<HashMap<(Digest, String), [u8; 32]>>);

#[async_trait]
impl ArtifactDigests for Digests {
    async fn get(&self, plugin: Digest, engine: &str) -> Option<[u8; 32]> {
        self.0.lock().get(&(plugin, engine.to_owned())).copied()
    }

    async fn put(&self, plugin: Digest, engine: &str, sha256: [u8; 32]) {
        self.0.lock().insert((plugin, engine.to_owned()), sha256);
    }
}

impl Rules {
    /// The sandbox's settings, from the same places as the gateway's.
    pub(super) fn read(&self) -> Result<Config, Failure> {
        Ok(config::load(self.config.as_deref(), Overrides::default())?.sandbox)
    }
}

impl Local {
    /// Must be called within a tokio runtime.
    pub(super) fn open(rules: Config) -> Result<Self, Failure> {
        let config = Config {
            slots: rules.slots.min(SLOTS),
            warm_slots: rules.warm_slots.min(SLOTS),
            // It keeps applications from each other, and there is one.
            cpu_percent_per_application: Some(NonZeroU32::MAX),
            ..rules
        };
        let dir = TempDir::with_prefix("hookmill-plugin-").map_err(Failure::other)?;
        let digests = Arc::new(Digests::default());
        let sandbox =
            Sandbox::new(config, dir.path().to_owned(), digests).map_err(Failure::other)?;
        Ok(Self { sandbox, _dir: dir })
    }

    pub(super) async fn inspect(&self, upload: Bytes) -> Result<Inspection, Failure> {
        self.sandbox.inspect(upload).await.map_err(Failure::other)
    }

    /// Takes a plugin in as an upload is taken in; a refusal is an error.
    pub(super) async fn take(&self, upload: Bytes) -> Result<Admitted, Failure> {
        self.sandbox.admit(upload).await.map_err(Failure::other)
    }

    /// Calls a plugin that was taken in, as the only one of a chain.
    pub(super) async fn call(
        &self,
        plugin: &Admitted,
        event: Event,
        config: &Value,
    ) -> Result<Call, Failure> {
        let step = Step {
            plugin_name: plugin.manifest.name.as_str().into(),
            version: plugin.digest,
            config: config.to_string().into(),
            on_failure: OnFailure::Fail,
        };
        let run = ChainRun {
            tenant: event.application_id.as_str().into(),
            memo_key: None,
            steps: [step].into(),
            event,
        };
        let mut result = self.sandbox.run_chain(run).await;
        match result.steps.pop() {
            Some(report) => Ok(Call {
                outcome: result.outcome,
                report,
            }),
            None => Err(Failure::Refused(format!(
                "the plugin could not be called: {:?}",
                result.outcome
            ))),
        }
    }
}

impl Call {
    /// How long the call held a thread.
    pub(super) fn busy(&self) -> Duration {
        Duration::from_micros(self.report.micros)
    }
}

/// A plugin's file.
pub(super) fn read(file: &Path) -> Result<Bytes, Failure> {
    std::fs::read(file)
        .map(Bytes::from)
        .map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sandbox::Compiler;

    /// The default limits; the compiler in process, for the test program is not the gateway's.
    pub(in crate::cli::plugin) fn rules() -> Config {
        Config {
            compiler: Compiler::InProcess,
            ..Config::default()
        }
    }
}
