//! `hookmill plugin start-js-engine`, for `cargo xtask js-engine` only: from the engine as it was built to the asset
//! that this program has inside. Here, and not in xtask, since the sandbox is the only room that runs WebAssembly.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::build::{strip, write};
use super::local;
use crate::sandbox::started_engine;

#[derive(Debug, Args)]
pub(in crate::cli) struct EngineArgs {
    /// The module that cargo made of `js-engine/`.
    #[arg(value_name = "BUILT.wasm")]
    built: PathBuf,
    /// Where the started engine is written.
    #[arg(value_name = "STARTED.wasm")]
    started: PathBuf,
}

pub(super) fn run(args: &EngineArgs) -> Result<(), Failure> {
    let started = started_engine(&local::read(&args.built)?).map_err(Failure::other)?;
    write(&args.started, &strip(&started).map_err(Failure::other)?)
}
