//! The fault table: what each kind of fault did to the messages that were under way. A test reports its row
//! when it has passed its own checks; `cargo xtask test` prints all rows at its end.
//!
//! ```no_run
//! use hookmill_tests::fault_table::FaultRow;
//! FaultRow {
//!     fault: "kill -9 under load",
//!     rounds: 1,
//!     accepted: 10,
//!     delivered: 10,
//!     lost: 0,
//!     duplicated: 0,
//! }
//! .report();
//! ```

use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde_json::json;

use crate::settings;

/// One kind of fault, all its rounds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultRow<'a> {
    /// What was done, in a few words: `kill -9 under load`. One row a fault: the words are its name.
    pub fault: &'a str,
    /// How often.
    pub rounds: u64,
    /// Messages that were acknowledged (202).
    pub accepted: u64,
    /// Of those, the ones that reached their receiver at least once, or that were found whole in the store
    /// where nothing is delivered.
    pub delivered: u64,
    /// Of those, the ones that did not.
    pub lost: u64,
    /// Deliveries that came more than once: allowed, since delivery is at least once.
    pub duplicated: u64,
}

impl FaultRow<'_> {
    /// Prints the row, and appends it as a line of JSON to the file that `HOOKMILL_FAULT_TABLE` names, if it
    /// names one.
    ///
    /// # Panics
    /// When something was lost, or the file can not be written.
    pub fn report(&self) {
        settings::say(&self.to_line());
        if let Some(path) = settings::fault_table() {
            self.append_to(&path);
        }
        assert_eq!(self.lost, 0, "messages were lost: {self:?}");
    }

    fn to_line(self) -> String {
        format!(
            "fault: {}: {} rounds, {} accepted, {} delivered, {} lost, {} duplicated",
            self.fault, self.rounds, self.accepted, self.delivered, self.lost, self.duplicated
        )
    }

    fn append_to(&self, path: &Path) {
        let row = json!({
            "fault": self.fault,
            "rounds": self.rounds,
            "accepted": self.accepted,
            "delivered": self.delivered,
            "lost": self.lost,
            "duplicated": self.duplicated,
        });
        // In one write, so that rows of tests that run at once never mix.
        let written = File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(format!("{row}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::FaultRow;

    #[test]
    fn rows_are_appended_a_line_each() {
        let row = |fault| FaultRow {
            fault,
            rounds: 2,
            accepted: 30,
            delivered: 30,
            lost: 0,
            duplicated: 4,
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table");
        row("a \"quoted\" fault").append_to(&path);
        row("another").append_to(&path);
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["fault"], "a \"quoted\" fault");
        assert_eq!(rows[1]["duplicated"], 4);
    }
}
