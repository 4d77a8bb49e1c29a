//! `cargo xtask test`: builds gateway and plugins, gives the tests their paths, runs every suite and closes with a line
//! for each, so that what failed and what could not run stands at the end and not somewhere above.

mod faults;
mod summary;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, line, run as run_command};
use crate::error::Failure;
use crate::plugins;
use crate::workspace::Workspace;
use faults::FaultFile;
use summary::Summary;

/// Has every test of faults play its long form under `--full`; how long that is stands with the test.
const FULL_ROUNDS: &str = "full";

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Add the long rounds: 200 kills, 50 power cuts, and more of every other fault
    #[arg(long)]
    full: bool,
    /// Run only tests whose path contains one of these
    filter: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    let started = Instant::now();
    plugins::build(workspace, plugins::Which::All)?;
    // With the tests in one go: cargo chooses features for what it builds together, and apart it would build
    // the larger dependencies twice.
    run_command(&mut cargo(
        workspace,
        ["build", "--workspace", "--bins", "--lib", "--tests"],
    ))?;
    let built = started.elapsed();

    let faults = FaultFile::start(workspace)?;
    let summary = run_tests(&mut tests(workspace, options, &faults))?;
    print!("{summary}{}", faults.table()?);
    println!(
        "built in {:.0} s, tested in {:.0} s",
        built.as_secs_f64(),
        (started.elapsed() - built).as_secs_f64()
    );
    if summary.failed() {
        Err(Failure::Checks(vec!["tests"]))
    } else {
        Ok(())
    }
}

/// Unit, integration and doc tests, with where they find what was built.
fn tests(workspace: &Workspace, options: &Options, faults: &FaultFile) -> Command {
    // Without fail-fast one failing suite would hide the others behind it.
    let mut command = cargo(workspace, ["test", "--workspace", "--no-fail-fast", "--"]);
    command
        .args(&options.filter)
        .env("HOOKMILL_BIN", workspace.program("debug", "hookmill"))
        .env("HOOKMILL_TEST_PLUGINS", workspace.plugins())
        .env(faults::VARIABLE, faults.path())
        // The summary reads this output, and colour codes would stand between its words.
        .env("CARGO_TERM_COLOR", "never")
        .stdin(Stdio::null());
    if options.full {
        command.env("HOOKMILL_ROUNDS", FULL_ROUNDS);
    }
    command
}

/// Runs it, passing its output on line by line.
fn run_tests(command: &mut Command) -> Result<Summary, Failure> {
    let failure = |command: &Command| {
        let command = line(command);
        move |source| Failure::Start { command, source }
    };
    // One pipe for both, so that a suite's name, on one, stays before its results, on the other.
    let (reader, writer) = std::io::pipe().map_err(failure(command))?;
    command
        .stdout(writer.try_clone().map_err(failure(command))?)
        .stderr(writer);
    let mut child = command.spawn().map_err(failure(command))?;
    // The command holds the pipe's writing ends too, and the reader ends only when all are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let mut summary = Summary::default();
    for text in BufReader::new(reader).split(b'\n') {
        let text = text.map_err(failure(command))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        summary.read(&text);
    }
    let status = child.wait().map_err(failure(command))?;
    summary.ended(status.success());
    Ok(summary)
}
