//! Signs what goes out, so that a receiver can tell our deliveries from anybody else's. Pure: it knows
//! bytes, keys and the moment it is given; it must never read a clock, a store or a socket.
//!
//! - `key`: the secrets in their text forms, and their public halves
//! - `standard`: Standard Webhooks 1.0.0, signing and verifying

mod key;
mod standard;

pub use key::{KeyError, SigningKey, VerifyingKey};
pub use standard::{SignatureHeaders, SignedHeaders, VerifyError, headers, sign, verify};
