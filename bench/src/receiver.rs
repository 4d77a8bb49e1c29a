//! The cheapest receivers there are. One reads the body, counts, notes how long it was on its way, and answers 200 over
//! kept-alive HTTP/1.1: its cost is in every figure, the raw client's too. One takes connections and never answers. One is
//! not there.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::sink;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::client::micros;
use crate::error::Failure;
use crate::payload;

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    count: AtomicU64,
    /// The count that `reached` announces.
    goal: AtomicU64,
    reached: Notify,
    /// What payloads' time stamps count from.
    start: Instant,
    /// Microseconds from sent to received.
    ways: Mutex<Vec<u64>>,
}

impl Receiver {
    pub(crate) async fn start(start: Instant) -> Result<Self, Failure> {
        let listener = listen()?;
        let addr = listener
            .local_addr()
            .map_err(Failure::io("bind the receiver"))?;
        let shared = Arc::new(Shared {
            count: AtomicU64::new(0),
            goal: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            start,
            ways: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            addr,
            shared,
            accepting,
        })
    }

    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::Acquire)
    }

    /// Waits for so many requests in all.
    pub(crate) async fn wait_for(&self, goal: u64, limit: Duration) -> Result<(), Failure> {
        self.shared.goal.store(goal, Ordering::SeqCst);
        let reached = async {
            // The count is looked at after the goal is set: a request in between has announced nothing. And again
            // after each announcement, which may have been of an earlier goal.
            while self.count() < goal {
                self.shared.reached.notified().await;
            }
        };
        tokio::time::timeout(limit, reached)
            .await
            .map_err(|_| Failure::Lost {
                expected: goal,
                came: self.count(),
                seconds: limit.as_secs(),
            })
    }

    /// How long the payloads since the last call were on their way.
    pub(crate) fn take_ways(&self) -> Vec<Duration> {
        let mut ways = self
            .shared
            .ways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let ways = std::mem::take(&mut *ways).into_iter();
        ways.map(Duration::from_micros).collect()
    }
}

/// A port of its own. Ten endpoints open more connections at once than the 128 that wait by default.
pub(crate) fn listen() -> Result<TcpListener, Failure> {
    let failed = || Failure::io("bind the receiver");
    let socket = TcpSocket::new_v4().map_err(failed())?;
    socket.bind(([127, 0, 0, 1], 0).into()).map_err(failed())?;
    socket.listen(4_096).map_err(failed())
}

/// One that takes connections and never answers.
#[derive(Debug)]
pub(crate) struct Silent {
    pub(crate) addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Silent {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let listener = listen()?;
        let addr = listener
            .local_addr()
            .map_err(Failure::io("bind the receiver"))?;
        let accepting = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                // Until the sender gives up.
                tokio::spawn(async move { tokio::io::copy(&mut stream, &mut sink()).await });
            }
        });
        Ok(Self { addr, accepting })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address that refuses connections: reserved, so that nobody takes it, by a socket that does not listen.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) addr: SocketAddr,
    _reserved: TcpSocket,
}

impl Dead {
    pub(crate) fn reserve() -> Result<Self, Failure> {
        let failed = || Failure::io("reserve an address");
        let socket = TcpSocket::new_v4().map_err(failed())?;
        socket.bind(([127, 0, 0, 1], 0).into()).map_err(failed())?;
        Ok(Self {
            addr: socket.local_addr().map_err(failed())?,
            _reserved: socket,
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        // A socket that is gone already is the sender's to notice.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| take(&shared, request));
            // The sender may hang up whenever it likes.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn take(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let Ok(body) = request.into_body().collect().await else {
        // Cut off: not received, so not counted.
        return Ok(Response::new(Empty::new()));
    };
    if let Some(sent) = payload::sent_at(&body.to_bytes()) {
        let way = micros(shared.start.elapsed()).saturating_sub(sent);
        let mut ways = shared.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.push(way);
    }
    let count = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    if count >= shared.goal.load(Ordering::SeqCst) {
        shared.reached.notify_one();
    }
    Ok(Response::new(Empty::new()))
}
