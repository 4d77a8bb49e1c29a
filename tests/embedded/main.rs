//! The gateway inside another program, which gives it a clock: what a wall clock does that is set, forward or back.
//! Real sockets and a real store; only the time is the test's.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions only, and this whole program is tests"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hookmill::api::{JwtSecret, Scope};
use hookmill::config::Settings;
use hookmill::domain::{Clock, OrganizationId, RetryPolicy, Timestamp};
use hookmill::{Gateway, GatewayError};
use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::gateway::random_org;
use hookmill_tests::receiver::Received;
use hookmill_tests::{Client, Receiver, Tenant};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the wall clock shows when the first gateway starts: 2030.
const START: Timestamp = Timestamp::from_millis(1_893_456_000_000);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The first retry comes while a test looks, the second does not.
const SCHEDULE: &str = "300ms,1h,1h";

/// Messages that wait for their second retry.
const WAITING: usize = 8;

/// A clock that can be set, and whose time can be made to pass.
#[derive(Debug)]
struct TestClock {
    started: Instant,
    wall_at_start: Timestamp,
    /// Milliseconds that the test let pass.
    passed: AtomicU64,
    /// By how many milliseconds the wall clock was set.
    jumped: AtomicI64,
}

impl TestClock {
    fn at(wall: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            wall_at_start: wall,
            passed: AtomicU64::new(0),
            jumped: AtomicI64::new(0),
        })
    }

    fn pass(&self, time: Duration) {
        self.passed.fetch_add(millis(time), Ordering::SeqCst);
    }

    fn jump_forward(&self, by: Duration) {
        self.jumped
            .fetch_add(millis(by).cast_signed(), Ordering::SeqCst);
    }

    fn jump_back(&self, by: Duration) {
        self.jumped
            .fetch_sub(millis(by).cast_signed(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = Duration::from_millis(self.passed.load(Ordering::SeqCst));
        self.wall_at_start.after(self.started.elapsed() + passed)
    }

    fn wall(&self) -> Timestamp {
        let jumped = self.jumped.load(Ordering::SeqCst);
        Timestamp::from_millis(self.now().millis().saturating_add_signed(jumped))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// A gateway inside this program.
struct Inside {
    clock: Arc<TestClock>,
    url: String,
    org: OrganizationId,
    secret: JwtSecret,
    stop: CancellationToken,
    running: JoinHandle<Result<(), GatewayError>>,
}

impl Inside {
    async fn start(dir: &TempDir, org: OrganizationId, clock: Arc<TestClock>) -> Self {
        let mut settings = Settings {
            data_dir: dir.path().to_owned(),
            ..Settings::default()
        };
        settings.outbound.allow_subnets = vec!["127.0.0.0/8".parse().unwrap()];
        settings.delivery.retry_schedule = RetryPolicy::parse(SCHEDULE).unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = Gateway::builder(settings)
            .clock(Arc::clone(&clock) as Arc<dyn Clock>)
            .build()
            .await
            .unwrap();
        let stop = CancellationToken::new();
        Self {
            clock,
            url,
            org,
            secret: JwtSecret::load(dir.path()).unwrap(),
            running: tokio::spawn(gateway.serve(listener, stop.clone())),
            stop,
        }
    }

    /// A client whose token is good as the wall clock stands.
    fn client(&self) -> Client {
        let scope = Scope::Organization(self.org);
        let token = self.secret.mint(&scope, HOUR, self.clock.wall()).unwrap();
        Client::new(&self.url, Some(&token))
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
    }
}

fn organization() -> OrganizationId {
    random_org().parse().unwrap()
}

/// How often each of these messages came.
fn times(got: &[Received], messages: &[String]) -> Vec<usize> {
    let of = |message: &String| got.iter().filter(|one| one.message_id() == message).count();
    messages.iter().map(of).collect()
}

/// Messages that have failed twice and wait for an hour.
async fn waiting(tenant: &Tenant, receiver: &Receiver) -> Vec<String> {
    let mut messages = Vec::new();
    for number in 0..WAITING {
        messages.push(tenant.send(json!({"number": number})).await);
    }
    for message in &messages {
        tenant.attempts(message, 2).await;
    }
    assert_eq!(times(&receiver.requests(), &messages), [2; WAITING]);
    messages
}

/// A new message is tried and tried again as the schedule says, and signed as of now.
async fn goes_on(inside: &Inside, tenant: &Tenant, receiver: &Receiver) -> String {
    let tenant = tenant.with_client(inside.client());
    let before = inside.clock.wall().seconds();
    let message = tenant.send(json!({"number": "new"})).await;
    let tries = receiver
        .wait_until("a try and a retry", |got| {
            let mine = got.iter().filter(|one| one.message_id() == message);
            let mine: Vec<Received> = mine.cloned().collect();
            (mine.len() == 2).then_some(mine)
        })
        .await;
    let after = inside.clock.wall().seconds();
    for one in tries {
        let signed: u64 = one.header("webhook-timestamp").parse().unwrap();
        assert!(
            (before..=after).contains(&signed),
            "signed at {signed}, not between {before} and {after}"
        );
    }
    // The receiver knows of a try before the gateway has its answer: whoever turns the clock now would turn it below that.
    tenant.attempts(&message, 2).await;
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_moves_no_schedule() {
    let dir = TempDir::new().unwrap();
    let inside = Inside::start(&dir, organization(), TestClock::at(START)).await;
    let tenant = Tenant::of(inside.client()).await;
    let receiver = Receiver::start().answer(500).await;
    tenant.endpoint(&receiver.url()).await;
    let mut messages = waiting(&tenant, &receiver).await;

    inside.clock.jump_forward(400 * DAY);
    let first = goes_on(&inside, &tenant, &receiver).await;
    inside.clock.jump_back(800 * DAY);
    let second = goes_on(&inside, &tenant, &receiver).await;
    messages.extend([first, second]);
    let got = times(&receiver.requests(), &messages);
    assert!(
        got.iter().all(|times| *times == 2),
        "no second retry is early: {got:?}"
    );

    // An hour by the monotonic clock, whatever the wall shows.
    receiver.now_answers(200);
    inside.clock.pass(2 * HOUR);
    let tenant = tenant.with_client(inside.client());
    messages.push(tenant.send(json!({"number": "last"})).await);
    let delivered = receiver
        .wait_until("all second retries", |got| {
            let times = times(got, &messages);
            let (last, others) = times.split_last()?;
            (*last == 1 && others.iter().all(|times| *times == 3)).then_some(times.len())
        })
        .await;
    inside.stop().await;
    FaultRow {
        fault: "the wall clock jumps 400 days forward, then 800 back",
        rounds: 2,
        accepted: count(messages.len()),
        delivered: count(delivered),
        lost: 0,
        duplicated: 0,
    }
    .report();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_with_a_clock_set_back_holds_no_retry_for_longer_than_its_longest_step() {
    let (dir, org) = (TempDir::new().unwrap(), organization());
    let inside = Inside::start(&dir, org, TestClock::at(START)).await;
    let tenant = Tenant::of(inside.client()).await;
    let receiver = Receiver::start().answer(500).await;
    tenant.endpoint(&receiver.url()).await;
    let retries = waiting(&tenant, &receiver).await;
    // Somebody asked for this time by name.
    let moment = START.after(DAY);
    let asked = json!({"eventType": "a", "payload": {}, "deliverAt": moment.to_string()});
    let asked = tenant.send_with(asked).await;
    inside.stop().await;

    receiver.now_answers(200);
    let back = Timestamp::from_millis(START.millis() - millis(30 * DAY));
    let inside = Inside::start(&dir, org, TestClock::at(back)).await;
    let tenant = tenant.with_client(inside.client());
    let first = tenant.send(json!({"number": "first"})).await;
    let arrived = |message: &String| {
        let message = message.clone();
        receiver.wait_until("a message", move |got| {
            let mut mine = got.iter().filter(|one| one.message_id() == message);
            mine.next_back().map(|_| ())
        })
    };
    arrived(&first).await;
    assert_eq!(times(&receiver.requests(), &retries), [2; WAITING]);

    // A day is the longest that a receiver can ask for, so that a due time within it may be right.
    inside.clock.pass(DAY + HOUR);
    let tenant = tenant.with_client(inside.client());
    let second = tenant.send(json!({"number": "second"})).await;
    receiver
        .wait_until("the retries", |got| {
            let retried = times(got, &retries) == [3; WAITING];
            (retried && times(got, std::slice::from_ref(&second)) == [1]).then_some(())
        })
        .await;
    let early = times(&receiver.requests(), std::slice::from_ref(&asked));
    assert_eq!(early, [0], "what was asked for keeps its time");

    inside.clock.pass(31 * DAY);
    let tenant = tenant.with_client(inside.client());
    let third = tenant.send(json!({"number": "third"})).await;
    arrived(&third).await;
    arrived(&asked).await;
    inside.stop().await;
    let all = count(retries.len() + 4);
    FaultRow {
        fault: "a restart with the wall clock set back 30 days",
        rounds: 1,
        accepted: all,
        delivered: all,
        lost: 0,
        duplicated: 0,
    }
    .report();
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap()
}
