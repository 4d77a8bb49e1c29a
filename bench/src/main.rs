//! Measures the gateway as it ships: the release binary as a process of its own, real sockets, a real disk.
//!
//! Every figure stands beside a baseline of the same run, since a machine's own speed differs more from day to day than
//! two versions of the gateway do. Client, receiver and gateway share the machine, as they do in the figures of others.
//!
//! | module | what it is |
//! |---|---|
//! | [`client`] | connections that post and wait for the answer |
//! | [`receiver`] | the cheapest receiver there is: it counts |
//! | [`gateway`] | the gateway's process and its tenants |
//! | [`payload`] | the 1 KiB that everything is measured with |
//! | [`measure`] | a file for each measured thing |
//! | [`report`] | medians, spreads and ratios as a table |
//! | [`machine`] | what all of it ran on |

mod client;
mod error;
mod gateway;
mod machine;
mod measure;
mod payload;
mod receiver;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::error::Failure;
use crate::measure::{Effort, Round};
use crate::report::Report;

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
    /// Write the table to this file too
    #[arg(long)]
    results: Option<PathBuf>,
    /// Only these: accept, deliver, latency, plugin (baselines are always taken)
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
    let mut report = Report::default();
    for number in 1..=effort.rounds {
        eprintln!("round {number} of {}", effort.rounds);
        let mut round = Round {
            effort: &effort,
            gateway: &arguments.gateway,
            plugins: &arguments.plugins,
            disk: &arguments.disk,
            report: &mut report,
        };
        round.run(&arguments.only).await?;
    }
    let text = format!("{}\n{report}", machine::describe(&arguments.disk));
    println!("{text}");
    if let Some(path) = &arguments.results {
        let page = format!("{}{text}", report::PREFACE);
        std::fs::write(path, page).map_err(Failure::io("write the results"))?;
    }
    Ok(())
}
