//! At half of what one endpoint can take: how long a message waits for its answer, and how long it is on its way from
//! the post to the receiver, both in the same open loop.

use super::Round;
use super::flow::{CALLERS, Flow};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload::{self, Template};
use crate::receiver::Receiver;
use crate::report::Unit;
use crate::tenant::Endpoint;

pub(super) async fn run(round: &mut Round<'_>, gateway: &Gateway) -> Result<(), Failure> {
    let wasm = super::plugin::wasm(round)?;
    for redact in [None, Some(&wasm)] {
        let tenant = gateway.tenant().await?;
        let receiver = Receiver::start(round.start).await?;
        let endpoint = Endpoint {
            redact,
            ..Endpoint::default()
        };
        tenant.endpoints([(receiver.addr, endpoint)]).await?;
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
        let times = flow.at_half_of(reached.rate, round.effort.time).await?;
        let name = if redact.is_some() {
            "half rate, redact"
        } else {
            "half rate"
        };
        let report = &mut *round.report;
        report.add(
            &format!("{name}, sent"),
            Unit::PerSecond,
            reached.rate / 2.0,
        );
        report.add_times(&format!("{name}, accept"), times.accepts);
        report.add_times(&format!("{name}, end to end"), times.ways);
    }
    Ok(())
}
