//! Connections that post and wait for the answer. HTTP/1.1 with keep-alive, one request at a time: as much load as there
//! are connections, and no pool whose locks would be measured too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::Failure;
use crate::payload::Template;

/// Connections that share an open loop. Chosen: far more than are busy at once unless the gateway stalls.
const SENDERS: usize = 128;

/// The answers that ask to come back.
const TOO_MANY: u16 = 429;
const UNAVAILABLE: u16 = 503;

/// Chosen: well below the second that the gateway asks for, so that what keeps it busy is never the client's patience.
const COME_BACK: Duration = Duration::from_millis(20);

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

    /// Posts JSON and reads the whole answer. Comes back when it is told to.
    pub(crate) async fn post(&mut self, target: &Target, body: Bytes) -> Result<(), Failure> {
        loop {
            let sent = self
                .send(Method::POST, target, "application/json", body.clone())
                .await;
            match sent {
                Err(Failure::Refused {
                    status: TOO_MANY | UNAVAILABLE,
                    ..
                }) => tokio::time::sleep(COME_BACK).await,
                answer => return answer.map(drop),
            }
        }
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

/// Posts from `callers` connections at once, each sending as soon as it has its answer. The stamps are microseconds since
/// `start`.
pub(crate) async fn post(
    target: &Target,
    callers: usize,
    until: Until,
    start: Instant,
    body: &Template,
) -> Result<Load, Failure> {
    let mut connections = Vec::new();
    for _ in 0..callers {
        connections.push(Connection::open(target.addr).await?);
    }
    let mut running = JoinSet::new();
    let began = Instant::now();
    for (first, mut connection) in (0_u64..).zip(connections) {
        let (target, body) = (target.clone(), body.clone());
        let numbers = match until {
            Until::Elapsed(_) => first..u64::MAX,
            Until::Sent(all) => first..all,
        };
        running.spawn(async move {
            let mut times = Vec::new();
            for number in numbers.step_by(callers) {
                if matches!(until, Until::Elapsed(limit) if began.elapsed() >= limit) {
                    break;
                }
                let sent = Instant::now();
                let stamped = body.stamped(number, micros(sent - start));
                connection.post(&target, stamped).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, Failure>(times)
        });
    }
    let times = all_times(running).await?;
    Ok(Load {
        elapsed: began.elapsed(),
        times,
    })
}

/// Posts `rate` messages a second, spread evenly, each when it is due, whether or not earlier ones have been answered: a
/// server that stalls pays for all who had to wait. Times and stamps count from when a message was due, not from when it
/// got its turn.
pub(crate) async fn post_when_due(
    target: &Target,
    rate: f64,
    messages: u64,
    start: Instant,
    body: &Template,
) -> Result<Vec<Duration>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..SENDERS {
        connections.push(Connection::open(target.addr).await?);
    }
    let turns = Arc::new(Semaphore::new(0));
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let due = move |number: u64| began + Duration::from_secs_f64(number as f64 / rate);
    let mut senders = JoinSet::new();
    for mut connection in connections {
        let (target, body) = (target.clone(), body.clone());
        let (turns, next) = (Arc::clone(&turns), Arc::clone(&next));
        senders.spawn(async move {
            let mut times = Vec::new();
            // Closed when all messages have had their turn.
            while let Ok(turn) = turns.acquire().await {
                turn.forget();
                let number = next.fetch_add(1, Ordering::Relaxed);
                let due = due(number);
                let stamped = body.stamped(number, micros(due - start));
                connection.post(&target, stamped).await?;
                times.push(due.elapsed());
                if number + 1 == messages {
                    turns.close();
                }
            }
            Ok::<_, Failure>(times)
        });
    }
    // A thread of its own, since the runtime's timers round up to a millisecond.
    let pacer = tokio::task::spawn_blocking(move || {
        for number in 0..messages {
            std::thread::sleep(due(number).saturating_duration_since(Instant::now()));
            turns.add_permits(1);
        }
    });
    let times = all_times(senders).await;
    pacer.await.expect("the pacer does not panic");
    times
}

async fn all_times(
    mut callers: JoinSet<Result<Vec<Duration>, Failure>>,
) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    while let Some(done) = callers.join_next().await {
        times.extend(done.expect("a caller does not panic")?);
    }
    Ok(times)
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
