//! The cheapest receiver there is: it reads the body, counts, and answers 200 over kept-alive HTTP/1.1. Its cost is in
//! every figure, the raw client's too.

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
use tokio::net::TcpListener;
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
    /// Microseconds from sent to received, where the receiver was started to keep them.
    ways: Option<Mutex<Vec<u64>>>,
}

impl Receiver {
    /// One that counts only.
    pub(crate) async fn counting(start: Instant) -> Result<Self, Failure> {
        Self::start(start, None).await
    }

    /// One that also keeps how long each payload was on its way.
    pub(crate) async fn timing(start: Instant) -> Result<Self, Failure> {
        Self::start(start, Some(Mutex::default())).await
    }

    async fn start(start: Instant, ways: Option<Mutex<Vec<u64>>>) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(Failure::io("bind the receiver"))?;
        let addr = listener
            .local_addr()
            .map_err(Failure::io("bind the receiver"))?;
        let shared = Arc::new(Shared {
            count: AtomicU64::new(0),
            goal: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            start,
            ways,
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
        // After the goal is set: a request in between has announced nothing.
        if self.count() >= goal {
            return Ok(());
        }
        tokio::time::timeout(limit, self.shared.reached.notified())
            .await
            .map_err(|_| Failure::Lost {
                expected: goal,
                came: self.count(),
                seconds: limit.as_secs(),
            })
    }

    /// How long the payloads so far were on their way.
    pub(crate) fn ways(&self) -> Vec<Duration> {
        let kept = self
            .shared
            .ways
            .as_ref()
            .map(|ways| ways.lock().unwrap_or_else(PoisonError::into_inner));
        kept.iter()
            .flat_map(|ways| ways.iter().copied().map(Duration::from_micros))
            .collect()
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
    if let Some(ways) = &shared.ways
        && let Some(sent) = payload::sent_at(&body.to_bytes())
    {
        let way = micros(shared.start.elapsed()).saturating_sub(sent);
        ways.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(way);
    }
    let count = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    if count >= shared.goal.load(Ordering::SeqCst) {
        shared.reached.notify_one();
    }
    Ok(Response::new(Empty::new()))
}
