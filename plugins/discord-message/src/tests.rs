//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::json;

use super::*;

fn discord(payload: Value, config: Value) -> Run {
    run(Plugin, event("a").json(&payload), config)
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn values_can_not_mention_link_or_format() {
    let value = "@everyone <@1> **b** [a](https://bad.example) `c` # d";
    let config = json!({"content": "**{{v}}**"});
    let message: Value = discord(json!({ "v": value }), config).json();
    assert_eq!(
        message["content"],
        r"**\@everyone \<\@1\> \*\*b\*\* \[a\]\(https://bad.example\) \`c\` \# d**"
    );
    assert_eq!(message["allowed_mentions"], json!({"parse": []}));
}

#[test]
fn mentions_are_the_configs() {
    let config = json!({"content": "<@&5> look", "mentions": ["roles", "users"]});
    let message: Value = discord(json!({}), config).json();
    assert_eq!(
        message["allowed_mentions"],
        json!({"parse": ["roles", "users"]})
    );
    assert!(
        discord(json!({}), json!({"content": "a", "mentions": ["all"]}))
            .result
            .is_err()
    );
}

#[test]
fn texts_are_cut_to_what_discord_takes() {
    let long = json!({ "long": "é".repeat(10_000) });
    let embed = json!({
        "title": "{{long}}", "url": "{{long}}", "footer": {"text": "{{long}}"},
        "fields": [{"name": "{{long}}", "value": "{{long}}"}],
    });
    let config = json!({"content": "{{long}}", "embeds": [embed]});
    let message: Value = discord(long, config).json();
    let length = |pointer: &str| {
        message
            .pointer(pointer)
            .unwrap()
            .as_str()
            .unwrap()
            .chars()
            .count()
    };
    assert_eq!(length("/content"), 2_000);
    assert_eq!(length("/embeds/0/title"), 256);
    assert_eq!(length("/embeds/0/footer/text"), 2_048);
    assert_eq!(length("/embeds/0/fields/0/name"), 256);
    assert_eq!(length("/embeds/0/fields/0/value"), 1_024);
    assert_eq!(
        length("/embeds/0/url"),
        10_000,
        "a part of an address is none"
    );
}

#[test]
fn all_embeds_share_a_limit() {
    let long = json!({ "long": "x".repeat(10_000) });
    let config = json!({"embeds": vec![json!({"description": "{{long}}"}); 3]});
    let message: Value = discord(long, config).json();
    let length = |index: usize| {
        message["embeds"][index]["description"]
            .as_str()
            .unwrap()
            .chars()
            .count()
    };
    assert_eq!([length(0), length(1), length(2)], [4_096, 1_904, 0]);
}

#[test]
fn mistakes_in_the_config_say_where() {
    let cases = [
        (json!({"content": "{{a"}), "content: the \"{{\" at byte 0"),
        (
            json!({"embeds": [{}, {"title": "{{a"}]}),
            "embeds/1: the \"{{\" at byte 0",
        ),
        (
            json!({"embeds": vec![json!({}); 11]}),
            "embeds: Discord takes 10 at most",
        ),
    ];
    for (config, expected) in cases {
        let run = discord(json!({}), config);
        assert!(run.error().starts_with(expected), "{}", run.error());
    }
}
