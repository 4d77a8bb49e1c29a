//! Hookmill: a webhook gateway whose payload logic is WebAssembly.
//!
//! A product team posts one event; the gateway stores it durably, runs each tenant's own sandboxed plugins
//! over it, signs it, delivers it and retries until the receiver has it. The rooms, in the order in which an
//! event walks through them:
//!
//! - [`api`]: routes by noun; turns requests into calls of the other rooms
//! - [`ingest`]: accepts a message, answers when it is on disk, fans it out to its endpoints
//! - [`store`]: everything that is kept, in domain words; backends in memory and on sled
//! - [`delivery`]: whose turn it is, one attempt step by step, retries
//! - [`sandbox`]: runs plugins; the only room that names `wasmtime`
//! - [`signing`]: Standard Webhooks signatures, pure
//! - [`outbound`]: the only room that opens a connection, to addresses it has judged
//! - [`domain`]: the nouns, pure; [`metrics`]: what is counted
//! - [`config`] and [`cli`]: settings and commands; [`server`]: takes connections for the API
//!
//! `gateway.rs` puts the rooms together; `upkeep.rs` sweeps what has expired; `artifacts.rs` keeps digests of
//! compiled plugins in the store.
//!
//! # Inside another program
//!
//! ```no_run
//! use hookmill::config::Settings;
//! use hookmill::{Gateway, GatewayError};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn run() -> Result<(), GatewayError> {
//! let gateway = Gateway::builder(Settings::default()).build().await?;
//! let _routes: axum::Router = gateway.router(); // serve them alone, or mount them under your own
//! let _way_in = gateway.ingest().clone(); // accepts messages without HTTP
//! gateway.run(CancellationToken::new()).await // delivers until the token is cancelled
//! # }
//! ```

pub mod api;
mod artifacts;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod domain;
pub mod events;
mod gateway;
pub mod ingest;
mod javascript;
pub mod metrics;
pub mod outbound;
pub mod sandbox;
pub mod server;
pub mod signing;
pub mod store;
mod upkeep;

pub use gateway::{Gateway, GatewayBuilder, GatewayError};
