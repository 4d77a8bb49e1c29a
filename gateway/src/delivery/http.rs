//! One attempt: sends a finished request and says what follows. Goes out through `outbound` only; knows no
//! lane, no schedule and no store.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::outcome::AttemptReport;
use crate::domain::Clock;
use crate::outbound::{Outbound, TargetUrl};

/// How long one attempt may take, and how long to stay away from who is overloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttemptLimits {
    /// From lookup to the end of the response head; the body is read for what is left of it.
    pub(super) deadline: Duration,
    /// Least wait after a 429 without `Retry-After` and after a time-out.
    pub(super) slow_down_floor: Duration,
}

/// Sends one request and classifies what comes back. Never fails: every outcome is a report.
///
/// Cancel-safe: a dropped future closes its connection, and the attempt counts as not made; the receiver
/// may have got it.
pub(super) async fn attempt(
    outbound: &Outbound,
    target: &TargetUrl,
    headers: HeaderMap,
    body: Bytes,
    limits: AttemptLimits,
    clock: &dyn Clock,
) -> AttemptReport {
    let started = Instant::now();
    let sent = outbound.post(target, headers, body, limits.deadline).await;
    let duration = started.elapsed();
    let floor = limits.slow_down_floor;
    match sent {
        Ok(response) => AttemptReport::of_response(&response, floor, || clock.wall(), duration),
        Err(error) => AttemptReport::of_error(&error, floor, duration),
    }
}

#[cfg(test)]
mod tests;
