//! The fault table: tests of faults append a row each to a file, and it is printed in one piece at the end.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::Failure;
use crate::workspace::Workspace;

/// Tells the tests where their rows go.
pub(super) const VARIABLE: &str = "HOOKMILL_FAULT_TABLE";

/// The file of one run.
#[derive(Debug)]
pub(super) struct FaultFile(PathBuf);

/// As `tests/src/fault_table.rs` writes it.
#[derive(Debug, Deserialize)]
struct Row {
    fault: String,
    rounds: u64,
    accepted: u64,
    delivered: u64,
    lost: u64,
    duplicated: u64,
}

impl FaultFile {
    /// An empty one.
    pub(super) fn start(workspace: &Workspace) -> Result<Self, Failure> {
        let path = workspace.target().join("fault-table.jsonl");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Failure::file("remove", &path)(error))
            }
            _ => Ok(Self(path)),
        }
    }

    pub(super) fn path(&self) -> &PathBuf {
        &self.0
    }

    /// The table for people; empty if no test reported a row.
    pub(super) fn table(&self) -> Result<String, Failure> {
        match fs::read_to_string(&self.0) {
            Ok(rows) => Ok(table(&rows)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(Failure::file("read", &self.0)(error)),
        }
    }
}

fn table(lines: &str) -> String {
    // A line that is none was cut off by the end of its test, which has failed and says so itself.
    let rows = lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut rows: Vec<Row> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    rows.sort_by(|one, other| one.fault.cmp(&other.fault));
    let width = rows.iter().map(|row| row.fault.chars().count()).max();
    let width = width.unwrap_or_default();
    let line = |fault: &str, cells: [&str; 5]| {
        let [rounds, accepted, delivered, lost, duplicated] = cells;
        format!(
            "{fault:<width$} {rounds:>7} {accepted:>9} {delivered:>9} {lost:>5} {duplicated:>10}\n"
        )
    };
    let head = ["rounds", "accepted", "delivered", "lost", "duplicated"];
    let mut text = format!("\n== faults\n{}", line("", head));
    for row in &rows {
        let cells = [
            row.rounds,
            row.accepted,
            row.delivered,
            row.lost,
            row.duplicated,
        ];
        let cells = cells.map(|cell| cell.to_string());
        text += &line(&row.fault, cells.each_ref().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn rows_stand_in_columns_and_half_lines_are_left_out() {
        let lines = r#"{"fault":"power cut","rounds":50,"accepted":9000,"delivered":9000,"lost":0,"duplicated":12}
{"fault":"kill -9 under load","rounds":200,"accepted":40000,"delivered":40000,"lost":0,"duplicated":31}
{"fault":"half"#;
        let expected = "
== faults
                    rounds  accepted delivered  lost duplicated
kill -9 under load     200     40000     40000     0         31
power cut               50      9000      9000     0         12
";
        assert_eq!(table(lines), expected);
    }

    #[test]
    fn no_rows_no_table() {
        assert_eq!(table(""), "");
    }
}
