//! The only room that opens a connection, and only to an address that it has judged: judge the URL, resolve
//! the name, judge every address, dial exactly those. May touch the network, the hosts file and the root
//! certificates; must never follow a redirect, obey a proxy variable or dial an address it has not judged.
//!
//! - `address`: which addresses belong to nobody outside
//! - `name`: which names do
//! - `allow`: what the operator opens
//! - `judge`: a URL's text into a [`TargetUrl`] or a [`Refusal`]
//! - `resolve`: a name into judged addresses
//! - `tls`: which certificates are trusted
//! - `proxy`: the operator's egress proxy
//! - `dial`: a judged URL into a connection
//! - `connection`: HTTP/1.1 and HTTP/2 over it
//! - `pool`: connections between requests
//! - `client`: [`Outbound`], one POST
//! - `operator`: one request to where the operator says
//! - `failure`: why no answer came

mod address;
mod allow;
mod client;
mod config;
mod connection;
mod dial;
mod failure;
mod judge;
mod name;
pub(crate) mod operator;
mod pool;
mod proxy;
mod resolve;
#[cfg(test)]
pub(crate) mod stub;
mod tls;

pub use address::AddressRule;
pub use allow::{HostPattern, HostPatternError};
pub use client::{CapturedBody, Outbound, Response};
pub use config::{Config, DnsConfig, DnsServer, OutboundError, PoolConfig, TlsConfig};
pub use failure::{ErrorKind, SendError};
pub use judge::{Refusal, TargetUrl};
pub use name::NameRule;
pub use proxy::{ProxyUrl, ProxyUrlError};
