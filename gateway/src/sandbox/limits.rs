//! What a guest may use, and what it sees when it asks for more. Pure figures: the room's other files enforce
//! them, and nothing here may depend on how.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{PluginLimit, PluginLimits};

/// The bounds of one plugin call, one chain and their results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of linear memory over all memories of a call; 64 MiB. Past it `memory.grow` answers -1: most
    /// guests abort, one that copes goes on. A guest that starts larger does not start.
    pub memory_bytes: usize,
    /// Elements over all tables of a call; 10,000. Past it `table.grow` answers -1.
    pub table_elements: usize,
    /// Running ticks of 1 ms for one call; 50. A tick counts only while the guest holds a thread, so that a
    /// loaded machine does not fail it. At the limit the guest is interrupted; the result is not memoised.
    pub call_ticks: u32,
    /// Running ticks of 1 ms for all calls of a chain; 100. As above.
    pub chain_ticks: u32,
    /// Milliseconds from a chain's first call to its end, waiting included; 5,000. As above.
    pub wall_ms: u64,
    /// Bytes copied between guest and host by one call in either direction; 8 MiB. Past it the call fails.
    pub hostcall_bytes: usize,
    /// Bytes of payload that a plugin may deliver; 1 MiB. Past it the call has failed.
    pub output_bytes: usize,
    /// Headers that a plugin may deliver; 64. Past it the call has failed.
    pub headers: usize,
    /// Bytes of all header names and values that a plugin may deliver; 16 KiB. Past it the call has failed.
    pub header_bytes: usize,
    /// Log lines kept of a call; 64. Later ones are dropped and the report is marked truncated.
    pub log_lines: usize,
    /// Bytes of log text kept of a call; 8 KiB. As above; the line that crosses the bound is cut.
    pub log_bytes: usize,
    /// Bytes kept of a reason or error text; 2 KiB. The rest is cut off.
    pub reason_bytes: usize,
    /// Plugins in a chain; 8. A longer chain fails without being run.
    pub chain_length: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 10_000,
            call_ticks: 50,
            chain_ticks: 100,
            wall_ms: 5_000,
            hostcall_bytes: 8 << 20,
            output_bytes: 1 << 20,
            headers: 64,
            header_bytes: 16 << 10,
            log_lines: 64,
            log_bytes: 8 << 10,
            reason_bytes: 2 << 10,
            chain_length: 8,
        }
    }
}

impl Limits {
    /// These, as far as what a tenant may use is not less.
    pub(super) fn narrowed(&self, tenant: &PluginLimits) -> Self {
        let bytes = |limit, most: usize| match tenant.get(limit) {
            Some(figure) => usize::try_from(figure).unwrap_or(most).min(most),
            None => most,
        };
        let call = tenant.get(PluginLimit::CallMs).map(u32::try_from);
        let call_ticks = match call {
            Some(Ok(ticks)) => ticks.min(self.call_ticks),
            Some(Err(_)) | None => self.call_ticks,
        };
        Self {
            call_ticks,
            memory_bytes: bytes(PluginLimit::MemoryBytes, self.memory_bytes),
            output_bytes: bytes(PluginLimit::OutputBytes, self.output_bytes),
            log_bytes: bytes(PluginLimit::LogBytes, self.log_bytes),
            ..self.clone()
        }
    }

    pub(super) fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }
}

/// Bytes of wasm stack, part of how guests are compiled and therefore no setting: deep recursion traps at it.
pub(super) const WASM_STACK_BYTES: usize = 512 << 10;

/// Bytes of a fiber's stack: the guest's part above, and as much again for the host calls made from its bottom.
pub(super) const FIBER_STACK_BYTES: usize = 1 << 20;

/// Core instances of one guest. A component of `wit-component` has three (code, shim, fix-up); twice that and some.
pub(super) const CORE_INSTANCES: u32 = 8;

/// Tables of one guest. A component of `wit-component` has two.
pub(super) const TABLES: u32 = 4;

/// Memories of one guest. The contract needs one, and a second is only another way to hide growth.
pub(super) const MEMORIES: u32 = 1;
