//! Plugins and chains as resources: uploads and their versions, what a chain may hold, and what keeps a plugin
//! from being deleted.

use hookmill_tests::{Gateway, Receiver, plugins};
use serde_json::{Value, json};

use crate::chains::{entry, mode, version, with_plugins};

#[tokio::test]
async fn sending_unchanged_on_failure_is_the_operators_to_allow() {
    let refusing = Gateway::start().await;
    let tenant = with_plugins(&refusing, &["hostile"]).await;
    let endpoint = tenant.endpoint("https://example.com/").await;
    let path = tenant.path(&format!("/endpoint/{endpoint}/plugin-chain"));
    let mut entry = mode("error");
    entry["onFailure"] = json!("pass");
    let body = json!({"chain": [entry]});
    tenant.client.put(&path, body.clone()).await.expect(422);

    let allowing = Gateway::builder()
        .config("[api]\nallow_pass_on_failure = true")
        .start()
        .await;
    let tenant = with_plugins(&allowing, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let path = tenant.path(&format!("/endpoint/{endpoint}/plugin-chain"));
    tenant.client.put(&path, body).await.expect(200);
    tenant.send(json!({"a": 1})).await;
    assert_eq!(receiver.wait_for(1).await[0].body, r#"{"a":1}"#);
}

#[tokio::test]
async fn a_config_that_does_not_fit_is_refused_with_its_place() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["hostile", "redact"]).await;
    let endpoint = tenant.endpoint("https://example.com/").await;
    let endpoint_chain = tenant.path(&format!("/endpoint/{endpoint}/plugin-chain"));
    for path in [endpoint_chain.clone(), tenant.path("/plugin-chain")] {
        for (config, pointer) in [
            (json!({"mode": 5}), "/mode"),
            (json!({}), "mode"),
            (json!("text"), "string"),
        ] {
            let body = json!({"chain": [mode("pass"), entry("hostile", config.clone())]});
            let reply = tenant
                .client
                .put(&path, body)
                .await
                .expect_error(422, "validation");
            let place = reply.json()["detail"][0].clone();
            assert!(place.to_string().contains(pointer), "{config}: {place}");
            let entry = place["loc"].as_array().unwrap().contains(&json!("1"));
            assert!(entry, "the second entry is named: {place}");
        }
    }
    let deep = json!({"chain": [entry("redact", json!({"remove": ["/a", 7]}))]});
    let reply = tenant.client.put(&endpoint_chain, deep).await.expect(422);
    assert!(
        reply.json()["detail"].to_string().contains("/remove/1"),
        "{:?}",
        reply.json()
    );

    for (why, body) in [
        (
            "no such plugin",
            json!({"chain": [entry("nobody", json!({}))]}),
        ),
        ("too long", json!({"chain": vec![mode("pass"); 9]})),
        ("no chain", json!({})),
        (
            "no such version",
            json!({"chain": [{
                "plugin": "hostile",
                "version": format!("sha256:{}", "0".repeat(64)),
                "config": {"mode": "pass"},
            }]}),
        ),
    ] {
        let reply = tenant.client.put(&endpoint_chain, body).await;
        assert_eq!(reply.status, 422, "{why}: {:?}", reply.json());
    }
    let chain = tenant.client.get(&endpoint_chain).await.expect(200).json();
    assert_eq!(chain["chain"], json!([]), "a refused chain changes nothing");
}

#[tokio::test]
async fn a_plugin_in_use_can_not_be_deleted() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let endpoint = tenant.endpoint("https://example.com/").await;
    tenant.chain(&endpoint, json!([mode("pass")])).await;
    let path = "/api/v1/plugin/hostile";
    tenant
        .client
        .delete(path)
        .await
        .expect_error(409, "conflict");
    tenant.chain(&endpoint, json!([])).await;
    tenant.client.delete(path).await.expect(204);
    tenant.client.get(path).await.expect(404);
    let body = json!({"chain": [mode("pass")]});
    let chain = tenant.path(&format!("/endpoint/{endpoint}/plugin-chain"));
    tenant.client.put(&chain, body).await.expect(422);
}

#[tokio::test]
async fn plugins_are_listed_with_their_versions() {
    let gateway = Gateway::start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let client = &tenant.client;
    // A second version of the same name, and the same bytes once more.
    let second = client
        .upload("/api/v1/plugin?name=hostile", plugins::wasm("redact"))
        .await;
    assert!(matches!(second.status, 200 | 201), "{:?}", second.json());
    let versions = client
        .get("/api/v1/plugin/hostile/version")
        .await
        .expect(200)
        .data();
    let digests: Vec<_> = versions
        .iter()
        .filter_map(|one| one["version"].as_str())
        .collect();
    assert_eq!(digests.len(), 2, "{versions:?}");
    assert!(digests.contains(&version("hostile").as_str()));
    assert!(digests.contains(&version("redact").as_str()));
    let again = client
        .upload("/api/v1/plugin?name=hostile", plugins::wasm("redact"))
        .await;
    assert!(matches!(again.status, 200 | 201), "{:?}", again.json());
    let versions = client
        .get("/api/v1/plugin/hostile/version")
        .await
        .expect(200)
        .data();
    assert_eq!(versions.len(), 2, "the same bytes are the same version");

    let own = tenant.path("/plugin?name=mine");
    client
        .upload(&own, plugins::wasm("redact"))
        .await
        .expect(201);
    let names = |page: Vec<Value>| {
        page.into_iter()
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(client.get("/api/v1/plugin").await.expect(200).data()),
        ["hostile"]
    );
    assert_eq!(
        names(client.get(&tenant.path("/plugin")).await.expect(200).data()),
        ["mine"]
    );
}

#[tokio::test]
async fn uploads_that_are_no_plugins_are_refused() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await;
    let path = "/api/v1/plugin?name=bad";
    let good = plugins::wasm("redact");
    for (why, bytes) in [
        ("nothing", Vec::new()),
        ("text", b"not wasm".to_vec()),
        ("an empty module", b"\0asm\x01\0\0\0".to_vec()),
        ("cut short", good[..good.len() / 2].to_vec()),
    ] {
        let reply = client.upload(path, bytes.into()).await;
        assert_eq!(reply.status, 422, "{why}");
    }
    client
        .upload(path, vec![0; 5 << 20].into())
        .await
        .expect(413);
    client
        .upload("/api/v1/plugin", good.clone())
        .await
        .expect(422);
    client
        .upload("/api/v1/plugin?name=two%20words", good)
        .await
        .expect(422);
    client.get("/api/v1/plugin/bad").await.expect(404);
}
