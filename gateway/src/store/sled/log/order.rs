//! The order in which messages count, and where the log ends.
//!
//! sled writes the log's last part in pieces, in any order, and nothing is answered before everything up to it is on
//! disk. So a process that is killed may leave a hole with messages behind it that never counted; and a batch counts
//! whole or not at all. sled looks for holes from the segment on that the last header or snapshot calls not wholly
//! written (`Segments::tail`): at the first message that cannot be read, or the first number without a segment, its log
//! ends, and what lies behind is overwritten. It does the same where a byte of that part went wrong, and loses what is
//! behind it. Here the marker file tells the two apart: as long as something is missing that it says was on disk, a
//! hole is damage, and reading goes on behind it. Before the tail a hole is always damage, or a segment that was being
//! used again.
//!
//! Source: sled 0.34.7, `pagecache/iterator.rs` (`check_contiguity_in_unstable_tail`, `LogIter`), `segment.rs`,
//! `snapshot.rs`.

use std::fs::File;
use std::ops::ControlFlow;

use super::message::{Message, Step};
use super::pages::Pages;
use super::segment::{Segment, Segments};
use crate::store::StoreError;
use crate::store::sled::keys;
use crate::store::sled::marker::Mark;

/// What the messages make of the rows, one after the other.
pub(super) struct Replay<'a> {
    file: &'a File,
    mark: Option<Mark>,
    pub(super) pages: Pages,
    /// Of a batch that is not complete yet, and the number of its last byte.
    held: Vec<Step>,
    until: Option<u64>,
    pub(super) unreadable: usize,
}

impl<'a> Replay<'a> {
    /// Reads all segments. `mark` says what was on disk, if it is known.
    pub(super) fn of(
        segments: &Segments<'_>,
        file: &'a File,
        mark: Option<Mark>,
    ) -> Result<Self, StoreError> {
        let mut replay = Self {
            file,
            mark,
            pages: Pages::default(),
            held: Vec::new(),
            until: None,
            unreadable: 0,
        };
        let mut next = segments.tail;
        for segment in segments.iter() {
            let segment = segment?;
            let in_tail = segment.number >= segments.tail;
            if in_tail {
                let is_next = segment.number == next && segment.has_head;
                if !is_next && !replay.is_more_due()? {
                    break;
                }
                next = segment.number + 1;
            }
            if replay.segment(&segment, in_tail)?.is_break() {
                break;
            }
        }
        if replay.is_more_due()? {
            // The end of a batch that was on disk is lost.
            replay.apply_held();
        }
        Ok(replay)
    }

    /// Breaks off where the log ends.
    fn segment(&mut self, segment: &Segment, in_tail: bool) -> Result<ControlFlow<()>, StoreError> {
        let mut at = *Segment::STARTS.start();
        while Segment::STARTS.contains(&at) {
            let Some(message) = segment.message(at) else {
                if in_tail && !self.is_more_due()? {
                    return Ok(ControlFlow::Break(()));
                }
                let mut rest = at + 1..=*Segment::STARTS.end();
                // None: nothing more was written here, or nothing more of it is left.
                let Some(next) = rest.find(|at| segment.message(*at).is_some()) else {
                    break;
                };
                self.unreadable += 1;
                at = next;
                continue;
            };
            if message.is_cap() {
                break;
            }
            at = message.end();
            self.message(&message, segment.offset, segment.number_of(at - 1));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether something that was on disk has not been read yet.
    fn is_more_due(&self) -> Result<bool, StoreError> {
        let Some(mark) = self.mark else {
            return Ok(false);
        };
        Ok(self.number(keys::META_SEQ)? < mark.seq || self.number(keys::META_BOOT)? < mark.boot)
    }

    fn number(&self, key: &[u8]) -> Result<u64, StoreError> {
        let Some(place) = self.pages.row(key) else {
            return Ok(0);
        };
        let value = place.read(self.file)?;
        Ok(keys::read_seq(&value, 0).map_or(0, |number| number.0))
    }

    fn message(&mut self, message: &Message<'_>, segment_at: u64, last_byte: u64) {
        if self.until.is_some_and(|until| last_byte > until) {
            self.apply_held();
        }
        if let Some(until) = message.batch() {
            self.until = Some(until);
            return;
        }
        self.held.extend(message.step(segment_at));
        if self.until.is_none_or(|until| last_byte >= until) {
            self.apply_held();
        }
    }

    fn apply_held(&mut self) {
        self.until = None;
        for step in std::mem::take(&mut self.held) {
            self.pages.apply(step);
        }
    }
}
