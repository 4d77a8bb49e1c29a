//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn change(payload: Value, config: Value) -> Run {
    run(Plugin, event("a.b").json(&payload), config)
}

#[track_caller]
fn becomes(payload: Value, config: Value, expected: Value) {
    assert_eq!(change(payload, config).json::<Value>(), expected);
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn fields_are_copied_renamed_and_removed() {
    let payload = json!({"a": {"b": 1}, "c": 2, "d": 3});
    becomes(
        payload.clone(),
        json!({"copy": {"a.b": "e.f"}}),
        json!({"a": {"b": 1}, "c": 2, "d": 3, "e": {"f": 1}}),
    );
    becomes(
        payload.clone(),
        json!({"rename": {"c": "/a/x~1y"}}),
        json!({"a": {"b": 1, "x/y": 2}, "d": 3}),
    );
    becomes(
        payload.clone(),
        json!({"remove": ["a.b", "none"]}),
        json!({"a": {}, "c": 2, "d": 3}),
    );
    becomes(
        payload.clone(),
        json!({"keep": ["a.b", "d", "none"]}),
        json!({"a": {"b": 1}, "d": 3}),
    );
    becomes(
        payload.clone(),
        json!({"copy": {"none": "x"}, "rename": {"none": "y"}}),
        payload,
    );
}

#[test]
fn templates_see_the_payload_as_it_came() {
    let config = json!({
        "rename": {"a": "b"},
        "set": {"a": "{{ a }}-{{ event.type }}", "c": "{{ a }}{{ event.id }}"},
    });
    becomes(
        json!({"a": 1}),
        config,
        json!({"a": "1-a.b", "b": 1, "c": "1msg_test"}),
    );
    becomes(
        json!({"event": "x"}),
        json!({"set": {"y": "{{ event }}"}}),
        json!({"event": "x", "y": "x"}),
    );
}

#[test]
fn filters_loops_and_conditions_work() {
    let payload = json!({"name": "ada", "n": 1250, "tags": ["x", "<y>"], "big": true});
    let config = json!({
        "set": {
            "name": "{{ name | upper }}",
            "list": "{% for tag in tags %}{{ tag }};{% endfor %}",
            "size": "{% if big %}large{% else %}small{% endif %}",
        },
        "setJson": {"n": "{{ n / 100 }}", "tags": "{{ tags | reverse | tojson }}"},
    });
    becomes(
        payload,
        config,
        json!({"name": "ADA", "n": 12.5, "tags": ["<y>", "x"], "big": true, "list": "x;<y>;", "size": "large"}),
    );
}

#[test]
fn what_is_missing_is_empty_unless_strict() {
    let config = |strict: bool| json!({"set": {"a": "[{{ x.y.z }}]"}, "strict": strict});
    becomes(json!({}), config(false), json!({"a": "[]"}));
    assert!(
        change(json!({}), config(true))
            .error()
            .starts_with("set/a: undefined value")
    );
}

#[test]
fn mistakes_say_where() {
    let cases = [
        (json!({"set": {"a": "{{ b"}}), "set/a: syntax error"),
        (
            json!({"set": {"a": "{{ b | nope }}"}}),
            "set/a: unknown filter",
        ),
        (json!({"setJson": {"a": "x"}}), "setJson/a: expected value"),
        (
            json!({"set": {"t.u": "x"}}),
            "set: t.u: on the way to it is no object",
        ),
    ];
    for (config, expected) in cases {
        let run = change(json!({"t": "x"}), config);
        assert!(run.error().starts_with(expected), "{}", run.error());
    }
    assert!(
        change(json!([1]), json!({}))
            .error()
            .starts_with("the payload is no JSON object")
    );
}

#[test]
fn a_loop_over_everything_ends_with_an_error() {
    let config = json!({"set": {"a": "{% for i in range(10000000000) %}x{% endfor %}"}});
    assert!(change(json!({}), config).error().starts_with("set/a: "));
}
