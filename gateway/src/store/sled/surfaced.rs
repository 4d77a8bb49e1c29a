//! Numbers of groups that failed and whose rows may be on disk all the same, for whoever passes messages on.
//! Knows nothing of the rows.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::domain::Seq;

/// Ranges that nobody has taken yet. Those of faults in a row are one range, so there are no more of them than
/// times that the disk failed and healed while nobody took any.
#[derive(Debug, Default)]
pub(super) struct Surfaced {
    ranges: Mutex<VecDeque<RangeInclusive<Seq>>>,
    came: Notify,
}

impl Surfaced {
    pub(super) fn put(&self, numbers: RangeInclusive<Seq>) {
        let mut ranges = self.ranges.lock();
        match ranges.back_mut() {
            Some(last) if last.end().0 + 1 == numbers.start().0 => {
                *last = *last.start()..=*numbers.end();
            }
            _ => ranges.push_back(numbers),
        }
        // Kept for one who comes later.
        self.came.notify_one();
    }

    /// The oldest range, once there is one. Cancel-safe.
    pub(super) async fn take(&self) -> RangeInclusive<Seq> {
        loop {
            if let Some(numbers) = self.ranges.lock().pop_front() {
                return numbers;
            }
            self.came.notified().await;
        }
    }
}
