//! `cargo xtask demo`: builds gateway, plugins and the demo itself, then becomes the demo.

use std::process::{Command, Stdio};

use crate::cargo::{cargo, line, run as run_command};
use crate::error::Failure;
use crate::plugins;
use crate::workspace::Workspace;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave gateway and receivers running afterwards, and say how to use them
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<(), Failure> {
    plugins::build(workspace, plugins::Which::Few)?;
    run_command(&mut cargo(
        workspace,
        ["build", "-p", "hookmill", "-p", "hookmill-tests", "--bins"],
    ))?;
    let mut demo = Command::new(workspace.program("debug", "demo"));
    demo.env("HOOKMILL_BIN", workspace.program("debug", "hookmill"))
        .env("HOOKMILL_TEST_PLUGINS", workspace.plugins())
        .stdin(Stdio::null());
    if options.keep {
        demo.arg("--keep");
    }
    become_program(demo)
}

/// Ctrl-C reaches the demo alone, and the terminal is given back when its clean shutdown is over.
#[cfg(unix)]
fn become_program(mut program: Command) -> Result<(), Failure> {
    use std::os::unix::process::CommandExt;

    let source = program.exec();
    Err(Failure::Start {
        command: line(&program),
        source,
    })
}

#[cfg(not(unix))]
fn become_program(mut program: Command) -> Result<(), Failure> {
    run_command(&mut program)
}
