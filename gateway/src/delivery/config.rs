//! The settings of the room. Plain data with units.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http::AttemptLimits;
use super::scheduler::{Limits, SilenceLimits};
use crate::domain::RetryPolicy;

/// Settings of delivering.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The delays before the retries of endpoints that have no policy of their own, such as `5s,5m,2h`.
    pub retry_schedule: RetryPolicy,
    /// Longest time from lookup to the end of the response head, in milliseconds.
    pub timeout_ms: u64,
    /// Least wait after a 429 without `Retry-After` and after a time-out, in milliseconds; also how long a
    /// lane rests whose receiver is overloaded by one delivery at a time.
    pub slow_down_floor_ms: u64,
    /// Attempts under way.
    pub in_flight: InFlight,
    /// Deliveries that one lane holds in memory; more wait in the store.
    pub lane_window: usize,
    /// Deliveries that all lanes hold in memory, some 150 bytes each. The fewer of these places are free, the
    /// fewer a lane may take; a few it may always.
    pub lanes_total: usize,
    /// Lanes without work whose concurrency is remembered.
    pub idle_lanes: usize,
    /// Reads of parked deliveries at a time.
    pub refills: usize,
    /// Bytes of payloads under way.
    pub in_flight_bytes: usize,
    /// Bytes of recent payloads kept for deliveries that have not begun.
    pub recent_bytes: u64,
    /// Endpoints whose settings are kept in memory.
    pub directory_endpoints: u64,
    /// Deliveries on their way from fan-out to their lanes.
    pub lane_queue: usize,
    /// Outcomes that wait to be recorded.
    pub record_queue: usize,
    /// Outcomes recorded in one batch.
    pub record_batch: usize,
    /// How long this gateway's lanes stay its own after its last sign of life, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How long attempts under way may take to finish at shutdown, in milliseconds.
    pub grace_ms: u64,
    /// When an endpoint that never succeeds is disabled.
    pub auto_disable: AutoDisable,
}

/// Attempts under way, at each level.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InFlight {
    /// In the gateway.
    pub gateway: u32,
    /// Of one organization.
    pub organization: u32,
    /// Of one application.
    pub application: u32,
    /// Of one endpoint at first.
    pub endpoint_start: u32,
    /// Of one endpoint at most.
    pub endpoint_max: u32,
}

/// When an endpoint that never succeeds is disabled.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoDisable {
    /// After so long without one success, in seconds.
    pub silence_s: u64,
    /// With at least so many failed tries.
    pub failures: u32,
    /// Spread over at least so long, in seconds.
    pub spread_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retry_schedule: RetryPolicy::standard_webhooks(),
            // Standard Webhooks: 15 to 30 s. The short end holds a lane's place less long.
            timeout_ms: 15_000,
            // Chosen: what svix-server waits at least.
            slow_down_floor_ms: 60_000,
            in_flight: InFlight::default(),
            // Chosen: about 100 KB a lane.
            lane_window: 1_000,
            // Chosen: about 30 MB.
            lanes_total: 200_000,
            // Chosen: 3 MB.
            idle_lanes: 10_000,
            // Chosen: keeps a store busy without queueing behind itself.
            refills: 32,
            in_flight_bytes: 64 << 20,
            // Chosen: a second's worth of messages at the rate of one core.
            recent_bytes: 16 << 20,
            // Chosen: about 200 MB at 2 KB each.
            directory_endpoints: 100_000,
            lane_queue: 4_096,
            record_queue: 4_096,
            // Chosen: twice what one group of the store takes.
            record_batch: 512,
            lease_ttl_ms: 30_000,
            // Chosen: longer than an attempt.
            grace_ms: 20_000,
            auto_disable: AutoDisable::default(),
        }
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            // Chosen: each takes a socket; the usual limit of descriptors is 1,024 soft and far more hard.
            gateway: 512,
            organization: 384,
            application: 256,
            endpoint_start: 8,
            // Chosen: at 10 ms a round trip, 6,400 deliveries a second.
            endpoint_max: 64,
        }
    }
}

impl Default for AutoDisable {
    fn default() -> Self {
        Self {
            silence_s: 5 * 24 * 3600,
            failures: 10,
            spread_s: 12 * 3600,
        }
    }
}

impl Config {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            gateway: self.in_flight.gateway.max(1),
            organization: self.in_flight.organization.max(1),
            application: self.in_flight.application.max(1),
            lane_start: self.in_flight.endpoint_start,
            lane_max: self.in_flight.endpoint_max,
            window: self.lane_window.max(2),
            total: self.lanes_total,
            idle_lanes: self.idle_lanes,
            refills: self.refills.max(1),
            slow_down_floor: self.slow_down_floor(),
            silence: SilenceLimits {
                silence: Duration::from_secs(self.auto_disable.silence_s),
                failures: self.auto_disable.failures,
                spread: Duration::from_secs(self.auto_disable.spread_s),
            },
        }
    }

    pub(super) fn attempt_limits(&self) -> AttemptLimits {
        AttemptLimits {
            deadline: Duration::from_millis(self.timeout_ms),
            slow_down_floor: self.slow_down_floor(),
        }
    }

    pub(super) fn slow_down_floor(&self) -> Duration {
        Duration::from_millis(self.slow_down_floor_ms)
    }

    pub(super) fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_ms)
    }

    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}
