//! cargo-deny: found when the right version is installed, else built once into `target/tools`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::cargo::{cargo, run};
use crate::error::Failure;
use crate::workspace::Workspace;

/// Pinned, so that a check means the same everywhere; 0.20.2 is the newest that the pinned toolchain builds.
const VERSION: &str = "0.20.2";

/// A cargo-deny of [`VERSION`], ready to be given a command.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<Command, Failure> {
    let root = workspace.target().join("tools");
    let own = root
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    for candidate in [PathBuf::from("cargo-deny"), own.clone()] {
        if is_version(&candidate) {
            return Ok(at_root(workspace, candidate));
        }
    }
    eprintln!(
        "xtask: building cargo-deny {VERSION} into target/tools, once: about a minute and a half on two cores"
    );
    // Unoptimised: it reads a few hundred manifests in two seconds either way, and its release profile takes minutes.
    let build = root.join("build");
    run(cargo(
        workspace,
        [
            "install",
            "cargo-deny",
            "--version",
            VERSION,
            "--locked",
            "--debug",
            "--quiet",
            "--root",
        ],
    )
    .arg(&root)
    .arg("--target-dir")
    .arg(&build)
    .env("CARGO_PROFILE_DEV_DEBUG", "0"))?;
    match fs::remove_dir_all(&build) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::file("remove", &build)(error))
        }
        _ => Ok(at_root(workspace, own)),
    }
}

fn at_root(workspace: &Workspace, program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace.root());
    command
}

fn is_version(program: &PathBuf) -> bool {
    let answer = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    answer.is_ok_and(|answer| {
        String::from_utf8_lossy(&answer.stdout)
            .split_whitespace()
            .nth(1)
            == Some(VERSION)
    })
}
