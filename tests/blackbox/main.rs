//! The black-box tests: one binary, a file per topic. Each test starts a gateway of its own.

#![expect(
    clippy::unwrap_used,
    reason = "clippy exempts test functions only, and this whole program is tests"
)]

mod back_pressure;
mod chains;
mod crash;
mod deliver_at;
mod docs;
mod endpoints;
mod errors;
mod hostile;
mod idempotency;
mod limits;
mod operate;
mod outcomes;
mod plugins;
mod scopes;
mod sdk_v1;
mod sdk_v2;
mod signing;
mod ssrf;
