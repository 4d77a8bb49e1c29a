//! The bounds of the HTTP API. Plain data with units and defaults; reads no file and no environment.

use serde::{Deserialize, Serialize};

/// Settings of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of any other JSON body, and of a message's envelope around its payload; 128 KiB.
    pub json_bytes: usize,
    /// Bytes of all request bodies in memory at once; 64 MiB. Past it a request is answered with 503.
    pub body_budget_bytes: usize,
    /// Bytes of payloads in one page of a list; 16 MiB. A page of large messages has fewer rows.
    pub page_bytes: usize,
    /// Milliseconds for a body to arrive; 30,000. Past it 408.
    pub body_timeout_ms: u64,
    /// Bytes of a body that nobody wanted which are read and dropped, so that its sender hears the answer;
    /// 8 MiB. Past it the connection is closed.
    pub drain_bytes: usize,
    /// Milliseconds for that; 2,000.
    pub drain_timeout_ms: u64,
    /// Endpoints of one application; 1,000.
    pub endpoints_per_application: usize,
    /// Plugins of an organization, and of each application beside them; 100.
    pub plugins_per_owner: usize,
    /// Versions of one plugin; 100.
    pub versions_per_plugin: usize,
    /// Static headers of an endpoint; 64.
    pub headers: usize,
    /// Bytes of an endpoint's static headers, names and values; 16 KiB.
    pub header_bytes: usize,
    /// Bytes of a record's metadata, keys and values; 4 KiB.
    pub metadata_bytes: usize,
    /// Hours that the answer to an `Idempotency-Key` is kept; 12.
    pub idempotency_hours: u64,
    /// Seconds by which the clock of whoever minted a token may differ; 30.
    pub token_leeway_seconds: u64,
    /// Whether a chain may send a message unchanged when a plugin fails; no: a failed redaction leaks.
    pub allow_pass_on_failure: bool,
    /// Where an application's portal lies; unless given, the address that the request was sent to.
    pub portal_url: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            json_bytes: 128 << 10,
            body_budget_bytes: 64 << 20,
            page_bytes: 16 << 20,
            body_timeout_ms: 30_000,
            drain_bytes: 8 << 20,
            drain_timeout_ms: 2_000,
            endpoints_per_application: 1_000,
            plugins_per_owner: 100,
            versions_per_plugin: 100,
            headers: 64,
            header_bytes: 16 << 10,
            metadata_bytes: 4 << 10,
            idempotency_hours: 12,
            token_leeway_seconds: 30,
            allow_pass_on_failure: false,
            portal_url: None,
        }
    }
}
