//! The plugin as a chain runs it.

use hookmill_plugin::testing::{event, run, run_cases};
use serde_json::json;

use super::*;

/// The pairs of the form, read back by the crate's reader.
fn pairs(payload: &str, config: Value) -> Vec<(String, String)> {
    let run = run(Plugin, event("a").payload(payload), config);
    form_urlencoded::parse(&run.delivered().payload)
        .into_owned()
        .collect()
}

fn names(payload: &str, config: Value) -> Vec<String> {
    pairs(payload, config)
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn every_character_comes_back() {
    let text = "a=b&c+d %41 é\n\u{0}\u{1F600}";
    let payload = json!({ "k&=ü": text }).to_string();
    assert_eq!(
        pairs(&payload, json!({})),
        [("k&=ü".to_owned(), text.to_owned())]
    );
}

#[test]
fn names_are_made_as_asked() {
    let payload = r#"{"a":{"b":[1,{"c":2}]}}"#;
    let cases = [
        (json!({}), ["a[b][0]", "a[b][1][c]"]),
        (json!({"nesting": "dots"}), ["a.b.0", "a.b.1.c"]),
        (json!({"arrays": "empty"}), ["a[b][]", "a[b][][c]"]),
        (json!({"arrays": "repeated"}), ["a[b]", "a[b][c]"]),
    ];
    for (config, expected) in cases {
        assert_eq!(names(payload, config.clone()), expected, "{config}");
    }
}

#[test]
fn null_and_what_is_empty_are_left_out() {
    let payload = r#"{"a":null,"b":[],"c":{},"d":""}"#;
    assert_eq!(names(payload, json!({})), ["d"]);
    assert_eq!(names(payload, json!({"null": "nil"})), ["a", "d"]);
    assert!(pairs("{}", json!({})).is_empty());
}

#[test]
fn only_an_object_has_names() {
    for payload in ["[1]", "1", "null"] {
        let run = run(Plugin, event("a").payload(payload), json!({}));
        assert!(
            run.error().starts_with("the payload is no JSON object"),
            "{payload}"
        );
    }
    assert_eq!(
        pairs("[1, 2]", json!({"jsonField": "payload"})),
        [("payload".to_owned(), "[1, 2]".to_owned())]
    );
}
