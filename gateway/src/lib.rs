//! Hookmill: a webhook gateway whose payload logic is WebAssembly.

pub mod domain;
pub mod metrics;
pub mod sandbox;
pub mod store;
