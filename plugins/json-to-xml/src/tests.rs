//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, event, run, run_cases};
use serde_json::{Value, json};

use super::*;

fn xml(payload: &str, config: Value) -> Run {
    run(Plugin, event("a").payload(payload), config)
}

#[track_caller]
fn becomes(payload: &str, more: Value, expected: &str) {
    let mut config = json!({"declaration": false});
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let run = xml(payload, config);
    assert_eq!(
        std::str::from_utf8(&run.delivered().payload).unwrap(),
        expected
    );
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn there_is_one_outermost_element() {
    becomes(r#"{"a":1}"#, json!({}), "<a>1</a>");
    becomes(r#"{"a":1}"#, json!({"root": "r"}), "<r><a>1</a></r>");
    becomes(
        r#"{"a":1,"b":2}"#,
        json!({}),
        "<event><a>1</a><b>2</b></event>",
    );
    becomes(
        r#"{"a":[1,2]}"#,
        json!({}),
        "<event><a>1</a><a>2</a></event>",
    );
    becomes(
        "[1,2]",
        json!({}),
        "<event><item>1</item><item>2</item></event>",
    );
    becomes("[1]", json!({"root": "r", "item": "i"}), "<r><i>1</i></r>");
    becomes("7", json!({}), "<event>7</event>");
    becomes("{}", json!({}), "<event/>");
    becomes("[]", json!({}), "<event></event>");
}

#[test]
fn values_of_every_kind_become_text() {
    becomes(
        r#"{"z":1.0,"n":null,"b":true,"big":12345678901234567890123,"e":"","s":"\u00e9<"}"#,
        json!({}),
        "<event><z>1.0</z><n/><b>true</b><big>12345678901234567890123</big><e></e><s>é&lt;</s></event>",
    );
}

#[test]
fn attributes_and_text_have_their_names() {
    let payload = r##"{"a":{"b":1,"@id":"x\"\n","#text":"t","@o":{"c":2},"@":3}}"##;
    becomes(
        payload,
        json!({}),
        "<a id=\"x&quot;&#10;\"><b>1</b>t<_o><c>2</c></_o><_>3</_></a>",
    );
    becomes(
        r#"{"a":{"@id":1,"$":"t"}}"#,
        json!({"attributePrefix": "", "textName": "$"}),
        "<a><_id>1</_id>t</a>",
    );
}

#[test]
fn arrays_in_arrays_keep_their_bounds() {
    becomes(
        r#"{"a":{"m":[[1,2],[3]],"e":[]}}"#,
        json!({}),
        "<a><m><item>1</item><item>2</item></m><m><item>3</item></m></a>",
    );
}

#[test]
fn depth_is_bounded() {
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(xml(&objects(100), json!({})).result.is_ok());
    let arrays = format!("{}{}", "[".repeat(120), "]".repeat(120));
    for deep in [objects(110), arrays, "[".repeat(20_000)] {
        assert!(xml(&deep, json!({})).result.is_err());
    }
}

#[test]
fn what_xml_can_not_hold_is_an_error() {
    assert_eq!(
        xml(r#"{"a":"\u0001"}"#, json!({})).error(),
        "XML has no character U+0001"
    );
}
