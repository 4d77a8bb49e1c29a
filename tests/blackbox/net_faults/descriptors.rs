//! The gateway has no descriptor left: it can take no connection and make none. It says so, waits, uses no tries, and
//! goes on once there are some again.

use std::time::Instant;

use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use serde_json::json;
use tokio::net::TcpStream;

use super::{count, send, wait_for_all};

/// Descriptors that are left when the limit falls.
const LEFT: u64 = 16;

/// Idle connections that take them, with more behind in the system's queue.
const IDLE: u64 = 64;

const ROUNDS: usize = 3;

async fn logged(gateway: &Gateway, text: &str, times: usize) {
    eventually(text, async || {
        let found = gateway.log().matches(text).count();
        (found >= times)
            .then_some(())
            .ok_or_else(|| format!("{found} of {times}"))
    })
    .await;
}

/// Messages that wait at a paused endpoint, each to need a descriptor: its receiver ends every connection.
struct Queue {
    tenant: Tenant,
    endpoint: String,
    receiver: Receiver,
    sent: Vec<String>,
}

impl Queue {
    async fn new(gateway: &Gateway) -> Self {
        let tenant = Tenant::new(gateway).await;
        let receiver = Receiver::start()
            .answer(200)
            .header("connection", "close")
            .await;
        let endpoint = tenant.endpoint(&receiver.url_of("/")).await;
        Self {
            tenant,
            endpoint,
            receiver,
            sent: Vec::new(),
        }
    }

    async fn fill(&mut self) {
        self.call("pause").await;
        self.sent.extend(send(&self.tenant, 50, 0).await);
    }

    /// A single request, over the connection that the client has kept: there may be no other.
    async fn open(&self) {
        self.call("resume").await;
    }

    async fn call(&self, what: &str) {
        let path = self
            .tenant
            .path(&format!("/endpoint/{}/{what}", self.endpoint));
        self.tenant.client.post(&path, json!({})).await.expect(200);
    }

    async fn arrive(&self) -> u64 {
        wait_for_all(&self.receiver, "/", &self.sent).await
    }
}

/// Connections that send nothing.
async fn idle(gateway: &Gateway, count: u64) -> Vec<TcpStream> {
    let address = gateway.url().trim_start_matches("http://");
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    idle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_everything_waits() {
    // A single retry: a try that was used up would show.
    let mut gateway = Gateway::builder().retry_schedule("50ms").start().await;
    let mut queue = Queue::new(&gateway).await;
    let start = Instant::now();
    for round in 1..=ROUNDS {
        queue.fill().await;
        gateway.limit_open_files(Some(gateway.open_files() + LEFT));
        let idle = idle(&gateway, IDLE).await;
        logged(&gateway, "no connection taken", round).await;
        queue.open().await;
        logged(&gateway, "an attempt is postponed", round).await;
        match round {
            // The connections end, or the operator raises the limit.
            1 => drop(idle),
            _ => gateway.limit_open_files(None),
        }
        queue.arrive().await;
    }
    assert!(gateway.log().contains("Too many open files"));
    // Once a second while it lasts, whatever waits outside.
    let refusals = gateway.log().matches("no connection taken").count();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(refusals <= seconds + ROUNDS, "{refusals} in {seconds} s");
    let tenant = &queue.tenant;
    for message in &queue.sent {
        tenant.settled(message, &queue.endpoint, "success").await;
        let attempts = tenant.attempts_now(message).await;
        assert_eq!(attempts.len(), 1, "no try was used up: {attempts:?}");
    }

    // The store has taken no harm.
    gateway.restart().await;
    queue.tenant = queue.tenant.with_client(gateway.client().await);
    queue.sent.extend(send(&queue.tenant, 1, 0).await);
    let repeated = queue.arrive().await;
    FaultRow {
        fault: "no file descriptors left",
        rounds: count(ROUNDS),
        accepted: count(queue.sent.len()),
        delivered: count(queue.sent.len()),
        lost: 0,
        duplicated: repeated,
    }
    .report();
}

#[tokio::test]
async fn callers_leave_descriptors_to_deliveries() {
    const ALLOWED: u64 = 400;
    let gateway = Gateway::builder()
        .open_files(ALLOWED)
        .config("[delivery.in_flight]\ngateway = 64")
        .start()
        .await;
    let mut queue = Queue::new(&gateway).await;
    queue.fill().await;
    let _idle = idle(&gateway, ALLOWED * 3 / 4).await;
    // As many as there are places for, beside what the gateway has open for itself.
    eventually("connections in all places", async || {
        let open = gateway.open_files();
        (open > ALLOWED / 2)
            .then_some(())
            .ok_or_else(|| format!("{open} open"))
    })
    .await;
    queue.open().await;
    queue.arrive().await;
    let log = gateway.log();
    assert!(log.contains("the limit of open files is low"), "{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}
