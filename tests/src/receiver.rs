//! A receiver: a real HTTP server that answers as it was told and remembers what it got.
//!
//! ```no_run
//! # async fn example() {
//! use hookmill_tests::Receiver;
//! let receiver = Receiver::start().answer(503).times(2).then(200).await;
//! let three = receiver.wait_for(3).await;
//! # }
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use crate::patience::PATIENCE;

/// Largest body a receiver takes: above what any gateway in these tests can send.
const MAX_BODY: usize = 64 << 20;

/// A running receiver; stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

/// What a receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    /// Request method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Every header.
    pub headers: HeaderMap,
    /// The body, byte for byte.
    pub body: Bytes,
    /// When the whole request had been read.
    pub at: Instant,
    /// The status it is answered with.
    pub answer: u16,
}

/// Says how a receiver answers; awaiting it starts the receiver.
#[derive(Debug)]
pub struct ReceiverBuilder {
    script: VecDeque<(Answer, usize)>,
    last: Answer,
    gate: Option<usize>,
    fails: Option<(u16, f64)>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    after: Duration,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<VecDeque<(Answer, usize)>>,
    last: Mutex<Answer>,
    got: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
    /// A status that is answered at random instead, and how often of one.
    fails: Option<(u16, f64)>,
    /// One permit is one answer; without a gate there are more than any test takes.
    gate: Semaphore,
}

impl Receiver {
    /// A receiver on a free port that answers 200, unless told otherwise.
    pub fn start() -> ReceiverBuilder {
        ReceiverBuilder {
            script: VecDeque::new(),
            last: Answer::new(200),
            gate: None,
            fails: None,
        }
    }

    /// Where it listens: `http://127.0.0.1:PORT/hook`.
    pub fn url(&self) -> String {
        self.url_of("/hook")
    }

    /// The same with a path.
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on it answers this.
    pub fn now_answers(&self, status: u16) {
        lock(&self.shared.script).clear();
        *lock(&self.shared.last) = Answer::new(status);
    }

    /// Lets this many held requests be answered.
    pub fn release(&self, answers: usize) {
        self.shared.gate.add_permits(answers);
    }

    /// All it got so far.
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.got).clone()
    }

    /// How many requests it got so far.
    pub fn count(&self) -> usize {
        lock(&self.shared.got).len()
    }

    /// The first `n` requests, as soon as there are so many.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, n: usize) -> Vec<Received> {
        self.wait_until(&format!("{n} requests"), |got| {
            (got.len() >= n).then(|| got[..n].to_vec())
        })
        .await
    }

    /// The request after the first `seen`, however long it takes: for who watches.
    ///
    /// # Panics
    /// When the receiver has stopped.
    pub async fn next_after(&self, seen: usize) -> Received {
        let mut count = self.shared.count.subscribe();
        let arrived = count.wait_for(|count| *count > seen).await.map(drop);
        arrived.expect("the receiver is running");
        lock(&self.shared.got)[seen].clone()
    }

    /// What `find` makes of the requests, asked anew at every request.
    ///
    /// # Panics
    /// When it finds nothing in time.
    pub async fn wait_until<T>(&self, what: &str, find: impl Fn(&[Received]) -> Option<T>) -> T {
        let mut count = self.shared.count.subscribe();
        let search = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = find(&lock(&self.shared.got)) {
                    return found;
                }
                if count.changed().await.is_err() {
                    panic!("the receiver has stopped");
                }
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!(
                "{}: waited {PATIENCE:?} in vain for {what}; got {}: {:?}",
                self.addr,
                self.count(),
                self.requests()
                    .iter()
                    .rev()
                    .take(3)
                    .map(|request| (&request.path, String::from_utf8_lossy(&request.body)))
                    .collect::<Vec<_>>()
            ),
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    /// A header's text; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
    }

    /// The message's identifier.
    pub fn message_id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the receiver got JSON")
    }
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            after: Duration::ZERO,
        }
    }
}

impl ReceiverBuilder {
    /// Answers this from the start; followed by [`Self::times`] only so often.
    pub fn answer(mut self, status: u16) -> Self {
        self.last = Answer::new(status);
        self
    }

    /// The last named answer is given so often; then the next.
    pub fn times(mut self, times: usize) -> Self {
        self.script.push_back((self.last.clone(), times));
        self
    }

    /// The next answer, given for ever unless [`Self::times`] follows.
    pub fn then(self, status: u16) -> Self {
        self.answer(status)
    }

    /// A header of the last named answer.
    ///
    /// # Panics
    /// When it is no header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.last.headers.append(
            HeaderName::try_from(name).expect("a test names a header"),
            HeaderValue::try_from(value).expect("a test gives a header's value"),
        );
        self
    }

    /// The body of the last named answer.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.last.body = body.into();
        self
    }

    /// The last named answer comes so late: a slow receiver.
    pub fn after(mut self, delay: Duration) -> Self {
        self.last.after = delay;
        self
    }

    /// Requests are taken and held, and answered only when [`Receiver::release`] says so.
    pub fn held(mut self) -> Self {
        self.gate = Some(0);
        self
    }

    /// Answers this instead at random: so often of one.
    pub fn or_at_random(mut self, status: u16, share: f64) -> Self {
        self.fails = Some((status, share));
        self
    }

    async fn run(self) -> Receiver {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(self.script),
            last: Mutex::new(self.last),
            got: Mutex::new(Vec::new()),
            count: watch::Sender::new(0),
            fails: self.fails,
            gate: Semaphore::new(self.gate.unwrap_or(Semaphore::MAX_PERMITS / 2)),
        });
        let router = axum::Router::new()
            .fallback(take)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serving does not end");
        });
        Receiver {
            addr,
            shared,
            server,
        }
    }
}

impl IntoFuture for ReceiverBuilder {
    type Output = Receiver;
    type IntoFuture = Pin<Box<dyn Future<Output = Receiver> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl Shared {
    fn next_answer(&self) -> Answer {
        if let Some((status, share)) = self.fails
            && rand::random_bool(share)
        {
            return Answer::new(status);
        }
        let mut script = lock(&self.script);
        while let Some((answer, left)) = script.front_mut() {
            if *left > 0 {
                *left -= 1;
                return answer.clone();
            }
            script.pop_front();
        }
        lock(&self.last).clone()
    }
}

async fn take(State(shared): State<Arc<Shared>>, request: http::Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return status_only(400);
    };
    // The answer is drawn under the same lock as the record, so that the nth request gets the nth answer.
    let answer = {
        let mut got = lock(&shared.got);
        let answer = shared.next_answer();
        got.push(Received {
            method: head.method.to_string(),
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            body,
            at: Instant::now(),
            answer: answer.status,
        });
        shared.count.send_replace(got.len());
        answer
    };
    if let Ok(permit) = shared.gate.acquire().await {
        permit.forget();
    }
    if !answer.after.is_zero() {
        tokio::time::sleep(answer.after).await;
    }
    let mut response = status_only(answer.status);
    *response.headers_mut() = answer.headers;
    *response.body_mut() = Body::from(answer.body);
    response
}

fn status_only(status: u16) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).expect("a test gives a status");
    response
}

/// A test's lock is never poisoned by anything but a failing test.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds this")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_as_told_and_remembers() {
        let receiver = Receiver::start()
            .answer(503)
            .times(2)
            .then(200)
            .body("ok")
            .await;
        let client = reqwest::Client::new();
        let mut codes = Vec::new();
        for n in 0..4 {
            let request = client.post(receiver.url()).body(n.to_string());
            codes.push(request.send().await.unwrap().status().as_u16());
        }
        assert_eq!(codes, [503, 503, 200, 200]);
        let got = receiver.wait_for(4).await;
        let bodies: Vec<_> = got.iter().map(|one| one.body.clone()).collect();
        assert_eq!(bodies, ["0", "1", "2", "3"]);
    }

    #[tokio::test]
    async fn holds_what_it_has_taken() {
        let receiver = Receiver::start().held().await;
        let request = tokio::spawn(reqwest::get(receiver.url()));
        receiver.wait_for(1).await;
        assert!(!request.is_finished());
        receiver.release(1);
        assert_eq!(request.await.unwrap().unwrap().status().as_u16(), 200);
    }
}
