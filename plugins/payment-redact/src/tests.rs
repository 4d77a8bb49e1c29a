//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::{Value, json};

use super::*;

fn redact(payload: &str, config: Value) -> Run {
    run(Plugin, event("a").payload(payload), config)
}

#[track_caller]
fn becomes(payload: &str, config: Value, expected: &str) {
    let run = redact(payload, config);
    assert_eq!(
        std::str::from_utf8(&run.delivered().payload).unwrap(),
        expected
    );
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn numbers_names_and_escapes_hide_nothing() {
    becomes(
        r#"{"n":4111111111111111}"#,
        json!({}),
        r#"{"n":"************1111"}"#,
    );
    becomes(
        r#"{"4111111111111111": 1}"#,
        json!({}),
        r#"{"************1111": 1}"#,
    );
    becomes(
        r#"["\u0034111111111111111"]"#,
        json!({}),
        r#"["************1111"]"#,
    );
}

#[test]
fn either_kind_can_be_left() {
    let both = r#"["4111111111111111","DE89370400440532013000"]"#;
    becomes(
        both,
        json!({"cards": false}),
        r#"["4111111111111111","DE****************3000"]"#,
    );
    becomes(
        both,
        json!({"ibans": false}),
        r#"["************1111","DE89370400440532013000"]"#,
    );
    assert!(redact(both, json!({"cards": false, "ibans": false})).passed());
    becomes(
        r#"["4111 1111 1111 1111"]"#,
        json!({"mask": "█"}),
        r#"["████ ████ ████ 1111"]"#,
    );
}

#[test]
fn what_has_nothing_to_hide_passes() {
    let payload = r#"{"id": 820982911946154508, "at": 1772442911412, "x": -1.5e300, "é": "a\n"}"#;
    assert!(redact(payload, json!({})).passed());
}

#[test]
fn what_is_not_json_never_passes() {
    for payload in [
        "",
        "4111111111111111 x",
        "{\"a\":\"4111",
        "card=4111111111111111",
    ] {
        assert!(redact(payload, json!({})).result.is_err(), "{payload}");
    }
    assert!(
        redact(r#"["\ud800"]"#, json!({})).result.is_err(),
        "half a character"
    );
}

#[test]
fn many_numbers_are_hidden_in_one_go() {
    let payload = format!("[{}\"\"]", "\"4111111111111111\",".repeat(20_000));
    let run = redact(&payload, json!({}));
    assert!(
        !std::str::from_utf8(&run.delivered().payload)
            .unwrap()
            .contains("41111")
    );
}
