//! The gateway has no descriptor left: it can take no connection and make none. It says so, waits, uses no tries, and
//! goes on once there are some again.

use std::time::Instant;

use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use tokio::net::TcpStream;

use super::{count, send, wait_for_all};

/// Descriptors that are left when the limit falls.
const LEFT: u64 = 16;

/// Idle connections that take them, with more behind in the system's queue.
const IDLE: usize = 64;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_everything_waits() {
    // A single retry: a try that was used up would show as a lost message.
    let mut gateway = Gateway::builder().retry_schedule("50ms").start().await;
    let tenant = Tenant::new(&gateway).await;
    // Each request over a connection of its own, so that each needs a descriptor.
    let receiver = Receiver::start()
        .answer(200)
        .header("connection", "close")
        .await;
    let endpoint = tenant.endpoint(&receiver.url_of("/")).await;
    let mut sent = send(&tenant, 1, 0).await;
    wait_for_all(&receiver, "/", &sent).await;
    let start = Instant::now();
    for round in 1..=ROUNDS {
        gateway.limit_open_files(Some(gateway.open_files() + LEFT));
        let mut idle = Vec::new();
        let address = gateway.url().trim_start_matches("http://").to_owned();
        for _ in 0..IDLE {
            idle.push(TcpStream::connect(&address).await.unwrap());
        }
        logged(&gateway, "no connection taken", round).await;
        // Over the connection that the client has kept: what came in still goes on.
        let during = send(&tenant, 50, 0).await;
        logged(&gateway, "an attempt is postponed", round).await;
        sent.extend(during);
        match round {
            // The connections end, or the operator raises the limit.
            1 => drop(idle),
            _ => gateway.limit_open_files(None),
        }
        wait_for_all(&receiver, "/", &sent).await;
    }
    assert!(gateway.log().contains("Too many open files"));
    // Once a second while it lasts, whatever waits outside.
    let refusals = gateway.log().matches("no connection taken").count();
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(refusals <= seconds + ROUNDS, "{refusals} in {seconds} s");
    for message in &sent {
        tenant.settled(message, &endpoint, "success").await;
        let attempts = tenant.attempts_now(message).await;
        assert_eq!(attempts.len(), 1, "no try was used up: {attempts:?}");
    }

    // The store has taken no harm.
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    sent.extend(send(&tenant, 1, 0).await);
    let repeated = wait_for_all(&receiver, "/", &sent).await;
    FaultRow {
        fault: "no file descriptors left",
        rounds: count(ROUNDS),
        accepted: count(sent.len()),
        delivered: count(sent.len()),
        lost: 0,
        duplicated: repeated,
    }
    .report();
}
