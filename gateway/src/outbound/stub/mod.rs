//! The other side for tests: real sockets on loopback that say what they are told. Only compiled for tests.
//!
//! - `receiver`: writes exact bytes, over TCP or TLS
//! - `http2`: answers or resets HTTP/2 streams
//! - `identity`: certificates
//! - `dns`: a DNS server
//! - `outside`: no socket at all, for simulations
//! - `proxy`: an egress proxy

mod dns;
mod http2;
mod identity;
pub(crate) mod outside;
mod proxy;
mod receiver;

pub(crate) use dns::{DnsStub, Question, Record, Reply};
pub(crate) use http2::{Http2Receiver, Stream};
pub(crate) use identity::Identity;
pub(crate) use proxy::{Proxy, Speaks};
pub(crate) use receiver::{Act, Receiver, answer};
