//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn alert(payload: Value, more: Value) -> Run {
    let mut config = json!({
        "routingKey": "R0", "dedupKey": "{{id}}", "summary": "{{what}}", "source": "{{host}}",
    });
    let members = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(members);
    run(Plugin, event("alarm.raised").json(&payload), config)
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn values_are_chosen_in_any_case_and_the_rest_by_otherwise() {
    let severity = json!({"severity": {
        "by": "level", "values": {"P1": "critical", "3": "info"}, "otherwise": "warning",
    }});
    let of = |level: Value| {
        let run = alert(json!({"id": 1, "level": level}), severity.clone());
        run.json::<Value>()["payload"]["severity"].clone()
    };
    assert_eq!(of(json!("p1")), "critical");
    assert_eq!(of(json!(3)), "info", "numbers are compared as text");
    assert_eq!(of(json!("p2")), "warning");
    assert_eq!(of(json!(null)), "warning");
    assert_eq!(
        alert(json!({"id": 1}), json!({})).json::<Value>()["payload"]["severity"],
        "error"
    );
}

#[test]
fn what_pagerduty_needs_is_never_empty() {
    let sent: Value = alert(json!({"id": 7}), json!({})).json();
    assert_eq!(sent["dedup_key"], "7");
    assert_eq!(sent["payload"]["summary"], "alarm.raised");
    assert_eq!(sent["payload"]["source"], "app_test");
    assert_eq!(sent["payload"]["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(alert(json!({}), json!({})).rejected(), "dedupKey is empty");
}

#[test]
fn what_is_too_long_is_cut() {
    let long = "é".repeat(2_000);
    let sent: Value = alert(json!({"id": long, "what": long}), json!({})).json();
    assert_eq!(sent["dedup_key"].as_str().unwrap().chars().count(), 255);
    assert_eq!(
        sent["payload"]["summary"].as_str().unwrap().chars().count(),
        1_024
    );
    let large = json!({"id": 1, "dump": "x".repeat(500_000)});
    let sent: Value = alert(large, json!({})).json();
    assert_eq!(sent["payload"]["custom_details"], "left out: too large");
}

#[test]
fn details_and_link_are_chosen() {
    let payload = json!({"id": 1, "host": "db1", "secret": "s", "url": "https://a.example/1"});
    let more =
        json!({"details": {"where": "host", "none": "x"}, "link": "{{url}}", "class": "{{x}}"});
    let sent: Value = alert(payload, more.clone()).json();
    assert_eq!(sent["payload"]["custom_details"], json!({"where": "db1"}));
    assert_eq!(
        sent["links"],
        json!([{"href": "https://a.example/1", "text": "Open"}])
    );
    assert!(sent["payload"].get("class").is_none());
    let sent: Value = alert(json!({"id": 1, "url": "javascript:1"}), more).json();
    assert!(sent.get("links").is_none());
}

#[test]
fn an_acknowledgement_carries_the_key_only() {
    let more = json!({"action": {"by": "@type", "values": {"alarm.raised": "acknowledge"}, "otherwise": "ignore"}});
    assert_eq!(
        alert(json!({"id": 1}), more).json::<Value>(),
        json!({"routing_key": "R0", "event_action": "acknowledge", "dedup_key": "1"})
    );
}

#[test]
fn mistakes_in_the_config_say_where() {
    let run = alert(json!({"id": 1}), json!({"group": "{{"}));
    assert!(
        run.error().starts_with("group: the \"{{\" at byte 0"),
        "{}",
        run.error()
    );
    let run = alert(
        json!({"id": 1}),
        json!({"severity": {"otherwise": "fatal"}}),
    );
    assert!(
        run.error().contains("\"/severity/otherwise"),
        "{}",
        run.error()
    );
}
