//! End to end: how long a message is on its way, from the post to the receiver, at half of what one endpoint can take.
//! Open loop: messages are sent when they are due, whether or not earlier ones have been answered, so that a gateway that
//! stalls pays for all who had to wait.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Round;
use crate::client::{self, Until, micros};
use crate::error::Failure;
use crate::gateway::{Gateway, Tenant};
use crate::payload;
use crate::receiver::Receiver;
use crate::report::Unit;

/// Senders that share the schedule. Chosen: far more than are busy at once unless the gateway stalls.
const SENDERS: u64 = 128;

/// Messages that show what one endpoint can take.
const PROBE: u64 = 4_000;

const PROBE_CALLERS: usize = 64;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn run(
    round: &mut Round<'_>,
    gateway: &Gateway,
    start: Instant,
) -> Result<(), Failure> {
    let wasm = super::plugin::wasm(round)?;
    for plugin in [None, Some(&wasm)] {
        let tenant = gateway.tenant().await?;
        let receiver = Receiver::timing(start).await?;
        tenant.endpoint(receiver.addr, plugin).await?;

        let began = Instant::now();
        client::post(
            &tenant.messages(),
            PROBE_CALLERS,
            Until::Sent(PROBE),
            start,
            payload::message,
        )
        .await?;
        receiver.wait_for(PROBE, PATIENCE).await?;
        let rate = PROBE as f64 / began.elapsed().as_secs_f64() / 2.0;
        let probed = receiver.ways().len();

        let messages = (rate * round.effort.time.as_secs_f64()) as u64;
        send_when_due(&tenant, rate, messages, start).await?;
        receiver.wait_for(PROBE + messages, PATIENCE).await?;
        let name = if plugin.is_some() {
            "end to end, redact"
        } else {
            "end to end"
        };
        round
            .report
            .add(&format!("{name}, sent"), Unit::PerSecond, rate);
        round
            .report
            .add_times(name, receiver.ways().split_off(probed));
    }
    Ok(())
}

/// Sends `rate` messages a second, spread evenly. A message carries the time it was due, not the time it got its turn.
async fn send_when_due(
    tenant: &Tenant,
    rate: f64,
    messages: u64,
    start: Instant,
) -> Result<(), Failure> {
    let mut connections = Vec::new();
    for _ in 0..SENDERS {
        connections.push(client::Connection::open(tenant.messages().addr).await?);
    }
    let mut senders = JoinSet::new();
    let began = Instant::now();
    for (first, mut connection) in (0_u64..).zip(connections) {
        let target = tenant.messages();
        senders.spawn(async move {
            for number in (first..messages).step_by(SENDERS as usize) {
                let due = began + Duration::from_secs_f64(number as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                connection
                    .post(&target, payload::message(micros(due - start)))
                    .await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = senders.join_next().await {
        done.expect("a sender does not panic")?;
    }
    Ok(())
}
