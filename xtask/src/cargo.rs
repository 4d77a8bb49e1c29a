//! Running cargo and other programs: at the workspace's root, with the workspace's build folder, and with the command
//! line in the error when one fails.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::error::Failure;
use crate::workspace::Workspace;

/// A cargo command of this workspace.
pub(crate) fn cargo<I, S>(workspace: &Workspace, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new("cargo");
    command
        .args(arguments)
        .current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target());
    // `cargo run`, which started this program, described xtask in these. Some build scripts are rerun when they
    // change, so a build from here and one by hand would each undo the other's.
    for (name, _) in std::env::vars_os() {
        let describes_xtask = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
                || name == "CARGO_PRIMARY_PACKAGE"
        });
        if describes_xtask {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it with this terminal as its output; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Failure::Start {
            command: line(command),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Command {
            command: line(command),
            status,
        })
    }
}

/// Runs it and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Failure::Start {
            command: line(command),
            source,
        })?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(Failure::Command {
            command: line(command),
            status: output.status,
        })
    }
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
