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
}
