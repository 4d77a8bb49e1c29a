//! Hookmill: a webhook gateway whose payload logic is WebAssembly.

pub mod api;
pub mod delivery;
pub mod domain;
pub mod ingest;
pub mod metrics;
pub mod outbound;
pub mod sandbox;
pub mod signing;
pub mod store;
