//! The harness of the black-box tests: it starts the real binary, plays the receivers, builds the plugins and
//! speaks the API. It may use everything a user of Hookmill has, and must never reach into the gateway's own
//! code: what can not be seen from outside is not its business.
//!
//! | module | what it is |
//! |---|---|
//! | [`gateway`] | one gateway process with a directory of its own: start, kill, stop, restart |
//! | [`client`] | a thin JSON client that checks the shape of every error |
//! | [`receiver`] | a receiver that answers as told and remembers what it got |
//! | [`raw`] | a receiver below HTTP: bytes, delays, resets |
//! | [`plugins`] | the sample plugins and the hostile one, as bytes |
//! | [`power_cut`] | a disk whose power can be cut |
//! | [`small_disk`] | a disk that can be filled |
//! | [`tenant`] | an application with endpoints, the usual start of a test |
//! | [`dns`] | a DNS server that fails when told to |
//! | [`fault_table`] | the rows that tests of faults report |
//! | [`load`] | numbered messages under which a fault happens, and the account of them |
//! | [`patience`] | waiting for what must happen, with one deadline for all |
//! | [`settings`] | what the environment says, and where the files are |

pub mod client;
pub mod dns;
pub mod fault_table;
pub mod gateway;
pub mod load;
pub mod patience;
pub mod plugins;
pub mod power_cut;
#[cfg(test)]
mod power_cut_tests;
pub mod raw;
pub mod receiver;
pub mod settings;
pub mod small_disk;
pub mod tenant;

pub use client::{Client, Reply};
pub use gateway::{Gateway, GatewayBuilder};
pub use patience::{eventually, within};
pub use raw::{Raw, Step};
pub use receiver::Receiver;
pub use tenant::Tenant;
