//! `cargo xtask bench`: builds the gateway as it ships, then measures it with `bench/`.

use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{cargo, run as run_command};
use crate::error::Failure;
use crate::plugins;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// One short run of each figure, under two minutes on an idle machine, printed only
    #[arg(long)]
    quick: bool,
    /// Where the data directories are made: the disk that is measured; `target/` unless given, since the system's temporary
    /// folder is often in memory, where a sync costs nothing
    #[arg(long)]
    disk: Option<PathBuf>,
    /// Only these: plugin, accept, deliver, latency, sweep, fairness, backlog; printed only
    only: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    plugins::build(workspace, plugins::Which::Few)?;
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
    bench
        .arg("--disk")
        .arg(options.disk.clone().unwrap_or_else(|| workspace.target()));
    if options.quick {
        bench.arg("--quick");
    }
    // Part of the figures must not replace all of them.
    if !options.quick && options.only.is_empty() {
        bench.arg("--results").arg(workspace.path("bench"));
    }
    bench.args(&options.only);
    run_command(&mut bench)
}
