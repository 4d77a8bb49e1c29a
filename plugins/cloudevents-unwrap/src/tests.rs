//! The plugin as a chain runs it.

use hookmill_plugin::testing::{EventBuilder, Run, event, run, run_cases};
use serde_json::{Value, json};

use super::*;

/// A structured CloudEvent with these members beside the required ones.
fn structured(more: Value) -> EventBuilder {
    let mut envelope = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
    envelope
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    event("a")
        .json(&envelope)
        .content_type("application/cloudevents+json; charset=utf-8")
}

fn unwrap(event: EventBuilder) -> Run {
    run(Plugin, event, json!({}))
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn data_is_what_it_stands_for() {
    let cases: [(Value, &str, &[u8]); 7] = [
        (json!({"data": {"a": 1}}), "application/json", b"{\"a\":1}"),
        (json!({"data": "x"}), "application/json", b"\"x\""),
        (
            json!({"data": "x", "datacontenttype": "text/plain"}),
            "text/plain",
            b"x",
        ),
        (
            json!({"data": [1], "datacontenttype": "text/plain"}),
            "text/plain",
            b"[1]",
        ),
        (
            json!({"data": "x", "datacontenttype": "a/b+json"}),
            "a/b+json",
            b"\"x\"",
        ),
        (
            json!({"data_base64": "AP8=", "datacontenttype": "image/png"}),
            "image/png",
            &[0, 0xff],
        ),
        (json!({}), "application/json", b""),
    ];
    for (more, content_type, payload) in cases {
        let run = unwrap(structured(more.clone()));
        assert_eq!(run.delivered().content_type, content_type, "{more}");
        assert_eq!(run.delivered().payload, payload, "{more}");
    }
}

#[test]
fn numbers_keep_their_spelling() {
    let text =
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"b": 1.0, "a": 1e3}}"#;
    let run = unwrap(
        event("a")
            .payload(text)
            .content_type("application/cloudevents+json"),
    );
    assert_eq!(run.delivered().payload, br#"{"b": 1.0, "a": 1e3}"#);
}

#[test]
fn what_breaks_the_specification_is_rejected() {
    let cases = [
        (json!({"id": ""}), "the CloudEvent has no id"),
        (json!({"source": null}), "the CloudEvent has no source"),
        (
            json!({"specversion": "0.3"}),
            "CloudEvents 0.3 are not known",
        ),
        (
            json!({"tenant": {"a": 1}}),
            "the attribute tenant is neither text, number nor boolean",
        ),
        (
            json!({"Tenant": "a"}),
            "\"Tenant\" is no name of an attribute",
        ),
        (
            json!({"data": 1, "data_base64": "AA=="}),
            "the CloudEvent has data twice",
        ),
    ];
    for (more, expected) in cases {
        assert_eq!(unwrap(structured(more)).rejected(), expected);
    }
    assert!(
        unwrap(structured(json!({"data_base64": "?"})))
            .error()
            .starts_with("data_base64: ")
    );
    let batch = event("a")
        .payload("[]")
        .content_type("application/cloudevents-batch+json");
    assert_eq!(
        unwrap(batch).rejected(),
        "a batch of CloudEvents is several events"
    );
    let other = event("a").header("ce-specversion", "2.0");
    assert_eq!(unwrap(other).rejected(), "CloudEvents 2.0 are not known");
}

#[test]
fn attributes_can_become_headers() {
    let more = json!({"subject": "ü 1", "sampled": true, "level": 3, "data": 1});
    let event = structured(more)
        .header("x-a", "1")
        .header("ce-id", "of somebody else");
    let run = run(Plugin, event, json!({"attributes": "headers"}));
    let headers: Vec<_> = run
        .delivered()
        .headers
        .iter()
        .map(|h| (h.name.as_str(), h.value.as_str()))
        .collect();
    assert_eq!(
        headers,
        [
            ("x-a", "1"),
            ("ce-id", "1"),
            ("ce-level", "3"),
            ("ce-sampled", "true"),
            ("ce-source", "/s"),
            ("ce-specversion", "1.0"),
            ("ce-subject", "%C3%BC%201"),
            ("ce-type", "t"),
        ]
    );
}

#[test]
fn what_is_no_cloudevent_goes_where_the_config_says() {
    let of = |otherwise: &str| run(Plugin, event("a"), json!({ "otherwise": otherwise }));
    assert_eq!(of("reject").rejected(), "the event is no CloudEvent");
    assert_eq!(of("drop").dropped(), "the event is no CloudEvent");
    assert!(of("pass").passed());
}
