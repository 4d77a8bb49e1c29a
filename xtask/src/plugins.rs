//! Builds the plugins and the hostile fixture to WebAssembly, and brings the finished files together in
//! `target/plugins/`, where tests, demo and bench look for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{cargo, output, run};
use crate::error::Failure;
use crate::workspace::Workspace;

const WASM: &str = "wasm32-unknown-unknown";

/// The packages under `plugins/`.
const PACKAGES: [&str; 3] = ["github-filter", "slack-message", "redact"];

/// Not a member of the workspace: it must be built as a plugin only, since it does what it should not.
const HOSTILE: &str = "tests/fixtures/plugins/hostile";

/// Builds all of them and returns the finished files.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<PathBuf>, Failure> {
    add_target()?;
    let mut members = members(workspace, "build");
    run(&mut members)?;

    let folder = folder(workspace);
    let hostile = workspace.path(HOSTILE);
    run(cargo(
        workspace,
        ["build", "--release", "--target", WASM, "--target-dir"],
    )
    .arg(&folder)
    .current_dir(&hostile))?;

    let finished = workspace.plugins();
    fs::create_dir_all(&finished).map_err(Failure::file("create", &finished))?;
    let built = folder.join(WASM);
    let mut files = Vec::new();
    for package in PACKAGES {
        let name = format!("{}.wasm", package.replace('-', "_"));
        files.push(finish(
            &built.join("plugin").join(&name),
            &finished.join(&name),
        )?);
    }
    files.push(finish(
        &built.join("release").join("hostile.wasm"),
        &finished.join("hostile.wasm"),
    )?);
    Ok(files)
}

/// A cargo command over the plugins of the workspace, as they are shipped.
pub(crate) fn members(workspace: &Workspace, subcommand: &str) -> Command {
    let mut command = cargo(
        workspace,
        [
            subcommand,
            "--profile",
            "plugin",
            "--target",
            WASM,
            "--target-dir",
        ],
    );
    command.arg(folder(workspace));
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    command
}

/// A build folder of its own: the gateway's build must not wait for this one, nor build its macros again for it.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("plugins-build")
}

/// Adds the target the plugins are compiled for, unless the toolchain has it.
pub(crate) fn add_target() -> Result<(), Failure> {
    let libraries =
        output(Command::new("rustc").args(["--print", "target-libdir", "--target", WASM]))?;
    if Path::new(&libraries).is_dir() {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", WASM])).map_err(|source| {
        Failure::MissingTarget {
            target: WASM,
            source: Box::new(source),
        }
    })
}

fn finish(built: &Path, finished: &Path) -> Result<PathBuf, Failure> {
    fs::copy(built, finished).map_err(Failure::file("copy the built plugin", built))?;
    Ok(finished.to_path_buf())
}
