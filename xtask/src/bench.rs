//! `cargo xtask bench`: builds the gateway as it ships, then measures it with `bench/`.

use std::process::Command;

use crate::cargo::{cargo, run as run_command};
use crate::error::Failure;
use crate::plugins;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One short run of each figure, under two minutes, printed only
    #[arg(long)]
    quick: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    plugins::build(workspace)?;
    run_command(&mut cargo(
        workspace,
        [
            "build",
            "--release",
            "-p",
            "hookmill",
            "-p",
            "hookmill-bench",
            "--bins",
        ],
    ))?;
    let mut bench = Command::new(workspace.program("release", "hookmill-bench"));
    bench
        .arg("--gateway")
        .arg(workspace.program("release", "hookmill"))
        .arg("--plugins")
        .arg(workspace.plugins());
    if options.quick {
        bench.arg("--quick");
    } else {
        bench
            .arg("--results")
            .arg(workspace.path("bench/RESULTS.md"));
    }
    run_command(&mut bench)
}
