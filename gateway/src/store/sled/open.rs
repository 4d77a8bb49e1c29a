//! Opens the database, which is where sled is weakest: it can fail, panic, hang, or come up empty. Each of
//! that is met here, and nothing is tried on a damaged directory before a copy of it is kept.

use std::fs::{self, File};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rustix::fs::FlockOperation;

use super::codec::{damaged, fault};
use super::config::SledConfig;
use super::marker::{self, Mark, Marker, failed};
use super::tally::Tally;
use super::{keys, records};
use crate::store::StoreError;

/// The open database and what is needed to make a write durable.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) db: sled::Db,
    /// An own handle of sled's log: sled writes it, but never syncs it.
    pub(super) log: File,
}

impl Handle {
    /// Applies all rows at once; they are on disk when it returns.
    pub(super) fn apply(&self, batch: sled::Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(fault)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(fault)?;
        self.log.sync_data().map_err(failed)
    }
}

/// What a start found.
pub(super) struct Opened {
    pub(super) handle: Handle,
    pub(super) marker: Marker,
    /// Held as long as the store is open.
    pub(super) lock: File,
    /// The highest sequence number given.
    pub(super) seq: u64,
    /// Of all rows.
    pub(super) tally: Tally,
    /// How often the store was opened, this time included.
    pub(super) boot: u64,
}

/// Opens the store of a process that starts.
pub(super) fn open(config: &SledConfig) -> Result<Opened, StoreError> {
    open_with(config, open_or_rescue)
}

/// Opens a copy, which is worth no copy.
pub(super) fn open_copy(config: &SledConfig) -> Result<Opened, StoreError> {
    open_with(config, open_guarded)
}

fn open_with(
    config: &SledConfig,
    open_database: impl FnOnce(&SledConfig) -> Result<Handle, StoreError>,
) -> Result<Opened, StoreError> {
    let dir = &config.dir;
    // The first thing that is written there: where nothing can be, this says so.
    let at = |error: std::io::Error| {
        failed(std::io::Error::new(
            error.kind(),
            format!("{}: {error}", dir.display()),
        ))
    };
    fs::create_dir_all(dir).map_err(at)?;
    let lock = hold(File::create(dir.join("lock")).map_err(at)?)?;
    let format = marker::check_format(dir, database(dir).exists())?;
    let mark = marker::read(dir)?;
    let handle = open_database(config)?;
    let found = judge(&handle, mark)?;
    let due = (format >= marker::FORMAT_WITH_TALLY)
        .then(|| tally_of(&handle, mark.is_some()))
        .transpose()?;
    let (seq, tally) = match due {
        Some(tally) if !config.scan_at_start => (found.seq, tally),
        _ => {
            let scanned = scan(&handle)?;
            let difference = due.and_then(|due| scanned.tally.differs_from(&due));
            if let Some(what) = difference {
                return Err(damaged(what));
            }
            (found.seq.max(scanned.highest), scanned.tally)
        }
    };
    let mark = Mark {
        boot: found.boot + 1,
        seq,
        ..found
    };
    let mut batch = sled::Batch::default();
    batch.insert(keys::META_ID, &mark.id[..]);
    batch.insert(keys::META_BOOT, &mark.boot.to_be_bytes()[..]);
    batch.insert(keys::META_SEQ, &seq.to_be_bytes()[..]);
    batch.insert(keys::META_TALLY, tally.encode()?);
    handle.apply(batch)?;
    sync_directories(dir).map_err(failed)?;
    // Not before the tally is there.
    marker::write_format(dir, format)?;
    let marker = Marker::write(dir, mark).map_err(failed)?;
    Ok(Opened {
        handle,
        marker,
        lock,
        seq,
        tally,
        boot: mark.boot,
    })
}

/// Opens the database again after an I/O error, in the process that has the lock.
pub(super) fn reopen(config: &SledConfig) -> Result<(Handle, Tally), StoreError> {
    let mark = marker::read(&config.dir)?;
    let handle = open_guarded(config)?;
    judge(&handle, mark)?;
    let tally = tally_of(&handle, true)?;
    Ok((handle, tally))
}

/// The tally that the database was left with; a new one has none.
fn tally_of(handle: &Handle, is_due: bool) -> Result<Tally, StoreError> {
    match Tally::read(&*handle.db)? {
        Some(tally) => Ok(tally),
        None if is_due => Err(damaged("the tally of its rows is lost")),
        None => Ok(Tally::default()),
    }
}

pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("db")
}

/// The lock of a directory in which nothing is changed; none if there is no lock, because the store was never opened.
pub(super) fn lock_as_is(dir: &Path) -> Result<Option<File>, StoreError> {
    match File::open(dir.join("lock")) {
        Ok(file) => hold(file).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

fn hold(file: File) -> Result<File, StoreError> {
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(StoreError::Locked),
        Err(error) => Err(failed(error.into())),
    }
}

/// The last step of creating a store durably: the directories that name its files.
fn sync_directories(dir: &Path) -> std::io::Result<()> {
    File::open(database(dir))?.sync_all()?;
    File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Opens; if that fails for damage, keeps a copy and tries once more without the snapshot, which only
/// shortens the way through the log.
fn open_or_rescue(config: &SledConfig) -> Result<Handle, StoreError> {
    let what = match open_guarded(config) {
        Err(StoreError::Damaged { what }) => what,
        answer => return answer,
    };
    let copy = keep_copy(&config.dir).map_err(failed)?;
    tracing::error!(%what, copy = %copy.display(), "the store is damaged; trying without its snapshot");
    remove_snapshots(&database(&config.dir), |_| true).map_err(failed)?;
    open_guarded(config).map_err(|again| match again {
        StoreError::Damaged { what } => kept(&what, &copy),
        // sled panicked, and what it left behind still has its lock; ours says that nobody else has it.
        StoreError::Locked => kept(&what, &copy),
        other => other,
    })
}

fn kept(what: &str, copy: &Path) -> StoreError {
    damaged(format!(
        "{what}; a copy as it was found is in {}",
        copy.display()
    ))
}

/// Opens on a thread of its own, so that a panic is caught and a hang is left behind.
fn open_guarded(config: &SledConfig) -> Result<Handle, StoreError> {
    let path = database(&config.dir);
    if path.exists() {
        // Left by a kill during an earlier open; sled would take it for a damaged snapshot for ever.
        remove_snapshots(&path, |name| name.ends_with(".generating")).map_err(failed)?;
    }
    let (answer, opened) = mpsc::sync_channel(1);
    let sled = sled::Config::new()
        .path(&path)
        .cache_capacity(config.cache_bytes)
        .segment_size(keys::SEGMENT_BYTES)
        .mode(sled::Mode::HighThroughput)
        .flush_every_ms(None);
    std::thread::Builder::new()
        .name("store-open".into())
        .spawn(move || {
            let opened = std::panic::catch_unwind(AssertUnwindSafe(|| sled.open()));
            // Nobody waits any more: the database closes again.
            let _ = answer.send(opened);
        })
        .map_err(failed)?;
    let db = match opened.recv_timeout(config.open_timeout()) {
        Ok(Ok(opened)) => opened.map_err(at_open)?,
        Ok(Err(_panic)) => return Err(damaged("sled panicked while it opened the database")),
        Err(_) => {
            // Not damage: the thread may still have the files, and nothing else may touch them.
            let what = format!("sled did not open within {:?}", config.open_timeout());
            return Err(StoreError::Backend(what.into()));
        }
    };
    let log = File::options()
        .read(true)
        .write(true)
        .open(path.join("db"))
        .map_err(failed)?;
    Ok(Handle { db, log })
}

/// sled's lock error has no kind of its own; another process that has the database without our lock is
/// some other tool.
fn at_open(error: sled::Error) -> StoreError {
    match &error {
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => {
            StoreError::Locked
        }
        _ => fault(error),
    }
}

fn remove_snapshots(path: &Path, which: impl Fn(&str) -> bool) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && which(&name) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies the database directory to `db.damaged-<n>`.
fn keep_copy(dir: &Path) -> std::io::Result<PathBuf> {
    let free = |n: &u32| !dir.join(format!("db.damaged-{n}")).exists();
    let n = (1..u32::MAX).find(free).unwrap_or(u32::MAX);
    let copy = dir.join(format!("db.damaged-{n}"));
    copy_directory(&database(dir), &copy)?;
    Ok(copy)
}

pub(super) fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Compares what the database says of itself with the marker beside it.
fn judge(handle: &Handle, mark: Option<Mark>) -> Result<Mark, StoreError> {
    let get = |key| handle.db.get(key).map_err(fault);
    if get(keys::META_IMPORTING)?.is_some() {
        return Err(damaged(
            "an import into it was not completed; start with an empty directory",
        ));
    }
    let number = |value: Option<sled::IVec>| {
        value
            .and_then(|value| keys::read_seq(&value, 0))
            .map_or(0, |seq| seq.0)
    };
    let id = get(keys::META_ID)?.and_then(|id| <[u8; 16]>::try_from(&id[..]).ok());
    let found = Mark {
        id: match id {
            Some(id) => id,
            None => new_id()?,
        },
        boot: number(get(keys::META_BOOT)?),
        seq: number(get(keys::META_SEQ)?),
    };
    match mark {
        Some(_) if id.is_none() => Err(damaged(
            "the database is empty, but the marker beside it says that there was one",
        )),
        Some(mark) if mark.id != found.id => Err(damaged(
            "the marker beside the database is of another store",
        )),
        Some(mark) if mark.seq > found.seq || mark.boot > found.boot => Err(damaged(format!(
            "the database ends at {}, but {} was on disk: its last part is lost",
            found.seq, mark.seq
        ))),
        _ => Ok(found),
    }
}

fn new_id() -> Result<[u8; 16], StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|source| StoreError::Backend(source.into()))?;
    Ok(id)
}

/// What reading all rows gives.
struct Scanned {
    /// Highest number seen.
    highest: u64,
    tally: Tally,
}

/// Reads every row, since damage in the middle shows in no other way. Two threads share the work: what is left and
/// what is right of the due index are about equal, in a store with a backlog as in one without.
fn scan(handle: &Handle) -> Result<Scanned, StoreError> {
    let (left, right) = std::thread::scope(|scope| {
        let left = scope.spawn(|| scan_rows(handle.db.range(..[keys::DUE])));
        let right = scan_rows(handle.db.range([keys::DUE]..));
        (left.join(), right)
    });
    let (left, right) = (left.unwrap_or_else(|_| Err(panicked()))?, right?);
    Ok(Scanned {
        highest: left.highest.max(right.highest),
        tally: left.tally.joined(right.tally),
    })
}

fn scan_rows(rows: sled::Iter) -> Result<Scanned, StoreError> {
    let read = || {
        let mut scanned = Scanned {
            highest: 0,
            tally: Tally::default(),
        };
        for row in rows {
            let (key, value) = row.map_err(fault)?;
            let number = records::seq_in(&key).map_or(0, |seq| seq.0);
            scanned.highest = scanned.highest.max(number);
            scanned.tally.add(&key, &value);
        }
        Ok(scanned)
    };
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> StoreError {
    damaged("sled panicked while all rows were read")
}
