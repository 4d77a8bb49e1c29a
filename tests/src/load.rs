//! Load under which a fault happens, and the account of it afterwards: numbered messages of all sizes, a
//! receiver that knows every byte that each must have, and what was acknowledged, arrived, came twice.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use reqwest::Method;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::fault_table::FaultRow;
use crate::patience::within;
use crate::tenant::Tenant;

/// Senders at a time: enough for groups of several messages in one commit.
const SENDERS: u64 = 8;

/// Longest filling: with what is around it just below a mebibyte, the longest message that a gateway takes.
const LONGEST: usize = (1 << 20) - 1024;

/// The payload of this number, with a filling of at most so many bytes.
fn payload(number: u64, longest: usize) -> String {
    // Small ones, now and then one of many chunks, and the longest.
    let filling = match number {
        n if n % 19 == 7 => LONGEST,
        n if n % 23 == 0 => 200_000,
        _ => 200,
    };
    format!(
        r#"{{"number":{number},"filling":"{}"}}"#,
        "x".repeat(filling.min(longest))
    )
}

/// The number at the start of a payload.
fn number_of(body: &[u8]) -> Option<u64> {
    let digits = body.strip_prefix(br#"{"number":"#)?;
    let end = digits.iter().position(|byte| *byte == b',')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// What a receiver got of one message.
#[derive(Debug)]
struct Arrival {
    id: String,
    times: u64,
}

#[derive(Debug)]
struct Arrivals {
    /// Bytes of the longest filling.
    longest: usize,
    by_number: Mutex<HashMap<u64, Arrival>>,
    /// What no receiver should ever get.
    wrong: Mutex<Vec<String>>,
    count: watch::Sender<u64>,
}

/// Takes everything and checks it byte by byte.
#[derive(Debug)]
struct Sink {
    addr: SocketAddr,
    arrivals: Arc<Arrivals>,
    server: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    async fn start(longest: usize) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let arrivals = Arc::new(Arrivals {
            longest,
            by_number: Mutex::default(),
            wrong: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let router = axum::Router::new()
            .fallback(take)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&arrivals));
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .await
                .expect("serving does not end");
        });
        Self {
            addr,
            arrivals,
            server,
        }
    }

    /// Where it listens.
    fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State(arrivals): State<Arc<Arrivals>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    let complain = |what: String| {
        let mut wrong = arrivals.wrong.lock().expect("no test panics with it");
        wrong.push(what);
    };
    match number_of(&body) {
        Some(number) if body == payload(number, arrivals.longest).as_bytes() => {
            let mut all = arrivals.by_number.lock().expect("no test panics with it");
            let arrival = all.entry(number).or_insert_with(|| Arrival {
                id: id.clone(),
                times: 0,
            });
            arrival.times += 1;
            if arrival.id != id {
                complain(format!("{number} came as {} and as {id}", arrival.id));
            }
        }
        _ => complain(format!("{id} has {} bytes that nobody sent", body.len())),
    }
    arrivals.count.send_modify(|count| *count += 1);
    StatusCode::OK
}

/// What the senders did.
#[derive(Debug, Default)]
struct Sent {
    /// Every number that was ever put into a request, acknowledged or not.
    numbers: HashSet<u64>,
    /// Message by number, of those that were acknowledged.
    acknowledged: HashMap<u64, String>,
}

/// Sends until told to stop; a request that fails is not repeated.
async fn send(
    client: Client,
    path: String,
    longest: usize,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Sent {
    let mut sent = Sent::default();
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"eventType":"load","payload":{}}}"#,
            payload(number, longest)
        );
        sent.numbers.insert(number);
        let headers = [("content-type", "application/json")];
        let request = client.try_raw(Method::POST, &path, &headers, Some(body.into()));
        match request.await {
            Ok(reply) if reply.status == 202 => {
                sent.acknowledged.insert(number, reply.text("id"));
            }
            // Refused for a moment, as a gateway does whose disk is gone.
            Ok(reply) => {
                assert!(
                    [429, 503].contains(&reply.status),
                    "{}: {}",
                    reply.status,
                    String::from_utf8_lossy(&reply.body)
                );
                tokio::task::yield_now().await;
            }
            Err(_) => break,
        }
    }
    sent
}

/// A tenant's traffic through all rounds of one kind of fault.
#[derive(Debug)]
pub struct Load {
    /// Follows the gateway over its restarts.
    pub tenant: Tenant,
    endpoint: String,
    sink: Sink,
    next: Arc<AtomicU64>,
    sent: Sent,
    /// Acknowledged, not yet seen to have arrived.
    waiting: HashSet<u64>,
    rounds: u64,
}

impl Load {
    /// A tenant whose one endpoint checks every byte.
    pub async fn new(tenant: Tenant) -> Self {
        Self::up_to(LONGEST, tenant).await
    }

    /// The same with messages that are hardly longer than so many bytes.
    pub async fn up_to(longest: usize, tenant: Tenant) -> Self {
        let sink = Sink::start(longest).await;
        let endpoint = tenant.endpoint(&sink.url()).await;
        Self {
            tenant,
            endpoint,
            sink,
            next: Arc::default(),
            sent: Sent::default(),
            waiting: HashSet::new(),
            rounds: 0,
        }
    }

    /// Keeps messages that a test sends besides away from the receiver: it wants this load's type only.
    pub async fn only_the_load(&self) {
        let filter = serde_json::json!({"filterTypes": ["load"]});
        self.tenant.patch_endpoint(&self.endpoint, filter).await;
    }

    /// Sends for as long as `fault` takes.
    pub async fn during<T>(&mut self, fault: impl AsyncFnOnce() -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (client, path) = (self.tenant.client.clone(), self.tenant.path("/msg"));
            let (next, stop) = (Arc::clone(&self.next), Arc::clone(&stop));
            let longest = self.sink.arrivals.longest;
            senders.spawn(send(client, path, longest, next, stop));
        }
        let result = fault().await;
        stop.store(true, Ordering::Relaxed);
        for sent in senders.join_all().await {
            self.waiting.extend(sent.acknowledged.keys());
            self.sent.numbers.extend(sent.numbers);
            self.sent.acknowledged.extend(sent.acknowledged);
        }
        self.rounds += 1;
        result
    }

    /// Messages that were acknowledged so far, by identifier.
    pub fn acknowledged(&self) -> impl Iterator<Item = &str> {
        self.sent.acknowledged.values().map(String::as_str)
    }

    /// Waits until everything acknowledged has arrived, and checks that nothing else has.
    ///
    /// # Panics
    /// When something is lost, invented or not what was sent.
    pub async fn settle(&mut self) {
        let arrivals = &self.sink.arrivals;
        let mut count = arrivals.count.subscribe();
        let waiting = &mut self.waiting;
        let mut last: Vec<u64> = waiting.iter().copied().take(20).collect();
        let all = async {
            loop {
                count.borrow_and_update();
                {
                    let arrived = arrivals.by_number.lock().expect("no test panics with it");
                    waiting.retain(|number| !arrived.contains_key(number));
                }
                if waiting.is_empty() {
                    return;
                }
                count.changed().await.expect("the sink is there");
            }
        };
        within("every acknowledged message to arrive", all).await;
        self.check();
        // The API agrees with the receiver about some of them.
        for number in last.drain(..) {
            let id = &self.sent.acknowledged[&number];
            self.tenant.settled(id, &self.endpoint, "success").await;
        }
    }

    fn check(&self) {
        let wrong = self.sink.arrivals.wrong.lock();
        assert!(
            wrong.as_ref().is_ok_and(|wrong| wrong.is_empty()),
            "{wrong:?}"
        );
        let arrived = self.sink.arrivals.by_number.lock();
        for (number, arrival) in arrived.expect("no test panics with it").iter() {
            assert!(
                self.sent.numbers.contains(number),
                "{number} was never sent"
            );
            if let Some(id) = self.sent.acknowledged.get(number) {
                assert_eq!(*id, arrival.id, "{number} was acknowledged as another");
            }
        }
    }

    /// Adds up all rounds and reports them as a row of the fault table.
    ///
    /// # Panics
    /// When something was lost, or there was no load to speak of.
    pub fn report(&self, fault: &str) {
        let arrived = self.sink.arrivals.by_number.lock();
        let arrived = arrived.expect("no test panics with it");
        let accepted = self.sent.acknowledged.len();
        let there = |number: &&u64| arrived.contains_key(*number);
        let delivered = self.sent.acknowledged.keys().filter(there).count();
        FaultRow {
            fault,
            rounds: self.rounds,
            accepted: accepted as u64,
            delivered: delivered as u64,
            lost: (accepted - delivered) as u64,
            duplicated: arrived.values().map(|arrival| arrival.times - 1).sum(),
        }
        .report();
        assert!(accepted > 10, "a load that proves something");
    }
}
