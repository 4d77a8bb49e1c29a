//! Takes the payload out of a CloudEvent 1.0, for receivers that know nothing of those. A structured one becomes its
//! data; of a binary one the `ce-…` headers go away. On request structured ones become binary ones instead, which keeps
//! the attributes.
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>

use hookmill_plugin::{Event, Outcome, Request, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::envelope::{Envelope, EnvelopeError};

mod envelope;

/// What becomes of the attributes, and of what is no CloudEvent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// What becomes of the attributes.
    attributes: Kept,
    /// What becomes of an event that is no CloudEvent.
    otherwise: Otherwise,
}

/// What becomes of the attributes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Kept {
    /// They go away.
    #[default]
    Drop,
    /// They are `ce-…` headers: a CloudEvent in binary mode.
    Headers,
}

/// What becomes of an event that is no CloudEvent.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Otherwise {
    /// It fails for good.
    #[default]
    Reject,
    /// It is dropped.
    Drop,
    /// It goes on as it is.
    Pass,
}

/// Takes the payload out of a CloudEvent.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let content_type = event.content_type.trim_start().to_ascii_lowercase();
    if content_type.starts_with("application/cloudevents-batch") {
        return Ok(Outcome::reject("a batch of CloudEvents is several events"));
    }
    if content_type.starts_with("application/cloudevents") {
        return Ok(match Envelope::read(event) {
            Ok(envelope) => structured(event, &envelope, config)?.into(),
            // Said of what the sender wrote: trying again would not help.
            Err(EnvelopeError::Invalid(text)) => Outcome::reject(text),
            Err(EnvelopeError::Unreadable(error)) => return Err(error),
        });
    }
    Ok(match event.header("ce-specversion") {
        Some("1.0") if config.attributes == Kept::Headers => Outcome::pass(),
        Some("1.0") => without_attributes(event).into(),
        Some(version) => Outcome::reject(format!("CloudEvents {version} are not known")),
        None => match config.otherwise {
            Otherwise::Reject => Outcome::reject("the event is no CloudEvent"),
            Otherwise::Drop => Outcome::drop("the event is no CloudEvent"),
            Otherwise::Pass => Outcome::pass(),
        },
    })
}

fn structured(event: &Event, envelope: &Envelope, config: &Config) -> Result<Request> {
    let request = without_attributes(event)
        .content_type(envelope.content_type())
        .payload(envelope.data()?);
    Ok(match config.attributes {
        Kept::Drop => request,
        Kept::Headers => envelope.headers().fold(request, |request, (name, value)| {
            request.header(format!("ce-{name}"), value)
        }),
    })
}

fn without_attributes(event: &Event) -> Request {
    let mut request = event.request();
    request
        .headers
        .retain(|header| !header.name.starts_with("ce-"));
    request
}

#[cfg(test)]
mod tests;
