use serde_json::json;

use super::*;

fn delivered(payload: &str) -> Answer {
    Answer {
        outcome: Outcome::Deliver,
        reason: None,
        request: Some(Request {
            content_type: "application/json".to_owned(),
            headers: vec![("x-a".to_owned(), "1".to_owned())],
            payload: payload.to_owned().into(),
        }),
    }
}

fn dropped(reason: &str) -> Answer {
    Answer {
        outcome: Outcome::Drop,
        reason: Some(reason.to_owned()),
        request: None,
    }
}

fn expect(outcome: Outcome) -> Expect {
    Expect {
        outcome,
        content_type: None,
        headers: None,
        payload: None,
        reason: None,
    }
}

#[test]
fn what_a_case_leaves_open_is_not_compared() {
    assert_eq!(
        delivered("{}").differs_from(&expect(Outcome::Deliver)),
        None
    );
    assert_eq!(dropped("x").differs_from(&expect(Outcome::Drop)), None);
}

#[test]
fn json_is_compared_as_json_and_the_rest_by_bytes() {
    let payload = |payload| Expect {
        payload: Some(payload),
        ..expect(Outcome::Deliver)
    };
    let json = payload(Payload::Json(json!({"a": 1, "b": [true]})));
    assert_eq!(
        delivered("{ \"b\": [true], \"a\": 1 }").differs_from(&json),
        None
    );
    let diff = delivered("{\"a\":2,\"b\":[true]}")
        .differs_from(&json)
        .unwrap();
    assert!(diff.contains("\n-  \"a\": 1,\n+  \"a\": 2,\n"), "{diff}");
    assert!(
        !diff.contains("x-a: 2") && diff.contains(" header: x-a: 1\n"),
        "{diff}"
    );
    assert!(
        delivered("no json")
            .differs_from(&json)
            .unwrap()
            .contains("+no json")
    );

    let text = payload(Payload::Text("a b".to_owned()));
    assert_eq!(delivered("a b").differs_from(&text), None);
    assert!(delivered("a  b").differs_from(&text).is_some());
    // Nothing but the end of the last line.
    let diff = delivered("a b\n").differs_from(&text).unwrap();
    assert!(diff.contains("No newline"), "{diff}");
    let bytes = payload(Payload::Bytes(vec![0, 255]));
    let diff = delivered("a").differs_from(&bytes).unwrap();
    assert!(diff.contains("-base64: AP8="), "{diff}");
}

#[test]
fn headers_types_and_reasons_count() {
    let headers = Expect {
        headers: Some(vec![("x-a".to_owned(), "2".to_owned())]),
        content_type: Some("text/plain".to_owned()),
        ..expect(Outcome::Deliver)
    };
    let diff = delivered("{}").differs_from(&headers).unwrap();
    for line in [
        "-content-type: text/plain",
        "+content-type: application/json",
        "-header: x-a: 2",
        "+header: x-a: 1",
    ] {
        assert!(diff.contains(line), "{line} in {diff}");
    }
    let reason = Expect {
        reason: Some("too small".to_owned()),
        ..expect(Outcome::Drop)
    };
    assert_eq!(dropped("too small").differs_from(&reason), None);
    let diff = dropped("too big").differs_from(&reason).unwrap();
    assert!(
        diff.contains("-reason: too small\n+reason: too big\n"),
        "{diff}"
    );
}

#[test]
fn another_outcome_shows_all_of_it() {
    let diff = delivered("{}")
        .differs_from(&expect(Outcome::Drop))
        .unwrap();
    assert!(
        diff.contains("-outcome: drop\n+outcome: deliver\n"),
        "{diff}"
    );
    let diff = dropped("why").differs_from(&expect(Outcome::Pass)).unwrap();
    assert!(
        diff.contains("-outcome: pass\n+outcome: drop\n+reason: why\n"),
        "{diff}"
    );
}

#[test]
fn a_plugins_text_steers_no_terminal() {
    let diff = dropped("\x1b[2J\nmore")
        .differs_from(&expect(Outcome::Pass))
        .unwrap();
    assert!(diff.contains("+reason: \\u{1b}[2J\\nmore\n"), "{diff}");
}
