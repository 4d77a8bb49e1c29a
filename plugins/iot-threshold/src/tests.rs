//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn judge(payload: Value, limits: Value) -> Run {
    run(
        Plugin,
        event("up").json(&payload),
        json!({ "limits": limits }),
    )
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn a_value_on_a_limit_keeps_it() {
    let limits = json!([{"field": "t", "min": -5, "max": 30.5}]);
    for kept in [
        json!(-5),
        json!(30.5),
        json!(0),
        json!("30.5"),
        json!(" 7 "),
    ] {
        let run = judge(json!({ "t": kept }), limits.clone());
        assert_eq!(run.dropped(), "within the limits", "{kept}");
    }
    for (broken, limit) in [
        (json!(-5.1), "min"),
        (json!(30.6), "max"),
        (json!("31"), "max"),
    ] {
        let alert: Value = judge(json!({ "t": broken }), limits.clone()).json();
        assert_eq!(alert["broken"][0]["limit"], limit);
        assert_eq!(alert["broken"][0]["value"], broken, "as it came");
    }
}

#[test]
fn each_broken_limit_is_named() {
    let limits = json!([
        {"field": "t", "max": 30, "severity": "warning"},
        {"field": "t", "max": 60, "severity": "critical"},
        {"field": "h", "min": 20},
    ]);
    let alert: Value = judge(json!({"t": 40, "h": 10}), limits).json();
    assert_eq!(
        alert["broken"],
        json!([
            {"field": "t", "value": 40, "limit": "max", "limitValue": 30.0, "severity": "warning"},
            {"field": "h", "value": 10, "limit": "min", "limitValue": 20.0},
        ])
    );
    assert!(alert.get("device").is_none());
}

#[test]
fn a_missing_reading_is_dropped_unless_it_is_required() {
    let limits = json!([{"field": "t", "max": 1}]);
    assert_eq!(
        judge(json!({"t": null}), limits.clone()).dropped(),
        "no reading"
    );
    let config = json!({"limits": limits, "required": true});
    assert_eq!(
        run(Plugin, event("up"), config).error(),
        "the payload has none of the fields"
    );
}

#[test]
fn what_is_no_number_is_an_error_and_never_within_limits() {
    for value in [
        json!("hot"),
        json!("NaN"),
        json!("inf"),
        json!(true),
        json!([1]),
    ] {
        let run = judge(json!({ "t": value }), json!([{"field": "t", "max": 1}]));
        assert!(run.error().ends_with("is no number"), "{value}");
    }
}

#[test]
fn the_event_itself_can_be_sent() {
    let config = json!({"limits": [{"field": "t", "max": 1}], "send": "event"});
    assert!(run(Plugin, event("up").payload(r#"{"t":2}"#), config).passed());
}

#[test]
fn a_limit_without_a_bound_is_a_mistake() {
    let run = judge(json!({"t": 1}), json!([{"field": "t"}]));
    assert_eq!(run.error(), "limits: t has neither max nor min");
}
