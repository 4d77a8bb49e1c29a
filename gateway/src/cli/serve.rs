//! `hookmill serve`: logs, listener, gateway, signals.

use std::io::{IsTerminal as _, Write as _};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::{LogFormat, Settings};
use crate::{Gateway, GatewayError, server};

/// Descriptors for everything but connections: the store, key files, name lookups, plugins being compiled. Chosen on
/// the high side.
const OTHER_FILES: u64 = 128;

pub(super) fn run(mut settings: Settings) -> Result<(), Failure> {
    start_logging(&settings)?;
    raise_open_files();
    fit_connections(&mut settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hookmill")
        .build()
        .map_err(Failure::other)?;
    runtime.block_on(serve(settings))
}

/// Every connection, in and out, takes a descriptor; the usual soft limit of 1,024 is below what the system
/// allows.
fn raise_open_files() {
    let allowed = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: allowed.maximum,
        ..allowed
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// Callers who open connections must not take the descriptors that deliveries and the store need.
fn fit_connections(settings: &mut Settings) {
    let Some(allowed) = getrlimit(Resource::Nofile).current else {
        return;
    };
    let others = u64::from(settings.delivery.in_flight.gateway) + OTHER_FILES;
    // A limit below that is too low for these settings; some must be there to be spoken to all the same.
    let room = allowed.saturating_sub(others).max(allowed / 4).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if settings.server.connections > room {
        tracing::warn!(
            open_files = allowed,
            connections = room,
            "fewer connections than server.connections are taken: the limit of open files is low"
        );
        settings.server.connections = room;
    }
}

fn start_logging(settings: &Settings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.log.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(Failure::Other)
}

async fn serve(settings: Settings) -> Result<(), Failure> {
    // Bound before anything else starts: a taken port is found out at once, and port 0 is known.
    let wanted = settings.listen;
    let failed = |source| GatewayError::Listen {
        address: wanted,
        source,
    };
    let listener = server::bind(wanted).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shutdown = CancellationToken::new();
    watch_signals(shutdown.clone())?;

    let gateway = Gateway::builder(settings)
        .own_port(address.port())
        .build()
        .await?;
    println!("listening on http://{address}");
    // The line is a promise to scripts, which read it from a pipe.
    std::io::stdout().flush().map_err(Failure::other)?;
    gateway.serve(listener, shutdown).await?;
    Ok(())
}

/// The first signal starts the shutdown; a second one ends the process at once.
fn watch_signals(shutdown: CancellationToken) -> Result<(), Failure> {
    let mut signals = (
        signal(SignalKind::interrupt()).map_err(Failure::other)?,
        signal(SignalKind::terminate()).map_err(Failure::other)?,
    );
    tokio::spawn(async move {
        let name = next(&mut signals).await;
        tracing::info!(signal = name, "shutting down");
        shutdown.cancel();
        next(&mut signals).await;
        // What was accepted is on disk; attempts under way are repeated after the next start.
        std::process::exit(130);
    });
    Ok(())
}

async fn next((interrupt, terminate): &mut (Signal, Signal)) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
