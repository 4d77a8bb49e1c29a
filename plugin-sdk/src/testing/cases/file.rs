//! A case file as it is written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::expect::{Body, Expect, Outcome};
use crate::testing::event;
use crate::{Event, Header};

/// A case, ready to run.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) event: Event,
    /// JSON text, as the gateway hands it over.
    pub(super) config: String,
    pub(super) expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    name: String,
    #[serde(default)]
    event: EventFile,
    #[serde(default)]
    config: Map<String, Value>,
    expect: ExpectFile,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct EventFile {
    id: Option<String>,
    event_type: String,
    timestamp_ms: Option<u64>,
    channels: Vec<String>,
    application_id: Option<String>,
    application_uid: Option<String>,
    /// Left out is the default, null is none.
    #[serde(deserialize_with = "present")]
    endpoint_id: Option<Option<String>>,
    headers: Vec<HeaderFile>,
    content_type: Option<String>,
    #[serde(deserialize_with = "present")]
    payload: Option<Value>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderFile {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExpectFile {
    outcome: Outcome,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    headers: Option<Vec<HeaderFile>>,
    #[serde(default, deserialize_with = "present")]
    payload: Option<Value>,
    #[serde(default)]
    payload_text: Option<String>,
    #[serde(default)]
    payload_base64: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

impl Default for EventFile {
    fn default() -> Self {
        Self {
            id: None,
            event_type: "test".to_owned(),
            timestamp_ms: None,
            channels: Vec::new(),
            application_id: None,
            application_uid: None,
            endpoint_id: None,
            headers: Vec::new(),
            content_type: None,
            payload: None,
            payload_text: None,
            payload_base64: None,
        }
    }
}

/// Keeps a null apart from a member that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Case {
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let deserializer = &mut serde_json::Deserializer::from_slice(json);
        let file: CaseFile = serde_path_to_error::deserialize(deserializer)
            .map_err(|error| format!("at \"{}\": {}", error.path(), error.inner()))?;
        Ok(Self {
            name: file.name,
            event: file.event.into_event()?,
            config: Value::Object(file.config).to_string(),
            expect: file.expect.into_expect()?,
        })
    }
}

impl EventFile {
    fn into_event(self) -> Result<Event, String> {
        let default = event(self.event_type).build();
        let body = body(self.payload, self.payload_text, self.payload_base64)
            .map_err(|text| format!("event: {text}"))?;
        Ok(Event {
            id: self.id.unwrap_or(default.id),
            timestamp_ms: self.timestamp_ms.unwrap_or(default.timestamp_ms),
            channels: self.channels,
            application_id: self.application_id.unwrap_or(default.application_id),
            application_uid: self.application_uid,
            endpoint_id: self.endpoint_id.unwrap_or(default.endpoint_id),
            headers: self.headers.into_iter().map(Header::from).collect(),
            content_type: self.content_type.unwrap_or(default.content_type),
            payload: match body {
                None => default.payload,
                Some(Body::Json(value)) => value.to_string().into_bytes(),
                Some(Body::Text(text)) => text.into_bytes(),
                Some(Body::Bytes(bytes)) => bytes,
            },
            ..default
        })
    }
}

impl ExpectFile {
    fn into_expect(self) -> Result<Expect, String> {
        let body = body(self.payload, self.payload_text, self.payload_base64)
            .map_err(|text| format!("expect: {text}"))?;
        let of_request = body.is_some() || self.content_type.is_some() || self.headers.is_some();
        if of_request && self.outcome != Outcome::Deliver {
            return Err("expect: only \"deliver\" has a content type, headers or a payload".into());
        }
        if self.reason.is_some() && matches!(self.outcome, Outcome::Pass | Outcome::Deliver) {
            return Err("expect: only \"drop\", \"reject\" and \"error\" have a reason".into());
        }
        let headers = |headers: Vec<HeaderFile>| headers.into_iter().map(Header::from).collect();
        Ok(Expect {
            outcome: self.outcome,
            content_type: self.content_type,
            headers: self.headers.map(headers),
            body,
            reason: self.reason,
        })
    }
}

impl From<HeaderFile> for Header {
    fn from(HeaderFile { name, value }: HeaderFile) -> Self {
        Self { name, value }
    }
}

fn body(
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Body>, String> {
    Ok(match (json, text, base64) {
        (None, None, None) => None,
        (Some(value), None, None) => Some(Body::Json(value)),
        (None, Some(text), None) => Some(Body::Text(text)),
        (None, None, Some(base64)) => Some(Body::Bytes(
            BASE64
                .decode(base64)
                .map_err(|error| format!("payloadBase64: {error}"))?,
        )),
        _ => return Err("more than one of payload, payloadText and payloadBase64".into()),
    })
}
