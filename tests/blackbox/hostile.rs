//! A tenant whose plugins loop for ever, allocate without end, panic, return 100 MB and recurse, and its
//! neighbour, who must not notice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hookmill_tests::settings::say;
use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::json;

/// What the fixture does, and how its attempt names that.
const MODES: [(&str, &str, &str); 7] = [
    ("loop", "limit", "ran longer"),
    ("log-for-ever", "limit", "ran longer"),
    ("allocate", "limit", "memory"),
    ("huge-output", "limit", "memory"),
    ("output-2-mib", "limit", "payload"),
    ("panic", "trap", "panicked"),
    ("recurse", "trap", ""),
];

async fn hostile_endpoint(tenant: &Tenant, mode: &str, url: &str) -> String {
    let endpoint = tenant
        .endpoint_with(json!({"url": url, "channels": [mode]}))
        .await;
    let entry = json!({"plugin": "hostile", "version": "latest", "config": {"mode": mode}});
    tenant.chain(&endpoint, json!([entry])).await;
    endpoint
}

#[tokio::test]
async fn every_misdeed_is_named_in_its_attempt() {
    // Time enough for the other limits to be met first on a busy machine, and a share that is enough for it.
    let limits = "[sandbox]\ncpu_percent_per_application = 10000\n\
        [sandbox.limits]\ncall_ticks = 1500\nchain_ticks = 1500\nwall_ms = 30000";
    let gateway = Gateway::builder()
        .config(limits)
        .retry_schedule("")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    tenant.upload("hostile").await;
    let (pid, mut wrong) = (gateway.pid(), Vec::new());
    for (mode, outcome, detail) in MODES {
        let endpoint = hostile_endpoint(&tenant, mode, &receiver.url()).await;
        let event = json!({"eventType": "a", "channels": [mode], "payload": {}});
        let message = tenant.send_with(event).await;
        tenant.settled(&message, &endpoint, "fail").await;
        let attempt = tenant.attempts(&message, 1).await.remove(0);
        let said = &attempt["plugins"][0];
        let as_expected = said["outcome"] == outcome
            && said["detail"].as_str().is_some_and(|text| text.contains(detail))
            // Nobody was asked.
            && attempt["responseStatusCode"] == 0;
        if !as_expected {
            wrong.push(format!(
                "{mode}: expected {outcome}, {detail:?}; got {said}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(receiver.count(), 0, "nothing of it is sent");
    assert_eq!(gateway.pid(), pid);
    tenant.client.get("/api/v1/health").await.expect(204);
}

#[tokio::test]
async fn a_neighbours_deliveries_keep_flowing() {
    const HOSTILE: usize = 10;
    const NEIGHBOURS: usize = 60;
    let gateway = Gateway::builder()
        .retry_schedule("50ms,50ms,50ms,50ms,50ms")
        .start()
        .await;
    let villain = Tenant::new(&gateway).await;
    let neighbour = Tenant::of(
        gateway
            .client_of(&hookmill_tests::gateway::random_org())
            .await,
    )
    .await;
    let (never, receiver) = (Receiver::start().await, Receiver::start().await);
    villain.upload("hostile").await;
    neighbour.upload("hostile").await;
    for (mode, _, _) in MODES {
        hostile_endpoint(&villain, mode, &never.url()).await;
    }
    // The neighbour's own plugin must get its turn beside the loops.
    let endpoint = neighbour.endpoint(&receiver.url()).await;
    let entry = json!({"plugin": "hostile", "version": "latest", "config": {"mode": "append"}});
    neighbour.chain(&endpoint, json!([entry])).await;

    let attack = async {
        for n in 0..HOSTILE {
            for (mode, _, _) in MODES {
                let event = json!({"eventType": "a", "channels": [mode], "payload": {"n": n}});
                villain.send_with(event).await;
            }
        }
    };
    let work = async {
        let mut sent = HashMap::new();
        for n in 0..NEIGHBOURS {
            let before = Instant::now();
            sent.insert(neighbour.send(json!({"n": n})).await, before);
        }
        sent
    };
    let ((), sent) = tokio::join!(attack, work);
    let got = receiver.wait_for(NEIGHBOURS).await;
    let mut waits: Vec<Duration> = got
        .iter()
        .map(|one| one.at.saturating_duration_since(sent[one.message_id()]))
        .collect();
    waits.sort();
    say(&format!(
        "hostile: {} messages to looping, allocating, crashing plugins; a neighbour's {NEIGHBOURS} took {:?} at the median, {:?} at most",
        HOSTILE * MODES.len(),
        waits[waits.len() / 2],
        waits[waits.len() - 1],
    ));
    // Chosen: the villain alone asks for 70 x 6 tries of up to 50 ms each, some 20 s of two cores. Whoever had to
    // wait behind that would be far above this.
    let bound = Duration::from_secs(5);
    assert!(waits[waits.len() - 1] < bound, "{waits:?}");
    assert_eq!(never.count(), 0);
}
