//! Plugin versions ready to be called: looked up in memory, else loaded from the cache directory, else compiled
//! from the kept upload. One load per version at a time.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::sync::Cache as Loads;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::admit;
use super::cache::Cache;
use super::compile::CompileQueue;
use super::config::Config;
use super::host::{self, PluginPre};
use super::meter::Guest;
use super::{AdmitError, SandboxError, javascript};
use crate::domain::{Digest, PluginLimit, PluginLimits};

/// A plugin version in memory, typechecked against the contract.
pub(super) struct Loaded {
    pub(super) pre: PluginPre<Guest>,
}

/// All plugin versions of this gateway.
pub(super) struct Pool {
    engine: Engine,
    linker: Linker<Guest>,
    cache: Cache,
    compiles: CompileQueue,
    upload_bytes: usize,
    loaded: Loads<Digest, Arc<Loaded>>,
}

impl Pool {
    pub(super) fn new(engine: Engine, cache: Cache, config: &Config) -> Result<Self, SandboxError> {
        Ok(Self {
            linker: host::linker(&engine).map_err(|error| SandboxError::Engine(error.into()))?,
            compiles: CompileQueue::new(config.compiler.clone(), config.compile.clone()),
            upload_bytes: config.upload_bytes,
            loaded: Loads::new(config.loaded_plugins.max(1)),
            engine,
            cache,
        })
    }

    /// The version, ready to be called.
    pub(super) async fn get(&self, version: Digest) -> Result<Arc<Loaded>, SandboxError> {
        if let Some(loaded) = self.loaded.get(&version) {
            return Ok(loaded);
        }
        self.loaded
            .get_or_insert_async(&version, self.load(version))
            .await
    }

    /// Checks and compiles an upload and keeps the machine code, but not yet the upload.
    pub(super) async fn take(
        &self,
        upload: Bytes,
        tenant: &PluginLimits,
    ) -> Result<Arc<Loaded>, AdmitError> {
        let version = Digest::of(&upload);
        let bytes = tenant.get(PluginLimit::ModuleBytes).map(usize::try_from);
        let component = self.check(upload, bytes.and_then(Result::ok)).await?;
        if let Some(component) = self.cache.load(&self.engine, version).await? {
            return self.link(&component);
        }
        let seconds = tenant.get(PluginLimit::CompileSeconds);
        let component = self.compile(version, component, seconds).await?;
        self.link(&component)
    }

    /// Makes a checked version permanent: from here on it can be referenced.
    pub(super) async fn keep(
        &self,
        upload: Bytes,
        loaded: Arc<Loaded>,
    ) -> Result<Digest, SandboxError> {
        let version = Digest::of(&upload);
        self.cache.keep_upload(version, upload).await?;
        self.loaded.insert(version, loaded);
        Ok(version)
    }

    /// As [`keep`](Self::keep), where the code may be gone.
    pub(super) async fn keep_again(&self, upload: Bytes) -> Result<(), SandboxError> {
        self.cache.keep_upload(Digest::of(&upload), upload).await
    }

    /// The versions whose uploads are kept.
    pub(super) async fn kept(&self) -> Result<Vec<Digest>, SandboxError> {
        self.cache.kept().await
    }

    /// An upload as it was kept.
    pub(super) async fn upload(&self, version: Digest) -> Result<Bytes, SandboxError> {
        if version == javascript::version() {
            return Ok(Bytes::from_static(javascript::ENGINE));
        }
        self.cache.upload(version).await
    }

    pub(super) fn upload_limit(&self) -> usize {
        self.upload_bytes
    }

    /// Bytes that the machine code of a version may have.
    pub(super) fn code_limit(&self) -> usize {
        self.compiles.output_limit()
    }

    /// Bytes of the machine code of a version that was taken.
    pub(super) async fn code_size(&self, version: Digest) -> Result<u64, SandboxError> {
        self.cache.code_size(version).await
    }

    /// Removes a version that nothing refers to any more.
    pub(super) async fn forget(&self, version: Digest) -> Result<(), SandboxError> {
        self.loaded.remove(&version);
        self.cache.forget(version).await
    }

    /// Removes the machine code of a version that was not kept.
    pub(super) async fn discard(&self, version: Digest) -> Result<(), SandboxError> {
        self.cache.discard(version).await
    }

    async fn load(&self, version: Digest) -> Result<Arc<Loaded>, SandboxError> {
        let component = match self.cache.load(&self.engine, version).await? {
            Some(component) => component,
            None => {
                tracing::info!(%version, "compiling a plugin version again");
                let upload = self.upload(version).await?;
                let component = self
                    .check(upload, None)
                    .await
                    .map_err(SandboxError::refused)?;
                self.compile(version, component, None)
                    .await
                    .map_err(SandboxError::refused)?
            }
        };
        self.link(&component).map_err(SandboxError::refused)
    }

    /// The component that an upload is or holds, with a shape that compiles in bounded time.
    async fn check(&self, upload: Bytes, most: Option<usize>) -> Result<Bytes, AdmitError> {
        let limit = self.upload_bytes.min(most.unwrap_or(usize::MAX));
        tokio::task::spawn_blocking(move || admit::component_of(&upload, limit))
            .await
            .unwrap_or_else(|panic| Err(AdmitError::Malformed(Box::new(panic))))
    }

    async fn compile(
        &self,
        version: Digest,
        component: Bytes,
        most_seconds: Option<u64>,
    ) -> Result<Component, AdmitError> {
        let code = self.compiles.compile(component, most_seconds).await?;
        self.cache.store(version, code).await?;
        let loaded = self.cache.load(&self.engine, version).await?;
        // It was written a moment ago: only a compiler of another build writes what does not load.
        loaded.ok_or(AdmitError::Sandbox(SandboxError::ForeignCompiler))
    }

    fn link(&self, component: &Component) -> Result<Arc<Loaded>, AdmitError> {
        let pre = self
            .linker
            .instantiate_pre(component)
            .and_then(PluginPre::new);
        let pre = pre.map_err(|error| AdmitError::Contract(error.into()))?;
        Ok(Arc::new(Loaded { pre }))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("loaded", &self.loaded.len())
            .finish_non_exhaustive()
    }
}
