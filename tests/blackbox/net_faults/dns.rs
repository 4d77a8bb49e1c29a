//! The name servers are gone: silent, then failing, then back.

use hookmill_tests::dns::{Dns, Mood};
use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};

use super::{count, patient_schedule, send, wait_for_all};

const MESSAGES: usize = 5;

/// Waits for a failed attempt of this message that says so.
async fn failed(tenant: &Tenant, message: &str, saying: &str) {
    eventually(saying, async || {
        let attempts = tenant.attempts_now(message).await;
        attempts
            .iter()
            .any(|one| {
                one["response"]
                    .as_str()
                    .unwrap_or_default()
                    .contains(saying)
            })
            .then_some(())
            .ok_or_else(|| format!("{attempts:?}"))
    })
    .await;
}

#[tokio::test]
async fn deliveries_outlive_name_servers_that_are_gone() {
    let dns = Dns::start(Mood::Answers).await;
    let gateway = Gateway::builder()
        .config(&dns.config())
        .retry_schedule(&patient_schedule())
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    // Each request over a connection of its own, so that the name is needed each time.
    let receiver = Receiver::start()
        .answer(200)
        .header("connection", "close")
        .await;
    let at = |host: &str| format!("http://{host}:{}/{host}", receiver.addr().port());
    tenant.endpoint(&at("127.0.0.1")).await;
    tenant.endpoint(&at("known.example.com")).await;
    let mut sent = send(&tenant, 1, 0).await;
    wait_for_all(&receiver, "/known.example.com", &sent).await;

    dns.now(Mood::Silent);
    let new = tenant.endpoint(&at("new.example.com")).await;
    let missed = send(&tenant, MESSAGES, 0).await;
    sent.extend_from_slice(&missed);
    failed(&tenant, &missed[0], "lookup of the host timed out").await;
    wait_for_all(&receiver, "/127.0.0.1", &sent).await;
    wait_for_all(&receiver, "/known.example.com", &sent).await;

    dns.now(Mood::Fails);
    let missed_too = send(&tenant, MESSAGES, 0).await;
    sent.extend_from_slice(&missed_too);
    failed(&tenant, &missed_too[0], "no usable DNS answer").await;
    wait_for_all(&receiver, "/127.0.0.1", &sent).await;
    wait_for_all(&receiver, "/known.example.com", &sent).await;

    dns.now(Mood::Answers);
    let of_new = &sent[1..];
    let mut repeated = wait_for_all(&receiver, "/new.example.com", of_new).await;
    for message in of_new {
        tenant.settled(message, &new, "success").await;
    }
    for path in ["/127.0.0.1", "/known.example.com"] {
        repeated += wait_for_all(&receiver, path, &sent).await;
    }
    FaultRow {
        fault: "name servers silent, then failing",
        rounds: count(dns.asked("new.example.com")),
        accepted: count(sent.len()),
        delivered: count(sent.len()),
        lost: 0,
        duplicated: repeated,
    }
    .report();
}
