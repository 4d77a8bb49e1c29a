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
    /// How long a message is kept unless it says otherwise, in seconds.
    pub retention_s: u64,
    /// Accepted messages that wait for fan-out with their headers in memory.
    pub fan_out_queue: usize,
    /// Accepted messages beyond those that wait for fan-out in the store, 8 bytes each in memory; past it new
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
            // The contract's default: 90 days.
            retention_s: 90 * 24 * 3600,
            // Chosen: half a second of accepting at full speed.
            fan_out_queue: 8_192,
            // Chosen: 8 MB.
            fan_out_backlog: 1_000_000,
            // Chosen: half a megabyte.
            operational_queue: 1_024,
        }
    }
}

impl Config {
    pub(super) fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_s)
    }
}
