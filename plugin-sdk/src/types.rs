//! The records that pass between the gateway and a plugin, field for field those of
//! `wit/hookmill.wit`: the generated bindings fill in exactly these types, so nothing is copied on the way.
//! A field can not be added here without a new version of the contract.

use serde::Deserialize;

use crate::{Error, Result};

/// A header to send. Names are lower case, values are visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub name: String,
    pub value: String,
}

/// One message as the plugin sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The message's id.
    pub id: String,
    pub event_type: String,
    /// When the message was accepted, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    pub channels: Vec<String>,
    pub application_id: String,
    pub application_uid: Option<String>,
    /// `None` in an application's chain, which runs before there is an endpoint.
    pub endpoint_id: Option<String>,
    /// Set so far by the source and by earlier plugins; never credentials, never the endpoint's own headers.
    pub headers: Vec<Header>,
    pub content_type: String,
    pub payload: Vec<u8>,
}

/// What goes on instead of the event's content type, headers and payload. It replaces all three: to keep
/// the event's headers, start with [`Event::request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub content_type: String,
    pub headers: Vec<Header>,
    pub payload: Vec<u8>,
}

/// What becomes of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Go on unchanged.
    Pass,
    /// Go on with this.
    Deliver(Request),
    /// Do not deliver: the delivery is canceled, with the reason.
    Drop(String),
    /// Do not deliver: the delivery has failed for good, with the reason.
    Reject(String),
}

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub name: String,
    /// A label for people; the gateway's version is the SHA-256 of the upload.
    pub version: String,
    pub summary: String,
    /// A JSON Schema that the config of every chain has to fit.
    pub config_schema: String,
}

impl Event {
    /// The payload, read as JSON into `T`.
    ///
    /// Errors name the place in the payload. Borrowed fields (`&'de str`, `&'de RawValue`) point into the event.
    pub fn json<'de, T: Deserialize<'de>>(&'de self) -> Result<T> {
        serde_json::from_slice(&self.payload).map_err(|error| {
            Error::from(error).context("the payload is not the JSON that this plugin expects")
        })
    }

    /// The payload as text; an error if it is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.payload)
            .map_err(|error| Error::from(error).context("the payload is not text"))
    }

    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.as_str())
    }

    /// A request with this event's content type, headers and payload, to change a part of it.
    pub fn request(&self) -> Request {
        Request {
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            payload: self.payload.clone(),
        }
    }
}

impl Request {
    /// A request without headers whose payload is `value` as JSON.
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self> {
        Ok(Self::bytes("application/json", serde_json::to_vec(value)?))
    }

    /// A request without headers whose payload is this text, as `text/plain; charset=utf-8`.
    pub fn text(text: impl Into<String>) -> Self {
        Self::bytes("text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A request without headers, of any kind.
    pub fn bytes(content_type: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type: content_type.into(),
            headers: Vec::new(),
            payload: payload.into(),
        }
    }

    /// Sets a header, in place of those of the same name. The name is made lower case, as the contract asks.
    ///
    /// The gateway fails the attempt if the name is reserved (its own and the transport's) or the value
    /// is not visible ASCII.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut name = name.into();
        name.make_ascii_lowercase();
        self.headers.retain(|header| header.name != name);
        let value = value.into();
        self.headers.push(Header { name, value });
        self
    }

    /// Removes every header of that name.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers
            .retain(|header| !header.name.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the content type alone.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets the payload alone.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }
}

impl Outcome {
    /// Go on unchanged.
    pub fn pass() -> Self {
        Self::Pass
    }

    /// Go on with this request.
    pub fn deliver(request: Request) -> Self {
        Self::Deliver(request)
    }

    /// Do not deliver, and say why; the delivery is canceled, which is no failure.
    pub fn drop(reason: impl Into<String>) -> Self {
        Self::Drop(reason.into())
    }

    /// Do not deliver, and say why; the delivery has failed for good and is not tried again.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }
}

impl From<Request> for Outcome {
    fn from(request: Request) -> Self {
        Self::Deliver(request)
    }
}
