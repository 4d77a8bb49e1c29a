//! The speed of deliveries against the number of endpoints that each message goes to, and against the size of a payload.

use super::Round;
use super::flow::{CALLERS, Flow};
use crate::error::Failure;
use crate::gateway::{End, Gateway};
use crate::payload::{self, Template};
use crate::receiver::Receiver;
use crate::report::{Axis, Point};
use crate::tenant::Endpoint;

static ENDPOINTS: Axis = Axis {
    name: "endpoints",
    title: "Deliveries against endpoints",
    label: "endpoints that each message goes to",
    write: crate::report::with_commas,
};

static PAYLOAD: Axis = Axis {
    name: "payload",
    title: "Deliveries against payload size",
    label: "bytes of payload",
    write: size,
};

/// Specified.
const NUMBERS: [u64; 4] = [1, 10, 100, 1_000];
const SIZES: [usize; 5] = [256, 1 << 10, 16 << 10, 256 << 10, 1 << 20];

/// Bytes of payload that a closed loop may send, so that the largest take no longer than the smallest. Chosen: a second's
/// worth of a fast disk.
const BYTES: usize = 256 << 20;

/// Callers post no more at once than this, well within what the gateway takes in at a time.
const BYTES_AT_ONCE: usize = 16 << 20;

pub(super) async fn run(round: &mut Round<'_>) -> Result<(), Failure> {
    let mut gateway = Gateway::start(round.gateway, round.disk).await?;
    for number in NUMBERS {
        let point = measure(round, &gateway, number, payload::SIZE).await?;
        round.report.sweep(&ENDPOINTS, number, point);
    }
    for size in SIZES {
        let point = measure(round, &gateway, 1, size).await?;
        round.report.sweep(&PAYLOAD, size as u64, point);
    }
    gateway.stop(End::Clean).await
}

async fn measure(
    round: &mut Round<'_>,
    gateway: &Gateway,
    endpoints: u64,
    size: usize,
) -> Result<Point, Failure> {
    let tenant = gateway.tenant().await?;
    let receiver = Receiver::start(round.start).await?;
    tenant
        .endpoints((0..endpoints).map(|_| (receiver.addr, Endpoint::default())))
        .await?;
    let flow = Flow {
        gateway,
        messages: tenant.messages(),
        receiver: &receiver,
        endpoints,
        body: Template::message(size),
        callers: (BYTES_AT_ONCE / size).clamp(1, CALLERS),
        start: round.start,
    };
    let messages = (round.effort.deliveries / endpoints).min((BYTES / size) as u64);
    let reached = flow.closed(messages).await?;
    let times = flow.at_half_of(reached.rate, round.effort.time).await?;
    Ok(Point {
        rate: reached.rate,
        p99: times.way_p99(),
        gateway: reached.used.gateway,
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}
