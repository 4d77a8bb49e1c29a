//! [`Outbound`]: judges URLs and sends one POST at a time. One deadline from lookup to the end of the
//! response head, the body read within what is left of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use reqwest::{Client, Request};
use tokio::time::{Instant, timeout_at};

use super::allow::Allow;
use super::config::{Config, OutboundError};
use super::dial::{Clients, noting_dial};
use super::failure::SendError;
use super::judge::{self, Refusal, TargetUrl};
use super::resolve::{LookupError, NameResolver};

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
    clients: Clients,
    response_bytes: usize,
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
    pub fn new(config: &Config) -> Result<Self, OutboundError> {
        let allow = Arc::new(Allow::new(config));
        let names = Arc::new(NameResolver::new(&config.dns, Arc::clone(&allow))?);
        let clients = Clients::new(config, &names)?;
        let response_bytes = config.response_bytes;
        let inner = Inner {
            allow,
            names,
            clients,
            response_bytes,
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
        if let Some(name) = target.name() {
            let refuse_own = self.0.allow.is_own_port(target.port());
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
        let until = Instant::now() + deadline;
        // Again, because the client asks the resolver about names only.
        judge::judge_place(target, &self.0.allow).map_err(SendError::BlockedAddress)?;
        for name in &CONNECTION_FIELDS {
            headers.remove(name);
        }
        let clients = &self.0.clients;
        let client = if self.0.allow.is_own_port(target.port()) {
            &clients.own_port
        } else {
            &clients.pooled
        };
        let first = send(client, target, headers.clone(), body.clone(), until);
        let response = match noting_dial(first).await {
            (Err(error), false) if error.is_stale_connection() => {
                send(&clients.fresh, target, headers, body, until).await?
            }
            (result, _) => result?,
        };
        Ok(self.read(response, until).await)
    }

    async fn read(&self, mut response: reqwest::Response, until: Instant) -> Response {
        let status = response.status();
        let headers = std::mem::take(response.headers_mut());
        let mut bytes = Vec::new();
        let (mut truncated, mut incomplete) = (false, false);
        loop {
            match timeout_at(until, response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    let room = self.0.response_bytes - bytes.len();
                    bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        truncated = true;
                        break;
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(_)) | Err(_) => {
                    incomplete = true;
                    break;
                }
            }
        }
        Response {
            status,
            headers,
            body: CapturedBody {
                bytes: bytes.into(),
                truncated,
                incomplete,
            },
        }
    }
}

async fn send(
    client: &Client,
    target: &TargetUrl,
    headers: HeaderMap,
    body: Bytes,
    until: Instant,
) -> Result<reqwest::Response, SendError> {
    let mut request = Request::new(Method::POST, target.url().clone());
    *request.headers_mut() = headers;
    *request.body_mut() = Some(body.into());
    match timeout_at(until, client.execute(request)).await {
        Ok(sent) => sent.map_err(SendError::of_client),
        Err(_) => Err(SendError::Timeout),
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
