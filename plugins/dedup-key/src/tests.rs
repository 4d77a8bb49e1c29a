//! The plugin as a chain runs it.

use hookmill_plugin::testing::{event, run, run_cases};
use serde_json::json;

use super::*;

/// The key that a payload gets.
fn key_of(payload: &str, fields: Value) -> String {
    let run = run(
        Plugin,
        event("a").payload(payload),
        json!({"fields": fields}),
    );
    let [header] = &run.delivered().headers[..] else {
        panic!("not one header: {run:?}");
    };
    assert_eq!(header.name, "x-dedup-key");
    header.value.clone()
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn spelling_and_other_fields_do_not_count() {
    let one = key_of(r#"{"a":{"x":1,"y":"é"},"b":1}"#, json!(["a"]));
    assert_eq!(
        one,
        key_of(r#" {"b":2, "a":{"y":"\u00e9" ,"x":1}}"#, json!(["/a"]))
    );
    assert_ne!(one, key_of(r#"{"a":{"x":1,"y":"e"}}"#, json!(["a"])));
}

#[test]
fn values_do_not_run_into_each_other() {
    let fields = json!(["a", "b"]);
    let different = [
        r#"{"a":"x","b":"yz"}"#,
        r#"{"a":"xy","b":"z"}"#,
        r#"{"a":"x\",\"yz"}"#,
        r#"{"a":"1","b":null}"#,
        r#"{"a":1}"#,
        r#"{"b":1}"#,
    ];
    let mut keys: Vec<String> = different
        .map(|payload| key_of(payload, fields.clone()))
        .into();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), different.len());
}

#[test]
fn the_type_counts_unless_told_otherwise() {
    let of = |kind: &str, config: Value| {
        let run = run(Plugin, event(kind).payload(r#"{"id":1}"#), config);
        run.delivered().headers[0].value.clone()
    };
    let with = json!({"fields": ["id"]});
    let without = json!({"fields": ["id"], "type": false});
    assert_ne!(of("a", with.clone()), of("b", with));
    assert_eq!(of("a", without.clone()), of("b", without));
}

#[test]
fn a_header_that_is_there_is_replaced_and_the_others_stay() {
    let event = event("a")
        .payload(r#"{"id":1}"#)
        .header("x-key", "old")
        .header("x-b", "2");
    let run = run(Plugin, event, json!({"fields": ["id"], "header": "X-Key"}));
    let headers = &run.delivered().headers;
    assert_eq!(headers.len(), 2);
    assert_eq!(
        (headers[0].name.as_str(), headers[1].name.as_str()),
        ("x-b", "x-key")
    );
    assert_eq!(headers[1].value.len(), 64);
}

#[test]
fn no_field_at_all_is_a_mistake() {
    assert!(
        run(Plugin, event("a"), json!({"fields": []}))
            .error()
            .starts_with("fields:")
    );
}
