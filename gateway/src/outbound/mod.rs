//! The only room that opens a connection, and only to an address that it has judged: judge the URL, resolve
//! the name, judge every address, dial exactly those. May touch the network, the hosts file and the root
//! certificates; must never follow a redirect, obey a proxy variable or dial an address it has not judged.
//!
//! - `address`: which addresses belong to nobody outside
//! - `name`: which names do
//! - `allow`: what the operator opens
//! - `judge`: a URL's text into a [`TargetUrl`] or a [`Refusal`]
//! - `resolve`: a name into judged addresses
//! - `dial`: the HTTP clients
//! - `client`: [`Outbound`], one POST
//! - `failure`: why no answer came

mod address;
mod allow;
mod client;
mod config;
mod dial;
mod failure;
mod judge;
mod name;
mod resolve;
#[cfg(test)]
pub(crate) mod stub;

pub use address::AddressRule;
pub use allow::{HostPattern, HostPatternError};
pub use client::{CapturedBody, Outbound, Response};
pub use config::{Config, DnsConfig, DnsServer, OutboundError, PoolConfig, TlsConfig};
pub use failure::{ErrorKind, SendError};
pub use judge::{Refusal, TargetUrl};
pub use name::NameRule;
