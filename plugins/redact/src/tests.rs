//! The plugin as a chain runs it.

use hookmill_plugin::testing::{Run, describe, event, run, run_cases};
use serde_json::{Value, json};

use super::*;

const PUSH: &str = include_str!("../../../tests/fixtures/github/push.master.json");

fn redact(payload: &str, config: Value) -> Run {
    run(Plugin, event("a").payload(payload), config)
}

#[track_caller]
fn becomes(payload: &str, config: Value, expected: &str) {
    let run = redact(payload, config);
    assert_eq!(str::from_utf8(&run.delivered().payload).unwrap(), expected);
}

#[test]
fn a_real_push_loses_its_addresses_and_keeps_the_rest() {
    let run = redact(
        PUSH,
        json!({
            "remove": ["/installation", "/commits/*/committer", "/repository/owner/email"],
            "mask": ["/commits/*/author/email", "/head_commit/*/email"],
            "hash": ["/pusher/email"],
            "salt": "pepper",
        }),
    );
    let mut expected: Value = serde_json::from_str(PUSH).unwrap();
    expected.as_object_mut().unwrap().remove("installation");
    expected["repository"]["owner"]
        .as_object_mut()
        .unwrap()
        .remove("email");
    expected["commits"][0]
        .as_object_mut()
        .unwrap()
        .remove("committer");
    expected["commits"][0]["author"]["email"] = json!("[redacted]");
    expected["head_commit"]["author"]["email"] = json!("[redacted]");
    expected["head_commit"]["committer"]["email"] = json!("[redacted]");
    let email = "21031067+Codertocat@users.noreply.github.com";
    expected["pusher"]["email"] = json!(hex::encode(Sha256::digest(format!("pepper{email}"))));
    assert_eq!(run.json::<Value>(), expected);
    assert!(
        !str::from_utf8(&run.delivered().payload)
            .unwrap()
            .contains(email)
    );
    assert_eq!(run.logs[0].text, "7 places hidden");
}

#[test]
fn nothing_matched_means_unchanged() {
    assert!(redact(PUSH, json!({})).passed());
    assert!(
        redact(
            PUSH,
            json!({"mask": ["/nobody", "/ref/deeper", "/commits/7", "/commits/00/id"]})
        )
        .passed()
    );
}

#[test]
fn what_is_not_touched_stays_byte_for_byte() {
    becomes(
        r#"{ "z": 1.0, "secret": 1, "a": { "b" : 1e400, "c":[ 1 ,2 ] }, "n": 12345678901234567890123 }"#,
        json!({"remove": ["/secret"]}),
        r#"{"z":1.0,"a":{ "b" : 1e400, "c":[ 1 ,2 ] },"n":12345678901234567890123}"#,
    );
    becomes(
        r#"{"a":{ "x":1 },"b":{"x": {"y":2 }}}"#,
        json!({"mask": ["/*/x/y"]}),
        r#"{"a":{ "x":1 },"b":{"x":{"y":"[redacted]"}}}"#,
    );
}

#[test]
fn every_occurrence_of_a_doubled_key_is_hidden() {
    becomes(
        r#"{"k":"one","k":"two","\u006b":3}"#,
        json!({"mask": ["/k"]}),
        r#"{"k":"[redacted]","k":"[redacted]","k":"[redacted]"}"#,
    );
    becomes(
        r#"{"k":"one","l":1,"k":"two"}"#,
        json!({"remove": ["/k"]}),
        r#"{"l":1}"#,
    );
}

#[test]
fn items_are_removed_by_their_first_index() {
    becomes("[0,1,2,3]", json!({"remove": ["/0", "/2"]}), "[1,3]");
    becomes("[0,1]", json!({"remove": ["/*"]}), "[]");
    becomes(r#"{"a":1}"#, json!({"remove": ["/*"]}), "{}");
}

#[test]
fn pointers_are_unescaped_and_the_root_can_be_masked() {
    becomes(
        r#"{"a/b":1,"c~d":2}"#,
        json!({"mask": ["/a~1b"], "remove": ["/c~0d"]}),
        r#"{"a/b":"[redacted]"}"#,
    );
    becomes(
        " [1] ",
        json!({"mask": [""], "maskWith": "\"no\""}),
        r#""\"no\"""#,
    );
}

#[test]
fn the_stronger_action_wins() {
    let all = json!({"hash": ["/a", "/b"], "mask": ["/*"], "remove": ["/a"]});
    becomes(r#"{"a":1,"b":2}"#, all, r#"{"b":"[redacted]"}"#);
    becomes(
        r#"{"a":{"b":1}}"#,
        json!({"mask": ["/a"], "remove": ["/a/b"]}),
        r#"{"a":"[redacted]"}"#,
    );
}

#[test]
fn hashes_are_of_characters_or_of_json_text() {
    let hashed = |payload: &str, salt: &str| -> String {
        redact(payload, json!({"hash": ["/a"], "salt": salt})).json::<Value>()["a"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    // SHA-256 of "abc": FIPS 180-2, appendix B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hashed(r#"{"a":"abc"}"#, ""), abc);
    assert_eq!(
        hashed(r#"{"a":"\u0061bc"}"#, ""),
        abc,
        "however it is spelt"
    );
    assert_eq!(hashed(r#"{"a":"c"}"#, "ab"), abc);
    assert_ne!(hashed(r#"{"a":1}"#, ""), hashed(r#"{"a":1.0}"#, ""));
}

#[test]
fn what_is_not_json_fails_and_never_passes() {
    for payload in ["", "not JSON", "{\"a\":1", "{\"a\":1} 2", "a=1&b=2"] {
        let run = redact(payload, json!({"mask": ["/a"]}));
        assert!(
            run.error().starts_with("the payload is not the JSON"),
            "{payload}: {run:?}"
        );
    }
    let run = run(Plugin, event("a").payload(b"{\"a\":\"\xff\"}"), json!({}));
    assert!(run.result.is_err());
}

#[test]
fn a_bad_config_says_where() {
    assert!(
        redact("{}", json!({"mask": ["/a", "b"]}))
            .error()
            .contains("\"/mask/1\"")
    );
    assert!(
        redact("{}", json!({"remove": [""]}))
            .error()
            .contains("the whole payload")
    );
    assert!(
        redact("{}", json!({"masks": []}))
            .error()
            .contains("unknown field")
    );
}

#[test]
fn content_type_and_headers_stay() {
    let run = run(
        Plugin,
        event("a")
            .payload("{\"a\":1}")
            .content_type("application/scim+json")
            .header("x-a", "b"),
        json!({"mask": ["/a"]}),
    );
    assert_eq!(run.delivered().content_type, "application/scim+json");
    assert_eq!(run.delivered().headers.len(), 1);
}

#[test]
fn a_large_payload_is_walked_in_one_go() {
    let payload = format!("[{}0]", "1,".repeat(300_000));
    let run = redact(&payload, json!({"mask": ["/300000"]}));
    assert!(run.delivered().payload.ends_with(b",\"[redacted]\"]"));
}

#[test]
fn the_schema_refuses_what_is_no_pointer() {
    let schema: Value = serde_json::from_str(&describe(Plugin).config_schema).unwrap();
    assert_eq!(
        schema["properties"]["mask"]["items"]["pattern"],
        "^(/([^~/]|~[01])*)*$"
    );
    assert_eq!(schema["properties"]["maskWith"]["default"], "[redacted]");
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}
