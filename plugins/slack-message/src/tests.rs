//! The plugin as a chain runs it, on payloads that GitHub really sends.

use hookmill_plugin::testing::{Run, event, run, run_cases};

use super::*;

const PUSH: &str = include_str!("../../../tests/fixtures/github/push.master.json");
const ISSUE: &str = include_str!("../../../tests/fixtures/github/issues.opened.json");
const PULL_REQUEST: &str = include_str!("../../../tests/fixtures/github/pull_request.opened.json");

fn slack(payload: &str, config: Value) -> Run {
    run(Plugin, event("github.push").payload(payload), config)
}

fn text(payload: &str, template: &str) -> String {
    let message: Value = slack(payload, json!({ "template": template })).json();
    message["text"].as_str().unwrap().to_owned()
}

#[test]
fn a_push_becomes_a_message() {
    let run = slack(
        PUSH,
        json!({
            "template": "*{{pusher.name}}* pushed to <{{repository.html_url}}|{{repository.full_name}}>: {{/commits/0/message}}",
            "username": "Hookmill",
            "channel": "#builds",
        }),
    );
    let expected = "*Codertocat* pushed to <https://github.com/Codertocat/Hello-World|Codertocat/Hello-World>: Initial commit";
    assert_eq!(
        run.json::<Value>(),
        json!({
            "text": expected,
            "blocks": [{ "type": "section", "text": { "type": "mrkdwn", "text": expected } }],
            "username": "Hookmill",
            "channel": "#builds",
        })
    );
    assert_eq!(run.delivered().content_type, "application/json");
    assert!(run.delivered().headers.is_empty());
}

#[test]
fn blocks_are_rendered_all_through() {
    let run = slack(
        PULL_REQUEST,
        json!({
            "template": "{{pull_request.title}}",
            "blocks": [
                { "type": "header", "text": { "type": "plain_text", "text": "#{{number}} {{pull_request.title}}" } },
                { "type": "section", "fields": [
                    { "type": "mrkdwn", "text": "*From*\n{{pull_request.user.login}}" },
                    { "type": "mrkdwn", "text": "*Into*\n{{pull_request.base.ref}}" },
                ] },
                { "type": "divider" },
                { "type": "actions", "elements": [
                    { "type": "button", "text": { "type": "plain_text", "text": "Open" }, "url": "{{pull_request.html_url}}?a=1&b=2" },
                ] },
            ],
        }),
    );
    let message: Value = run.json();
    assert_eq!(message["text"], "Update the README with new information.");
    assert_eq!(
        message["blocks"][0]["text"]["text"],
        "#2 Update the README with new information."
    );
    assert_eq!(
        message["blocks"][1]["fields"][0]["text"],
        "*From*\nCodertocat"
    );
    assert_eq!(message["blocks"][1]["fields"][1]["text"], "*Into*\nmaster");
    assert_eq!(message["blocks"][2], json!({ "type": "divider" }));
    assert_eq!(
        message["blocks"][3]["elements"][0]["url"],
        "https://github.com/Codertocat/Hello-World/pull/2?a=1&b=2"
    );
}

#[test]
fn values_of_every_kind_become_text() {
    let payload =
        r#"{"s":"x","n":1.50,"b":true,"o":{"a":[1]},"e":"","z":null,"a.b":"dot","l":[["in"]]}"#;
    assert_eq!(
        text(payload, "{{s}} {{n}} {{b}} {{o}}"),
        r#"x 1.5 true {"a":[1]}"#
    );
    assert_eq!(
        text(payload, "{{e}} {{z}} {{none}} {{s.deeper}} {{l.9}}"),
        "n/a n/a n/a n/a n/a"
    );
    assert_eq!(text(payload, "{{/a.b}} {{l.0.0}} {{ s }}"), "dot in x");
    assert_eq!(
        text(payload, "{{@type}} {{@id}} {{@application}} {{@secret}}"),
        "github.push msg_test app_test n/a"
    );
}

#[test]
fn what_is_missing_has_a_name() {
    let run = slack(
        ISSUE,
        json!({ "template": "Milestone: {{issue.nothing}}", "missing": "none" }),
    );
    assert_eq!(run.json::<Value>()["text"], "Milestone: none");
}

#[test]
fn values_can_not_mention_or_link() {
    let payload = r#"{"title":"<!channel> <https://bad.example|click> & more"}"#;
    let expected = "&lt;!channel&gt; &lt;https://bad.example|click&gt; &amp; more";
    assert_eq!(text(payload, "{{title}}"), expected);
    assert_eq!(
        text(payload, "<!here> {{title}}"),
        format!("<!here> {expected}")
    );
    let blocks = json!([{ "type": "section", "text": { "type": "mrkdwn", "text": "{{title}}" } }]);
    let message: Value = slack(payload, json!({ "template": "a", "blocks": blocks })).json();
    assert_eq!(message["blocks"][0]["text"]["text"], expected);
}

#[test]
fn texts_are_cut_to_what_slack_takes() {
    let payload = json!({ "long": "é".repeat(50_000) }).to_string();
    let blocks = json!([
        { "type": "header", "text": { "type": "plain_text", "text": "{{long}}" } },
        { "type": "section", "text": { "type": "mrkdwn", "text": "{{long}}" },
          "fields": [{ "type": "mrkdwn", "text": "{{long}}" }],
          "accessory": { "type": "button", "text": { "type": "plain_text", "text": "{{long}}" } } },
    ]);
    let message: Value = slack(
        &payload,
        json!({ "template": "{{long}}", "blocks": blocks }),
    )
    .json();
    let length = |pointer: &str| {
        message
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .chars()
            .count()
    };
    assert_eq!(length("/text"), 40_000);
    assert_eq!(length("/blocks/0/text/text"), 150);
    assert_eq!(length("/blocks/1/text/text"), 3_000);
    assert_eq!(length("/blocks/1/fields/0/text"), 2_000);
    assert_eq!(length("/blocks/1/accessory/text/text"), 75);

    let plain: Value = slack(&payload, json!({ "template": "{{long}}" })).json();
    assert_eq!(
        plain["blocks"][0]["text"]["text"]
            .as_str()
            .unwrap()
            .chars()
            .count(),
        3_000
    );
}

#[test]
fn an_empty_message_is_dropped() {
    let run = slack("{}", json!({ "template": " {{a}} ", "missing": "" }));
    assert_eq!(run.dropped(), "the template gives an empty text");
}

#[test]
fn mistakes_in_the_config_say_where() {
    let block = json!({ "type": "section", "text": { "type": "mrkdwn", "text": "{{a" } });
    let cases = [
        (
            json!({ "template": "a {{b" }),
            "template: the \"{{\" at byte 2 is not closed",
        ),
        (
            json!({ "template": "a", "blocks": [{ "type": "divider" }, block] }),
            "blocks/1: the \"{{\" at byte 0",
        ),
        (
            json!({ "template": "a", "blocks": vec![json!({}); 51] }),
            "blocks: Slack takes 50",
        ),
        (json!({}), "missing field `template`"),
    ];
    for (config, expected) in cases {
        let run = slack("{}", config);
        assert!(run.error().contains(expected), "{}", run.error());
    }
}

#[test]
fn a_payload_that_is_not_json_is_an_error() {
    assert!(
        slack("a=b", json!({ "template": "a" }))
            .error()
            .starts_with("the payload is not the JSON")
    );
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}
