//! `hookmill store`: looks at a data directory that no gateway has open, writes what can be read of it to a
//! file, and makes a data directory of such a file. `check` and `export` change nothing.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use clap::{Args, Subcommand};
use tokio::io::AsyncReadExt as _;

use super::Failure;
use super::peer::block_on;
use super::restore::{self, Keys, Source};
use crate::GatewayError;
use crate::api::BACKUP_HEAD;
use crate::config::{self, Overrides, Settings};
use crate::domain::Digest;
use crate::store::StoreError;
use crate::store::sled::{self, SledConfig};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Read every row of a store and say whether a gateway would open it.
    Check(CheckArgs),
    /// Write what can be read of a store, damaged or not, to a new file.
    Export(ExportArgs),
    /// Make a new data directory of an exported file.
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The data directory; no gateway may be running on it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Settings file that may name it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    place: Place,
    /// Where there is room for a copy of the database while this runs. Default: the system's directory for
    /// temporary files.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The file; must not exist.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The exported file.
    file: PathBuf,
    /// The new data directory; must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn run(command: &StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Check(args) => check(args),
        StoreCommand::Export(args) => export(args),
        StoreCommand::Import(args) => import(args),
    }
}

impl Place {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut flags = Overrides::default();
        let dir = self.data_dir.as_ref();
        flags.set(
            "data_dir",
            dir.map(|dir| dir.to_string_lossy().into_owned()),
        );
        Ok(config::load(self.config.as_deref(), flags)?)
    }
}

/// The store's settings for a data directory.
fn store_of(settings: &Settings) -> Result<SledConfig, Failure> {
    let dir = settings.data_dir.join("store");
    // Reads say it too, but of a file that nobody knows.
    fs::metadata(&dir).map_err(|error| {
        Failure::Refused(format!("there is no store in {}: {error}", dir.display()))
    })?;
    Ok(SledConfig {
        dir,
        ..settings.store.sled.clone()
    })
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let config = store_of(&args.place.settings()?)?;
    let temporary = std::env::temp_dir();
    let scratch = args.scratch.as_deref().unwrap_or(&temporary);
    let checked = sled::check(&config, scratch).map_err(GatewayError::Store)?;
    for (kind, count) in checked.rows {
        println!("{kind}: {count}");
    }
    println!("the store is whole");
    Ok(())
}

fn export(args: &ExportArgs) -> Result<(), Failure> {
    let settings = args.place.settings()?;
    let config = store_of(&settings)?;
    let file = File::create_new(&args.file).map_err(|error| {
        Failure::Refused(format!("{} cannot be made: {error}", args.file.display()))
    })?;
    let mut out = BufWriter::new(file);
    let failed = |error: std::io::Error| StoreError::Backend(error.into());
    frame(&mut out, b'H', BACKUP_HEAD).map_err(Failure::other)?;
    let salvaged = sled::salvage(&config, |piece| {
        frame(&mut out, b'S', &piece).map_err(failed)
    })?;
    let broken = export_plugins(&settings.data_dir, &mut out).map_err(Failure::other)?;
    frame(&mut out, b'E', b"").map_err(Failure::other)?;
    let file = out
        .into_inner()
        .map_err(|error| Failure::other(error.into_error()))?;
    file.sync_all().map_err(Failure::other)?;

    for (kind, written, due) in &salvaged.kinds {
        if written == due {
            println!("{kind}: {written}");
        } else {
            println!("{kind}: {written} of {due}");
        }
    }
    println!("written to {}", args.file.display());
    if salvaged.is_whole() && broken == 0 {
        return Ok(());
    }
    Err(StoreError::Damaged {
        what: format!(
            "not everything could be written: {} stretches of the log are unreadable, {} rows do not decode, \
             {broken} plugins are not what they were; {} messages will be delivered again, since it is lost \
             whether they were",
            salvaged.unreadable, salvaged.undecodable, salvaged.redelivered
        ),
    }
    .into())
}

/// One frame of a backup, as `api/backup.rs` describes it.
fn frame(out: &mut impl std::io::Write, kind: u8, content: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(content.len()).map_err(std::io::Error::other)?;
    out.write_all(&[kind])?;
    out.write_all(&len.to_be_bytes())?;
    out.write_all(content)
}

/// Writes the uploaded plugins; how many are not what their name says.
fn export_plugins(data_dir: &Path, out: &mut impl std::io::Write) -> std::io::Result<u64> {
    let mut broken = 0;
    let entries = match fs::read_dir(data_dir.join("sandbox").join("plugins")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let upload = fs::read(&path)?;
        let name = Digest::of(&upload).to_hex();
        if path.file_stem().is_some_and(|stem| stem == name.as_str()) {
            frame(out, b'P', &upload)?;
        } else {
            broken += 1;
        }
    }
    Ok(broken)
}

fn import(args: &ImportArgs) -> Result<(), Failure> {
    restore::prepare(&args.data_dir)?;
    block_on(async {
        let file = tokio::fs::File::open(&args.file).await;
        let mut file = file.map_err(|error| {
            Failure::Refused(format!("{} cannot be read: {error}", args.file.display()))
        })?;
        restore::take_in(&mut file, &args.data_dir).await
    })??;
    args.keys.copy_to(&args.data_dir)?;
    println!("store in {}", args.data_dir.display());
    Ok(())
}

impl Source for tokio::fs::File {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = self.read_buf(&mut piece).await.map_err(Failure::other)?;
        Ok((read > 0).then(|| piece.freeze()))
    }
}
