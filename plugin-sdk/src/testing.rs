//! Runs a plugin natively, in a plain `#[test]`, without a gateway: an event to build, a run to look into.
//!
//! It is not compiled for the sandbox. It applies the gateway's default limits to what comes out, so that a
//! test fails where a delivery would.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::log::Level;
use crate::{Event, Header, Manifest, Outcome, Request, Transformer};

pub use cases::run_cases;

mod cases;

/// Headers that the gateway takes from a plugin, and their bytes; its defaults.
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// The largest payload that the gateway takes from a plugin; its default.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
/// Lines and bytes of log that the gateway keeps of a call; its defaults.
const MAX_LOG_LINES: usize = 64;
const MAX_LOG_BYTES: usize = 8 * 1024;

thread_local! {
    // Per thread, since tests run beside each other. `None` outside a run: nothing gathers up there.
    static CAPTURED: RefCell<Option<Vec<LogLine>>> = const { RefCell::new(None) };
}

/// A line that the plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    pub level: Level,
    pub text: String,
}

/// Builds an [`Event`]; see [`event`].
#[derive(Debug, Clone)]
pub struct EventBuilder {
    event: Event,
}

/// Starts an event of this type. Unless said otherwise it has a fixed id and time, the endpoint `ep_test` of the
/// application `app_test`, no headers or channels, and the JSON payload `{}`.
pub fn event(event_type: impl Into<String>) -> EventBuilder {
    EventBuilder {
        event: Event {
            id: "msg_test".into(),
            event_type: event_type.into(),
            timestamp_ms: 1_700_000_000_000,
            channels: Vec::new(),
            application_id: "app_test".into(),
            application_uid: None,
            endpoint_id: Some("ep_test".into()),
            headers: Vec::new(),
            content_type: "application/json".into(),
            payload: b"{}".to_vec(),
        },
    }
}

impl EventBuilder {
    /// Sets the payload to these bytes, as they are.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.event.payload = payload.into();
        self
    }

    /// Sets the payload to this value as JSON.
    ///
    /// # Panics
    /// If the value can not be written as JSON.
    #[must_use]
    pub fn json(self, value: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(value).expect("the test's payload is JSON");
        self.payload(payload)
    }

    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.event.content_type = content_type.into();
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.event.headers.push(Header {
            name: name.to_ascii_lowercase(),
            value: value.into(),
        });
        self
    }

    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.event.id = id.into();
        self
    }

    #[must_use]
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.event.channels.push(channel.into());
        self
    }

    /// The event as an application's chain sees it: before there is an endpoint.
    #[must_use]
    pub fn without_endpoint(mut self) -> Self {
        self.event.endpoint_id = None;
        self
    }

    pub fn build(self) -> Event {
        self.event
    }
}

impl From<EventBuilder> for Event {
    fn from(builder: EventBuilder) -> Self {
        builder.build()
    }
}

/// Runs a plugin on an event as the gateway does: the config goes through its JSON text.
///
/// # Panics
/// If `config` can not be written as JSON.
pub fn run<P: Transformer>(_plugin: P, event: impl Into<Event>, config: impl Serialize) -> Run {
    let config = serde_json::to_string(&config).expect("the test's config is JSON");
    run_as::<P>(&event.into(), &config)
}

fn run_as<P: Transformer>(event: &Event, config: &str) -> Run {
    CAPTURED.set(Some(Vec::new()));
    let result = P::call(event, config).map_err(|error| error.to_string());
    let logs = CAPTURED.take().unwrap_or_default();
    Run {
        result: result.and_then(within_limits),
        logs,
    }
}

/// What a plugin says about itself at upload.
pub fn describe<P: Transformer>(_plugin: P) -> Manifest {
    P::describe()
}

pub(crate) fn capture(level: Level, text: &str) {
    CAPTURED.with_borrow_mut(|captured| {
        let Some(lines) = captured else { return };
        let used: usize = lines.iter().map(|line| line.text.len()).sum();
        if lines.len() < MAX_LOG_LINES && used + text.len() <= MAX_LOG_BYTES {
            let text = text.to_owned();
            lines.push(LogLine { level, text });
        }
    });
}

/// The outcome, or why the gateway would fail the attempt over it. Which names are reserved only the gateway knows.
fn within_limits(outcome: Outcome) -> Result<Outcome, String> {
    if let Outcome::Deliver(request) = &outcome {
        let bytes: usize = request
            .headers
            .iter()
            .map(|h| h.name.len() + h.value.len())
            .sum();
        if request.headers.len() > MAX_HEADERS {
            return Err(format!("more than {MAX_HEADERS} headers"));
        }
        if bytes + request.content_type.len() > MAX_HEADER_BYTES {
            return Err(format!("more than {MAX_HEADER_BYTES} bytes of headers"));
        }
        if request.payload.len() > MAX_OUTPUT_BYTES {
            return Err(format!("a payload of more than {MAX_OUTPUT_BYTES} bytes"));
        }
        if request.content_type.is_empty() || !is_visible(&request.content_type) {
            return Err("the content type is empty or not visible ASCII".to_owned());
        }
        let broken = |header: &&Header| !is_token(&header.name) || !is_visible(&header.value);
        if let Some(Header { name, .. }) = request.headers.iter().find(broken) {
            return Err(format!(
                "the header \"{name}\" can not be sent: the name is no lower-case token or the value not visible ASCII"
            ));
        }
    }
    Ok(outcome)
}

/// RFC 9110, section 5.6.2, lower case by the contract.
fn is_token(name: &str) -> bool {
    let in_token =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(in_token)
}

/// Visible ASCII with spaces inside only: RFC 9110, section 5.5.
fn is_visible(value: &str) -> bool {
    value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) && value.trim() == value
}

/// What came out of a run. The methods that take one kind of outcome panic, naming what came instead, so that a test
/// can go straight on.
#[derive(Debug, Clone)]
pub struct Run {
    /// The outcome, or the text of the error.
    pub result: Result<Outcome, String>,
    /// What was logged, in order, up to the gateway's limits.
    pub logs: Vec<LogLine>,
}

impl Run {
    /// Whether the event goes on unchanged.
    pub fn passed(&self) -> bool {
        matches!(self.result, Ok(Outcome::Pass))
    }

    /// The request that goes on.
    #[track_caller]
    pub fn delivered(&self) -> &Request {
        match &self.result {
            Ok(Outcome::Deliver(request)) => request,
            other => panic!("not delivered but {other:?}"),
        }
    }

    /// The payload that goes on, read as JSON.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(&self.delivered().payload) {
            Ok(value) => value,
            Err(error) => panic!("the payload that goes on can not be read: {error}"),
        }
    }

    /// The reason of a drop.
    #[track_caller]
    pub fn dropped(&self) -> &str {
        match &self.result {
            Ok(Outcome::Drop(reason)) => reason,
            other => panic!("not dropped but {other:?}"),
        }
    }

    /// The reason of a rejection.
    #[track_caller]
    pub fn rejected(&self) -> &str {
        match &self.result {
            Ok(Outcome::Reject(reason)) => reason,
            other => panic!("not rejected but {other:?}"),
        }
    }

    /// The text of the error.
    #[track_caller]
    pub fn error(&self) -> &str {
        match &self.result {
            Err(text) => text,
            Ok(outcome) => panic!("no error but {outcome:?}"),
        }
    }
}
