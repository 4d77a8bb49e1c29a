//! Deliveries: from the first post to the last arrival, at one endpoint and at ten, with and without a plugin in the
//! path. The posting is in the figure, as it is in the others'.

use std::time::{Duration, Instant};

use super::{Baseline, Round};
use crate::client::{self, Until};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload;
use crate::receiver::Receiver;
use crate::report::Unit;

/// Callers that post; chosen: enough to keep the gateway busy.
const CALLERS: usize = 64;

/// For the last delivery to come. Chosen: a gateway that needs longer has lost it.
const PATIENCE: Duration = Duration::from_secs(120);

const ENDPOINTS: [usize; 2] = [1, 10];

pub(super) async fn run(
    round: &mut Round<'_>,
    gateway: &Gateway,
    baseline: Baseline,
    start: Instant,
) -> Result<(), Failure> {
    let wasm = super::plugin::wasm(round)?;
    for endpoints in ENDPOINTS {
        for plugin in [None, Some(&wasm)] {
            let tenant = gateway.tenant().await?;
            let receiver = Receiver::counting(start).await?;
            for _ in 0..endpoints {
                tenant.endpoint(receiver.addr, plugin).await?;
            }
            let messages = round.effort.deliveries / endpoints as u64;
            let began = Instant::now();
            client::post(
                &tenant.messages(),
                CALLERS,
                Until::Sent(messages),
                start,
                payload::message,
            )
            .await?;
            receiver
                .wait_for(messages * endpoints as u64, PATIENCE)
                .await?;
            let rate = receiver.count() as f64 / began.elapsed().as_secs_f64();
            let name = format!(
                "deliveries, {endpoints} endpoint{}{}",
                if endpoints == 1 { "" } else { "s" },
                if plugin.is_some() { ", redact" } else { "" }
            );
            round
                .report
                .compare(&name, Unit::PerSecond, rate, "raw client", baseline.raw);
        }
    }
    Ok(())
}
