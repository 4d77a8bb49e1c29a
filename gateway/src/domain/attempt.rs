//! One try of a delivery: what was sent, what came back, how long it took, what the plugins said.

use serde::{Deserialize, Serialize};

use super::{AttemptId, DeliveryKey, Digest, MessageId, Seq, Timestamp, Uid};

/// One recorded try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its identifier.
    pub id: AttemptId,
    /// Order of recording; zero until the store has assigned it.
    pub seq: Seq,
    /// The delivery it tried.
    pub delivery: DeliveryKey,
    /// The message, by identifier.
    pub message: MessageId,
    /// The message's event type, so that attempts can be filtered by it.
    pub event_type: Uid,
    /// The message's channels, for the same reason.
    pub channels: Vec<Uid>,
    /// The message's tags, for the same reason.
    pub tags: Vec<String>,
    /// When it began.
    pub at: Timestamp,
    /// From connect to verdict, in milliseconds.
    pub duration_ms: u32,
    /// How it ended.
    pub status: AttemptStatus,
    /// The receiver's status code; none if no answer came.
    pub response_code: Option<u16>,
    /// The first bytes of the receiver's answer as text, or what went wrong instead.
    pub response: String,
    /// Where it was sent.
    pub url: String,
    /// Why it was made.
    pub trigger: Trigger,
    /// What the plugins that shaped it did.
    pub plugins: Vec<PluginReport>,
}

/// How an attempt ended. The numbers are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttemptStatus {
    /// 0: the receiver has it.
    Success,
    /// 1: not tried yet.
    Pending,
    /// 2: it failed.
    Fail,
    /// 3: under way.
    Sending,
    /// 4: dropped by a plugin or canceled.
    Canceled,
}

impl AttemptStatus {
    /// The number that the Svix v1 contract gives it (4 is of the 2.x clients).
    pub const fn code(self) -> u8 {
        match self {
            AttemptStatus::Success => 0,
            AttemptStatus::Pending => 1,
            AttemptStatus::Fail => 2,
            AttemptStatus::Sending => 3,
            AttemptStatus::Canceled => 4,
        }
    }

    /// Its name in the contract's `statusText`.
    pub const fn text(self) -> &'static str {
        match self {
            AttemptStatus::Success => "success",
            AttemptStatus::Pending => "pending",
            AttemptStatus::Fail => "fail",
            AttemptStatus::Sending => "sending",
            AttemptStatus::Canceled => "canceled",
        }
    }
}

/// Why an attempt was made. The numbers are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Trigger {
    /// 0: first try or retry by schedule.
    #[default]
    Scheduled,
    /// 1: a person or program asked for it.
    Manual,
    /// 0: by the fresh schedule of a delivery that had failed and was recovered.
    Recovered,
}

/// What one plugin did to one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginReport {
    /// The plugin's name.
    pub plugin: String,
    /// The version that ran.
    pub version: Digest,
    /// `pass`, `deliver`, `drop`, `reject`, `error`, `trap` or `limit`.
    pub outcome: String,
    /// Reason or error text; empty where there is none.
    pub detail: String,
    /// Time inside the sandbox, in microseconds.
    pub micros: u64,
    /// Peak of its memories, in bytes.
    pub memory_peak: u64,
    /// Lines it logged: level and text.
    pub logs: Vec<(String, String)>,
}
