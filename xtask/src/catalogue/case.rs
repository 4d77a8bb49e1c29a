//! A case as before and after.

use std::fmt::Write;
use std::fs;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Failure;
use crate::workspace::Workspace;

/// The parts of a case file that are shown, as they are written there. The SDK's runner, which the plugin's own test
/// runs, reads all of it and refuses what is no case.
#[derive(Deserialize)]
struct Case<'a> {
    name: String,
    #[serde(borrow, default)]
    event: Side<'a>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    expect: Side<'a>,
}

/// An event or what came of it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Side<'a> {
    outcome: String,
    reason: Option<String>,
    event_type: Option<String>,
    content_type: Option<String>,
    headers: Vec<Header>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    payload_text: Option<String>,
    payload_base64: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

/// The case `plugin/file`, without the file's extension.
pub(super) fn render(workspace: &Workspace, name: &str) -> Result<String, Failure> {
    let (plugin, file) = name.split_once('/').unwrap_or((name, ""));
    let path = workspace.path(&format!("plugins/{plugin}/cases/{file}.json"));
    let text = fs::read_to_string(&path).map_err(Failure::file("read", &path))?;
    let case: Case<'_> = serde_json::from_str(&text).map_err(|error| Failure::Catalogue {
        file: path,
        problem: error.to_string(),
    })?;
    Ok(shown(&case, plugin, file))
}

fn shown(case: &Case<'_>, plugin: &str, file: &str) -> String {
    let mut text = format!(
        "{} ([`{file}`]({plugin}/cases/{file}.json)).\n\n",
        case.name
    );
    if let Some(config) = case.config {
        block(&mut text, "Config", "json", &dedent(config.get(), 2));
    }
    let kind = case
        .event
        .event_type
        .as_deref()
        .map(|kind| format!(", `{kind}`"));
    case.event
        .write(&mut text, &format!("Before{}", kind.unwrap_or_default()));
    match case.expect.outcome.as_str() {
        "deliver" => case.expect.write(&mut text, "After"),
        outcome => {
            let word = match outcome {
                "pass" => "goes on unchanged",
                "drop" => "dropped",
                "reject" => "rejected",
                _ => "an error",
            };
            let reason = case
                .expect
                .reason
                .as_ref()
                .map(|reason| format!(": {reason}"));
            // Writing to a string does not fail.
            let _ = writeln!(text, "After: {word}{}\n", reason.unwrap_or_default());
        }
    }
    text
}

impl Side<'_> {
    fn write(&self, text: &mut String, title: &str) {
        let mut title = title.to_owned();
        let content_type = self.content_type.as_deref().unwrap_or("application/json");
        // Most are; it would only be noise.
        if content_type != "application/json" {
            let _ = write!(title, ", `{content_type}`");
        }
        for Header { name, value } in &self.headers {
            let _ = write!(title, ", header `{name}: {value}`");
        }
        if let Some(json) = self.payload {
            block(text, &title, "json", &dedent(json.get(), 4));
        } else if let Some(payload) = &self.payload_text {
            block(text, &title, "text", payload);
        } else if let Some(payload) = &self.payload_base64 {
            block(text, &format!("{title}, in base64"), "text", payload);
        } else {
            let _ = writeln!(text, "{title}\n");
        }
    }
}

fn block(text: &mut String, title: &str, language: &str, content: &str) {
    let _ = writeln!(text, "{title}:\n```{language}\n{}\n```", content.trim_end());
}

/// The value as it stands in the file, moved to the margin.
fn dedent(json: &str, by: usize) -> String {
    let indent = " ".repeat(by);
    let line = |line: &str| line.strip_prefix(&indent).unwrap_or(line).to_owned();
    json.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        shown(&serde_json::from_str(text).unwrap(), "p", "f")
    }

    #[test]
    fn both_sides_are_shown_as_they_are_written() {
        let case = "{\n  \"name\": \"N\",\n  \"event\": {\n    \"eventType\": \"a\",\n    \"payload\": {\n      \"b\": 1.0\n    }\n  },\n  \
            \"config\": {\n    \"z\": 1\n  },\n  \"expect\": {\"outcome\": \"deliver\", \"contentType\": \"text/csv\", \
            \"headers\": [{\"name\": \"h\", \"value\": \"v\"}], \"payloadText\": \"x\\n\"}\n}";
        assert_eq!(
            of(case),
            "N ([`f`](p/cases/f.json)).\n\nConfig:\n```json\n{\n  \"z\": 1\n}\n```\n\
             Before, `a`:\n```json\n{\n  \"b\": 1.0\n}\n```\nAfter, `text/csv`, header `h: v`:\n```text\nx\n```\n"
        );
    }

    #[test]
    fn other_outcomes_are_a_line() {
        let case = r#"{"name": "N", "event": {"payloadBase64": "AA=="}, "expect": {"outcome": "drop", "reason": "R"}}"#;
        assert_eq!(
            of(case),
            "N ([`f`](p/cases/f.json)).\n\nBefore, in base64:\n```text\nAA==\n```\nAfter: dropped: R\n\n"
        );
    }
}
