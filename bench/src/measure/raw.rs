//! Baseline: a raw HTTP client posts the payload straight to the receiver. No delivery can be faster.

use std::time::Instant;

use super::Round;
use crate::client::{self, Target, Until};
use crate::error::Failure;
use crate::payload;
use crate::receiver::Receiver;
use crate::report::Unit;

/// Connections; measured: on two cores neither fewer nor more get more through.
const CALLERS: usize = 64;

/// Posts a second.
pub(super) async fn run(round: &mut Round<'_>, start: Instant) -> Result<f64, Failure> {
    let receiver = Receiver::counting(start).await?;
    let target = Target {
        addr: receiver.addr,
        path: "/".to_owned(),
        authorization: None,
    };
    let until = Until::Elapsed(round.effort.time);
    let load = client::post(&target, CALLERS, until, start, payload::at).await?;
    round
        .report
        .add("raw client, posts", Unit::PerSecond, load.per_second());
    Ok(load.per_second())
}
