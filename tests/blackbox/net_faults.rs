//! What the network and the machine can do to deliveries, each with real means and a row in the fault table. Nothing
//! here measures time: a receiver that holds its connections holds them until the test lets go, so whatever would
//! have to wait for them would wait for ever.

mod descriptors;
mod dns;
mod receivers;
mod slow;

use std::collections::HashSet;

use hookmill_tests::receiver::Received;
use hookmill_tests::{Receiver, Tenant};
use serde_json::json;

/// Bytes of a payload that no socket's buffers hold, below the most that a message may have.
const LARGE: usize = 1_000_000;

/// Retries that come soon and do not end while a test looks.
fn patient_schedule() -> String {
    vec!["250ms"; 100].join(",")
}

/// Sends so many messages, each with a filling of this many bytes; their identifiers.
async fn send(tenant: &Tenant, messages: usize, filling: usize) -> Vec<String> {
    let filling = "x".repeat(filling);
    let mut sent = Vec::new();
    for number in 0..messages {
        let payload = json!({"number": number, "filling": filling});
        sent.push(tenant.send(payload).await);
    }
    sent
}

/// Waits until this receiver has each of these messages on this path; how many requests were repetitions.
async fn wait_for_all(receiver: &Receiver, path: &str, messages: &[String]) -> u64 {
    let what = format!("{} messages at {path}", messages.len());
    receiver
        .wait_until(&what, |got| {
            let ids = ids(got, path);
            messages
                .iter()
                .all(|message| ids.contains(message.as_str()))
                .then(|| {
                    let requests = got.iter().filter(|one| one.path == path).count();
                    count(requests - ids.len())
                })
        })
        .await
}

/// The messages that came to this path.
fn ids<'a>(got: &'a [Received], path: &str) -> HashSet<&'a str> {
    got.iter()
        .filter(|one| one.path == path)
        .map(Received::message_id)
        .collect()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}
