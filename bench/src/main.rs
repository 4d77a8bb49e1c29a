//! Measures the gateway as it ships: the release binary as a process of its own, real sockets, a real disk.
//!
//! Every figure stands beside a baseline of the same run, since a machine's own speed differs more from day to day than
//! two versions of the gateway do. Client, receiver and gateway share the machine, as they do in the figures of others.
//!
//! | module | what it is |
//! |---|---|
//! | [`client`] | connections that post and wait for the answer |
//! | [`receiver`] | the cheapest receivers there are: one counts, one is silent, one is not there |
//! | [`gateway`] | the gateway's process |
//! | [`tenant`] | an application to measure with |
//! | [`payload`] | what everything is measured with |
//! | [`measure`] | a file for each measured thing |
//! | [`usage`] | CPU time and memory of a process |
//! | [`report`] | medians, spreads, ratios, targets and plots |
//! | [`machine`] | what all of it ran on |

mod client;
mod error;
mod gateway;
mod machine;
mod measure;
mod payload;
mod receiver;
mod report;
mod tenant;
mod usage;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use crate::error::Failure;
use crate::machine::Machine;
use crate::measure::{Effort, Round};
use crate::report::{Report, Sweep};

/// `cargo xtask bench` builds and passes the paths.
#[derive(Debug, Parser)]
struct Arguments {
    /// The gateway's release binary
    #[arg(long)]
    gateway: PathBuf,
    /// The folder with the plugins' wasm files
    #[arg(long)]
    plugins: PathBuf,
    /// Where the data directories are made: the disk that is measured
    #[arg(long)]
    disk: PathBuf,
    /// One short round
    #[arg(long)]
    quick: bool,
    /// Write the tables to `RESULTS.md` in this folder, and the plots beside it
    #[arg(long)]
    results: Option<PathBuf>,
    /// Only these: accept, deliver, latency, plugin, sweep, fairness, backlog
    only: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::io("start the runtime"))
        .and_then(|runtime| runtime.block_on(run(&arguments)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            let mut cause = std::error::Error::source(&failure);
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let effort = if arguments.quick {
        Effort::QUICK
    } else {
        Effort::FULL
    };
    let machine = Machine::describe(&arguments.disk);
    if let Some(warning) = machine.warning() {
        eprintln!("{warning}");
    }
    let start = Instant::now();
    let mut report = Report::default();
    for number in 0..effort.rounds {
        eprintln!("round {} of {}", number + 1, effort.rounds);
        let mut round = Round {
            effort: &effort,
            number,
            gateway: &arguments.gateway,
            plugins: &arguments.plugins,
            disk: &arguments.disk,
            report: &mut report,
            raw: None,
            start,
        };
        round.run(&arguments.only).await?;
    }
    let page = page(&machine, &report, start.elapsed());
    println!("{page}");
    match &arguments.results {
        Some(folder) => write(folder, &page, &report).map_err(Failure::io("write the results")),
        None => Ok(()),
    }
}

fn page(machine: &Machine, report: &Report, took: Duration) -> String {
    let warning = machine
        .warning()
        .map_or_else(String::new, |warning| format!("\n{warning}\n"));
    let sweeps: String = report.sweeps().iter().map(Sweep::page).collect();
    format!(
        "{}{}- The run took {} s\n{warning}\n## Targets\n\n{}\n## Figures\n\n{report}\n{sweeps}",
        report::PREFACE,
        machine.lines(),
        took.as_secs(),
        report.targets()
    )
}

fn write(folder: &Path, page: &str, report: &Report) -> std::io::Result<()> {
    for sweep in report.sweeps() {
        std::fs::write(folder.join(sweep.file_name()), sweep.svg())?;
    }
    std::fs::write(folder.join("RESULTS.md"), page.trim_end().to_owned() + "\n")
}
