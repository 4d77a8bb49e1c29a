//! Receivers that take their time, by the thousand. They hold the places that they may have and no more; who answers
//! keeps its pace beside them; what they were sent is theirs once they answer.

use std::collections::HashSet;

use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::gateway::random_org;
use hookmill_tests::settings::{open_files, skipped};
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use serde_json::json;
use tokio::task::JoinSet;

use super::{count, send, wait_for_all};

/// Applications that the slow ones belong to: one has at most 1,000 endpoints.
const APPS: usize = 10;

/// What the healthy ones get meanwhile.
const MESSAGES: usize = 100;

/// Descriptors of the gateway and of the tests for everything but these receivers. Chosen on the high side.
const OTHER_FILES: usize = 2_000;

/// Requests at a time while endpoints are made.
const CALLERS: usize = 32;

/// An application with endpoints that all belong to one receiver, each with a path of its own.
struct Slow {
    tenant: Tenant,
    receiver: Receiver,
}

impl Slow {
    async fn new(gateway: &Gateway, endpoints: usize) -> Self {
        let tenant = Tenant::new(gateway).await;
        let receiver = Receiver::start().held().await;
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (tenant, url) = (tenant.clone(), receiver.url_of(""));
            callers.spawn(async move {
                for number in (caller..endpoints).step_by(CALLERS) {
                    tenant.endpoint(&format!("{url}/{number}")).await;
                }
            });
        }
        callers.join_all().await;
        Self { tenant, receiver }
    }

    /// Waits until each endpoint has its message; how many requests were repetitions.
    async fn wait_for_all(&self, endpoints: usize) -> u64 {
        self.receiver
            .wait_until("the message at every slow endpoint", |got| {
                let paths: HashSet<&str> = got.iter().map(|one| one.path.as_str()).collect();
                (paths.len() == endpoints).then(|| count(got.len() - endpoints))
            })
            .await
    }
}

/// Slow receivers of one organization, and two healthy ones: beside them, and in another organization.
struct Scene {
    slow: Vec<Slow>,
    healthy: Receiver,
    beside: Tenant,
    elsewhere: Tenant,
}

impl Scene {
    async fn new(gateway: &Gateway, endpoints: usize) -> Self {
        let beside = Tenant::new(gateway).await;
        let elsewhere = Tenant::of(gateway.client_of(&random_org()).await).await;
        let healthy = Receiver::start().await;
        for (tenant, path) in [(&beside, "/beside"), (&elsewhere, "/elsewhere")] {
            tenant.endpoint(&healthy.url_of(path)).await;
            let known = send(tenant, 1, 0).await;
            wait_for_all(&healthy, path, &known).await;
        }
        let mut slow = Vec::new();
        for _ in 0..APPS {
            slow.push(Slow::new(gateway, endpoints / APPS).await);
        }
        Self {
            slow,
            healthy,
            beside,
            elsewhere,
        }
    }

    fn held(&self) -> usize {
        self.slow.iter().map(|slow| slow.receiver.count()).sum()
    }

    /// One message to every slow endpoint; waits until so many of them hold it.
    async fn hold(&self, at_least: usize) {
        for slow in &self.slow {
            slow.tenant.send(json!({"slow": true})).await;
        }
        eventually("slow receivers with a request", async || {
            let held = self.held();
            (held >= at_least)
                .then_some(())
                .ok_or_else(|| format!("{held} of {at_least}"))
        })
        .await;
    }

    /// The healthy ones get all theirs, and then the slow ones answer. Returns accepted messages and repetitions.
    async fn play(&self, endpoints: usize) -> (u64, u64) {
        for (tenant, path) in [(&self.beside, "/beside"), (&self.elsewhere, "/elsewhere")] {
            let sent = send(tenant, MESSAGES, 0).await;
            wait_for_all(&self.healthy, path, &sent).await;
        }
        let mut repeated = 0;
        for slow in &self.slow {
            // More than there are: a repetition may be among them.
            slow.receiver.release(2 * endpoints);
        }
        for slow in &self.slow {
            repeated += slow.wait_for_all(endpoints / APPS).await;
        }
        (count(APPS + 2 * MESSAGES), repeated)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_receivers_hold_no_more_places_than_they_may() {
    const ENDPOINTS: usize = 500;
    const ORGANIZATION: usize = 48;
    // Without an end: whoever had to wait for one of these attempts would wait for ever.
    let gateway = Gateway::builder()
        .config("[delivery]\ntimeout_ms = 3600000")
        .config("[delivery.in_flight]\ngateway = 64\norganization = 48\napplication = 32")
        .start()
        .await;
    let scene = Scene::new(&gateway, ENDPOINTS).await;
    scene.hold(ORGANIZATION / 2).await;
    let before = scene.held();
    let (accepted, repeated) = scene.play(ENDPOINTS).await;
    assert!(before <= ORGANIZATION, "{before} attempts at once");
    FaultRow {
        fault: "slow receivers at the limit of attempts under way",
        rounds: count(ENDPOINTS),
        accepted,
        delivered: accepted,
        lost: 0,
        duplicated: repeated,
    }
    .report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_slow_receivers_at_once() {
    const WANTED: usize = 10_000;
    // Each is a descriptor here and one in the gateway.
    let possible = open_files().saturating_sub(OTHER_FILES);
    let endpoints = WANTED.min(possible) / APPS * APPS;
    if endpoints < WANTED {
        let reason = format!("open files allow {endpoints} instead of {WANTED} receivers");
        skipped(
            "a part of net_faults::slow::ten_thousand_slow_receivers_at_once",
            &reason,
        );
    }
    let gateway = Gateway::builder()
        .config("[delivery]\ntimeout_ms = 3600000")
        .config("[delivery.in_flight]\ngateway = 20000\norganization = 16000\napplication = 2000")
        .start()
        .await;
    let scene = Scene::new(&gateway, endpoints).await;
    scene.hold(endpoints).await;
    let (accepted, repeated) = scene.play(endpoints).await;
    FaultRow {
        fault: "10,000 simultaneous slow receivers",
        rounds: count(endpoints),
        accepted,
        delivered: accepted,
        lost: 0,
        duplicated: repeated,
    }
    .report();
}
