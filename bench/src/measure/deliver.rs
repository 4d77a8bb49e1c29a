//! Deliveries: from the first post to the last arrival, at one endpoint and at ten, with and without a plugin in the
//! path. The posting is in the figure, as it is in the others'.

use super::Round;
use super::flow::{CALLERS, Flow};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload::{self, Template};
use crate::receiver::Receiver;
use crate::report::Unit;
use crate::tenant::Endpoint;

const ENDPOINTS: [u64; 2] = [1, 10];

pub(super) async fn run(round: &mut Round<'_>, gateway: &Gateway) -> Result<(), Failure> {
    let wasm = super::plugin::wasm(round)?;
    round.raw_before().await?;
    for endpoints in ENDPOINTS {
        for redact in [None, Some(&wasm)] {
            let tenant = gateway.tenant().await?;
            let receiver = Receiver::start(round.start).await?;
            let endpoint = Endpoint {
                redact,
                ..Endpoint::default()
            };
            tenant
                .endpoints((0..endpoints).map(|_| (receiver.addr, endpoint.clone())))
                .await?;
            let flow = Flow {
                gateway,
                messages: tenant.messages(),
                receiver: &receiver,
                endpoints,
                body: Template::message(payload::SIZE),
                callers: CALLERS,
                start: round.start,
            };
            let reached = flow.closed(round.effort.deliveries / endpoints).await?;
            let raw = round.raw_around().await?;
            let name = format!(
                "deliveries, {endpoints} endpoint{}{}",
                if endpoints == 1 { "" } else { "s" },
                if redact.is_some() { ", redact" } else { "" }
            );
            let report = &mut *round.report;
            report.compare(&name, Unit::PerSecond, reached.rate, "raw client", raw.rate);
            report.cost(&name, Unit::PerSecond, reached.used.beside(raw));
        }
    }
    let memory = gateway.memory()?;
    round.report.add(
        "deliveries, memory of the gateway at most",
        Unit::Bytes,
        memory.peak as f64,
    );
    Ok(())
}
