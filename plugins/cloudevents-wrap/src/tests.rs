//! The plugin as a chain runs it.

use hookmill_plugin::testing::{EventBuilder, Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn wrap(event: EventBuilder, config: Value) -> Run {
    run(Plugin, event, config)
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn json_is_taken_over_as_it_is_spelt() {
    let payload = r#"{"b": 1.0, "a": 12345678901234567890123}"#;
    for content_type in ["application/json", "Application/SCIM+JSON; charset=utf-8"] {
        let run = wrap(
            event("a").payload(payload).content_type(content_type),
            json!({}),
        );
        let text = std::str::from_utf8(&run.delivered().payload).unwrap();
        assert!(text.contains(payload), "{text}");
        assert_eq!(run.json::<Value>()["datacontenttype"], content_type);
    }
}

#[test]
fn other_payloads_are_text_or_base64() {
    let text: Value = wrap(
        event("a").payload("a,b\n").content_type("text/csv"),
        json!({}),
    )
    .json();
    assert_eq!(text["data"], "a,b\n");
    let bytes: Value = wrap(
        event("a").payload([0, 0xff]).content_type("image/png"),
        json!({}),
    )
    .json();
    assert_eq!(bytes["data_base64"], "AP8=");
    assert!(bytes.get("data").is_none());
    let none: Value = wrap(event("a").payload(""), json!({})).json();
    assert!(none.get("data").is_none() && none.get("data_base64").is_none());
}

#[test]
fn headers_are_written_in_percent() {
    let config = json!({"mode": "binary", "subject": "{{s}}"});
    let run = wrap(event("a").json(&json!({"s": "50 % \"é\"\n~"})), config);
    let headers = &run.delivered().headers;
    let subject = headers
        .iter()
        .find(|header| header.name == "ce-subject")
        .unwrap();
    assert_eq!(subject.value, "50%20%25%20%22%C3%A9%22%0A~");
}

#[test]
fn what_is_needed_is_never_empty_and_what_is_not_is_left_out() {
    let config = json!({"source": "{{none}}"});
    assert_eq!(wrap(event("a"), config).rejected(), "source is empty");
    let config = json!({"subject": "{{none}}", "extensions": {"tenant": "{{none}}"}});
    let wrapped: Value = wrap(event("a"), config).json();
    assert!(wrapped.get("subject").is_none() && wrapped.get("tenant").is_none());
}

#[test]
fn extensions_have_names_of_their_own() {
    for name in ["", "Tenant", "a-b", "id", "data", "data_base64"] {
        let run = wrap(event("a"), json!({"extensions": {name: "x"}}));
        assert!(run.error().starts_with("extensions: "), "{name}");
    }
}
