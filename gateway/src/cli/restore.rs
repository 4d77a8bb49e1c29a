//! A new data directory from a backup: the frames of `api/backup.rs`, from a running gateway or from a file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use clap::Args;
use tokio::sync::mpsc;

use super::Failure;
use crate::api::BACKUP_HEAD;
use crate::domain::{Digest, SystemClock};
use crate::metrics::Metrics;
use crate::store::Store;
use crate::store::sled::{SledConfig, SledStore};

/// Files of a data directory that hold keys.
const KEY_FILES: [&str; 2] = ["jwt.secret", "sealing.key"];

/// Chunks between their source and the store.
const WAITING: usize = 4;

/// Bytes before a frame's content: what it is, and its length.
const FRAME_HEAD: usize = 5;

/// Where the keys of the new directory come from.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Data directory whose key files are copied too; without them the secrets in the store cannot be read.
    #[arg(long, value_name = "DIR")]
    keys_from: Option<PathBuf>,
}

impl Keys {
    pub(super) fn copy_to(&self, out: &Path) -> Result<(), Failure> {
        let Some(from) = &self.keys_from else {
            return Ok(());
        };
        for name in KEY_FILES.iter().filter(|name| from.join(name).exists()) {
            // Keeps the mode: readable by its owner only.
            fs::copy(from.join(name), out.join(name)).map_err(Failure::other)?;
        }
        Ok(())
    }
}

/// Makes the directory, or takes an empty one.
pub(super) fn prepare(dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(Failure::other)?;
    match fs::read_dir(dir).map_err(Failure::other)?.next() {
        None => Ok(()),
        Some(_) => Err(Failure::Refused(format!("{} is not empty", dir.display()))),
    }
}

/// Where a backup is read from.
pub(super) trait Source {
    /// The next bytes; none at its end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure>;
}

/// Fills the directory with what the backup holds.
pub(super) async fn take_in(source: &mut impl Source, out: &Path) -> Result<(), Failure> {
    let config = SledConfig::in_dir(out.join("store"));
    let clock = Arc::new(SystemClock::start());
    let store = SledStore::open(config, clock, Arc::new(Metrics::new())).map_err(Failure::other)?;
    let plugins = out.join("sandbox").join("plugins");
    fs::create_dir_all(&plugins).map_err(Failure::other)?;

    let (chunks, waiting) = mpsc::channel(WAITING);
    let receive = receive(source, &plugins, chunks);
    let (received, imported) = tokio::join!(receive, store.import(waiting));
    // A store that refused has closed the channel; its error says more.
    imported.map_err(Failure::other)?;
    received?;
    store.close().await.map_err(Failure::other)
}

/// Takes frames until the last one, which must come.
async fn receive(
    source: &mut impl Source,
    plugins: &Path,
    chunks: mpsc::Sender<Bytes>,
) -> Result<(), Failure> {
    let mut pending = BytesMut::new();
    let mut begun = false;
    loop {
        let Some((kind, content)) = next_frame(&mut pending) else {
            let more = source.next().await?;
            pending.extend_from_slice(&more.ok_or_else(|| broken("it ends early"))?);
            continue;
        };
        match kind {
            b'H' if content == BACKUP_HEAD => begun = true,
            b'S' if begun => {
                let gone = |_| broken("the new store stopped taking it in");
                chunks.send(content).await.map_err(gone)?;
            }
            b'P' if begun => write_plugin(plugins, &content).map_err(Failure::other)?,
            b'E' if begun => return Ok(()),
            _ => return Err(broken("it is not one of this version")),
        }
    }
}

fn broken(why: &str) -> Failure {
    Failure::Refused(format!("the backup cannot be used: {why}"))
}

fn next_frame(pending: &mut BytesMut) -> Option<(u8, Bytes)> {
    let head = pending.get(..FRAME_HEAD)?;
    let len = usize::try_from((&head[1..]).get_u32()).ok()?;
    if pending.len() < FRAME_HEAD + len {
        return None;
    }
    let kind = pending.get_u8();
    pending.advance(FRAME_HEAD - 1);
    Some((kind, pending.split_to(len).freeze()))
}

fn write_plugin(dir: &Path, upload: &[u8]) -> std::io::Result<()> {
    let path = dir.join(format!("{}.wasm", Digest::of(upload).to_hex()));
    let mut file = fs::File::create(path)?;
    file.write_all(upload)?;
    file.sync_all()
}
