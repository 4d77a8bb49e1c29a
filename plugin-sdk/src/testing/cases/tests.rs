//! The runner itself: what holds passes, and whatever does not hold is shown.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::{Event, Outcome, Request, Result};

/// Does what the payload's member `do` says.
#[crate::plugin(name = "told", version = "1", summary = "Does as it is told")]
fn transform(event: &Event) -> Result<Outcome> {
    let payload: Value = event.json()?;
    Ok(match payload["do"].as_str() {
        Some("pass") => Outcome::pass(),
        Some("drop") => Outcome::drop("dropped so"),
        Some("reject") => Outcome::reject("rejected so"),
        Some("event") => Request::text(format!("{event:?}")).into(),
        Some("bytes") => Request::bytes("application/octet-stream", [0, 0xff]).into(),
        _ => Request::json(&payload)?.header("x-a", "1").into(),
    })
}

/// A folder below the temporary one that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let name = format!("hookmill-cases-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// The failures of a folder with this one case.
fn failed(test: &str, case: Value) -> Vec<String> {
    let folder = Folder::new(test, &[("one.json", &case.to_string())]);
    let failed = failures(Plugin, &folder.0);
    failed.iter().map(ToString::to_string).collect()
}

fn case(payload: Value, expect: Value) -> Value {
    json!({"name": "as named", "event": {"payload": payload}, "expect": expect})
}

/// The one failure of the case, without the folder.
#[track_caller]
fn failure(test: &str, case: Value) -> String {
    let failed = failed(test, case);
    assert_eq!(failed.len(), 1, "{failed:?}");
    let (_, text) = failed[0].split_once("one.json: ").unwrap();
    text.to_owned()
}

#[test]
fn what_holds_passes() {
    let cases = [
        case(json!({"do": "pass"}), json!({"outcome": "pass"})),
        case(
            json!({"do": "drop"}),
            json!({"outcome": "drop", "reason": "dropped so"}),
        ),
        case(json!({"do": "drop"}), json!({"outcome": "drop"})),
        case(
            json!({"do": "reject"}),
            json!({"outcome": "reject", "reason": "rejected so"}),
        ),
        case(
            json!({"b": 1, "a": null}),
            json!({
                "outcome": "deliver", "contentType": "application/json",
                "headers": [{"name": "x-a", "value": "1"}], "payload": {"a": null, "b": 1},
            }),
        ),
        case(json!(null), json!({"outcome": "deliver", "payload": null})),
        case(
            json!({"b": 1}),
            json!({"outcome": "deliver", "payloadText": "{\"b\":1}"}),
        ),
        case(
            json!({"do": "bytes"}),
            json!({"outcome": "deliver", "payloadBase64": "AP8="}),
        ),
        json!({"name": "a", "event": {"payloadText": "{"}, "expect": {"outcome": "error"}}),
        json!({"name": "a", "event": {"payloadBase64": "AP8="}, "expect": {"outcome": "error"}}),
        json!({"name": "a", "config": {"b": 1}, "expect": {"outcome": "error"}}),
    ];
    for case in cases {
        assert_eq!(
            failed("holds", case.clone()),
            Vec::<String>::new(),
            "{case}"
        );
    }
}

#[test]
fn every_field_of_the_event_arrives() {
    let fields = json!({
        "id": "msg_1", "eventType": "a.b", "timestampMs": 7, "channels": ["c"],
        "applicationId": "app_1", "applicationUid": "uid", "endpointId": null,
        "headers": [{"name": "x-b", "value": "2"}], "contentType": "text/csv",
        "payloadText": "{\"do\":\"event\"}",
    });
    let event = Event {
        id: "msg_1".into(),
        event_type: "a.b".into(),
        timestamp_ms: 7,
        channels: vec!["c".into()],
        application_id: "app_1".into(),
        application_uid: Some("uid".into()),
        endpoint_id: None,
        headers: vec![crate::Header {
            name: "x-b".into(),
            value: "2".into(),
        }],
        content_type: "text/csv".into(),
        payload: b"{\"do\":\"event\"}".to_vec(),
    };
    let expect = json!({"outcome": "deliver", "payloadText": format!("{event:?}")});
    let case = json!({"name": "a", "event": fields, "expect": expect});
    assert_eq!(failed("fields", case), Vec::<String>::new());
}

#[test]
fn a_wrong_expectation_fails_and_shows_what_came() {
    let text = failure(
        "outcome",
        case(json!({"do": "pass"}), json!({"outcome": "drop"})),
    );
    assert_eq!(
        text,
        "as named\noutcome differs:\n--- expected\n+++ came\n@@ -1 +1 @@\n-drop\n\\ No newline at end of file\n+pass\n\\ No newline at end of file\n"
    );

    let wrong = [
        ("pass", json!({"outcome": "error"}), "+pass"),
        (
            "drop",
            json!({"outcome": "drop", "reason": "dropped"}),
            "+dropped so",
        ),
        (
            "drop",
            json!({"outcome": "reject", "reason": "dropped so"}),
            "-reject",
        ),
        (
            "bytes",
            json!({"outcome": "deliver", "contentType": "a/b"}),
            "-a/b",
        ),
        (
            "bytes",
            json!({"outcome": "deliver", "payloadBase64": "AP4="}),
            "+AP8=",
        ),
        (
            "bytes",
            json!({"outcome": "deliver", "payloadText": "a"}),
            "in base64: AP8=",
        ),
        (
            "bytes",
            json!({"outcome": "deliver", "payload": {}}),
            "+no JSON",
        ),
        (
            "send",
            json!({"outcome": "deliver", "headers": []}),
            "+x-a: 1",
        ),
        (
            "send",
            json!({"outcome": "deliver", "payload": {"do": "sent"}}),
            "-  \"do\": \"sent\"",
        ),
        (
            "send",
            json!({"outcome": "deliver", "payloadText": "{\"do\": \"send\"}"}),
            "-{\"do\": \"send\"}",
        ),
    ];
    for (what, expect, shown) in wrong {
        let text = failure("wrong", case(json!({"do": what}), expect.clone()));
        assert!(text.contains(shown), "{expect}: {text}");
    }
}

#[test]
fn what_is_no_case_fails() {
    let of = |expect: Value| case(json!({}), expect);
    let broken = [
        (of(json!({})), "at \"expect\": missing field `outcome`"),
        (
            of(json!({"outcome": "passes"})),
            "at \"expect.outcome\": unknown variant",
        ),
        (
            of(json!({"outcome": "pass", "payload": {}})),
            "only \"deliver\"",
        ),
        (
            of(json!({"outcome": "drop", "headers": []})),
            "only \"deliver\"",
        ),
        (
            of(json!({"outcome": "deliver", "reason": "a"})),
            "only \"drop\"",
        ),
        (
            of(json!({"outcome": "deliver", "payload": 1, "payloadText": "1"})),
            "more than one",
        ),
        (
            of(json!({"outcome": "deliver", "payloadBase64": "?"})),
            "payloadBase64",
        ),
        (
            json!({"name": "a", "event": {"paylod": 1}, "expect": {"outcome": "pass"}}),
            "at \"event.paylod\"",
        ),
        (
            json!({"name": "a", "config": [], "expect": {"outcome": "pass"}}),
            "at \"config\"",
        ),
    ];
    for (case, expected) in broken {
        let text = failure("broken", case);
        assert!(
            text.starts_with("no case: ") && text.contains(expected),
            "{text}"
        );
    }
}

#[test]
fn a_folder_without_cases_fails() {
    let folder = Folder::new("empty", &[("notes.md", "no case")]);
    let failed = failures(Plugin, &folder.0);
    assert!(matches!(&failed[..], [CaseError::Empty(_)]), "{failed:?}");
    let failed = failures(Plugin, &folder.0.join("none"));
    assert!(matches!(&failed[..], [CaseError::Folder(..)]), "{failed:?}");
}

#[test]
fn all_files_are_run_and_each_that_fails_is_named() {
    let good = case(json!({"do": "pass"}), json!({"outcome": "pass"})).to_string();
    let bad = case(json!({"do": "pass"}), json!({"outcome": "drop"})).to_string();
    let files = [
        ("c.json", bad.as_str()),
        ("b.json", &good),
        ("a.json", &bad),
    ];
    let folder = Folder::new("several", &files);
    let path = folder.0.clone();
    let panic = std::panic::catch_unwind(|| run_cases(Plugin, path)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("2 of the cases:"), "{text}");
    let (a, c) = (text.find("a.json").unwrap(), text.find("c.json").unwrap());
    assert!(a < c && !text.contains("b.json"), "{text}");
}
