//! The black-box tests: one binary, a file per topic. Each test starts a gateway of its own.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions only, and this whole program is tests"
)]

mod back_pressure;
mod chains;
mod circuit;
mod crash;
mod deliver_at;
mod disk_faults;
mod docs;
mod endpoints;
mod errors;
mod fifo;
mod hostile;
mod idempotency;
mod limits;
mod net_faults;
mod operate;
mod operational;
mod outcomes;
mod plugin_cli;
mod plugin_health;
mod plugins;
mod policy;
mod recover;
mod scopes;
mod sdk_v1;
mod sdk_v2;
mod signing;
mod ssrf;
mod store_export;
mod transformations;
