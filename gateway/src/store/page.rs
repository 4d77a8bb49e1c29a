//! Paged reads: always by sequence number, so a page neither misses nor repeats a row under writes.

use crate::domain::Seq;

/// How rows are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    #[default]
    Descending,
}

/// Which way from the cursor, seen in the page's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Rows after the cursor.
    #[default]
    Forward,
    /// Rows before the cursor: the `limit` nearest ones, still in the page's order.
    Backward,
}

/// One page of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// Where the last page ended; the row itself is excluded. None: from the start (or end).
    pub cursor: Option<Seq>,
    /// Which way from there.
    pub direction: Direction,
    /// At most this many rows.
    pub limit: usize,
    /// In this order.
    pub order: Order,
}

impl PageRequest {
    /// The first page of this many rows, oldest first.
    pub fn first(limit: usize) -> Self {
        Self {
            cursor: None,
            direction: Direction::Forward,
            limit,
            order: Order::Ascending,
        }
    }

    /// The sequence numbers the page may hold, both ends included; none if the cursor leaves no room.
    pub(crate) fn span(&self) -> Option<(Seq, Seq)> {
        match (self.scans_upwards(), self.cursor) {
            (_, None) => Some((Seq(0), Seq(u64::MAX))),
            (true, Some(Seq(at))) => Some((Seq(at.checked_add(1)?), Seq(u64::MAX))),
            (false, Some(Seq(at))) => Some((Seq(0), Seq(at.checked_sub(1)?))),
        }
    }

    /// Whether the rows are met from low to high numbers when going away from the cursor.
    pub(crate) fn scans_upwards(&self) -> bool {
        matches!(
            (self.order, self.direction),
            (Order::Ascending, Direction::Forward) | (Order::Descending, Direction::Backward)
        )
    }

    /// Takes what fits from rows that come in scan order and gives them back in the page's order.
    pub(crate) fn collect<T, E>(
        &self,
        rows: impl Iterator<Item = Result<Option<T>, E>>,
    ) -> Result<Vec<T>, E> {
        let mut page = rows
            .filter_map(Result::transpose)
            .take(self.limit)
            .collect::<Result<Vec<_>, _>>()?;
        if self.direction == Direction::Backward {
            page.reverse();
        }
        Ok(page)
    }
}
