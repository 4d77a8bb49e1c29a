//! Takes events in: checks their size, keeps them on disk, answers, and hands them to the lanes of the
//! endpoints that want them.
//!
//! - `accept`: [`Ingest`], from a submission to the answer
//! - `limits`: how much each tenant may have accepted
//! - `fanout`: [`FanOut`], from a message to its lanes; after a start, from the outbox
//! - `operational`: [`Operational`], from an operational event to a message
//!
//! The answer's cost does not grow with the number of endpoints, and nothing that was answered depends on
//! memory: what the queue to fan-out does not take, fan-out reads from the store.

mod accept;
mod config;
mod fanout;
mod limits;
mod operational;

#[cfg(test)]
mod tests;

pub use accept::{Accepted, Ingest, IngestError, Submission, new, operational};
pub use config::Config;
pub use fanout::FanOut;
pub use operational::Operational;
