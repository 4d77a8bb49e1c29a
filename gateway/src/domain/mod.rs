//! The nouns every room speaks in. Pure: no async runtime, no HTTP framework, no database, no WebAssembly.
//!
//! One file per noun. What is stored as configuration (application, endpoint, event type, plugin, chain)
//! is serialised as JSON and may gain fields with defaults; what is stored per event (message, delivery,
//! attempt) is serialised compactly and changes only with the record's version byte.

mod application;
mod attempt;
mod chain;
mod clock;
mod delivery;
mod endpoint;
mod event_type;
mod ids;
mod message;
mod names;
mod organization;
mod plugin;
mod plugin_limits;
mod rate;
mod recover;
mod retry;
mod secret;
mod suspension;
mod transformation;

pub use application::Application;
pub use attempt::{Attempt, AttemptStatus, PluginReport, Trigger};
pub use chain::{Chain, ChainEntry, OnFailure, VersionPin};
pub use clock::{Clock, ManualClock, Seq, SystemClock, Timestamp};
pub use delivery::{DeliveryKey, DeliveryRow, DeliveryState};
pub use endpoint::{DeliveryOrder, Endpoint, EndpointSecret, PauseState};
pub use event_type::EventType;
pub use ids::{
    ApplicationId, AttemptId, EndpointId, IdError, MessageId, OrganizationId, PluginId, TaskId,
};
pub use message::{Message, NewMessage};
pub use names::{NameError, Uid};
pub use organization::Organization;
pub use plugin::{Digest, DigestError, Plugin, PluginVersion};
pub use plugin_limits::{NoSuchLimit, PluginLimit, PluginLimits};
pub use rate::Rate;
pub use recover::RecoverTask;
pub use retry::{
    Exponential, RetryPolicy, RetryPolicyError, Schedule, display_duration, parse_duration,
    thousandths,
};
pub use secret::{Sealed, Secret};
pub use suspension::Suspension;
pub use transformation::Transformation;
