//! `cargo xtask audit`: any open security advisory on the dependency tree fails, save those that `deny.toml` names with
//! a reason. Without the advisory database nothing is judged, and the last line says so.

use std::process::Stdio;

use crate::cargo::{self, line};
use crate::deny::cargo_deny;
use crate::error::Failure;
use crate::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    // Fetched on its own first: a check answers the same to a missing database as to a vulnerable dependency.
    let mut fetch = cargo_deny(workspace)?;
    fetch.args(["fetch", "db"]).stdin(Stdio::null());
    let status = fetch.status().map_err(|source| Failure::Start {
        command: line(&fetch),
        source,
    })?;
    if !status.success() {
        println!(
            "SKIPPED audit: the advisory database could not be fetched (above), so nothing was judged"
        );
        return Ok(());
    }
    cargo::run(cargo_deny(workspace)?.args(["check", "advisories"]))
}
