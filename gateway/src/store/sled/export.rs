//! A consistent copy out of a running store, and back into an empty one.
//!
//! The export scans the tree in pieces while writes go on, and repeats after each piece what was committed
//! meanwhile; after the last piece the writer lets go of it between two groups, so the copy is the store as
//! of that moment. Rows are repeated after they were committed, never before, so the last word on a key is
//! always its newest value.
//!
//! The stream: [`MAGIC`], frames of (operation, key length, value length, key, value), an end frame with the
//! SHA-256 of all before it. Pieces may be cut anywhere on their way.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use sled::IVec;
use tokio::sync::mpsc;

use super::codec::{damaged, fault};
use super::group::{Group, StagedRows};
use super::keys;
use super::shared::Shared;
use crate::store::StoreError;

const MAGIC: &[u8] = b"hookmill sled export 1\n";
const END: u8 = 0;
const PUT: u8 = 1;
const REMOVE: u8 = 2;
/// Operation and two lengths.
const FRAME_HEAD: usize = 9;
/// Bytes of one piece. Chosen: a fraction of a millisecond of scanning.
const PIECE: usize = 256 << 10;
/// Longest key or value that a frame may announce: far above what the layout writes.
const LONGEST: usize = 1 << 20;

/// What was committed since an export last looked.
#[derive(Debug)]
pub(super) struct Tap {
    behind: Mutex<Behind>,
    most: usize,
}

#[derive(Debug, Default)]
struct Behind {
    rows: StagedRows,
    bytes: usize,
    /// Fell too far behind, or the store failed.
    lost: bool,
}

impl Tap {
    fn new(most: usize) -> Self {
        Self {
            behind: Mutex::default(),
            most,
        }
    }

    /// Whether it still wants to hear.
    pub(super) fn push(&self, rows: &StagedRows) -> bool {
        let size = |(key, value): &(IVec, Option<IVec>)| {
            key.len() + value.as_ref().map_or(0, |value| value.len())
        };
        let mut behind = self.behind.lock();
        behind.bytes += rows.iter().map(size).sum::<usize>();
        if behind.bytes > self.most {
            behind.lost = true;
            behind.rows = Vec::new();
        } else {
            behind.rows.extend(rows.iter().cloned());
        }
        !behind.lost
    }

    pub(super) fn fail(&self) {
        self.behind.lock().lost = true;
    }

    fn take(&self) -> Result<StagedRows, StoreError> {
        let mut behind = self.behind.lock();
        if behind.lost {
            return Err(StoreError::Backend(
                "the export fell too far behind the writer, or the store failed".into(),
            ));
        }
        behind.bytes = 0;
        Ok(std::mem::take(&mut behind.rows))
    }
}

/// Rows that belong to this very database and not to its content.
fn is_own(key: &[u8]) -> bool {
    [
        keys::META_ID,
        keys::META_BOOT,
        keys::META_TALLY,
        keys::META_IMPORTING,
    ]
    .contains(&key)
}

/// Sends frames in pieces to where they are wanted.
pub(super) struct Sender<S> {
    sink: S,
    piece: BytesMut,
    hash: Sha256,
}

impl<S: FnMut(Bytes) -> Result<(), StoreError>> Sender<S> {
    pub(super) fn to(sink: S) -> Self {
        Self {
            sink,
            piece: BytesMut::from(MAGIC),
            hash: Sha256::new(),
        }
    }

    /// One row; sends what has gathered when it is enough.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.frame(PUT, key, value);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    fn frame(&mut self, operation: u8, key: &[u8], value: &[u8]) {
        let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        self.piece.put_u8(operation);
        self.piece.put_u32(length(key));
        self.piece.put_u32(length(value));
        self.piece.put_slice(key);
        self.piece.put_slice(value);
    }

    fn rows(&mut self, rows: &[(IVec, Option<IVec>)]) {
        for (key, value) in rows.iter().filter(|(key, _)| !is_own(key)) {
            match value {
                Some(value) => self.frame(PUT, key, value),
                None => self.frame(REMOVE, key, &[]),
            }
        }
    }

    /// Waits for room; closed if nobody takes the copy any more.
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.hash.update(&piece);
        (self.sink)(piece)
    }

    pub(super) fn end(mut self) -> Result<(), StoreError> {
        self.flush()?;
        let hash = self.hash.clone().finalize();
        self.frame(END, &[], &hash);
        self.flush()
    }
}

/// Runs on a blocking thread; `alone` carries work out between two groups of the writer.
pub(super) fn export(
    shared: &Arc<Shared>,
    alone: impl Fn(Work) -> Result<usize, StoreError>,
    chunks: mpsc::Sender<Result<Bytes, StoreError>>,
) {
    let failed = chunks.clone();
    let tap = Arc::new(Tap::new(shared.config.export_behind_bytes));
    let answer = copy(shared, &tap, alone, chunks);
    shared.detach(&tap);
    if let Err(error) = answer {
        // If nobody takes the copy any more, nobody needs to know.
        let _ = failed.blocking_send(Err(error));
    }
}

/// What the writer does between two groups.
pub(super) type Work = super::writer::Alone;

fn copy(
    shared: &Arc<Shared>,
    tap: &Arc<Tap>,
    alone: impl Fn(Work) -> Result<usize, StoreError>,
    chunks: mpsc::Sender<Result<Bytes, StoreError>>,
) -> Result<(), StoreError> {
    let mut sender = Sender::to(|piece| {
        let sent = chunks.blocking_send(Ok(piece));
        sent.map_err(|_| StoreError::Closed)
    });
    let (attach, at) = (shared.clone(), tap.clone());
    alone(Box::new(move |_| {
        attach.attach(at);
        Ok(0)
    }))?;
    let mut after: IVec = IVec::default();
    loop {
        let rows = shared.read_here(|tree| next_rows(tree, &after))?;
        let Some((last, _)) = rows.last() else { break };
        after = last.clone();
        sender.rows(&rows);
        sender.flush()?;
        let meanwhile = tap.take()?;
        sender.rows(&meanwhile);
        sender.flush()?;
    }
    let (detach, at) = (shared.clone(), tap.clone());
    alone(Box::new(move |_| {
        detach.detach(&at);
        Ok(0)
    }))?;
    let tail = tap.take()?;
    sender.rows(&tail);
    sender.end()
}

fn next_rows(tree: &sled::Tree, after: &IVec) -> Result<StagedRows, StoreError> {
    use std::ops::Bound;
    let mut bytes = 0;
    let mut rows = Vec::new();
    for row in tree.range::<&[u8], _>((Bound::Excluded(&after[..]), Bound::Unbounded)) {
        let (key, value) = row.map_err(fault)?;
        bytes += key.len() + value.len();
        rows.push((key, Some(value)));
        if bytes >= PIECE {
            break;
        }
    }
    Ok(rows)
}

/// Takes frames out of pieces.
#[derive(Default)]
struct Frames {
    buffer: BytesMut,
    hash: Sha256,
    begun: bool,
    ended: bool,
}

impl Frames {
    /// The rows that are complete with this piece.
    fn feed(&mut self, piece: &[u8]) -> Result<StagedRows, StoreError> {
        self.buffer.extend_from_slice(piece);
        let mut rows = Vec::new();
        if !self.begun {
            if self.buffer.len() < MAGIC.len() {
                return Ok(rows);
            }
            let magic = self.buffer.split_to(MAGIC.len());
            if magic != MAGIC {
                return Err(damaged("this is not an export of this kind of store"));
            }
            self.hash.update(&magic);
            self.begun = true;
        }
        while let Some(row) = self.next()? {
            rows.push(row);
        }
        Ok(rows)
    }

    fn next(&mut self) -> Result<Option<(IVec, Option<IVec>)>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let Some(head) = self.buffer.first_chunk::<FRAME_HEAD>().copied() else {
            return Ok(None);
        };
        let length = |at: usize| {
            let bytes = [head[at], head[at + 1], head[at + 2], head[at + 3]];
            u32::from_be_bytes(bytes) as usize
        };
        let (key, value) = (length(1), length(5));
        if key > LONGEST || value > LONGEST {
            return Err(damaged("the export has a frame that is too long"));
        }
        if self.buffer.len() < FRAME_HEAD + key + value {
            return Ok(None);
        }
        let frame = self.buffer.split_to(FRAME_HEAD + key + value);
        let (key, value) = frame[FRAME_HEAD..].split_at(key);
        match head[0] {
            END => {
                if value != &self.hash.clone().finalize()[..] {
                    return Err(damaged("the export's checksum is wrong"));
                }
                self.ended = true;
                Ok(None)
            }
            operation @ (PUT | REMOVE) => {
                self.hash.update(&frame);
                let value = (operation == PUT).then(|| IVec::from(value));
                Ok(Some((IVec::from(key), value)))
            }
            _ => Err(damaged("the export has an unknown frame")),
        }
    }
}

/// Runs on a blocking thread.
pub(super) fn import(
    alone: impl Fn(Work) -> Result<usize, StoreError>,
    chunks: mpsc::Receiver<Bytes>,
) -> Result<(), StoreError> {
    let taken = alone(Box::new(|group| {
        if group
            .tree
            .scan_prefix([])
            .any(|row| !matches!(row, Ok((key, _)) if key[0] == keys::META))
        {
            return Ok(1);
        }
        group.put(keys::META_IMPORTING, keys::NOTHING);
        Ok(0)
    }))?;
    if taken != 0 {
        return Err(StoreError::Backend(
            "only an empty store takes an export in".into(),
        ));
    }
    let answer = take_in(&alone, chunks);
    if answer.is_err() {
        while alone(Box::new(clear))? > 0 {}
    }
    alone(Box::new(|group| {
        group.delete(keys::META_IMPORTING);
        Ok(0)
    }))?;
    answer
}

fn take_in(
    alone: &impl Fn(Work) -> Result<usize, StoreError>,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<(), StoreError> {
    let mut frames = Frames::default();
    let mut rows = Vec::new();
    let mut bytes = 0;
    while let Some(piece) = chunks.blocking_recv() {
        bytes += piece.len();
        rows.extend(frames.feed(&piece)?);
        if bytes >= PIECE {
            bytes = 0;
            put_all(alone, std::mem::take(&mut rows))?;
        }
    }
    if !frames.ended {
        return Err(damaged("the export is not complete"));
    }
    if !frames.buffer.is_empty() {
        return Err(damaged("the export goes on after its end"));
    }
    put_all(alone, rows)
}

fn put_all(
    alone: &impl Fn(Work) -> Result<usize, StoreError>,
    rows: StagedRows,
) -> Result<(), StoreError> {
    alone(Box::new(move |group| {
        group.repeats = true;
        for (key, value) in rows {
            match value {
                _ if is_own(&key) => {}
                Some(value) if key == keys::META_SEQ => group.go_on_behind(&value),
                Some(value) => group.put(key, value),
                None => group.delete(key),
            }
        }
        Ok(0)
    }))
    .map(drop)
}

/// Removes some of what a failed import left.
fn clear(group: &mut Group<'_>) -> Result<usize, StoreError> {
    let keys: Vec<IVec> = group
        .tree
        .range([keys::META + 1]..)
        .keys()
        .take(1024)
        .collect::<Result<_, _>>()
        .map_err(fault)?;
    let count = keys.len();
    keys.into_iter().for_each(|key| group.delete(key));
    Ok(count)
}
