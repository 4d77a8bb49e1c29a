//! Receivers that break connections in every way, or hold them. Their messages wait until somebody mends them, and
//! their neighbours notice nothing.

use std::time::Duration;

use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::gateway::random_org;
use hookmill_tests::{Gateway, Raw, Receiver, Step, Tenant};
use serde_json::json;

use super::{LARGE, count, patient_schedule, send, wait_for_all};

/// Broken connections before somebody mends the receiver.
const ROUNDS: usize = 6;

const MESSAGES: usize = 4;

/// The name of a fault, what the receiver does, and bytes of filling in each payload.
fn faults() -> [(&'static str, Vec<Step>, usize); 4] {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let slowly = Step::Drip(answer.into(), Duration::from_secs(1));
    let half = Step::write("HTTP/1.1 200 OK\r\nContent-Le");
    [
        ("a receiver accepts and closes", Vec::new(), 100),
        (
            "a receiver resets in the middle of its answer",
            vec![Step::ReadRequest, half, Step::Reset],
            100,
        ),
        (
            "a receiver answers one byte a second",
            vec![Step::ReadRequest, slowly],
            100,
        ),
        ("a receiver never reads", vec![Step::Hold], LARGE),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broken_receiver_missed_arrives_when_it_is_mended() {
    let gateway = Gateway::builder()
        .config("[delivery]\ntimeout_ms = 1500\nslow_down_floor_ms = 100")
        .retry_schedule(&patient_schedule())
        .start()
        .await;
    for (fault, script, filling) in faults() {
        let tenant = Tenant::new(&gateway).await;
        let (broken, healthy) = (Raw::start(&script).await, Receiver::start().await);
        let endpoint = tenant.endpoint(&broken.url()).await;
        tenant.endpoint(&healthy.url_of("/beside")).await;
        let sent = send(&tenant, MESSAGES, filling).await;
        wait_for_all(&healthy, "/beside", &sent).await;
        broken.wait_for(ROUNDS).await;

        let mended = json!({"url": healthy.url_of("/mended")});
        tenant.patch_endpoint(&endpoint, mended).await;
        let repeated = wait_for_all(&healthy, "/mended", &sent).await;
        for message in &sent {
            tenant.settled(message, &endpoint, "success").await;
        }
        FaultRow {
            fault,
            rounds: count(broken.connections().len()),
            accepted: count(sent.len()),
            delivered: count(sent.len()),
            lost: 0,
            duplicated: repeated,
        }
        .report();
    }
}

/// Endpoints that never answer: with as many attempts under way as a lane begins with, twice what all payloads under
/// way may take.
const HOLDING: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads_that_are_held_leave_memory_to_others() {
    // Without an end: whoever had to wait for one of these attempts would wait for ever.
    let gateway = Gateway::builder()
        .config("[delivery]\ntimeout_ms = 3600000")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let neighbour = Tenant::of(tenant.client.clone()).await;
    let stranger = Tenant::of(gateway.client_of(&random_org()).await).await;
    let (holds, healthy) = (Receiver::start().held().await, Receiver::start().await);
    let healthy_ones = [
        (&tenant, "/own"),
        (&neighbour, "/neighbour"),
        (&stranger, "/stranger"),
    ];
    for (of, path) in healthy_ones {
        of.endpoint(&healthy.url_of(path)).await;
        let known = send(of, 1, 0).await;
        wait_for_all(&healthy, path, &known).await;
    }
    for number in 0..HOLDING {
        tenant.endpoint(&holds.url_of(&format!("/{number}"))).await;
    }
    let mut own = Vec::new();
    for (of, path) in healthy_ones {
        let sent = send(of, HOLDING, LARGE).await;
        wait_for_all(&healthy, path, &sent).await;
        if path == "/own" {
            own = sent;
        }
    }
    let held = holds.count();
    // 64 MiB, as `delivery.in_flight_bytes` says.
    assert!(held * LARGE <= 64 << 20, "{held} held at once");

    holds.release(10 * HOLDING * HOLDING);
    let mut repeated = 0;
    for number in 0..HOLDING {
        repeated += wait_for_all(&holds, &format!("/{number}"), &own).await;
    }
    let all = count(healthy_ones.len() * HOLDING);
    FaultRow {
        fault: "large payloads held by receivers that do not answer",
        rounds: count(held),
        accepted: all,
        delivered: all,
        lost: 0,
        duplicated: repeated,
    }
    .report();
}
