//! Durable accepts: messages that the gateway has answered with 202, and so has on disk. The application has no
//! endpoints; deliveries are measured on their own.

use super::flow::Meter;
use super::{Round, disk};
use crate::client::{self, Until};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload::{self, Template};
use crate::report::Unit;

/// Callers at once; specified, with 16 and 128 as the figures of others have them.
const CALLERS: [usize; 3] = [16, 64, 128];

pub(super) async fn run(round: &mut Round<'_>, gateway: &Gateway) -> Result<(), Failure> {
    let tenant = gateway.tenant().await?;
    let body = Template::message(payload::SIZE);
    let syncs = disk::run(round)?;
    round.raw_before().await?;
    for callers in CALLERS {
        let until = Until::Elapsed(round.effort.time);
        let meter = Meter::start(gateway)?;
        let load = client::post(&tenant.messages(), callers, until, round.start, &body).await?;
        let used = meter.each_of(load.times.len() as u64)?;
        let raw = round.raw_around().await?;
        let name = format!("accepts, {callers} callers");
        let rate = load.per_second();
        let report = &mut *round.report;
        report.compare(&name, Unit::PerSecond, rate, "raw client", raw.rate);
        report.cost(&name, Unit::PerSecond, used.beside(raw));
        report.compare(
            &format!("{name}, to the disk"),
            Unit::PerSecond,
            rate,
            "disk",
            syncs,
        );
        report.add_times(&name, load.times);
    }
    Ok(())
}
