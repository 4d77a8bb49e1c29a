//! What a plugin answered, beside what a case expects: whether it is the same, and if not the difference as a diff.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;
use similar::TextDiff;

use super::case::{Expect, Outcome, Payload};
use super::local::Call;
use crate::sandbox::ChainOutcome;

/// Lines that are the same, shown before and after those that differ.
const CONTEXT: usize = 3;

/// What a plugin answered.
#[derive(Debug)]
pub(super) struct Answer {
    outcome: Outcome,
    reason: Option<String>,
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    content_type: String,
    headers: Vec<(String, String)>,
    payload: Bytes,
}

impl From<Call> for Answer {
    fn from(call: Call) -> Self {
        let request = match call.outcome {
            ChainOutcome::Deliver {
                content_type,
                headers,
                payload,
            } => Some(Request {
                content_type,
                headers,
                payload,
            }),
            _ => None,
        };
        Self {
            outcome: call.report.outcome.into(),
            reason: call.report.reason,
            request,
        }
    }
}

impl Answer {
    /// The difference to what a case expects, as a unified diff; none if there is none.
    pub(super) fn differs_from(&self, expect: &Expect) -> Option<String> {
        if self.meets(expect) {
            return None;
        }
        let (expected, got) = (self.page(Some(expect)), self.page(None));
        let diff = TextDiff::from_lines(&expected, &got);
        let mut unified = diff.unified_diff();
        Some(
            unified
                .context_radius(CONTEXT)
                .header("expected", "got")
                .to_string(),
        )
    }

    fn meets(&self, expect: &Expect) -> bool {
        if self.outcome != expect.outcome {
            return false;
        }
        let reason_fits = expect.reason.is_none() || expect.reason == self.reason;
        let Some(request) = &self.request else {
            return reason_fits;
        };
        let content_type = expect.content_type.as_ref();
        let headers = expect.headers.as_ref();
        let payload = expect.payload.as_ref();
        reason_fits
            && content_type.is_none_or(|expected| *expected == request.content_type)
            && headers.is_none_or(|expected| *expected == request.headers)
            && payload.is_none_or(|expected| expected.is(&request.payload))
    }

    /// The answer as a page of text, or the page that it would be if it were as expected.
    fn page(&self, expect: Option<&Expect>) -> String {
        let outcome = expect.map_or(self.outcome, |expect| expect.outcome);
        let mut page = format!("outcome: {}\n", outcome.as_str());
        // What the case leaves open is as it is, and an answer of another kind tells nothing of it.
        let is_other = outcome != self.outcome;
        let reason = match expect.and_then(|expect| expect.reason.as_ref()) {
            Some(reason) => Some(reason),
            None if is_other => None,
            None => self.reason.as_ref(),
        };
        if let Some(reason) = reason {
            line(&mut page, "reason", reason);
        }
        let request = self.request.as_ref().filter(|_| !is_other);
        let content_type = match expect.and_then(|expect| expect.content_type.as_ref()) {
            Some(content_type) => Some(content_type),
            None => request.map(|request| &request.content_type),
        };
        if let Some(content_type) = content_type {
            line(&mut page, "content-type", content_type);
        }
        let headers = match expect.and_then(|expect| expect.headers.as_ref()) {
            Some(headers) => Some(headers),
            None => request.map(|request| &request.headers),
        };
        for (name, value) in headers.into_iter().flatten() {
            line(&mut page, "header", &format!("{name}: {value}"));
        }
        let payload = match expect.and_then(|expect| expect.payload.as_ref()) {
            Some(payload) => Some(payload.page()),
            None => request.map(|request| page_of(&request.payload)),
        };
        if let Some(payload) = payload {
            page.push('\n');
            page.push_str(&payload);
        }
        page
    }
}

impl Payload {
    /// JSON is compared as JSON, everything else byte for byte.
    fn is(&self, got: &[u8]) -> bool {
        match self {
            Self::Json(expected) => {
                serde_json::from_slice::<Value>(got).is_ok_and(|got| got == *expected)
            }
            Self::Text(expected) => expected.as_bytes() == got,
            Self::Bytes(expected) => expected == got,
        }
    }

    fn page(&self) -> String {
        match self {
            Self::Json(value) => format!("{value:#}\n"),
            Self::Text(text) => page_of(text.as_bytes()),
            Self::Bytes(bytes) => page_of(bytes),
        }
    }
}

/// A payload as lines: JSON with one value a line, other text as it is, other bytes in base64.
fn page_of(payload: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice::<Value>(payload) {
        return format!("{value:#}\n");
    }
    match std::str::from_utf8(payload) {
        Ok(text) => visible(text),
        Err(_) => format!("base64: {}\n", STANDARD.encode(payload)),
    }
}

fn line(page: &mut String, name: &str, value: &str) {
    // Writing to a string never fails.
    let _ = writeln!(page, "{name}: {}", visible(value).replace('\n', "\\n"));
}

/// Without what would steer a terminal.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() && !matches!(letter, '\n' | '\t') {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

#[cfg(test)]
mod tests;
