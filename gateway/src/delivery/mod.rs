//! Takes deliveries from their lanes to their receivers.

mod http;
mod outcome;
mod retry_after;

pub use http::{AttemptLimits, attempt};
pub use outcome::{AttemptReport, Verdict};
