//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};

use super::*;

fn teams(payload: &Value, config: Value) -> Run {
    run(Plugin, event("a").json(payload), config)
}

/// The card of a run.
fn card(run: &Run) -> Value {
    run.json::<Value>()["attachments"][0]["content"].clone()
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn values_are_shown_as_they_are() {
    let payload = json!({"v": "**a** [b](https://bad.example) <at>c</at>"});
    let card = card(&teams(&payload, json!({"title": "*{{v}}*"})));
    assert_eq!(
        card["body"][0]["text"],
        r"*\*\*a\*\* \[b\](https://bad.example) \<at\>c\</at\>*"
    );
}

#[test]
fn a_button_needs_an_address() {
    let button = json!({"title": "a", "button": {"title": "Open", "url": "{{url}}"}});
    for url in [json!(null), json!("javascript:alert(1)"), json!("")] {
        let card = card(&teams(&json!({ "url": url }), button.clone()));
        assert_eq!(card["actions"], json!([]), "{url}");
    }
    let card = card(&teams(
        &json!({"url": "https://a.example/?b=1&c=_d_"}),
        button,
    ));
    assert_eq!(card["actions"][0]["url"], "https://a.example/?b=1&c=_d_");
}

#[test]
fn a_message_is_never_more_than_teams_takes() {
    let payload = json!({"long": "é\"".repeat(50_000)});
    let fact = json!({"title": "{{long}}", "value": "{{long}}"});
    let config = json!({"title": "{{long}}", "text": "{{long}}", "facts": vec![fact; 20]});
    let run = teams(&payload, config);
    assert!(run.delivered().payload.len() <= MESSAGE_BYTES);
    assert!(
        card(&run)["body"][1]["text"].as_str().unwrap().len() > 100,
        "and not less than needed"
    );
}

#[test]
fn facts_without_end_are_an_error() {
    let config = json!({"title": "a", "facts": vec![json!({"title": "a", "value": "b"}); 2_000]});
    assert_eq!(
        teams(&json!({}), config).error(),
        "the facts alone are more than Teams takes"
    );
}

#[test]
fn mistakes_in_the_config_say_where() {
    let cases = [
        (json!({"title": "{{a"}), "title: the \"{{\" at byte 0"),
        (
            json!({"title": "a", "facts": [{"title": "b", "value": "{{}}"}]}),
            "facts/0: the \"{{\"",
        ),
        (
            json!({"title": "a", "button": {"title": "b", "url": "{{"}}),
            "button/url: the \"{{\"",
        ),
    ];
    for (config, expected) in cases {
        let run = teams(&json!({}), config);
        assert!(run.error().starts_with(expected), "{}", run.error());
    }
}
