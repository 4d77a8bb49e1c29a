//! An event of the Events API v2, and what PagerDuty takes.
//! <https://developer.pagerduty.com/docs/send-alert-event>

use hookmill_plugin::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Characters of a summary; longer ones are refused.
const SUMMARY: usize = 1_024;
/// Characters of a key; longer ones are refused.
const DEDUP_KEY: usize = 255;
/// Bytes of details; chosen, since an event may have 512 KB in all.
const DETAILS: usize = 450_000;

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Opens the alert, or adds to the one that is open.
    Trigger,
    /// Somebody is looking at it.
    Acknowledge,
    /// It is over.
    Resolve,
    /// Nothing: the event is dropped.
    Ignore,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    Critical,
    Error,
    Warning,
    Info,
}

#[derive(Serialize)]
pub(crate) struct Alert<'a> {
    routing_key: &'a str,
    event_action: Action,
    dedup_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<Link>,
}

/// What a triggered alert says.
#[derive(Serialize)]
pub(crate) struct Details {
    pub(crate) summary: String,
    pub(crate) source: String,
    pub(crate) severity: Severity,
    #[serde(skip)]
    pub(crate) timestamp_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) class: Option<String>,
    pub(crate) custom_details: Value,
}

#[derive(Serialize)]
struct Payload {
    #[serde(flatten)]
    details: Details,
    /// When it began, ISO 8601.
    timestamp: String,
}

#[derive(Serialize)]
pub(crate) struct Link {
    href: String,
    text: &'static str,
}

impl<'a> Alert<'a> {
    pub(crate) fn new(routing_key: &'a str, event_action: Action, dedup_key: &str) -> Self {
        Self {
            routing_key,
            event_action,
            dedup_key: dedup_key.chars().take(DEDUP_KEY).collect(),
            payload: None,
            links: Vec::new(),
        }
    }

    /// Says what is wrong, cut to what PagerDuty takes.
    pub(crate) fn trigger(&mut self, mut details: Details) -> Result<()> {
        if let Some((end, _)) = details.summary.char_indices().nth(SUMMARY) {
            details.summary.truncate(end);
        }
        if details.custom_details.to_string().len() > DETAILS {
            details.custom_details = "left out: too large".into();
        }
        let timestamp = i64::try_from(details.timestamp_ms)
            .ok()
            .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
            .ok_or_else(|| Error::new("the event's time is beyond the calendar"))?
            .to_string();
        self.payload = Some(Payload { details, timestamp });
        Ok(())
    }
}

impl Link {
    pub(crate) fn to(href: String) -> Option<Self> {
        let is_address = href.starts_with("https://") || href.starts_with("http://");
        is_address.then_some(Self { href, text: "Open" })
    }
}
