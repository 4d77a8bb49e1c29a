//! Plugins in JavaScript: made without any compiler, and then plugins like all others.

use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::json;

use super::{Desk, script_of};

#[tokio::test]
async fn the_documents_way_from_nothing_to_a_delivery_works() {
    let desk = Desk::new();
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    // No cargo, no clang: neither is needed.
    let walk = script_of("docs/plugins.md", "A plugin in JavaScript");
    let path = "/usr/bin:/bin";
    let ended = desk.walk(&walk, path, &tenant, &gateway, &endpoint).await;
    for words in [
        "js-fields: a plugin in JavaScript\n",
        "target/plugin/js-fields.wasm\nsize ",
        "imports   hookmill:plugin/log@0.1.0\n",
        "ok    only the named fields go on (",
        "ok    an event without the fields is dropped (",
        "2 passed, 0 failed",
        "name      js-fields\nversion   sha256:",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in {ended:?}");
    }
    let delivered = &receiver.wait_for(1).await[0];
    assert_eq!(delivered.body, r#"{"id":"order_7","total":250}"#);
    let path = "/api/v1/plugin/js-fields/version";
    let version = tenant.client.get(path).await.expect(200).data().remove(0);
    assert_eq!(version["configSchema"]["required"], json!(["keep"]));
}

#[tokio::test]
async fn what_is_wrong_with_a_script_is_said_with_its_place() {
    let desk = Desk::new();
    desk.plugin(&["new", "p", "--lang", "javascript"])
        .await
        .well();
    for (script, words) in [
        (
            "function transform(event) {\n  return pas s();\n}",
            "plugin.js: SyntaxError: expecting ';' (line 2, column ",
        ),
        (
            "const x = 1;",
            "plugin.js: the script has no function `transform`",
        ),
        (
            "nobody();",
            "plugin.js: ReferenceError: nobody is not defined (line 1, column ",
        ),
        (
            "while (true) {}",
            "plugin.js: the script does not come to an end where it is loaded",
        ),
    ] {
        std::fs::write(desk.path().join("p/plugin.js"), script).unwrap();
        desk.plugin(&["build", "p"]).await.saying(words);
    }
    let manifest = desk.path().join("p/plugin.json");
    for (text, words) in [
        (r#"{"name": "../p", "version": "1"}"#, "is no name"),
        (r#"{"name": "p"}"#, "plugin.json: missing field `version`"),
        ("{", "plugin.json: EOF"),
    ] {
        std::fs::write(&manifest, text).unwrap();
        desk.plugin(&["build", "p"]).await.saying(words);
    }
}

#[tokio::test]
async fn a_script_may_do_all_that_a_plugin_may() {
    let script = "
        const started = Date.now();
        const cases = {
            pass: () => pass(),
            text: () => deliver({ payload: 'plain', contentType: 'text/plain', headers: { 'X-A': 1, 'x-list': ['a', 'b'] } }),
            same: (event) => deliver({ headers: { ...event.headers, 'x-more': 'yes' } }),
            drop: () => drop('not wanted'),
            reject: async () => reject('malformed'),
            nothing: () => {},
            throws: () => { throw new RangeError('too far'); },
            time: (event) => deliver({ payload: [started, Date.now() === event.timestampMs, event.applicationUid, event.channels] }),
        };
        const transform = (event, config) => cases[config.case](event);";
    let manifest = json!({
        "name": "all", "version": "1", "summary": "",
        "configSchema": {"type": "object", "required": ["case"]},
    });
    let case = |case: &str, expect| {
        let event = json!({
            "payload": {"a": 1}, "headers": [{"name": "x-have", "value": "1"}], "channels": ["c"],
            "applicationUid": null,
        });
        json!({"name": case, "event": event, "config": {"case": case}, "expect": expect})
    };
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let desk = Desk::new()
        .with("plugin.js", script)
        .with("plugin.json", manifest.to_string());
    let desk = [
        ("pass", json!({"outcome": "pass"})),
        ("text", json!({
            "outcome": "deliver", "contentType": "text/plain", "payloadText": "plain",
            "headers": [header("x-a", "1"), header("x-list", "a"), header("x-list", "b")],
        })),
        ("same", json!({
            "outcome": "deliver", "contentType": "application/json", "payload": {"a": 1},
            "headers": [header("x-have", "1"), header("x-more", "yes")],
        })),
        ("drop", json!({"outcome": "drop", "reason": "not wanted"})),
        ("reject", json!({"outcome": "reject", "reason": "malformed"})),
        ("nothing", json!({
            "outcome": "error",
            "reason": "transform must return pass(), deliver(request), drop(reason) or reject(reason)",
        })),
        ("throws", json!({"outcome": "error", "reason": "RangeError: too far (line 10, column 39)"})),
        ("time", json!({"outcome": "deliver", "payload": [0, true, null, ["c"]]})),
    ]
    .into_iter()
    .fold(desk, |desk, (name, expect)| desk.with_case(name, &case(name, expect)));
    desk.plugin(&["build"]).await.well();
    let tested = desk.plugin(&["test", "target/plugin/all.wasm"]).await;
    assert!(tested.out.contains("8 passed, 0 failed"), "{}", tested.out);
}
