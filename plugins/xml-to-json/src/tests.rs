//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::{Value, json};

use super::*;

fn xml(payload: &str, config: Value) -> Run {
    run(
        Plugin,
        event("a").payload(payload).content_type("text/xml"),
        config,
    )
}

#[track_caller]
fn becomes(payload: &str, config: Value, expected: Value) {
    let run = xml(payload, config);
    assert_eq!(run.json::<Value>(), expected, "{payload}");
    assert_eq!(run.delivered().content_type, "application/json");
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn elements_attributes_and_text_become_members() {
    becomes("<a/>", json!({}), json!({"a": null}));
    becomes("<a> x </a>", json!({}), json!({"a": "x"}));
    becomes(
        "<a b='1'>x</a>",
        json!({}),
        json!({"a": {"@b": "1", "#text": "x"}}),
    );
    becomes(
        "<a><b>1</b>t<b/></a>",
        json!({}),
        json!({"a": {"b": ["1", null], "#text": "t"}}),
    );
    becomes(
        "<a><b>1</b><c><b>2</b></c></a>",
        json!({"lists": ["b"]}),
        json!({"a": {"b": ["1"], "c": {"b": ["2"]}}}),
    );
    becomes(
        "<a b='1'>x</a>",
        json!({"attributePrefix": "", "textName": "value"}),
        json!({"a": {"b": "1", "value": "x"}}),
    );
}

#[test]
fn texts_are_put_together() {
    becomes(
        "\u{feff}<?xml version='1.0'?><!-- c --><a>x &amp; <![CDATA[<y>]]>&#x20AC;<!-- c -->&lt;</a>\n",
        json!({}),
        json!({"a": "x & <y>\u{20ac}<"}),
    );
    becomes(
        "<a b='&quot;1&#10;2'/>",
        json!({}),
        json!({"a": {"@b": "\"1\n2"}}),
    );
}

#[test]
fn prefixes_can_be_left_out() {
    let soap = "<s:Body xmlns:s='u' xmlns='v'><m:x m:k='1'>2</m:x></s:Body>";
    becomes(
        soap,
        json!({"stripPrefixes": true}),
        json!({"Body": {"x": {"@k": "1", "#text": "2"}}}),
    );
    becomes(
        soap,
        json!({}),
        json!({"s:Body": {"@xmlns:s": "u", "@xmlns": "v", "m:x": {"@m:k": "1", "#text": "2"}}}),
    );
}

#[test]
fn no_entity_of_a_senders_own_is_expanded() {
    let bomb = "<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;'>]><a>&c;</a>";
    assert!(
        xml(bomb, json!({}))
            .error()
            .ends_with("a document type is not taken")
    );
    let file = "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>";
    assert!(
        xml(file, json!({}))
            .error()
            .ends_with("a document type is not taken")
    );
    assert!(
        xml("<a>&b;</a>", json!({}))
            .error()
            .ends_with("the entity &b; is not known")
    );
    assert!(xml("<a b='&c;'/>", json!({})).result.is_err());
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
    assert!(xml(&nested(32), json!({})).result.is_ok());
    assert!(
        xml(&nested(33), json!({}))
            .error()
            .ends_with("more than 32 levels of elements")
    );
    assert!(xml(&nested(100), json!({"depth": 100})).result.is_ok());
    assert!(
        xml(&"<a>".repeat(100_000), json!({"depth": 100}))
            .result
            .is_err()
    );
    assert!(
        xml("<a/>", json!({"depth": 101}))
            .error()
            .starts_with("depth: ")
    );
}

#[test]
fn what_is_not_well_formed_is_an_error() {
    let cases = [
        ("", "there is no element"),
        ("<a>", "<a> is not closed"),
        ("<a></b>", "at byte 3"),
        ("<a/><b/>", "there is a second outermost element"),
        ("x<a/>", "there is text outside"),
        ("<a/>x", "there is text outside"),
        ("<a b=1/>", "at byte 0"),
        ("<a b='1' b='2'/>", "at byte 0"),
        ("<a>&#0;</a>", "at byte 3"),
        ("<a", "at byte 0"),
    ];
    for (payload, expected) in cases {
        let run = xml(payload, json!({}));
        assert!(run.error().contains(expected), "{payload}: {}", run.error());
    }
    let latin = run(Plugin, event("a").payload(b"<a>\xe9</a>"), json!({}));
    assert!(latin.error().starts_with("the payload is not text"));
}
