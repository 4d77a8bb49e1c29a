//! The sandbox: takes plugins in, and runs chains of them over events. The only room that names `wasmtime`.
//!
//! An upload is walked through `admit` and `structure` (is it a plugin, and cheap enough to compile), `compile`
//! (a child process with limits) and `cache` (files), then asked to describe itself. An event is walked through
//! `memo` (was this done before), `pool` (the code), `turns`, `fair` and `share` (whose turn), `chain` and `run`
//! (a fresh instance per plugin under `limits`), on threads of its own if it is slow (`aside`). JavaScript is run by a
//! plugin too (`javascript`), which is part of the program; `snapshot` makes it, and plugins of it.
//!
//! A guest sees its event, its config and a log, by `host`. It never sees a clock, randomness, a file, the network
//! or a secret, and nothing of one call is there in the next. What a guest does never panics the gateway.

mod admit;
mod aside;
mod cache;
mod chain;
mod compile;
mod config;
mod engine;
mod fair;
mod headers;
mod host;
mod inspect;
mod javascript;
mod limits;
mod manifest;
mod memo;
mod meter;
mod pool;
mod result;
mod run;
mod schema;
mod share;
mod snapshot;
mod structure;
mod ticker;
mod turns;

#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::domain::{Digest, OnFailure, PluginLimit, PluginLimits};
pub use cache::ArtifactDigests;
pub use compile::{COMPILE_SUBCOMMAND, compile_child_main};
pub use config::{CompileLimits, Compiler, Config, MemoryMode};
pub use host::{LogLevel, LogLine};
pub use inspect::{Bound, Form, Inspection, Unit};
pub use javascript::Script;
pub use limits::Limits;
pub use manifest::Manifest;
pub use result::{
    ChainOutcome, ChainResult, ChainRun, Event, MemoKey, Step, StepOutcome, StepReport,
};
pub use schema::{ConfigProblem, SchemaError};
pub use snapshot::{Project, SnapshotError, plugin_of, started_engine};
pub use structure::StructureError;

use aside::Aside;
use cache::Cache;
use chain::Chains;
use fair::Bounds;
use memo::Memo;
use pool::{Loaded, Pool};
use run::{Failure, Runner};
use share::Share;
use turns::Turns;

/// The name under which plugins that are taken in for nobody in particular wait for their turn.
const UPLOADS: &str = "uploads";

/// The sandbox of one gateway. Must be made and used within a tokio runtime.
#[derive(Debug)]
pub struct Sandbox {
    chains: Chains,
    memo: Memo,
    usual: PluginLimits,
    most: PluginLimits,
}

/// A plugin that was taken in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Admitted {
    pub digest: Digest,
    /// Bytes of the upload.
    pub size: u64,
    pub manifest: Manifest,
}

/// Why the sandbox can not do its part. None of it is a plugin's fault.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the WebAssembly engine does not start")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
    #[error("a file of the plugins fails: {path}")]
    Files { path: PathBuf, source: io::Error },
    #[error("the plugin version {0} is not in this gateway's directory")]
    NoSuchVersion(Digest),
    #[error("too many plugins wait to be compiled")]
    CompileQueueFull,
    #[error("the compiler of plugins does not start")]
    Compiler(#[source] io::Error),
    #[error("the compiler of plugins does not run, or is of another build than this gateway")]
    ForeignCompiler,
    #[error("a plugin version that was taken once is not taken any more")]
    Refused(#[source] Box<AdmitError>),
    #[error("the sandbox is busy")]
    Busy,
    #[error("the work was stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

/// Why an upload is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    #[error("the plugin is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the upload is neither a WebAssembly component nor a module")]
    NotWasm,
    #[error("the plugin {0}")]
    Structure(#[from] StructureError),
    #[error(
        "the module does not hold a plugin: it must be built for wasm32-unknown-unknown against the world hookmill:plugin/plugin@0.1.0"
    )]
    NotAPlugin(#[source] Box<dyn Error + Send + Sync>),
    #[error("the upload can not be read")]
    Malformed(#[source] Box<dyn Error + Send + Sync>),
    #[error("the plugin imports {0}, which this gateway does not offer")]
    Import(String),
    #[error("the plugin exports {0}, which is not part of a plugin")]
    Export(String),
    #[error("the plugin does not export hookmill:plugin/transformer@0.1.0")]
    NoTransformer,
    #[error(
        "the plugin's imports or exports have other types than hookmill:plugin@0.1.0, or it needs more than a plugin may"
    )]
    Contract(#[source] Box<dyn Error + Send + Sync>),
    #[error("the plugin does not compile: {0}")]
    DoesNotCompile(String),
    #[error(
        "compiling the plugin takes more than {cpu_seconds} s of CPU, or more memory than allowed"
    )]
    TooCostly { cpu_seconds: u64 },
    #[error("the plugin can not describe itself: {0}")]
    Describe(String),
    #[error("the plugin's {field} {problem}")]
    Manifest {
        field: &'static str,
        problem: &'static str,
    },
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

impl Sandbox {
    /// Makes the sandbox, with its files in `dir`.
    pub fn new(
        config: Config,
        dir: PathBuf,
        digests: Arc<dyn ArtifactDigests>,
    ) -> Result<Self, SandboxError> {
        let (engine, slots) = engine::for_guests(&config)?;
        let cache = Cache::open(&dir, &engine, digests)?;
        let running = config.guests().min(slots);
        let bounds = Bounds {
            running,
            running_per_tenant: config.guests_per_application(running),
            waiting: config.waiting,
            waiting_per_tenant: config.waiting_per_application,
            share: Share {
                percent: config.cpu_percent_per_application(),
            },
        };
        let memo = Memo::new(config.memo_bytes);
        let most = config.most();
        let usual = config.usual().within(&most);
        let chains = Chains {
            pool: Pool::new(engine.clone(), cache, &config)?,
            turns: Turns::new(bounds, config.max_wait()),
            runner: Arc::new(Runner::new(engine, config.limits)?),
            aside: Aside::start()?,
        };
        Ok(Self {
            chains,
            memo,
            usual,
            most,
        })
    }

    /// Takes a plugin in: checks it, compiles it, asks what it is, keeps it. Once this has answered the version is
    /// on disk, until it is forgotten, and may be referenced.
    pub async fn admit(&self, upload: Bytes) -> Result<Admitted, AdmitError> {
        let nothing = PluginLimits::default();
        self.admit_for(&UPLOADS.into(), &nothing, upload).await
    }

    /// As [`admit`](Self::admit), at the cost of this tenant and within what it may use.
    pub async fn admit_for(
        &self,
        tenant: &Arc<str>,
        limits: &PluginLimits,
        upload: Bytes,
    ) -> Result<Admitted, AdmitError> {
        let limits = self.in_force(limits);
        let (digest, size) = (Digest::of(&upload), upload.len() as u64);
        let loaded = self.chains.pool.take(upload.clone(), &limits).await?;
        match self.describe(tenant, &limits, loaded.clone()).await {
            Ok(manifest) => {
                self.chains.pool.keep(upload, loaded).await?;
                Ok(Admitted {
                    digest,
                    size,
                    manifest,
                })
            }
            Err(error) => {
                self.chains.pool.discard(digest).await?;
                Err(error)
            }
        }
    }

    async fn describe(
        &self,
        tenant: &Arc<str>,
        limits: &PluginLimits,
        plugin: Arc<Loaded>,
    ) -> Result<Manifest, AdmitError> {
        let turns = &self.chains.turns;
        let turn = turns.take(tenant, Share::of(limits)).await;
        let turn = turn.ok_or(SandboxError::Busy)?;
        let (runner, limits) = (self.chains.runner.clone(), limits.clone());
        let described = self.chains.aside.run(async move {
            // The whole of it: named by its field alone, only a copy of that would come along.
            let mut turn = turn;
            let called = runner.describe(&plugin, &limits).await;
            turn.used += called.busy;
            called.answer
        });
        match described.await.map_err(SandboxError::Stopped)? {
            Ok(said) => manifest::judge(said),
            Err(Failure::Plugin { error, .. }) => Err(AdmitError::Describe(error)),
            Err(Failure::NoSlot) => Err(SandboxError::Busy.into()),
        }
    }

    /// Runs a chain over an event, or answers with what it came to before. Fails by its outcome alone.
    pub async fn run_chain(&self, run: ChainRun) -> ChainResult {
        let nothing = PluginLimits::default();
        self.run_chain_noting(run, &nothing, |_| {}).await
    }

    /// As [`run_chain`](Self::run_chain), within what the tenant may use; whoever changes that gives another
    /// [`MemoKey`]. `note` sees the result if plugins were called for it, and does not see one
    /// that was kept.
    pub async fn run_chain_noting(
        &self,
        run: ChainRun,
        limits: &PluginLimits,
        note: impl FnOnce(&ChainResult) + Send,
    ) -> ChainResult {
        let key = run.memo_key.clone();
        // Boxed: 5 KiB, and whatever it is passed through would hold it twice.
        let running = Box::pin(async {
            let ran = self.chains.run(run, &self.in_force(limits)).await;
            note(&ran.result);
            ran
        });
        match key {
            Some(key) => self.memo.get_or_run(&key, running).await,
            None => running.await.result,
        }
    }

    /// Compiles the engine of transformations, unless that was done. Any call of it would, but then would wait for it.
    pub async fn prepare_javascript(&self) -> Result<(), SandboxError> {
        self.chains.pool.get(javascript::version()).await.map(drop)
    }

    /// The upload that a version is, as it was kept: for a copy of everything.
    pub async fn upload(&self, version: Digest) -> Result<Bytes, SandboxError> {
        self.chains.pool.upload(version).await
    }

    /// The versions whose uploads are kept.
    pub async fn kept(&self) -> Result<Vec<Digest>, SandboxError> {
        self.chains.pool.kept().await
    }

    /// Keeps an upload that was admitted, if it was forgotten since. Its code is compiled again when it is called.
    pub async fn keep(&self, upload: Bytes) -> Result<(), SandboxError> {
        self.chains.pool.keep_again(upload).await
    }

    /// Removes a version's files. The caller knows that no chain refers to it.
    pub async fn forget(&self, version: Digest) -> Result<(), SandboxError> {
        self.chains.pool.forget(version).await
    }

    /// What tenants may use of whom nothing else is said.
    pub fn usual_limits(&self) -> PluginLimits {
        self.usual.clone()
    }

    /// What no tenant may use more of, by the sandbox's settings.
    pub fn most_limits(&self) -> &PluginLimits {
        &self.most
    }

    /// Most tenants have none of their own.
    fn in_force<'a>(&'a self, tenant: &PluginLimits) -> Cow<'a, PluginLimits> {
        if tenant.is_empty() {
            Cow::Borrowed(&self.usual)
        } else {
            Cow::Owned(tenant.or(&self.usual).within(&self.most))
        }
    }

    /// Plugins that a chain may have.
    pub fn chain_limit(&self) -> usize {
        self.chains.runner.limits().chain_length
    }

    /// Checks a config against a manifest's schema.
    pub fn validate_config(schema: &Value, config: &Value) -> Result<(), Vec<ConfigProblem>> {
        schema::validate(schema, config)
    }
}

impl SandboxError {
    /// A version that was taken before fails to load: the gateway's trouble, unless it is only that already.
    fn refused(error: AdmitError) -> Self {
        match error {
            AdmitError::Sandbox(error) => error,
            error => Self::Refused(Box::new(error)),
        }
    }
}
