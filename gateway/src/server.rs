//! Takes connections for the API: a bounded number of them, none of which may dawdle over a request's head.
//! HTTP/1.1 in the clear; TLS and HTTP/2 are a proxy's in front.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// After an error that a next try would meet too, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Settings of taking connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections at a time; more wait in the system's queue.
    pub connections: usize,
    /// How long a request's head may take to arrive, and a kept connection to send the next, in milliseconds.
    pub head_timeout_ms: u64,
    /// How long requests under way may take to be answered after a signal, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // Chosen: each takes a descriptor and some 20 KB; deliveries have 512 of their own.
            connections: 4_096,
            // Chosen: what hyper takes where it has a timer.
            head_timeout_ms: 30_000,
            // Chosen: a commit takes milliseconds; a body that takes longer is sent again elsewhere.
            grace_ms: 5_000,
        }
    }
}

/// Serves until `stop`, then answers what is under way for as long as the settings allow.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    config: &Config,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(
        config.connections.min(Semaphore::MAX_PERMITS),
    ));
    let (graceful, cut) = (GracefulShutdown::new(), CancellationToken::new());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.head_timeout_ms));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, accept(&listener).await)
        };
        let Some((place, stream)) = stop.run_until_cancelled(next).await else {
            break;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let (connection, cut) = (graceful.watch(connection), cut.clone());
        tokio::spawn(async move {
            // A client that goes away or speaks no HTTP ends its own connection only.
            if let Some(Err(error)) = cut.run_until_cancelled(connection).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection broke"
                );
            }
            drop(place);
        });
    }
    let grace = Duration::from_millis(config.grace_ms);
    if tokio::time::timeout(grace, graceful.shutdown())
        .await
        .is_err()
    {
        // A client that never ends its request does not keep the gateway from ending.
        tracing::info!("requests that did not end in time are cut off");
    }
    cut.cancel();
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small and whole; a socket that refuses this is slower, nothing else.
                drop(stream.set_nodelay(true));
                return stream;
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no connection taken"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The client had gone before it was looked at.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}
