//! The settings of the room. Plain data with units.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http::AttemptLimits;
use super::scheduler::{CircuitLimits, Limits, SilenceLimits};
use crate::domain::RetryPolicy;

/// Settings of delivering.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The retry policy of endpoints that have none, and whose organization has none: `5s,5m,2h`, `svix`,
    /// `standard-webhooks` or `exponential:first=5s,factor=2,cap=12h,retries=12`, each perhaps with
    /// `;max-age=3d`.
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
    /// Bytes of payloads under way; an organization takes three quarters of them at most, an application half.
    pub in_flight_bytes: usize,
    /// Bytes of new messages kept in memory for deliveries that have not begun; the others are read again.
    pub new_bytes: usize,
    /// Bytes of messages that are read along with the parked deliveries of a lane that moves, since each read of one
    /// message costs two switches of threads.
    pub ahead_bytes: usize,
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
    /// When an endpoint that fails over and over is only probed.
    pub circuit: CircuitConfig,
    /// A plugin version that failed so often in a row in one chain is suspended there; zero: never.
    pub suspend_plugin_after: u32,
}

/// Attempts under way, at each level. Of each number an eighth is kept for endpoints that answer within a
/// second, and another for those and for new ones.
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

/// When an endpoint that fails over and over is only probed: its deliveries wait without using their tries.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitConfig {
    /// After so many failed tries in a row; zero: never.
    pub failures: u32,
    /// The first probe comes after so long, in milliseconds; each that fails doubles the wait.
    pub first_probe_ms: u64,
    /// Longest wait between two probes, in seconds.
    pub longest_probe_s: u64,
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
            // Chosen: a megabyte, which only a lane that moves fast is given.
            lane_window: 10_000,
            // Chosen: about 30 MB.
            lanes_total: 200_000,
            // Chosen: 3 MB.
            idle_lanes: 10_000,
            // Chosen: keeps a store busy without queueing behind itself.
            refills: 32,
            in_flight_bytes: 64 << 20,
            // Chosen: two seconds' worth of small messages at the rate of one core.
            new_bytes: 32 << 20,
            // Chosen: half a second's worth of small messages at the rate of one core.
            ahead_bytes: 8 << 20,
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
            circuit: CircuitConfig::default(),
            // Chosen: as many as open a circuit. One bad event is one failure, however often it is tried.
            suspend_plugin_after: 50,
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

impl Default for CircuitConfig {
    fn default() -> Self {
        Self {
            // Chosen: some rounds of a lane's concurrency, and the whole schedules of five messages, so that few
            // failures are left to the schedule.
            failures: 50,
            // Chosen: the first step of the schedule.
            first_probe_ms: 5_000,
            // Chosen: a mended receiver waits minutes for its backlog, and a dead one costs 288 tries a day.
            longest_probe_s: 300,
        }
    }
}

impl Config {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            gateway: self.in_flight.gateway.max(1),
            organization: self.in_flight.organization.max(1),
            application: self.in_flight.application.max(1),
            bytes: self.in_flight_bytes as u64,
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
            circuit: CircuitLimits {
                failures: self.circuit.failures,
                first_probe: Duration::from_millis(self.circuit.first_probe_ms),
                longest_probe: Duration::from_secs(self.circuit.longest_probe_s),
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
