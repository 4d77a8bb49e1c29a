//! Counts what became of the events, by receiver.

use std::collections::BTreeMap;
use std::fmt;

use crate::story::{End, Story};

#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: BTreeMap<&'static str, Row>,
}

#[derive(Debug, Default)]
struct Row {
    events: usize,
    delivered: usize,
    dropped: usize,
    failed: usize,
    requests: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, place: &'static str, story: &Story) {
        let row = self.rows.entry(place).or_default();
        row.events += 1;
        row.requests += story.tries();
        match story.end {
            End::Delivered => row.delivered += 1,
            End::Dropped => row.dropped += 1,
            End::Failed => row.failed += 1,
        }
    }

    /// Each receiver took something, and nothing was given up.
    pub(crate) fn all_settled_well(&self) -> bool {
        self.rows
            .values()
            .all(|row| row.delivered > 0 && row.failed == 0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10}{:>8}{:>11}{:>9}{:>8}{:>10}",
            "receiver", "events", "delivered", "dropped", "failed", "requests"
        )?;
        for (place, row) in &self.rows {
            let Row {
                events,
                delivered,
                dropped,
                failed,
                requests,
            } = row;
            writeln!(
                f,
                "{place:<10}{events:>8}{delivered:>11}{dropped:>9}{failed:>8}{requests:>10}"
            )?;
        }
        Ok(())
    }
}
