//! [`Outbound`]: judges URLs and sends one POST at a time. One deadline from lookup to the end of the
//! response head, the body read within what is left of it.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::allow::Allow;
use super::config::{Config, OutboundError};
use super::connection::{Body, Connection};
use super::dial::Dialer;
use super::failure::{SecondTry, SendError};
use super::judge::{self, Refusal, TargetUrl};
use super::pool::Pool;
use super::resolve::{LookupError, NameResolver};
use crate::metrics::Metrics;

/// Fields that belong to the connection and not to the message: given by a tenant they would move the
/// request to another virtual host, or cut it where the next one on the connection would begin.
const CONNECTION_FIELDS: [HeaderName; 11] = [
    HOST,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    EXPECT,
    TE,
    TRAILER,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The way out. Cheap to clone; all clones share connections.
#[derive(Debug, Clone)]
pub struct Outbound(
    Arc<Inner>,
    #[cfg(test)] Option<Arc<dyn super::stub::outside::Outside>>,
);

struct Inner {
    allow: Arc<Allow>,
    names: Arc<NameResolver>,
    dialer: Dialer,
    pool: Arc<Pool>,
    metrics: Arc<Metrics>,
    user_agent: HeaderValue,
    response_bytes: usize,
}

/// A request whose answer has begun.
struct Exchange {
    connection: Connection,
    answer: http::Response<Incoming>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    /// The final status; interim ones are skipped by the library.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// The first bytes of its body.
    pub body: CapturedBody,
}

/// The first bytes of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapturedBody {
    /// As they came, compressed or not.
    pub bytes: Bytes,
    /// There was more than is kept; the rest was not read.
    pub truncated: bool,
    /// It broke off: by a reset, by invalid framing, or at the deadline.
    pub incomplete: bool,
}

impl Outbound {
    /// Reads the resolver configuration and the root certificates.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, OutboundError> {
        let allow = Arc::new(Allow::new(config));
        let names = Arc::new(NameResolver::new(&config.dns, Arc::clone(&allow))?);
        let user_agent =
            HeaderValue::from_str(&config.user_agent).map_err(OutboundError::UserAgent)?;
        let inner = Inner {
            dialer: Dialer::new(config, Arc::clone(&names), Arc::clone(&allow))?,
            pool: Pool::new(&config.pool),
            allow,
            names,
            metrics,
            user_agent,
            response_bytes: config.response_bytes,
        };
        Ok(Self(
            Arc::new(inner),
            #[cfg(test)]
            None,
        ))
    }

    /// The same way out, to what is not real.
    #[cfg(test)]
    pub(crate) fn leading_to(&self, outside: Arc<dyn super::stub::outside::Outside>) -> Self {
        Self(Arc::clone(&self.0), Some(outside))
    }

    /// Judges a URL without asking anybody.
    pub fn judge(&self, url: &str) -> Result<TargetUrl, Refusal> {
        judge::judge(url, &self.0.allow)
    }

    /// Judges a URL and what its name answers now. Advice to whoever registers it, since a delivery asks
    /// again: a name without an answer, or without one in time, is not refused. Takes at most the DNS
    /// timeout. Cancel-safe.
    pub async fn judge_registration(&self, url: &str) -> Result<TargetUrl, Refusal> {
        let target = self.judge(url)?;
        let origin = target.origin();
        if let Some(name) = origin.name() {
            let refuse_own = self.0.allow.is_own_port(origin.port);
            if let Err(LookupError::Refused(refusal)) = self.0.names.judged(name, refuse_own).await
            {
                return Err(refusal);
            }
        }
        Ok(target)
    }

    /// Sends one POST. `deadline` runs from now to the end of the response head; the body is read for
    /// whatever is left of it. A reused connection that ends without an answer is tried once more on a
    /// fresh one: the receiver's idle timeout is not the message's failure. Header fields that belong to the
    /// connection are left out.
    ///
    /// Cancel-safe: a dropped future closes its connection; the receiver may have got the request.
    pub async fn post(
        &self,
        target: &TargetUrl,
        mut headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Response, SendError> {
        #[cfg(test)]
        if let Some(outside) = &self.1 {
            return outside.post(target, &headers, deadline).await;
        }
        let mut deadline = pin!(sleep_until(Instant::now() + deadline));
        // Again, because nobody is asked about an address.
        judge::judge_place(target, &self.0.allow).map_err(SendError::BlockedAddress)?;
        for name in &CONNECTION_FIELDS {
            headers.remove(name);
        }
        headers
            .entry(ACCEPT)
            .or_insert(const { HeaderValue::from_static("*/*") });
        headers
            .entry(USER_AGENT)
            .or_insert_with(|| self.0.user_agent.clone());
        let exchange = within(deadline.as_mut(), self.0.exchange(target, headers, body))
            .await
            .unwrap_or(Err(SendError::Timeout))?;
        Ok(self.0.read(target, exchange, deadline).await)
    }
}

impl Inner {
    /// Sends a request, a second time where the table of transport outcomes allows it.
    async fn exchange(
        &self,
        target: &TargetUrl,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Exchange, SendError> {
        let (mut connection, was_reused) = self.connection(target).await?;
        let again = headers.clone();
        let first = request(target, &connection, headers, body.clone());
        let error = match connection.send(first).await {
            Ok(answer) => return Ok(Exchange { connection, answer }),
            Err(error) => error,
        };
        let mut connection = match SecondTry::after(&error, was_reused) {
            SecondTry::None => return Err(SendError::of_http(error)),
            SecondTry::AnyConnection => self.connection(target).await?.0,
            SecondTry::FreshConnection => Box::pin(self.dial(target)).await?,
        };
        let second = request(target, &connection, again, body);
        match connection.send(second).await {
            Ok(answer) => Ok(Exchange { connection, answer }),
            Err(error) => Err(SendError::of_http(error)),
        }
    }

    /// An open connection, or a new one; whether it had been open before.
    async fn connection(&self, target: &TargetUrl) -> Result<(Connection, bool), SendError> {
        if let Some(open) = self.take(target) {
            return Ok((open, true));
        }
        let _lead = if target.may_speak_http2() {
            match self.pool.lead(target.origin()) {
                Ok(lead) => Some(lead),
                Err(first) => {
                    first.cancelled().await;
                    if let Some(open) = self.take(target) {
                        return Ok((open, true));
                    }
                    None
                }
            }
        } else {
            None
        };
        // Boxed: 8 KiB that every attempt would carry about, and most find an open connection.
        Ok((Box::pin(self.dial(target)).await?, false))
    }

    fn take(&self, target: &TargetUrl) -> Option<Connection> {
        let open = self.pool.take(target.origin())?;
        self.metrics.connected(open.protocol(), true);
        Some(open)
    }

    async fn dial(&self, target: &TargetUrl) -> Result<Connection, SendError> {
        let connection = self.dialer.dial(target.origin()).await?;
        self.metrics.connected(connection.protocol(), false);
        match &connection {
            Connection::Http1(_) => target.note_http1(true),
            Connection::Http2(shared) => {
                target.note_http1(false);
                self.pool.share(target.origin(), shared.clone());
            }
        }
        Ok(connection)
    }

    /// Reads the body until its end, the limit or the deadline; then the connection is free for the next.
    async fn read(
        &self,
        target: &TargetUrl,
        exchange: Exchange,
        deadline: Pin<&mut Sleep>,
    ) -> Response {
        let Exchange {
            mut connection,
            answer,
        } = exchange;
        let (head, mut body) = answer.into_parts();
        let mut captured = CapturedBody::default();
        let reading = captured.read(&mut connection, &mut body, self.response_bytes);
        if within(deadline, reading).await.is_none() {
            captured.incomplete = true;
        }
        if let Connection::Http1(connection) = connection
            && !captured.truncated
            && !captured.incomplete
        {
            self.pool.put(target.origin(), connection);
        }
        Response {
            status: head.status,
            headers: head.headers,
            body: captured,
        }
    }
}

impl CapturedBody {
    /// Reads up to `limit` bytes. Cancel-safe: what was read by then is kept.
    async fn read(&mut self, connection: &mut Connection, body: &mut Incoming, limit: usize) {
        while let Some(frame) = connection.frame(body).await {
            // Trailers say nothing here.
            let Ok(piece) = frame.map(|frame| frame.into_data().unwrap_or_default()) else {
                self.incomplete = true;
                return;
            };
            let room = limit - self.bytes.len();
            self.truncated = piece.len() > room;
            self.append(piece.slice(..piece.len().min(room)));
            if self.truncated {
                return;
            }
        }
    }

    fn append(&mut self, piece: Bytes) {
        if self.bytes.is_empty() {
            // As most bodies come: in one piece, not copied.
            self.bytes = piece;
        } else if !piece.is_empty() {
            let mut joined = BytesMut::from(std::mem::take(&mut self.bytes));
            joined.extend_from_slice(&piece);
            self.bytes = joined.freeze();
        }
    }
}

/// The request in the form that the connection's protocol has for it.
fn request(
    target: &TargetUrl,
    connection: &Connection,
    headers: HeaderMap,
    body: Bytes,
) -> Request<Body> {
    let mut request = Request::new(Body::new(body));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    *request.uri_mut() = match connection {
        Connection::Http1(_) => {
            let host = target.authority().clone();
            request.headers_mut().insert(HOST, host);
            target.path().clone()
        }
        // Its authority stands in the URI.
        Connection::Http2(_) => target.uri().clone(),
    };
    request
}

/// None: the deadline came first.
async fn within<T>(deadline: Pin<&mut Sleep>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        () = deadline => None,
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
