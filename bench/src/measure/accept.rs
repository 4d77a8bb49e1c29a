//! Durable accepts: messages that the gateway has answered with 202, and so has on disk. The application has no
//! endpoints; deliveries are measured on their own.

use std::time::Instant;

use super::{Baseline, Round};
use crate::client::{self, Until};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload;
use crate::report::Unit;

/// Callers at once; specified, with 16 and 128 as the figures of others have them.
const CALLERS: [usize; 3] = [16, 64, 128];

pub(super) async fn run(
    round: &mut Round<'_>,
    gateway: &Gateway,
    baseline: Baseline,
    start: Instant,
) -> Result<(), Failure> {
    let tenant = gateway.tenant().await?;
    for callers in CALLERS {
        let until = Until::Elapsed(round.effort.time);
        let load =
            client::post(&tenant.messages(), callers, until, start, payload::message).await?;
        let name = format!("accepts, {callers} callers");
        let rate = load.per_second();
        round
            .report
            .compare(&name, Unit::PerSecond, rate, "raw client", baseline.raw);
        round.report.compare(
            &format!("{name}, to the disk"),
            Unit::PerSecond,
            rate,
            "disk",
            baseline.syncs,
        );
        round.report.add_times(&name, load.times);
    }
    Ok(())
}
