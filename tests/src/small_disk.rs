//! A disk that is small enough to be filled: a file system in memory. Needs root.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::power_cut::{NoDisk, run};

/// Bytes written at a time to fill it.
const PIECE: usize = 64 << 10;

/// The disk, mounted.
#[derive(Debug)]
pub struct SmallDisk {
    home: TempDir,
}

impl SmallDisk {
    /// A disk of this many bytes.
    ///
    /// # Errors
    /// When this machine or this user can not mount one: then the test is skipped, by name.
    pub fn new(bytes: u64) -> Result<Self, NoDisk> {
        let home = TempDir::with_prefix("hookmill-small-").map_err(|error| NoDisk {
            reason: format!("no temporary directory: {error}"),
        })?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "hookmill"])
            .arg(home.path()))?;
        Ok(Self { home })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// Takes all the space that is left, also what becomes free while it does.
    ///
    /// # Panics
    /// When the disk fails in another way.
    pub fn fill(&self) {
        let mut filling = File::options()
            .create(true)
            .append(true)
            .open(self.filling())
            .expect("a full disk still takes a name");
        let piece = vec![0; PIECE];
        loop {
            match filling.write(&piece) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("filling the disk: {error}"),
            }
        }
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        std::fs::remove_file(self.filling()).expect("the disk was filled");
    }

    fn filling(&self) -> std::path::PathBuf {
        self.home.path().join("filling")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazy, because a failing test may leave files open. There is nobody left to tell if it fails.
        let _ = run(Command::new("umount").arg("--lazy").arg(self.home.path()));
    }
}
