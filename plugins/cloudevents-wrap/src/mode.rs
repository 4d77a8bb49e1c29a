//! The two forms in which a CloudEvent goes over HTTP.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hookmill_plugin::{Event, Request, Result};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::attributes::Attributes;

/// What a header writes in percent: section 3.1.3.2. Characters beyond ASCII are written so anyway.
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

#[derive(Serialize)]
struct Structured<'a> {
    #[serde(flatten)]
    attributes: Attributes,
    #[serde(flatten)]
    data: Option<Data<'a>>,
}

#[derive(Serialize)]
enum Data<'a> {
    /// A JSON value, or the text of another kind of payload.
    #[serde(rename = "data")]
    Json(&'a RawValue),
    #[serde(rename = "data")]
    Text(&'a str),
    #[serde(rename = "data_base64")]
    Bytes(String),
}

pub(crate) fn structured(event: &Event, mut attributes: Attributes) -> Result<Request> {
    attributes.set("datacontenttype", event.content_type.clone());
    let data = if event.payload.is_empty() {
        None
    } else if is_json(&event.content_type) {
        Some(Data::Json(event.json()?))
    } else {
        Some(match event.text() {
            Ok(text) => Data::Text(text),
            Err(_) => Data::Bytes(BASE64.encode(&event.payload)),
        })
    };
    let json = serde_json::to_vec(&Structured { attributes, data })?;
    let request = event.request();
    Ok(request
        .content_type("application/cloudevents+json; charset=UTF-8")
        .payload(json))
}

pub(crate) fn binary(event: &Event, attributes: Attributes) -> Request {
    let request = event.request();
    attributes
        .into_iter()
        .fold(request, |request, (name, value)| {
            let value = utf8_percent_encode(&value, IN_HEADER).to_string();
            request.header(format!("ce-{name}"), value)
        })
}

/// Whether a content type says JSON: RFC 8259, and RFC 6839 for the suffix.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    let kind = kind.trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}
