//! The settings of the room. Plain data with units.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of taking events in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of a payload.
    pub payload_bytes: usize,
    /// Bytes of payloads that are being accepted at a time.
    pub in_flight_bytes: usize,
    /// What a tenant with a rate limit may send at once, in milliseconds' worth of its rate: at 1,000, the
    /// default, as many messages as it may send in a second. One message is always let through.
    pub burst_ms: u64,
    /// How long a sender waits for the disk before it is answered 503, in milliseconds; 10,000. The message
    /// may have been kept all the same, and is delivered then.
    pub commit_timeout_ms: u64,
    /// How long a message is kept unless it says otherwise, in seconds.
    pub retention_s: u64,
    /// Accepted messages that wait for fan-out with their headers in memory.
    pub fan_out_queue: usize,
    /// Accepted messages beyond those that wait for fan-out in the store, 16 bytes each in memory; past it new
    /// messages are refused.
    pub fan_out_backlog: usize,
    /// Operational events that wait to become messages; more are dropped.
    pub operational_queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            payload_bytes: 1 << 20,
            in_flight_bytes: 64 << 20,
            // Chosen: a sender that works in batches once a second is not refused.
            burst_ms: 1_000,
            // Chosen: a hundred slow commits; who waits longer waits for a disk that hangs.
            commit_timeout_ms: 10_000,
            // The contract's default: 90 days.
            retention_s: 90 * 24 * 3600,
            // Chosen: half a second of accepting at full speed.
            fan_out_queue: 8_192,
            // Chosen: 16 MB.
            fan_out_backlog: 1_000_000,
            // Chosen: half a megabyte.
            operational_queue: 1_024,
        }
    }
}

impl Config {
    pub(super) fn burst(&self) -> Duration {
        Duration::from_millis(self.burst_ms)
    }

    pub(super) fn commit_timeout(&self) -> Duration {
        Duration::from_millis(self.commit_timeout_ms)
    }

    pub(super) fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_s)
    }
}
