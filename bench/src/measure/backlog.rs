//! Beside deliveries that wait: what they cost in memory, what they take from a tenant of another organization, how long
//! a start takes with them, and what ten thousand endpoints cost that nobody answers at.
//!
//! Deliveries wait in two ways that differ in what they take. At paused endpoints all of them are rows of the store. At
//! receivers that never answer they wait for their first attempt, in memory as far as the gateway lets them, and under the
//! outbox. A second gateway with an empty store is measured before and after, so that both see the same machine.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Round;
use super::flow::{CALLERS, Flow, Meter};
use crate::client::{self, Until};
use crate::error::Failure;
use crate::gateway::{End, Gateway};
use crate::payload::{self, Template};
use crate::receiver::{Dead, Receiver, Silent};
use crate::report::{Axis, Point, Unit, with_commas};
use crate::tenant::{Endpoint, Tenant};
use crate::usage::CpuTime;

static WAITING: Axis = Axis {
    name: "backlog",
    title: "Deliveries against deliveries that wait",
    label: "deliveries that wait at 10,000 paused endpoints",
    write: with_commas,
};

/// Specified: 10,000 lanes, and ten deliveries of each message. Chosen: in so many applications, since one has at most
/// 1,000 endpoints by default.
const APPLICATIONS: u64 = 100;
const ENDPOINTS: u64 = 100;
const DELIVERIES_OF_A_MESSAGE: u64 = 10;
const LANES: u64 = APPLICATIONS * ENDPOINTS;

const CHANNELS: u64 = ENDPOINTS / DELIVERIES_OF_A_MESSAGE;

/// What each backlog is measured with.
const SAMPLES: usize = 3;

/// CPU time that a gateway at rest may take of a core, so often in a row over this long: one that gets no time on a busy
/// machine looks as if it rested. Chosen: two of the kernel's ticks, and two seconds together.
const REST: f64 = 0.04;
const REST_OVER: Duration = Duration::from_millis(500);
const RESTS: usize = 4;

/// How long a gateway at rest is watched. Chosen: a tick of the kernel is a thousandth of it.
const IDLE: Duration = Duration::from_secs(10);

/// Chosen: a million rows are written in a minute; a machine that others use takes several.
const RESTLESS: Duration = Duration::from_secs(900);

pub(super) async fn run(round: &mut Round<'_>) -> Result<(), Failure> {
    paused(round).await?;
    silent(round).await?;
    dead(round).await
}

/// Grows the backlog step by step, in the store.
async fn paused(round: &mut Round<'_>) -> Result<(), Failure> {
    let mut empty = Side::start(round).await?;
    let mut full = Side::start(round).await?;
    let nowhere = Dead::reserve()?;
    let mut waiting = Waiting::at(&full.gateway, nowhere.addr, true).await?;
    for &deliveries in round.effort.backlogs {
        waiting.grow_to(deliveries, round.start).await?;
        rest(&full.gateway).await?;
        let name = format!("{} waiting", with_commas(deliveries));
        for point in compare(round, &name, &full, &empty).await? {
            round.report.sweep(&WAITING, deliveries, point);
        }
    }
    if let Some(&most) = round.effort.backlogs.last() {
        end_and_start(round, &format!("{} waiting", with_commas(most)), &mut full).await?;
    }
    full.gateway.stop(End::Killed).await?;
    empty.gateway.stop(End::Killed).await
}

/// The most of them, waiting for receivers that take a connection each and never answer.
async fn silent(round: &mut Round<'_>) -> Result<(), Failure> {
    let Some(&deliveries) = round.effort.backlogs.last() else {
        return Ok(());
    };
    let mut empty = Side::start(round).await?;
    let mut full = Side::start(round).await?;
    let receiver = Silent::start().await?;
    let mut waiting = Waiting::at(&full.gateway, receiver.addr, false).await?;
    waiting.grow_to(deliveries, round.start).await?;
    rest(&full.gateway).await?;
    let name = format!("{} at silent receivers", with_commas(deliveries));
    compare(round, &name, &full, &empty).await?;
    end_and_start(round, &name, &mut full).await?;
    full.gateway.stop(End::Killed).await?;
    empty.gateway.stop(End::Killed).await
}

/// Endpoints that nobody is at, all of whose deliveries have failed once and wait for a retry that is far away.
async fn dead(round: &mut Round<'_>) -> Result<(), Failure> {
    let arguments = ["--retry-schedule", "12h"];
    let mut gateway = Gateway::start_with(round.gateway, round.disk, &arguments).await?;
    let nowhere = Dead::reserve()?;
    let mut waiting = Waiting::at(&gateway, nowhere.addr, false).await?;
    waiting.grow_to(LANES, round.start).await?;
    rest(&gateway).await?;
    let began = (gateway.cpu()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let used = gateway.cpu()?.since(began.0).as_secs_f64() / began.1.elapsed().as_secs_f64();
    let name = format!("{} dead endpoints, idle gateway", with_commas(LANES));
    round.report.add(&name, Unit::Core, used);
    gateway.stop(End::Killed).await
}

/// Measures both gateways in turn.
async fn compare(
    round: &mut Round<'_>,
    name: &str,
    full: &Side,
    empty: &Side,
) -> Result<Vec<Point>, Failure> {
    let mut points = Vec::new();
    let samples = if round.effort.rounds > 1 { SAMPLES } else { 1 };
    let mut before = empty.sample(round).await?;
    for _ in 0..samples {
        let sample = full.sample(round).await?;
        let after = empty.sample(round).await?;
        let around = before.figures().into_iter().zip(after.figures());
        for ((figure, unit, value), (earlier, later)) in sample.figures().into_iter().zip(around) {
            let figure = format!("{name}, {figure}");
            let baseline = f64::midpoint(earlier.2, later.2);
            round
                .report
                .compare(&figure, unit, value, "empty store", baseline);
        }
        points.push(sample.point);
        before = after;
    }
    memory(round, &format!("{name}, memory"), &full.gateway)?;
    Ok(points)
}

/// How long it takes from the start of the process until a message that is posted then has arrived.
async fn end_and_start(round: &mut Round<'_>, name: &str, full: &mut Side) -> Result<(), Failure> {
    for (how, label) in [(End::Killed, "a kill"), (End::Clean, "a clean end")] {
        full.gateway.stop(how).await?;
        let began = Instant::now();
        full.gateway.start_again().await?;
        let listening = began.elapsed();
        full.flow(round, 1).closed(1).await?;
        let delivered = began.elapsed();
        let used = full.gateway.cpu()?.since(CpuTime::default());
        for (figure, took) in [("listening", listening), ("first delivery", delivered)] {
            let figure = format!("{name}, {figure} after {label}");
            round.report.add(&figure, Unit::Time, took.as_secs_f64());
        }
        let figure = format!("{name}, gateway's CPU until then");
        round.report.add(&figure, Unit::Time, used.as_secs_f64());
        rest(&full.gateway).await?;
        memory(
            round,
            &format!("{name}, memory after {label}"),
            &full.gateway,
        )?;
    }
    Ok(())
}

fn memory(round: &mut Round<'_>, name: &str, gateway: &Gateway) -> Result<(), Failure> {
    let memory = gateway.memory()?;
    let report = &mut *round.report;
    report.add(name, Unit::Bytes, memory.peak as f64);
    let at_rest = format!("{name} at rest");
    report.add(&at_rest, Unit::Bytes, memory.resident as f64);
    Ok(())
}

/// Waits until the gateway has done all that there is to do at present.
async fn rest(gateway: &Gateway) -> Result<(), Failure> {
    let began = Instant::now();
    let mut rests = 0;
    while began.elapsed() < RESTLESS {
        let (before, at) = (gateway.cpu()?, Instant::now());
        tokio::time::sleep(REST_OVER).await;
        let used = gateway.cpu()?.since(before).as_secs_f64();
        rests = if used <= REST * at.elapsed().as_secs_f64() {
            rests + 1
        } else {
            0
        };
        if rests == RESTS {
            return Ok(());
        }
    }
    Err(Failure::Restless {
        seconds: RESTLESS.as_secs(),
    })
}

/// A gateway with a tenant that is well.
struct Side {
    gateway: Gateway,
    /// Without endpoints.
    accepting: Tenant,
    delivering: Tenant,
    receiver: Receiver,
}

/// What the tenant that is well gets.
struct Sample {
    accepts: f64,
    /// Seconds of the gateway.
    accept_cpu: f64,
    point: Point,
}

impl Sample {
    fn figures(&self) -> [(&'static str, Unit, f64); 4] {
        let cpu = self.point.gateway.as_secs_f64();
        [
            ("accepts", Unit::PerSecond, self.accepts),
            ("deliveries", Unit::PerSecond, self.point.rate),
            ("gateway's CPU of an accept", Unit::Time, self.accept_cpu),
            ("gateway's CPU of a delivery", Unit::Time, cpu),
        ]
    }
}

impl Side {
    async fn start(round: &Round<'_>) -> Result<Self, Failure> {
        let gateway = Gateway::start(round.gateway, round.disk).await?;
        let accepting = gateway.tenant().await?;
        let delivering = gateway.tenant().await?;
        let receiver = Receiver::start(round.start).await?;
        delivering
            .endpoints([(receiver.addr, Endpoint::default())])
            .await?;
        Ok(Self {
            gateway,
            accepting,
            delivering,
            receiver,
        })
    }

    fn flow(&self, round: &Round<'_>, callers: usize) -> Flow<'_> {
        Flow {
            gateway: &self.gateway,
            messages: self.delivering.messages(),
            receiver: &self.receiver,
            endpoints: 1,
            body: Template::message(payload::SIZE),
            callers,
            start: round.start,
        }
    }

    async fn sample(&self, round: &Round<'_>) -> Result<Sample, Failure> {
        let meter = Meter::start(&self.gateway)?;
        let until = Until::Elapsed(round.effort.raw);
        let body = Template::message(payload::SIZE);
        let target = self.accepting.messages();
        let load = client::post(&target, CALLERS, until, round.start, &body).await?;
        let accept = meter.each_of(load.times.len() as u64)?;
        let flow = self.flow(round, CALLERS);
        let reached = flow.closed(round.effort.deliveries / 2).await?;
        let times = flow.at_half_of(reached.rate, round.effort.raw).await?;
        Ok(Sample {
            accepts: load.per_second(),
            accept_cpu: accept.gateway.as_secs_f64(),
            point: Point {
                rate: reached.rate,
                p99: times.way_p99(),
                gateway: reached.used.gateway,
            },
        })
    }
}

/// Tenants of another organization, whose deliveries wait.
struct Waiting {
    tenants: Vec<Tenant>,
    deliveries: u64,
}

impl Waiting {
    async fn at(gateway: &Gateway, receiver: SocketAddr, paused: bool) -> Result<Self, Failure> {
        let token = gateway.other_token().await?;
        let addr = gateway.addr();
        let mut creating = JoinSet::new();
        for _ in 0..APPLICATIONS {
            let token = token.clone();
            creating.spawn(async move {
                let tenant = Tenant::create(addr, token).await?;
                let endpoint = |number| Endpoint {
                    channel: Some(payload::channel(number % CHANNELS)),
                    paused,
                    ..Endpoint::default()
                };
                tenant
                    .endpoints((0..ENDPOINTS).map(|number| (receiver, endpoint(number))))
                    .await?;
                Ok::<_, Failure>(tenant)
            });
        }
        let mut tenants = Vec::new();
        while let Some(created) = creating.join_next().await {
            tenants.push(created.expect("creating a tenant does not panic")?);
        }
        Ok(Self {
            tenants,
            deliveries: 0,
        })
    }

    async fn grow_to(&mut self, deliveries: u64, start: Instant) -> Result<(), Failure> {
        let missing = deliveries.saturating_sub(self.deliveries);
        let messages = missing / DELIVERIES_OF_A_MESSAGE / APPLICATIONS;
        let body = Template::message_in_turn(payload::SIZE, CHANNELS);
        for tenant in &self.tenants {
            let until = Until::Sent(messages);
            client::post(&tenant.messages(), CALLERS, until, start, &body).await?;
        }
        self.deliveries = deliveries;
        Ok(())
    }
}
