//! Plugin versions on disk: `plugins/<sha256>.wasm` as uploaded, `<engine>/<sha256>.cwasm` as compiled, in
//! directories that only this user may enter. Holds the gateway's one `unsafe` block, which loads machine code;
//! it never loads what it has not written itself.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::SandboxError;
use super::engine;
use crate::domain::Digest;

/// Remembers what compiled files must hash to, outside their directory. An answer that is lost costs one
/// compilation, so there are no errors to handle.
#[async_trait]
pub trait ArtifactDigests: Send + Sync {
    /// The SHA-256 of the file compiled for this engine, if it was written.
    async fn get(&self, plugin: Digest, engine: &str) -> Option<[u8; 32]>;
    /// Remembers it, before the file is there.
    async fn put(&self, plugin: Digest, engine: &str, sha256: [u8; 32]);
}

/// Files checked in this process that are remembered; past it all are checked anew. 4 MiB of digests, several
/// times what fits into the kernel's default number of mappings.
const CHECKED_AT_MOST: usize = 1 << 16;

const PLUGINS: &str = "plugins";
const UNFINISHED: &str = "part";

/// The two directories and what is known of their files.
pub(super) struct Cache {
    plugins: PathBuf,
    code: PathBuf,
    engine: String,
    digests: Arc<dyn ArtifactDigests>,
    checked: Mutex<HashSet<Digest>>,
}

impl Cache {
    pub(super) fn open(
        dir: &Path,
        engine: &Engine,
        digests: Arc<dyn ArtifactDigests>,
    ) -> Result<Self, SandboxError> {
        let engine = engine::fingerprint(engine);
        let (plugins, code) = (dir.join(PLUGINS), dir.join(&engine));
        for dir in [dir, &plugins, &code] {
            own(dir)
                .and_then(|()| sweep(dir))
                .map_err(|source| failed(dir, source))?;
        }
        outdated(dir, &engine)
            .and_then(|dirs| dirs.iter().try_for_each(fs::remove_dir_all))
            .map_err(|source| failed(dir, source))?;
        Ok(Self {
            plugins,
            code,
            engine,
            digests,
            checked: Mutex::default(),
        })
    }

    /// The compiled version, if its file is there and is the one that was written.
    pub(super) async fn load(
        &self,
        engine: &Engine,
        version: Digest,
    ) -> Result<Option<Component>, SandboxError> {
        let expected = if self.checked.lock().contains(&version) {
            None
        } else {
            match self.digests.get(version, &self.engine).await {
                Some(digest) => Some(digest),
                None => return Ok(None),
            }
        };
        let (engine, path) = (engine.clone(), self.code_path(version));
        let component = blocking(move || load(&engine, &path, expected)).await?;
        let mut checked = self.checked.lock();
        if component.is_none() {
            checked.remove(&version);
        } else {
            if checked.len() >= CHECKED_AT_MOST {
                checked.clear();
            }
            checked.insert(version);
        }
        Ok(component)
    }

    /// Keeps machine code that the compiler wrote for this engine.
    pub(super) async fn store(&self, version: Digest, code: Vec<u8>) -> Result<(), SandboxError> {
        self.checked.lock().remove(&version);
        // Before the file: a crash between the two leaves a digest without a file, which compiles again.
        self.digests.put(version, &self.engine, sha256(&code)).await;
        let path = self.code_path(version);
        blocking(move || write(&path, &code)).await
    }

    /// Bytes of the machine code that is kept of a version.
    pub(super) async fn code_size(&self, version: Digest) -> Result<u64, SandboxError> {
        let path = self.code_path(version);
        blocking(move || {
            let file = fs::metadata(&path).map_err(|source| failed(&path, source))?;
            Ok(file.len())
        })
        .await
    }

    /// Keeps an upload.
    pub(super) async fn keep_upload(
        &self,
        version: Digest,
        upload: Bytes,
    ) -> Result<(), SandboxError> {
        let path = self.upload_path(version);
        blocking(move || {
            // A damaged file is mended by uploading again.
            if fs::read(&path).is_ok_and(|kept| kept == upload) {
                Ok(())
            } else {
                write(&path, &upload)
            }
        })
        .await
    }

    /// An upload as it was kept.
    pub(super) async fn upload(&self, version: Digest) -> Result<Bytes, SandboxError> {
        let path = self.upload_path(version);
        let upload = blocking(move || match fs::read(&path) {
            Ok(upload) => Ok(Some(upload)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(failed(&path, source)),
        })
        .await?;
        match upload {
            // A damaged file is as good as none.
            Some(upload) if Digest::of(&upload) == version => Ok(upload.into()),
            _ => Err(SandboxError::NoSuchVersion(version)),
        }
    }

    /// The versions whose uploads are kept.
    pub(super) async fn kept(&self) -> Result<Vec<Digest>, SandboxError> {
        let dir = self.plugins.clone();
        blocking(move || kept_in(&dir).map_err(|source| failed(&dir, source))).await
    }

    /// Removes both files.
    pub(super) async fn forget(&self, version: Digest) -> Result<(), SandboxError> {
        self.checked.lock().remove(&version);
        let paths = [self.upload_path(version), self.code_path(version)];
        blocking(move || paths.iter().try_for_each(|path| remove(path))).await
    }

    /// Removes the machine code of a version whose upload is not kept.
    pub(super) async fn discard(&self, version: Digest) -> Result<(), SandboxError> {
        let (upload, code) = (self.upload_path(version), self.code_path(version));
        blocking(move || {
            if upload.exists() {
                Ok(())
            } else {
                remove(&code)
            }
        })
        .await
    }

    fn upload_path(&self, version: Digest) -> PathBuf {
        self.plugins.join(format!("{}.wasm", version.to_hex()))
    }

    pub(super) fn code_path(&self, version: Digest) -> PathBuf {
        self.code.join(format!("{}.cwasm", version.to_hex()))
    }
}

fn load(
    engine: &Engine,
    path: &Path,
    expected: Option<[u8; 32]>,
) -> Result<Option<Component>, SandboxError> {
    if let Some(expected) = expected {
        match fs::read(path) {
            Ok(code) if sha256(&code) == expected => {}
            Ok(_) => {
                tracing::warn!(path = %path.display(), "a compiled plugin is not what was written");
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(path, source)),
        }
    }
    // SAFETY: the file is machine code, so it must be wasmtime's own output, unchanged for as long as it is
    // mapped. It lies in a directory that only this user may enter; it was made whole under another name by
    // `write` and is never written again, only replaced or unlinked, which leaves a mapping as it was; and its
    // SHA-256, checked above once in this process, is the one remembered elsewhere when the compiler's output was
    // stored. Nobody but this gateway's user can pass off another file, and that user can replace the gateway.
    #[expect(
        unsafe_code,
        reason = "machine code that this gateway wrote is mapped, not copied"
    )]
    let component = unsafe { Component::deserialize_file(engine, path) };
    // Of another build, or gone since it was checked: compiled again.
    component
        .inspect_err(|error| tracing::warn!(path = %path.display(), error = format!("{error:#}"), "a compiled plugin does not load"))
        .map_or(Ok(None), |component| Ok(Some(component)))
}

/// Makes a directory that only this user may enter, or makes an old one so.
fn own(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Removes what a crash left half written.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == UNFINISHED)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The versions that the names of these files tell.
fn kept_in(dir: &Path) -> io::Result<Vec<Digest>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let hex = name.to_str().and_then(|name| name.strip_suffix(".wasm"));
        kept.extend(hex.and_then(|hex| Digest::from_hex(hex).ok()));
    }
    Ok(kept)
}

/// The directories of engines that this gateway no longer has, told by their names.
fn outdated(dir: &Path, engine: &str) -> io::Result<Vec<PathBuf>> {
    let mut dirs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let of_engine = name.len() == engine.len() && name.bytes().all(|b| b.is_ascii_hexdigit());
        if of_engine && name != engine && entry.file_type()?.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}

/// Writes aside, syncs, renames: under its name a file is whole or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), SandboxError> {
    let aside = path.with_extension(format!("{:016x}.{UNFINISHED}", rand::random::<u64>()));
    let written = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(dir) => fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|source| {
        // The first error is the one to tell; what stays is swept at the next start.
        let _ = fs::remove_file(&aside);
        failed(path, source)
    })
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn remove(path: &Path) -> Result<(), SandboxError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

fn failed(path: &Path, source: io::Error) -> SandboxError {
    SandboxError::Files {
        path: path.to_owned(),
        source,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|stopped| Err(SandboxError::Stopped(stopped)))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Digests in memory.
    #[derive(Debug, Default)]
    pub(crate) struct MemoryDigests(
        pub(in super::super) Mutex<HashMap<(Digest, String), [u8; 32]>>,
    );

    #[async_trait]
    impl ArtifactDigests for MemoryDigests {
        async fn get(&self, plugin: Digest, engine: &str) -> Option<[u8; 32]> {
            self.0.lock().get(&(plugin, engine.to_owned())).copied()
        }

        async fn put(&self, plugin: Digest, engine: &str, sha256: [u8; 32]) {
            self.0.lock().insert((plugin, engine.to_owned()), sha256);
        }
    }

    fn open(dir: &Path) -> Cache {
        let engine = engine::for_compiling().unwrap();
        Cache::open(dir, &engine, Arc::new(MemoryDigests::default())).unwrap()
    }

    #[tokio::test]
    async fn a_damaged_upload_is_no_upload_and_is_mended_by_another() {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(dir.path());
        let version = Digest::of(b"abc");
        cache
            .keep_upload(version, Bytes::from_static(b"abc"))
            .await
            .unwrap();
        assert_eq!(cache.upload(version).await.unwrap(), "abc");
        fs::write(cache.upload_path(version), b"abd").unwrap();
        let error = cache.upload(version).await.unwrap_err();
        assert!(matches!(error, SandboxError::NoSuchVersion(v) if v == version));
        cache
            .keep_upload(version, Bytes::from_static(b"abc"))
            .await
            .unwrap();
        assert_eq!(cache.upload(version).await.unwrap(), "abc");
        assert_eq!(cache.kept().await.unwrap(), [version]);
        cache.forget(version).await.unwrap();
        assert!(!cache.upload_path(version).exists());
        assert_eq!(cache.kept().await.unwrap(), []);
    }

    #[test]
    fn directories_are_the_users_alone_and_swept() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let plugins = dir.path().join(PLUGINS);
        fs::set_permissions(&plugins, fs::Permissions::from_mode(0o755)).unwrap();
        let half = plugins.join("00.part");
        fs::write(&half, b"").unwrap();
        let outdated = dir.path().join("0123456789abcdef");
        fs::create_dir(&outdated).unwrap();
        fs::create_dir(dir.path().join("of-another-room")).unwrap();
        drop(open(dir.path()));
        assert!(!outdated.exists() && dir.path().join("of-another-room").exists());
        assert_eq!(
            fs::metadata(&plugins).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert!(!half.exists());
    }
}
