//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn filter(payload: Value, expression: &str) -> Run {
    run(
        Plugin,
        event("a").json(&payload),
        json!({ "filter": expression }),
    )
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn what_is_true_is_what_jmespath_says() {
    for value in [
        json!(true),
        json!(0),
        json!("x"),
        json!([0]),
        json!({"b": null}),
    ] {
        assert!(filter(json!({ "a": value }), "a").passed(), "{value}");
    }
    for value in [json!(false), json!(null), json!(""), json!([]), json!({})] {
        let run = filter(json!({ "a": value }), "a");
        assert_eq!(run.dropped(), "not true of the event: a", "{value}");
    }
}

#[test]
fn a_payload_may_be_anything() {
    assert!(filter(json!([1, 2]), "length(@) == `2`").passed());
    assert!(filter(json!("x"), "@ == 'x'").passed());
    assert_eq!(
        filter(json!(null), "@").dropped(),
        "not true of the event: @"
    );
}

#[test]
fn the_selected_value_goes_on_with_the_headers() {
    let of = |expression: &str| {
        let event = event("a")
            .payload(r#"{"a":[{"b":1.5},{"b":2}]}"#)
            .header("x-a", "1");
        run(Plugin, event, json!({ "select": expression }))
    };
    let selected = of("{n: length(a), max: max(a[].b)}");
    assert_eq!(selected.json::<Value>(), json!({"n": 2, "max": 2}));
    assert_eq!(selected.delivered().headers.len(), 1);
    assert_eq!(of("a[].b").json::<Value>(), json!([1.5, 2]));
    assert_eq!(of("c.d").dropped(), "null for the event: c.d");
}

#[test]
fn mistakes_say_where() {
    let cases = [
        (json!({}), "neither filter nor select"),
        (json!({"filter": "a ="}), "filter: "),
        (json!({"filter": "nope(a)"}), "filter: "),
        (json!({"filter": "abs('x')"}), "filter: "),
        (json!({"filter": "a", "select": "a[?"}), "select: "),
    ];
    for (config, expected) in cases {
        let run = run(Plugin, event("a").payload(r#"{"a":1}"#), config);
        assert!(run.error().starts_with(expected), "{}", run.error());
        assert!(!run.error().contains('\n'));
    }
}
