//! Looks at a store that no gateway has open, and changes nothing: what would happen if one opened it is
//! tried on a copy.

use std::fs;
use std::path::{Path, PathBuf};

use super::config::SledConfig;
use super::marker::{self, failed};
use super::open;
use crate::store::StoreError;

/// What a store that is whole holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Rows by the name of their kind.
    pub rows: Vec<(&'static str, u64)>,
}

/// Opens a copy of the store of this directory and reads every row of it. The copy needs as much room below
/// `scratch` as the database takes, for as long as this runs.
pub fn check(config: &SledConfig, scratch: &Path) -> Result<Checked, StoreError> {
    let _lock = open::lock_as_is(&config.dir)?;
    marker::format_as_is(&config.dir)?;
    let copy = Scratch::below(scratch)?;
    copy_store(&config.dir, &copy.0).map_err(failed)?;
    let opened = open::open_copy(&SledConfig {
        dir: copy.0.clone(),
        scan_at_start: true,
        ..config.clone()
    })?;
    let rows = opened
        .tally
        .kinds()
        .filter(|(_, count)| *count > 0)
        .collect();
    drop(opened);
    Ok(Checked { rows })
}

fn copy_store(from: &Path, to: &Path) -> std::io::Result<()> {
    for name in ["format", "marker"] {
        match fs::copy(from.join(name), to.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    open::copy_directory(&open::database(from), &open::database(to))
}

/// A directory that goes again.
struct Scratch(PathBuf);

impl Scratch {
    fn below(parent: &Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(|source| StoreError::Backend(source.into()))?;
        let path = parent.join(format!("hookmill-check-{}", hex::encode(name)));
        // The owner's only: it holds what the store holds.
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "a copy could not be removed");
        }
    }
}
