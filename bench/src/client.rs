//! Connections that post and wait for the answer. HTTP/1.1 with keep-alive, one request at a time: as much load as there
//! are connections, and no pool whose locks would be measured too.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::error::Failure;

/// Where and as whom to post.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    /// `Bearer …`, if it takes one.
    pub(crate) authorization: Option<HeaderValue>,
}

/// One kept-alive connection.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

/// What a number of callers got done.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) elapsed: Duration,
    /// Of every answer; unsorted.
    pub(crate) times: Vec<Duration>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// How long callers go on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// Requests of all callers together.
    Sent(u64),
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(addr)
            .await
            .map_err(Failure::io("connect"))?;
        stream.set_nodelay(true).map_err(Failure::io("connect"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; an error shows at the next request.
        tokio::spawn(connection);
        let host = HeaderValue::try_from(addr.to_string()).expect("an address is visible ASCII");
        Ok(Self { sender, host })
    }

    /// Posts JSON and reads the whole answer.
    pub(crate) async fn post(&mut self, target: &Target, body: Bytes) -> Result<(), Failure> {
        self.send(Method::POST, target, "application/json", body)
            .await
            .map(drop)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(
        &mut self,
        method: Method,
        target: &Target,
        content_type: &'static str,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        self.sender.ready().await?;
        let asked = || format!("{method} {}", target.path);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = target.path.parse().expect("the paths are our own");
        request.headers_mut().insert(HOST, self.host.clone());
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(authorization) = &target.authorization {
            request
                .headers_mut()
                .insert(AUTHORIZATION, authorization.clone());
        }
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            let body = String::from_utf8_lossy(&body).into_owned();
            Err(Failure::Refused {
                asked: asked(),
                status: status.as_u16(),
                body,
            })
        }
    }
}

/// Posts from `callers` connections at once, each sending as soon as it has its answer. `body` is given the microseconds
/// since `start`.
pub(crate) async fn post(
    target: &Target,
    callers: usize,
    until: Until,
    start: Instant,
    body: fn(u64) -> Bytes,
) -> Result<Load, Failure> {
    let mut connections = Vec::new();
    for _ in 0..callers {
        connections.push(Connection::open(target.addr).await?);
    }
    let mut running = JoinSet::new();
    let began = Instant::now();
    for (number, mut connection) in (0_u64..).zip(connections) {
        let target = target.clone();
        let share = match until {
            Until::Elapsed(_) => u64::MAX,
            Until::Sent(all) => all / callers as u64 + u64::from(number < all % callers as u64),
        };
        running.spawn(async move {
            let mut times = Vec::new();
            while (times.len() as u64) < share {
                if matches!(until, Until::Elapsed(limit) if began.elapsed() >= limit) {
                    break;
                }
                let sent = Instant::now();
                let body = body(micros(sent - start));
                connection.post(&target, body).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = running.join_next().await {
        times.extend(done.expect("a caller does not panic")?);
    }
    Ok(Load {
        elapsed: began.elapsed(),
        times,
    })
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
