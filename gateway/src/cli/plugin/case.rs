//! Case files: an event, a config, and what must come of them. What is wrong with a file is told with its place.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;

use crate::sandbox::{ConfigProblem, Event, StepOutcome};

/// A case of a plugin.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) path: PathBuf,
    /// What it shows.
    pub(super) name: String,
    pub(super) event: Event,
    pub(super) config: Value,
    pub(super) expect: Expect,
}

/// What must come of a case; what is none is not compared.
#[derive(Debug)]
pub(super) struct Expect {
    pub(super) outcome: Outcome,
    pub(super) content_type: Option<String>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) payload: Option<Payload>,
    pub(super) reason: Option<String>,
}

/// How a call ends, in the words of case files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Pass,
    Deliver,
    Drop,
    Reject,
    /// The plugin said so, crashed, met a limit, or gave what it may not.
    Error,
}

/// A payload as it is written in a case file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Payload {
    Json(Value),
    Text(String),
    Bytes(Vec<u8>),
}

/// Why cases can not be run.
#[derive(Debug, thiserror::Error)]
pub(super) enum CaseError {
    #[error("the cases in {} can not be read", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("there are no cases (files *.json) in {}", path.display())]
    Empty { path: PathBuf },
    #[error("the case {} can not be read", path.display())]
    File { path: PathBuf, source: io::Error },
    /// `place` is a JSON pointer; empty for the whole file.
    #[error("the case {} is not usable{}: {problem}", path.display(), at(place))]
    Broken {
        path: PathBuf,
        place: String,
        problem: String,
    },
}

fn at(place: &str) -> String {
    if place.is_empty() {
        String::new()
    } else {
        format!(" at {place}")
    }
}

/// What is wrong, and where.
type Fault = (String, String);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFields {
    name: String,
    #[serde(default)]
    event: EventFields,
    #[serde(default)]
    config: Map<String, Value>,
    expect: ExpectFields,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct EventFields {
    id: String,
    event_type: String,
    timestamp_ms: u64,
    channels: Vec<String>,
    application_id: String,
    application_uid: Option<String>,
    endpoint_id: Option<String>,
    headers: Vec<HeaderFields>,
    content_type: String,
    #[serde(deserialize_with = "given")]
    payload: Option<Value>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExpectFields {
    outcome: Outcome,
    content_type: Option<String>,
    headers: Option<Vec<HeaderFields>>,
    #[serde(default, deserialize_with = "given")]
    payload: Option<Value>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFields {
    name: String,
    value: String,
}

impl Default for EventFields {
    /// The event that the SDK's native tests start with.
    fn default() -> Self {
        Self {
            id: "msg_test".to_owned(),
            event_type: "test".to_owned(),
            timestamp_ms: 1_700_000_000_000,
            channels: Vec::new(),
            application_id: "app_test".to_owned(),
            application_uid: None,
            endpoint_id: Some("ep_test".to_owned()),
            headers: Vec::new(),
            content_type: "application/json".to_owned(),
            payload: None,
            payload_text: None,
            payload_base64: None,
        }
    }
}

/// The event of a case that says nothing of it.
pub(super) fn default_event() -> Event {
    EventFields::default().into_event(None)
}

/// `null` is a payload like any other.
fn given<'de, D: Deserializer<'de>>(reader: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(reader).map(Some)
}

/// All cases of a folder, by their files' names. One that is not usable is an error: a case that is left out would
/// look like one that passes.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let failed = |source| CaseError::Folder {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(CaseError::Empty {
            path: folder.to_owned(),
        });
    }
    files.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Result<Case, CaseError> {
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(source) => return Err(CaseError::File { path, source }),
    };
    match parse(&text) {
        Ok((name, event, config, expect)) => Ok(Case {
            name,
            event,
            config,
            expect,
            path,
        }),
        Err((place, problem)) => Err(CaseError::Broken {
            path,
            place,
            problem,
        }),
    }
}

fn parse(text: &[u8]) -> Result<(String, Event, Value, Expect), Fault> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let fields: CaseFields = serde_path_to_error::deserialize(&mut reader).map_err(located)?;
    reader
        .end()
        .map_err(|error| (String::new(), error.to_string()))?;
    Ok((
        fields.name,
        fields.event.event()?,
        Value::Object(fields.config),
        fields.expect.expect()?,
    ))
}

impl EventFields {
    fn event(mut self) -> Result<Event, Fault> {
        let json = self.payload.take();
        let (text, base64) = (self.payload_text.take(), self.payload_base64.take());
        let payload = one_payload("/event", json, text, base64)?;
        Ok(self.into_event(payload))
    }

    fn into_event(self, payload: Option<Payload>) -> Event {
        Event {
            id: self.id,
            event_type: self.event_type,
            timestamp_ms: self.timestamp_ms,
            channels: self.channels,
            application_id: self.application_id,
            application_uid: self.application_uid,
            endpoint_id: self.endpoint_id,
            headers: pairs(self.headers),
            content_type: self.content_type,
            payload: payload.map_or(Bytes::from_static(b"{}"), Payload::into_bytes),
        }
    }
}

impl ExpectFields {
    fn expect(self) -> Result<Expect, Fault> {
        let payload = one_payload(
            "/expect",
            self.payload,
            self.payload_text,
            self.payload_base64,
        )?;
        let delivers = self.outcome == Outcome::Deliver;
        let has_reason = matches!(
            self.outcome,
            Outcome::Drop | Outcome::Reject | Outcome::Error
        );
        // A comparison that is never made would look like one that holds.
        let idle = [
            ("contentType", self.content_type.is_some(), delivers),
            ("headers", self.headers.is_some(), delivers),
            ("payload", payload.is_some(), delivers),
            ("reason", self.reason.is_some(), has_reason),
        ];
        if let Some((field, ..)) = idle.iter().find(|(_, is_given, fits)| *is_given && !fits) {
            let problem = format!("the outcome {} has none", self.outcome.as_str());
            return Err((format!("/expect/{field}"), problem));
        }
        Ok(Expect {
            outcome: self.outcome,
            content_type: self.content_type,
            headers: self.headers.map(pairs),
            payload,
            reason: self.reason,
        })
    }
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Deliver => "deliver",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Error => "error",
        }
    }
}

impl From<StepOutcome> for Outcome {
    fn from(outcome: StepOutcome) -> Self {
        match outcome {
            StepOutcome::Pass => Self::Pass,
            StepOutcome::Deliver => Self::Deliver,
            StepOutcome::Drop => Self::Drop,
            StepOutcome::Reject => Self::Reject,
            StepOutcome::Error | StepOutcome::Trap | StepOutcome::Limit => Self::Error,
        }
    }
}

impl Payload {
    /// JSON goes without white space.
    fn into_bytes(self) -> Bytes {
        match self {
            Self::Json(value) => value.to_string().into(),
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => bytes.into(),
        }
    }
}

impl Case {
    /// This case, not usable since its config does not fit the plugin's schema.
    pub(super) fn misfit(&self, problems: &[ConfigProblem]) -> CaseError {
        let first = problems.first();
        let mut problem = first.map_or_else(String::new, |one| one.message.clone());
        if problems.len() > 1 {
            // Writing to a string never fails.
            let _ = write!(problem, " (and {} more)", problems.len() - 1);
        }
        let pointer = first.map_or("", |one| &one.pointer);
        CaseError::Broken {
            path: self.path.clone(),
            place: format!("/config{pointer}"),
            problem,
        }
    }
}

fn one_payload(
    place: &str,
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Payload>, Fault> {
    match (json, text, base64) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => Ok(Some(Payload::Json(value))),
        (None, Some(text), None) => Ok(Some(Payload::Text(text))),
        (None, None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok(Some(Payload::Bytes(bytes))),
            Err(error) => Err((format!("{place}/payloadBase64"), error.to_string())),
        },
        _ => {
            let problem = "only one of payload, payloadText and payloadBase64 can be given";
            Err((place.to_owned(), problem.to_owned()))
        }
    }
}

fn pairs(headers: Vec<HeaderFields>) -> Vec<(String, String)> {
    let pair = |header: HeaderFields| (header.name, header.value);
    headers.into_iter().map(pair).collect()
}

/// The fault with its place as a JSON pointer.
fn located(error: serde_path_to_error::Error<serde_json::Error>) -> Fault {
    let mut pointer = String::new();
    for segment in error.path() {
        let part = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.replace('~', "~0").replace('/', "~1"),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => continue,
        };
        pointer.push('/');
        pointer.push_str(&part);
    }
    (pointer, error.into_inner().to_string())
}

#[cfg(test)]
mod tests;
