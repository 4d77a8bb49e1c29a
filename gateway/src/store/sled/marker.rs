//! The files beside the database that say what it should hold: a format version, and a marker with the
//! store's name and the last number that was on disk. sled opens a damaged log as an empty database without
//! a word; the marker is what tells that apart from a first start.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::codec::damaged;
use crate::store::StoreError;

/// Format of the directory that this binary writes. One of format 2 has no packed turns; what waits in it has rows
/// of its own, which are read as before.
const FORMAT: u32 = 3;
/// From this one on the database holds a tally of its rows.
pub(super) const FORMAT_WITH_TALLY: u32 = 2;
/// Digits of a number in the marker: fixed, so that it can be overwritten in place.
const DIGITS: usize = 20;

/// Name, boot and last number of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) id: [u8; 16],
    pub(super) boot: u64,
    pub(super) seq: u64,
}

/// The open marker file.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    seq_at: u64,
}

impl Marker {
    /// Writes a new marker file, whole or not at all.
    pub(super) fn write(dir: &Path, mark: Mark) -> std::io::Result<Self> {
        let head = format!("id {}\nboot {}\nseq ", hex::encode(mark.id), mark.boot);
        let text = format!("{head}{:0DIGITS$}\n", mark.seq);
        write_whole(dir, "marker", text.as_bytes())?;
        let file = File::options().write(true).open(dir.join("marker"))?;
        let seq_at = head.len() as u64;
        Ok(Self { file, seq_at })
    }

    /// Notes that everything up to this number is on disk. Not synced: it may lag behind, never run ahead.
    pub(super) fn advance(&self, seq: u64) -> std::io::Result<()> {
        let digits = format!("{seq:0DIGITS$}");
        self.file.write_all_at(digits.as_bytes(), self.seq_at)
    }
}

/// Reads the marker; none if there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Mark>, StoreError> {
    let Some(text) = read_if_there(&dir.join("marker"))? else {
        return Ok(None);
    };
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let id = field("id").and_then(|id| hex::decode(id).ok()?.try_into().ok());
    let number = |name| field(name).and_then(|digits| digits.parse().ok());
    Ok(Some(Mark {
        id: id.ok_or_else(|| damaged("the file `marker` has no store id"))?,
        boot: number("boot").unwrap_or(0),
        // Written in place, so a power cut may tear it: then it says nothing.
        seq: number("seq").unwrap_or(0),
    }))
}

/// The directory's format version, and this binary's for a new directory.
pub(super) fn check_format(dir: &Path, has_database: bool) -> Result<u32, StoreError> {
    let Some(text) = read_if_there(&dir.join("format"))? else {
        if has_database {
            return Err(damaged("there is a database, but no file `format`"));
        }
        write_format(dir, 0)?;
        return Ok(FORMAT);
    };
    supported(&text)
}

/// The same of a directory that has a store and is not to be changed.
pub(super) fn format_as_is(dir: &Path) -> Result<u32, StoreError> {
    let text = read_if_there(&dir.join("format"))?;
    supported(&text.ok_or_else(|| damaged("there is no file `format`"))?)
}

fn supported(text: &str) -> Result<u32, StoreError> {
    let found: u32 = text
        .trim()
        .parse()
        .map_err(|_| damaged("the file `format` does not hold a number"))?;
    if found > FORMAT {
        return Err(StoreError::NewerFormat {
            found,
            supported: FORMAT,
        });
    }
    Ok(found)
}

/// Notes that the directory is of this binary's format now.
pub(super) fn write_format(dir: &Path, before: u32) -> Result<(), StoreError> {
    if before == FORMAT {
        return Ok(());
    }
    write_whole(dir, "format", format!("{FORMAT}\n").as_bytes()).map_err(failed)
}

fn read_if_there(path: &Path) -> Result<Option<String>, StoreError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Writes aside, syncs, renames, syncs the directory.
fn write_whole(dir: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    let aside = dir.join(format!("{name}.new"));
    let mut file = File::create(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

pub(super) fn failed(error: std::io::Error) -> StoreError {
    StoreError::Backend(error.into())
}
