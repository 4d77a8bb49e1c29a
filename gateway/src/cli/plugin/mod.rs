//! `hookmill plugin`: what a plugin's author does with it, one file per command. A plugin is called by the gateway's
//! own sandbox under the gateway's own settings, so that what holds here holds there.

mod answer;
mod bench;
mod build;
mod case;
mod engine;
mod figures;
mod inspect;
mod javascript;
mod local;
mod new;
mod paint;
mod push;
mod test;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Write a new project that builds and whose test passes.
    New(new::NewArgs),
    /// Build a project to a small module.
    Build(build::BuildArgs),
    /// Run case files and show what comes out otherwise than expected.
    Test(test::TestArgs),
    /// Measure calls in fresh instances, by size of payload, against the limits.
    Bench(bench::BenchArgs),
    /// Say what a plugin is, what it has of everything limited, and whether a gateway would take it.
    Inspect(inspect::InspectArgs),
    /// Upload a plugin to a running gateway.
    Push(push::PushArgs),
    /// Start the JavaScript engine, for the repository's own build of it.
    #[command(hide = true)]
    StartJsEngine(engine::EngineArgs),
}

pub(super) fn run(command: &PluginCommand) -> Result<(), Failure> {
    match command {
        PluginCommand::New(args) => new::run(args),
        PluginCommand::Build(args) => build::run(args),
        PluginCommand::Test(args) => test::run(args),
        PluginCommand::Bench(args) => bench::run(args),
        PluginCommand::Inspect(args) => inspect::run(args),
        PluginCommand::Push(args) => push::run(args),
        PluginCommand::StartJsEngine(args) => engine::run(args),
    }
}
