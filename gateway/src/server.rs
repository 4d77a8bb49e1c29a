//! Takes connections for the API: a bounded number of them, none of which may dawdle over a request's head.
//! HTTP/1.1 in the clear; TLS and HTTP/2 are a proxy's in front.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// After an error that a next try would meet too, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// Connections that wait in the system until they are taken, or as many as it allows. Chosen: as many as are served. The
/// library's 128 are fewer than a busy sender opens at once, and who finds no place tries again after a second.
const WAITING: u32 = 4_096;

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

/// Takes an address; port 0 picks one.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A gateway that was killed leaves connections behind for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING)
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream as Caller;

    use super::*;

    #[tokio::test]
    async fn who_calls_waits_to_be_taken_and_is_not_turned_away() {
        let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        // Nobody is taken. Without a place in the queue a call is only ever tried again.
        let call = |_| Caller::connect_timeout(&address, Duration::from_secs(10));
        let callers: io::Result<Vec<Caller>> = (0..300).map(call).collect();
        assert_eq!(callers.unwrap().len(), 300);
    }
}
