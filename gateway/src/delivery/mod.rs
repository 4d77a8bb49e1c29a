//! Takes deliveries from their lanes to their receivers, again and again until they have arrived or failed.
//!
//! - [`Lanes`]: where fan-out hands new deliveries in
//! - `scheduler`: which delivery starts when; sans-I/O
//! - `driver`: the scheduler in real time
//! - `worker`: one attempt, step by step: `payloads`, `shape`, `request`, `http`, `settle`
//! - `outcome`, `retry_after`: what a receiver's answer means
//! - `told`: which attempts the organization hears of
//! - `record`, `ticket`: what happened goes to the store, outbox entries go with their last delivery
//! - `directory`, `organizations`, `changes`, `endpoints`: what is known about endpoints, and what delivering
//!   changes about them
//! - `circuits`: whose receivers are spared at present
//! - `plugin_stats`, `suspension`, `plan`: what each plugin version did, and which are not run for it
//! - `pending`: how many deliveries of each organization are unfinished
//! - `recovery`, `opening`, `engine`: start and end
//! - [`Deliveries`], `recover`: what a person can ask for
//!
//! Nothing here dials by itself (that is `outbound`'s), and nothing that a receiver, sender or plugin does
//! reaches beyond its own delivery, lane, application or organization.

mod changes;
mod circuits;
mod config;
mod directory;
mod driver;
mod endpoints;
mod engine;
mod http;
mod lanes;
mod opening;
mod organizations;
mod outcome;
mod payloads;
mod pending;
mod plan;
mod plugin_stats;
mod record;
mod recover;
mod recovery;
mod request;
mod resend;
mod retry_after;
mod scheduler;
mod settle;
mod shape;
mod suspension;
mod ticket;
mod told;
mod worker;

#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod tests;

pub use config::{AutoDisable, CircuitConfig, Config, InFlight};
pub use engine::{DeliveryError, Engine, Parts, open};
pub use lanes::Lanes;
pub(crate) use lanes::{HandOver, Recent, Stopped};
pub use outcome::{AttemptReport, Verdict};
pub(crate) use pending::{OneMore, Pending};
pub use plugin_stats::VersionFigures;
pub use resend::{Deliveries, ResendError};
pub use scheduler::OpenCircuit;
