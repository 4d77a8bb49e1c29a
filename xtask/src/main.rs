//! The repository's own commands, the same here and in CI: `cargo xtask <command>`.
//!
//! They need a Rust toolchain and nothing else, may run cargo and rustup and write under `target/`, and never change a
//! checked-in file, but that `bench` rewrites its own results, `catalogue` the page that it makes and `js-engine` the
//! engine that it builds.

mod audit;
mod bench;
mod cargo;
mod catalogue;
mod check;
mod demo;
mod deny;
mod error;
mod js_engine;
mod plugins;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Failure;
use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    about = "The repository's own commands",
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send real GitHub events through a local gateway and show what its receivers got
    Demo(demo::Options),
    /// Build the gateway and the plugins and run every test against them
    Test(test::Options),
    /// Format, lints, docs, licences and the frozen plugin contract: what must hold before a merge
    Check,
    /// Compare the dependencies with the published security advisories
    Audit,
    /// Measure a release build against a baseline taken in the same run
    Bench(bench::Options),
    /// Build every plugin to `target/plugins/*.wasm`
    Plugins,
    /// Build the JavaScript engine that the gateway has inside, or compare it with its sources
    JsEngine(js_engine::Options),
    /// Build every plugin and write sizes and cases into `plugins/README.md`
    Catalogue,
}

fn main() -> ExitCode {
    let workspace = Workspace::new();
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&workspace, &options),
        Command::Test(options) => test::run(&workspace, &options),
        Command::Check => check::run(&workspace),
        Command::Audit => audit::run(&workspace),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Plugins => plugins::build(&workspace, plugins::Which::All).map(|built| {
            for plugin in built {
                println!("{}", plugin.display());
            }
        }),
        Command::JsEngine(options) => js_engine::run(&workspace, &options),
        Command::Catalogue => catalogue::write(&workspace),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::FAILURE
        }
    }
}

fn report(failure: &Failure) {
    eprintln!("xtask: {failure}");
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
