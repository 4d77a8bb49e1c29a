//! What neighbours cost a healthy endpoint: its deliveries and their times at half of what it reaches alone (a hundredth
//! of that beside a hundredfold neighbour), first alone and then beside each kind of neighbour, on a gateway of its own.
//! Open loop, as in `latency`. What has not come when the last message was sent counts as not delivered.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Round;
use super::flow::{CALLERS, Flow};
use crate::client::{self, Connection, Target};
use crate::error::Failure;
use crate::gateway::{End, Gateway};
use crate::payload::{self, Template};
use crate::receiver::{self, Receiver};
use crate::report::{Unit, percentile};
use crate::tenant::{Endpoint, Tenant};

/// Of what it reaches alone.
const OFFERED: f64 = 0.5;

/// How many times as much a noisy neighbour sends.
const NOISE: f64 = 100.0;

/// Messages a second to a plugin that loops: five times what two cores can run of it to its limit of 50 ms.
const LOOPS: f64 = 200.0;

/// For the last deliveries to come. What comes later, or never, counts as this long on its way.
const PATIENCE: Duration = Duration::from_secs(30);

const JSON: &str = "application/json";

/// Who is beside the healthy endpoint.
#[derive(Clone, Copy, Debug)]
enum Neighbours {
    /// An endpoint that never answers and one that fails always, of the same tenant.
    Own,
    /// The same two, of another tenant that sends half as much: together as many deliveries.
    Others,
    /// A tenant that sends a hundred times as much.
    Noisy,
    /// A tenant whose plugin loops until it is stopped.
    Looping,
}

/// One endpoint's deliveries over a while.
#[derive(Debug)]
struct Seen {
    /// A second.
    offered: f64,
    delivered: f64,
    p99: Duration,
}

impl Neighbours {
    const ALL: [Self; 4] = [Self::Own, Self::Others, Self::Noisy, Self::Looping];

    fn name(self) -> &'static str {
        match self {
            Self::Own => "beside dead and failing endpoints of its own tenant",
            Self::Others => "beside those of another tenant",
            Self::Noisy => "beside a hundredfold tenant",
            Self::Looping => "beside a tenant whose plugin loops",
        }
    }

    /// What the healthy endpoint is offered, of what it reaches alone.
    fn offered(self) -> f64 {
        match self {
            Self::Noisy => OFFERED / NOISE,
            Self::Own | Self::Others | Self::Looping => OFFERED,
        }
    }
}

/// An endpoint that is watched, and what is sent to it.
struct Watched<'a> {
    messages: Target,
    receiver: &'a Receiver,
    body: Template,
    /// Messages a second.
    rate: f64,
}

pub(super) async fn run(round: &mut Round<'_>) -> Result<(), Failure> {
    for neighbours in Neighbours::ALL {
        // Its own, so that nobody's retries are left over from the one before.
        let mut gateway = Gateway::start(round.gateway, round.disk).await?;
        let (alone, beside) = measure(round, &gateway, neighbours).await?;
        let name = format!("healthy {}", neighbours.name());
        let report = &mut *round.report;
        report.compare(
            &format!("{name}, delivered"),
            Unit::PerSecond,
            beside.delivered,
            "offered",
            beside.offered,
        );
        report.compare(
            &format!("{name}, p99"),
            Unit::Time,
            beside.p99.as_secs_f64(),
            "p99 alone",
            alone.p99.as_secs_f64(),
        );
        // Without its grace: what still waits is of no interest.
        gateway.stop(End::Killed).await?;
    }
    Ok(())
}

async fn measure(
    round: &Round<'_>,
    gateway: &Gateway,
    neighbours: Neighbours,
) -> Result<(Seen, Seen), Failure> {
    let tenant = gateway.tenant().await?;
    let receiver = Receiver::start(round.start).await?;
    endpoint(&tenant, receiver.addr).await?;
    let flow = Flow {
        gateway,
        messages: tenant.messages(),
        receiver: &receiver,
        endpoints: 1,
        body: Template::message(payload::SIZE),
        callers: CALLERS,
        start: round.start,
    };
    let reached = flow.closed(round.effort.deliveries).await?;
    let watched = Watched {
        messages: tenant.messages(),
        receiver: &receiver,
        body: Template::message(payload::SIZE),
        rate: reached.rate * neighbours.offered(),
    };
    let alone = watched.watch(round).await?;
    // Dropped at the end, and all that runs in it with it.
    let mut running = JoinSet::new();
    neighbours
        .begin(round, gateway, &tenant, watched.rate, &mut running)
        .await?;
    let beside = watched.watch(round).await?;
    Ok((alone, beside))
}

impl Neighbours {
    /// Puts them beside this tenant, which is sent so many messages a second.
    async fn begin(
        self,
        round: &Round<'_>,
        gateway: &Gateway,
        tenant: &Tenant,
        rate: f64,
        running: &mut JoinSet<()>,
    ) -> Result<(), Failure> {
        let fails = Some(StatusCode::INTERNAL_SERVER_ERROR);
        let takes = Some(StatusCode::OK);
        let other = gateway.tenant().await?;
        match self {
            Self::Own => {
                endpoint(tenant, answering(running, None).await?).await?;
                endpoint(tenant, answering(running, fails).await?).await?;
            }
            Self::Others => {
                endpoint(&other, answering(running, None).await?).await?;
                endpoint(&other, answering(running, fails).await?).await?;
                load(running, &other, rate / 2.0, round);
            }
            Self::Noisy => {
                endpoint(&other, answering(running, takes).await?).await?;
                load(running, &other, rate * NOISE, round);
            }
            Self::Looping => {
                let wasm = std::fs::read(round.plugins.join("hostile.wasm"))
                    .map_err(Failure::io("read the plugin hostile"))?;
                looping_endpoint(&other, answering(running, takes).await?, wasm.into()).await?;
                load(running, &other, LOOPS, round);
            }
        }
        Ok(())
    }
}

impl Watched<'_> {
    /// Sends for as long as an open loop takes and looks at what comes.
    async fn watch(&self, round: &Round<'_>) -> Result<Seen, Failure> {
        self.receiver.take_ways();
        let before = self.receiver.count();
        let messages = ((self.rate * round.effort.time.as_secs_f64()) as u64).max(100);
        let began = Instant::now();
        client::post_when_due(&self.messages, self.rate, messages, round.start, &self.body).await?;
        let sending = began.elapsed().as_secs_f64();
        let delivered = (self.receiver.count() - before) as f64;
        let goal = before + messages;
        // What does not come at all is counted below.
        let _ = self.receiver.wait_for(goal, PATIENCE).await;
        let mut ways = self.receiver.take_ways();
        ways.resize(messages as usize, PATIENCE);
        ways.sort_unstable();
        Ok(Seen {
            offered: messages as f64 / sending,
            delivered: delivered / sending,
            p99: percentile(&ways, 0.99).unwrap_or(PATIENCE),
        })
    }
}

async fn endpoint(tenant: &Tenant, receiver: SocketAddr) -> Result<(), Failure> {
    tenant.endpoints([(receiver, Endpoint::default())]).await
}

/// A neighbour's messages, from now on for longer than the healthy endpoint is watched.
fn load(running: &mut JoinSet<()>, tenant: &Tenant, rate: f64, round: &Round<'_>) {
    let messages = (rate * 3.0 * round.effort.time.as_secs_f64()) as u64;
    let (to, start) = (tenant.messages(), round.start);
    running.spawn(async move {
        let body = Template::message(payload::SIZE);
        // A neighbour that is refused has what it asked for.
        let _ = client::post_when_due(&to, rate, messages, start, &body).await;
    });
}

/// A receiver that answers this, or never.
async fn answering(
    running: &mut JoinSet<()>,
    status: Option<StatusCode>,
) -> Result<SocketAddr, Failure> {
    let listener = receiver::listen()?;
    let addr = listener
        .local_addr()
        .map_err(Failure::io("bind the receiver"))?;
    running.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(answer(stream, status));
        }
    });
    Ok(addr)
}

async fn answer(stream: TcpStream, status: Option<StatusCode>) {
    // A socket that is gone already is the sender's to notice.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| async move {
        let _ = request.into_body().collect().await;
        let Some(status) = status else {
            return std::future::pending().await;
        };
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    // The sender may hang up whenever it likes.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// An endpoint whose plugin never ends by itself.
async fn looping_endpoint(
    tenant: &Tenant,
    receiver: SocketAddr,
    wasm: Bytes,
) -> Result<(), Failure> {
    let messages = tenant.messages();
    let app = messages.path.trim_end_matches("/msg").to_owned();
    let mut connection = Connection::open(messages.addr).await?;
    let at = |path: String| Target {
        path,
        ..messages.clone()
    };
    let upload = at("/api/v1/plugin?name=hostile".to_owned());
    connection
        .send(Method::POST, &upload, "application/wasm", wasm)
        .await?;
    let endpoints = at(format!("{app}/endpoint"));
    let body = json!({ "url": format!("http://{receiver}/") }).to_string();
    let created = connection
        .send(Method::POST, &endpoints, JSON, body.into())
        .await?;
    let created: Value = serde_json::from_slice(&created).unwrap_or_default();
    let id = created["id"].as_str().unwrap_or_default();
    let chain = at(format!("{app}/endpoint/{id}/plugin-chain"));
    let looping = json!({ "plugin": "hostile", "version": "latest", "config": { "mode": "loop" } });
    let body = json!({ "chain": [looping] }).to_string();
    connection
        .send(Method::PUT, &chain, JSON, body.into())
        .await
        .map(drop)
}
