//! Bodies that a handler left unread. A connection on which bytes still arrive can not be used again, and a
//! sender whose connection is closed while it writes never reads why: so the rest is read and dropped first,
//! within bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use bytes::Bytes;
use futures_util::stream;
use http::header;
use http_body_util::{BodyExt as _, Limited};
use parking_lot::Mutex;

use super::config::Config;

/// The body of a request that is with its handler.
#[derive(Debug)]
pub(super) struct Unread(Option<Arc<Mutex<Body>>>);

/// Lends the request's body to whoever handles it.
pub(super) fn lend(request: Request) -> (Request, Unread) {
    // A sender that waits for permission has sent nothing, and one without a body neither.
    if request.headers().contains_key(header::EXPECT) || request.body().is_end_stream() {
        return (request, Unread(None));
    }
    let (parts, body) = request.into_parts();
    let owned = Arc::new(Mutex::new(body));
    let lent = Arc::clone(&owned);
    let chunks = stream::poll_fn(move |context| poll_chunk(&lent, context));
    (
        Request::from_parts(parts, Body::from_stream(chunks)),
        Unread(Some(owned)),
    )
}

fn poll_chunk(body: &Mutex<Body>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
    loop {
        return match Pin::new(&mut *body.lock()).poll_frame(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error))),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Poll::Ready(Some(Ok(bytes))),
                // Trailers: nothing that a handler looks at.
                Err(_) => continue,
            },
        };
    }
}

impl Unread {
    /// Reads what is left and drops it. Called once the handler has ended.
    pub(super) async fn drain(self, config: &Config) {
        let Some(body) = self.0 else { return };
        let body = std::mem::take(&mut *body.lock());
        if body.is_end_stream() {
            return;
        }
        let mut rest = Limited::new(body, config.drain_bytes);
        let reading = async { while let Some(Ok(_)) = rest.frame().await {} };
        let within = Duration::from_millis(config.drain_timeout_ms);
        // Too much or too slow: the connection is closed, and the sender may not hear why.
        let _ = tokio::time::timeout(within, reading).await;
    }
}
