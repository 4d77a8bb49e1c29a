//! Baseline: a raw HTTP client posts the payload straight to the receiver. No delivery can be faster.

use std::time::Duration;

use super::Round;
use crate::client::{self, Target, Until};
use crate::error::Failure;
use crate::payload::{self, Template};
use crate::receiver::Receiver;
use crate::report::Unit;
use crate::usage::CpuTime;

/// Connections; measured: on two cores neither fewer nor more get more through.
const CALLERS: usize = 64;

/// What the raw client reached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    /// Posts a second.
    pub(crate) rate: f64,
    /// CPU time of one, with its receiver.
    pub(crate) cpu: Duration,
}

impl Round<'_> {
    /// Measured right before the first of several that are compared with it.
    pub(super) async fn raw_before(&mut self) -> Result<(), Failure> {
        self.raw = Some(measure(self).await?);
        Ok(())
    }

    /// Measured right after: the mean of both. What comes next is right after it too.
    pub(super) async fn raw_around(&mut self) -> Result<Raw, Failure> {
        let after = measure(self).await?;
        let before = self.raw.replace(after).unwrap_or(after);
        Ok(Raw {
            rate: f64::midpoint(before.rate, after.rate),
            cpu: (before.cpu + after.cpu) / 2,
        })
    }
}

async fn measure(round: &mut Round<'_>) -> Result<Raw, Failure> {
    let receiver = Receiver::start(round.start).await?;
    let target = Target {
        addr: receiver.addr,
        path: "/".to_owned(),
        authorization: None,
    };
    let until = Until::Elapsed(round.effort.raw);
    let body = Template::payload(payload::SIZE);
    let began = CpuTime::own()?;
    let load = client::post(&target, CALLERS, until, round.start, &body).await?;
    let used = CpuTime::own()?.since(began);
    let raw = Raw {
        rate: load.per_second(),
        cpu: used.div_f64(load.times.len().max(1) as f64),
    };
    round
        .report
        .add("raw client, posts", Unit::PerSecond, raw.rate);
    round.report.add(
        "raw client, CPU of a post with its receiver",
        Unit::Time,
        raw.cpu.as_secs_f64(),
    );
    Ok(raw)
}
