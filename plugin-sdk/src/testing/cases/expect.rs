//! What a case expects, and how what came instead is shown.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;
use similar::TextDiff;

use crate::{Header, Request};

/// Lines that are the same around one that differs; chosen, as other diffs show.
const CONTEXT: usize = 3;

#[derive(Debug)]
pub(super) struct Expect {
    pub(super) outcome: Outcome,
    pub(super) content_type: Option<String>,
    pub(super) headers: Option<Vec<Header>>,
    pub(super) body: Option<Body>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Pass,
    Deliver,
    Drop,
    Reject,
    Error,
}

/// A payload, and with it how it is compared.
#[derive(Debug)]
pub(super) enum Body {
    Json(Value),
    Text(String),
    Bytes(Vec<u8>),
}

impl Expect {
    /// Compares; the error shows all that differs.
    pub(super) fn compare(&self, result: &Result<crate::Outcome, String>) -> Result<(), String> {
        let (outcome, reason) = match result {
            Ok(crate::Outcome::Pass) => (Outcome::Pass, None),
            Ok(crate::Outcome::Deliver(_)) => (Outcome::Deliver, None),
            Ok(crate::Outcome::Drop(reason)) => (Outcome::Drop, Some(reason)),
            Ok(crate::Outcome::Reject(reason)) => (Outcome::Reject, Some(reason)),
            Err(text) => (Outcome::Error, Some(text)),
        };
        let mut differences = String::new();
        let other_reason = self.reason.is_some() && self.reason.as_ref() != reason;
        if outcome != self.outcome || other_reason {
            let expected = self.outcome.with(self.reason.as_ref());
            show(
                &mut differences,
                "outcome",
                &expected,
                &outcome.with(reason),
            );
        } else if let Ok(crate::Outcome::Deliver(request)) = result {
            self.compare_request(request, &mut differences);
        }
        if differences.is_empty() {
            Ok(())
        } else {
            Err(differences)
        }
    }

    fn compare_request(&self, request: &Request, differences: &mut String) {
        if let Some(expected) = &self.content_type
            && *expected != request.content_type
        {
            show(differences, "content type", expected, &request.content_type);
        }
        if let Some(expected) = &self.headers
            && *expected != request.headers
        {
            show(
                differences,
                "headers",
                &lines(expected),
                &lines(&request.headers),
            );
        }
        let payload = &request.payload;
        match &self.body {
            Some(Body::Json(expected)) => {
                let came = match serde_json::from_slice::<Value>(payload) {
                    Ok(value) if value == *expected => return,
                    Ok(value) => format!("{value:#}"),
                    Err(error) => format!("no JSON ({error}): {}", readable(payload)),
                };
                show(differences, "payload", &format!("{expected:#}"), &came);
            }
            Some(Body::Text(expected)) if expected.as_bytes() != payload => {
                show(differences, "payload", expected, &readable(payload));
            }
            Some(Body::Bytes(expected)) if expected != payload => {
                let (expected, came) = (BASE64.encode(expected), BASE64.encode(payload));
                show(differences, "payload, in base64", &expected, &came);
            }
            Some(Body::Text(_) | Body::Bytes(_)) | None => {}
        }
    }
}

impl Outcome {
    fn with(self, reason: Option<&String>) -> String {
        let word = match self {
            Self::Pass => "pass",
            Self::Deliver => "deliver",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Error => "error",
        };
        match reason {
            Some(reason) => format!("{word}\n{reason}"),
            None => word.to_owned(),
        }
    }
}

fn lines(headers: &[Header]) -> String {
    let line = |header: &Header| format!("{}: {}", header.name, header.value);
    headers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes as a person reads them; those that are no text as base64.
fn readable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("no text, in base64: {}", BASE64.encode(bytes)),
    }
}

fn show(differences: &mut String, what: &str, expected: &str, came: &str) {
    let diff = TextDiff::from_lines(expected, came);
    let mut diff = diff.unified_diff();
    diff.context_radius(CONTEXT).header("expected", "came");
    // Writing to a string does not fail.
    let _ = writeln!(
        differences,
        "{what} differs:\n{}",
        diff.to_string().trim_end()
    );
}
