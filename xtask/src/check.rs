//! `cargo xtask check`: what must hold before a merge. Every step runs even after one has failed, so that one run names
//! all that is wrong; nothing is rewritten.

mod contract;
mod sizes;

use std::time::{Duration, Instant};

use crate::cargo::{cargo, output, run as run_command};
use crate::catalogue;
use crate::deny::cargo_deny;
use crate::error::Failure;
use crate::js_engine;
use crate::plugins;
use crate::workspace::Workspace;

type Step = (&'static str, fn(&Workspace) -> Result<(), Failure>);

/// Cheapest first.
const STEPS: [Step; 10] = [
    ("format", format),
    ("plugin contract", contract::check),
    ("plugin catalogue", catalogue::check),
    ("file sizes", sizes::list),
    ("lock file", lock_file),
    ("clippy", clippy),
    ("clippy for wasm", clippy_for_wasm),
    ("docs", docs),
    ("javascript engine", js_engine::check),
    ("licences, bans and sources", dependencies),
];

pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let mut failed = Vec::new();
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let started = Instant::now();
        let done = step(workspace);
        times.push((name, started.elapsed(), done.is_ok()));
        if let Err(failure) = done {
            crate::report(&failure);
            failed.push(name);
        }
    }
    println!();
    for (name, took, passed) in times {
        println!(
            "{} {name} ({})",
            if passed { "ok    " } else { "FAILED" },
            seconds(took)
        );
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::Checks(failed))
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

fn format(workspace: &Workspace) -> Result<(), Failure> {
    run_command(&mut cargo(workspace, ["fmt", "--all", "--check"]))
}

/// The lock file fits the manifests, so that a build elsewhere takes the versions that were tested here.
fn lock_file(workspace: &Workspace) -> Result<(), Failure> {
    output(&mut cargo(
        workspace,
        ["metadata", "--locked", "--format-version", "1"],
    ))
    .map(drop)
}

fn clippy(workspace: &Workspace) -> Result<(), Failure> {
    run_command(&mut cargo(
        workspace,
        [
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    ))
}

/// Once more as the gateway will run them: much of the SDK exists on that target only.
fn clippy_for_wasm(workspace: &Workspace) -> Result<(), Failure> {
    plugins::add_target()?;
    let packages = plugins::packages(workspace)?;
    run_command(plugins::members(workspace, "clippy", &packages).args(["--", "-D", "warnings"]))
}

fn docs(workspace: &Workspace) -> Result<(), Failure> {
    run_command(
        cargo(workspace, ["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )
}

/// Errors only: `cargo deny check bans` also lists what is in the tree twice.
fn dependencies(workspace: &Workspace) -> Result<(), Failure> {
    run_command(cargo_deny(workspace)?.args([
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))
}
