use serde_json::json;

use super::*;

/// The fault of a case, which has a name unless it says otherwise.
fn fault(mut case: Value) -> Fault {
    if case.get("expect").is_some() && case.get("name").is_none() {
        case["name"] = json!("a");
    }
    parse(case.to_string().as_bytes()).unwrap_err()
}

fn event_of(event: &Value) -> Event {
    let case = json!({"name": "a", "event": event, "expect": {"outcome": "pass"}});
    parse(case.to_string().as_bytes()).unwrap().1
}

#[test]
fn what_is_left_out_is_as_in_native_tests() {
    let case = json!({"name": "a", "expect": {"outcome": "pass"}});
    let (name, event, config, expect) = parse(case.to_string().as_bytes()).unwrap();
    assert_eq!((name.as_str(), config), ("a", json!({})));
    assert_eq!(expect.outcome, Outcome::Pass);
    assert_eq!(event.payload, "{}");
    assert_eq!(event.endpoint_id.as_deref(), Some("ep_test"));
    assert_eq!(event_of(&json!({"endpointId": null})).endpoint_id, None);
}

#[test]
fn a_payload_has_three_spellings() {
    let payload = |event: Value| event_of(&event).payload;
    assert_eq!(
        payload(json!({"payload": {"b": 1, "a": [1, 2]}})),
        r#"{"a":[1,2],"b":1}"#
    );
    assert_eq!(payload(json!({"payload": null})), "null");
    assert_eq!(payload(json!({"payloadText": " x "})), " x ");
    assert_eq!(payload(json!({"payloadBase64": "AP8="})), &[0u8, 255][..]);
}

#[test]
fn every_fault_names_its_place() {
    let pass = json!({"outcome": "pass"});
    for (case, place, problem) in [
        (json!({"name": "a"}), "", "missing field `expect`"),
        (json!({}), "", "missing field `name`"),
        (
            json!({"config": [], "expect": pass}),
            "/config",
            "expected a map",
        ),
        (
            json!({"event": {"headers": {"a": "b"}}, "expect": pass}),
            "/event/headers",
            "expected a sequence",
        ),
        (
            json!({"expect": {"outcome": "sent"}}),
            "/expect/outcome",
            "unknown variant `sent`",
        ),
        (
            json!({"event": {"timestampMs": "now"}, "expect": pass}),
            "/event/timestampMs",
            "expected u64",
        ),
        (
            json!({"event": {"eventtype": "a"}, "expect": pass}),
            "/event/eventtype",
            "unknown field",
        ),
        (
            json!({"event": {"headers": [{"name": "a", "value": "b"}, {"name": "c"}]}, "expect": pass}),
            "/event/headers/1",
            "missing field `value`",
        ),
        (
            json!({"event": {"payload": 1, "payloadText": "1"}, "expect": pass}),
            "/event",
            "only one of payload",
        ),
        (
            json!({"event": {"payloadBase64": "?"}, "expect": pass}),
            "/event/payloadBase64",
            "Invalid symbol",
        ),
        (
            json!({"expect": {"outcome": "pass", "reason": "x"}}),
            "/expect/reason",
            "the outcome pass has none",
        ),
        (
            json!({"expect": {"outcome": "drop", "payload": {}}}),
            "/expect/payload",
            "the outcome drop has none",
        ),
    ] {
        let (at, what) = fault(case.clone());
        assert_eq!(at, place, "{case}: {what}");
        assert!(what.contains(problem), "{case}: {what}");
    }
    let (at, what) =
        parse(b"{\"name\": \"a\", \"expect\": {\"outcome\": \"pass\"}} x").unwrap_err();
    assert_eq!(at, "");
    assert!(what.contains("trailing characters at line 1"), "{what}");
}

#[test]
fn a_folder_is_read_by_name_and_wholly() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path();
    let error = read_folder(&folder.join("none")).unwrap_err();
    assert!(matches!(error, CaseError::Folder { .. }), "{error:?}");
    assert!(matches!(
        read_folder(folder).unwrap_err(),
        CaseError::Empty { .. }
    ));

    let case = r#"{"name": "one", "expect": {"outcome": "pass"}}"#;
    for (file, text) in [("b.json", case), ("a.json", case), ("notes.txt", "no case")] {
        fs::write(folder.join(file), text).unwrap();
    }
    let files: Vec<PathBuf> = (read_folder(folder).unwrap().into_iter())
        .map(|case| case.path)
        .collect();
    assert_eq!(files, ["a.json", "b.json"].map(|file| folder.join(file)));

    fs::write(
        folder.join("c.json"),
        r#"{"name": "one", "expect": {"outcome": 7}}"#,
    )
    .unwrap();
    let error = read_folder(folder).unwrap_err().to_string();
    assert!(
        error.contains("c.json is not usable at /expect/outcome: "),
        "{error}"
    );
}
