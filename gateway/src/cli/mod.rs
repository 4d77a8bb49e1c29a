//! The command line: one file per command. What scripts rely on is in the README and does not change.

mod backup;
mod exit;
mod peer;
mod plugin;
mod restore;
mod send;
mod serve;
mod store;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

pub use exit::Failure;

use crate::config::{self, Overrides, Settings};
use crate::sandbox;

/// A webhook gateway whose payload logic is WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "hookmill", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGINT or SIGTERM.
    Serve(ServeArgs),
    /// Print a token for the API; reads the secret, never the store.
    Token(token::TokenArgs),
    /// Send one message to a running gateway.
    Send(send::SendArgs),
    /// Copy the store of a running gateway into a new data directory.
    Backup(backup::BackupArgs),
    /// Look at a store that no gateway has open; write it to a file; make one of a file.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Write, try and upload plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Print the settings in force, without secrets.
    Config(ServeArgs),
}

/// What `serve` and `config` take; each flag wins over file and environment.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Settings file; without it `hookmill.toml` in the working directory, where there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the API listens; port 0 picks a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Where the store and the key files live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Lets deliveries reach addresses of this network; repeatable.
    #[arg(long, value_name = "CIDR")]
    allow_subnet: Vec<String>,
    /// Lets deliveries go to hosts of this pattern (`receiver`, `*.internal`); repeatable.
    #[arg(long, value_name = "PATTERN")]
    allow_host: Vec<String>,
    /// Delays before the retries, such as `5s,5m,2h`; the first try is immediate.
    #[arg(long, value_name = "LIST")]
    retry_schedule: Option<String>,
    /// `sled` (default) or `memory`, which forgets everything at exit.
    #[arg(long, value_name = "BACKEND")]
    store: Option<String>,
    /// `text` (default) or `json`.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl ServeArgs {
    fn settings(&self) -> Result<Settings, Failure> {
        let mut flags = Overrides::default();
        flags.set("listen", self.listen.as_deref());
        flags.set(
            "data_dir",
            self.data_dir
                .as_ref()
                .map(|dir| dir.to_string_lossy().into_owned()),
        );
        flags.set_list("outbound.allow_subnets", &self.allow_subnet);
        flags.set_list("outbound.allow_hosts", &self.allow_host);
        flags.set("delivery.retry_schedule", self.retry_schedule.as_deref());
        flags.set("store.backend", self.store.as_deref());
        flags.set("log.format", self.log_format.as_deref());
        Ok(config::load(self.config.as_deref(), flags)?)
    }
}

/// Parses the arguments, runs the command and says on standard error what went wrong.
pub fn main() -> ExitCode {
    // The gateway starts itself so, to compile a plugin under limits; not for people, so not in the help.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == sandbox::COMPILE_SUBCOMMAND)
    {
        return sandbox::compile_child_main();
    }
    let done = match Cli::parse().command {
        Command::Serve(args) => args.settings().and_then(serve::run),
        Command::Token(args) => token::run(&args),
        Command::Send(args) => send::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Store(command) => store::run(&command),
        Command::Plugin(command) => plugin::run(&command),
        Command::Config(args) => args
            .settings()
            .and_then(|settings| print_settings(&settings)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn print_settings(settings: &Settings) -> Result<(), Failure> {
    print!("{}", settings.to_toml().map_err(Failure::other)?);
    Ok(())
}
