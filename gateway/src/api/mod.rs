//! The HTTP API: the Svix v1 contract, and the gateway's own resources beside it in the same style. Turns
//! requests into calls of the other rooms and their answers into JSON; decides who may do what. Must never
//! open a connection, read a clock of its own or show a cause or a secret to a caller.
//!
//! Shared by all resources: `error`, `extract`, `query`, `validate`, `paging`, `patch`,
//! `idempotency`, `token` and `auth` (who calls), `access` (what a route needs), `state`.
//! One file for each resource. `router` is the table of routes.
//!
//! Where this differs from the contract, on purpose:
//! - `eventTypes` is also `filterTypes` and `throttleRate` also `rateLimit`, and an endpoint has `version` 1,
//!   so that clients of both generations read the answers; 422 if both names are given and differ
//! - rotating a secret answers 200 with the new key
//! - status 4, `canceled`, exists
//! - an endpoint has `retryPolicy` (null: its organization's, else the gateway's) and shows its `circuit`
//! - an attempt has `plugins`: what each of them did
//! - a 422 has a `code` too
//! - PUT of an unknown name makes the record under that name; a `uid` that is left out stays
//! - unknown fields of a request are ignored, and a slash at the end of a path too

mod access;
mod application;
mod attempt;
mod auth;
mod backup;
mod config;
mod destination;
mod drain;
mod endpoint;
mod endpoint_events;
mod endpoint_headers;
mod endpoint_secret;
mod endpoint_shape;
mod error;
mod event_type;
mod extract;
mod following;
mod health;
mod idempotency;
mod message;
mod operational;
mod organization;
mod paging;
mod patch;
mod plugin;
mod plugin_chain;
mod plugin_files;
mod plugin_limits;
mod plugin_suspension;
mod plugin_upload;
mod query;
mod recover;
mod resend;
mod retry_policy;
mod router;
mod sealed;
mod session;
mod state;
mod token;
mod transformation;
mod validate;

#[cfg(test)]
mod tests;

pub use backup::BACKUP_HEAD;
pub use config::Config;
pub use error::ApiError;
pub use router::router;
pub use state::{ApiState, Rooms};
pub use token::{APPLICATION_TTL, JwtSecret, ORGANIZATION_TTL, PORTAL_TTL, Scope, TokenError};
pub use validate::Fault;
