//! Open connections: one that speaks HTTP/1.1 for a request at a time, one that speaks HTTP/2 for many. Knows
//! no name, no address and no pool.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// Largest head of an answer in bytes. Chosen: 64 KiB hold what any server sends, and no more is kept of one
/// that never ends. The number of fields is bounded by the library, to 100 in HTTP/1.1.
const MAX_HEAD: u32 = 64 * 1024;
/// A ping after so long without a frame while requests are open. Chosen: an HTTP/2 connection that a middle
/// box has forgotten must not time out more than one round of attempts.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Streams before the receiver has said how many it takes: the one that the connection was made for.
const FIRST_STREAMS: usize = 1;

/// A request's body: all of it is at hand.
pub(super) type Body = Full<Bytes>;

/// What reads and writes the socket of an HTTP/1.1 connection while it is polled.
type Wire = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection over which a request can be sent.
#[derive(Debug)]
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// Speaks HTTP/1.1. It has no task of its own: whoever sends over it drives it, which saves the switches
/// between two tasks at every request, and an idle one takes no time at all.
pub(super) struct Http1 {
    sender: http1::SendRequest<Body>,
    /// None once it has ended.
    wire: Option<Wire>,
}

/// Speaks HTTP/2, driven by a task that ends with the last clone and the last stream.
#[derive(Debug, Clone)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
    clones: Arc<()>,
}

impl Connection {
    /// Begins to speak HTTP over an open stream.
    pub(super) async fn over<S>(stream: S, speaks_http2: bool) -> hyper::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(stream);
        if !speaks_http2 {
            let (sender, wire) = http1::Builder::new()
                .max_buf_size(MAX_HEAD as usize)
                .max_header_size(MAX_HEAD as usize)
                .handshake(stream)
                .await?;
            let wire = Some(Box::pin(wire) as _);
            return Ok(Self::Http1(Http1 { sender, wire }));
        }
        let (sender, wire) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_header_list_size(MAX_HEAD)
            .initial_max_send_streams(FIRST_STREAMS)
            .handshake(stream)
            .await?;
        tokio::spawn(async move {
            // Whoever has a stream on it is told as well.
            if let Err(error) = wire.await {
                tracing::debug!(%error, "an HTTP/2 connection ended");
            }
        });
        let clones = Arc::default();
        Ok(Self::Http2(Http2 { sender, clones }))
    }

    /// Its name in metrics.
    pub(super) const fn protocol(&self) -> &'static str {
        match self {
            Self::Http1(_) => "http/1.1",
            Self::Http2(_) => "http/2",
        }
    }

    /// Sends a request and waits for the head of its answer. Cancel-safe: a dropped future ends the request,
    /// and over HTTP/1.1 its connection with it.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(Http1 { sender, wire }) => drive(wire, sender.send_request(request)).await,
            Self::Http2(Http2 { sender, .. }) => sender.send_request(request).await,
        }
    }

    /// The next piece of an answer's body.
    pub(super) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        match self {
            Self::Http1(Http1 { wire, .. }) => drive(wire, body.frame()).await,
            Self::Http2(_) => body.frame().await,
        }
    }
}

impl Http1 {
    /// Whether the next request can be written to it: all of the last one was, its answer was read to the
    /// end, and the receiver has not closed it. Leaves nobody to be woken by it.
    pub(super) fn is_idle(&mut self) -> bool {
        let Some(wire) = &mut self.wire else {
            return false;
        };
        let mut nobody = Context::from_waker(Waker::noop());
        wire.as_mut().poll(&mut nobody).is_pending() && self.sender.is_ready()
    }
}

impl Http2 {
    /// Whether it still takes requests, so far as this side knows.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Whether anyone beside the holder of this clone is using it.
    pub(super) fn is_busy(&self) -> bool {
        Arc::strong_count(&self.clones) > 1
    }
}

/// Runs the connection until `work` on it is done.
async fn drive<T>(wire: &mut Option<Wire>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if let Some(running) = wire
            && running.as_mut().poll(cx).is_ready()
        {
            // Why it ended is told to the request that was on it.
            *wire = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1").finish_non_exhaustive()
    }
}
