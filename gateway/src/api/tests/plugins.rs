//! Plugins and chains, with a real plugin and a version of it that wants another config.

use bytes::Bytes;

use super::*;
use crate::sandbox::tests::hostile;

/// The same plugin, whose config needs `mod2` in place of `mode`.
fn other_version() -> Bytes {
    let (old, new) = (br#""required":["mode"]"#, br#""required":["mod2"]"#);
    let mut bytes = hostile().to_vec();
    let at = bytes
        .windows(old.len())
        .position(|part| part == old)
        .unwrap();
    bytes[at..at + old.len()].copy_from_slice(new);
    bytes.into()
}

impl Api {
    async fn upload(&self, token: &str, path: &str, wasm: Bytes) -> Reply {
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/wasm");
        self.send(request.body(Body::from(wasm)).unwrap()).await
    }
}

#[tokio::test]
async fn a_new_version_moves_latest_where_it_fits() {
    let api = Api::new();
    let app = api.app().await;
    let endpoint = api.endpoint(&app).await;
    let (one, two) = (
        Digest::of(&hostile()).to_string(),
        Digest::of(&other_version()).to_string(),
    );
    let path = "/api/v1/plugin?name=p";
    let made = api.upload(&api.token, path, hostile()).await.ok(201);
    assert_eq!((&made["name"], &made["latest"]), (&json!("p"), &json!(one)));
    assert_eq!(made["version"]["configSchema"]["required"], json!(["mode"]));
    let again = api.upload(&api.token, path, hostile()).await.ok(200);
    assert_eq!(
        (&again["id"], &again["version"]),
        (&made["id"], &made["version"])
    );

    let chain = json!({"chain": [{"plugin": "p", "config": {"mode": "pass"}}]});
    let set = api
        .put(&format!("{app}/plugin-chain"), chain.clone())
        .await
        .ok(200);
    assert_eq!(
        (&set["revision"], &set["chain"][0]["version"]),
        (&json!(1), &json!("latest"))
    );
    assert_eq!(set["chain"][0]["resolvedVersion"], json!(one));
    assert_eq!(set["chain"][0]["onFailure"], "fail");
    let both = json!({"chain": [{"plugin": "p", "config": {"mode": "pass", "mod2": 1}, "onFailure": "drop"}]});
    api.put(&format!("{endpoint}/plugin-chain"), both)
        .await
        .ok(200);

    let refused = api.upload(&api.token, path, other_version()).await.ok(409);
    assert!(refused["detail"].as_str().unwrap().contains(last(&app)));
    assert_eq!(
        api.get("/api/v1/plugin/p").await.ok(200)["latest"],
        json!(one)
    );
    let moved = api
        .upload(&api.token, &format!("{path}&partial=true"), other_version())
        .await
        .ok(200);
    assert_eq!(
        (&moved["latest"], &moved["notMoved"]),
        (&json!(two), &json!([last(&app)]))
    );
    let stayed = api.get(&format!("{app}/plugin-chain")).await.ok(200);
    assert_eq!(
        (&stayed["revision"], &stayed["chain"][0]["resolvedVersion"]),
        (&json!(1), &json!(one))
    );
    let went = api.get(&format!("{endpoint}/plugin-chain")).await.ok(200);
    assert_eq!(
        (&went["revision"], &went["chain"][0]["resolvedVersion"]),
        (&json!(2), &json!(two))
    );
    let versions = api.get("/api/v1/plugin/p/version").await.ok(200);
    assert_eq!(versions["data"].as_array().unwrap().len(), 2);

    assert_eq!(
        api.delete("/api/v1/plugin/p").await.ok(409)["code"],
        "conflict"
    );
    api.put(&format!("{app}/plugin-chain"), json!({"chain": []}))
        .await
        .ok(200);
    api.delete("/api/v1/plugin/p").await.ok(409);
    api.delete(&endpoint).await.ok(204);
    api.delete("/api/v1/plugin/p").await.ok(204);
    api.get("/api/v1/plugin/p").await.ok(404);
    assert_eq!(api.get("/api/v1/plugin").await.ok(200)["data"], json!([]));
}

#[tokio::test]
async fn faults_of_a_chain_say_where() {
    let api = Api::new();
    let app = api.app().await;
    api.upload(&api.token, "/api/v1/plugin?name=p", hostile())
        .await
        .ok(201);
    let nine = json!({"chain": vec![json!({"plugin": "p", "config": {"mode": "pass"}}); 9]});
    let good = json!({"plugin": "p", "config": {"mode": "pass"}});
    let table = [
        (json!({}), vec!["body", "chain"]),
        (nine, vec!["body", "chain"]),
        (
            json!({"chain": [{"plugin": "q"}]}),
            vec!["body", "chain", "0", "plugin"],
        ),
        (
            json!({"chain": [good, {"plugin": "p", "config": {"mode": 1}}]}),
            vec!["body", "chain", "1", "config", "/mode"],
        ),
        (
            json!({"chain": [{"plugin": "p"}]}),
            vec!["body", "chain", "0", "config"],
        ),
        (
            json!({"chain": [{"plugin": "p", "config": []}]}),
            vec!["body", "chain", "0", "config"],
        ),
        (
            json!({"chain": [{"plugin": "p", "version": "1"}]}),
            vec!["body", "chain", "0", "version"],
        ),
        (
            json!({"chain": [{"plugin": "p", "version": Digest::of(b"x").to_string()}]}),
            vec!["body", "chain", "0", "version"],
        ),
        (
            json!({"chain": [{"plugin": "p", "config": {"mode": "a"}, "onFailure": "pass"}]}),
            vec!["body", "chain", "0", "onFailure"],
        ),
        (
            json!({"chain": [{"plugin": "p", "onFailure": "x"}]}),
            vec!["body", "chain", "0", "onFailure"],
        ),
    ];
    for (body, loc) in table {
        let found = api
            .put(&format!("{app}/plugin-chain"), body.clone())
            .await
            .fault_at();
        assert_eq!(found, loc, "{body}");
    }
    let empty = api.get(&format!("{app}/plugin-chain")).await.ok(200);
    assert_eq!(
        empty,
        json!({"chain": [], "revision": 0, "updatedAt": null})
    );
}

#[tokio::test]
async fn an_applications_own_plugin_comes_first_in_its_endpoints_chains_only() {
    let api = Api::new();
    let (app, other) = (api.app().await, api.app().await);
    let endpoint = api.endpoint(&app).await;
    let token = api.app_token(last(&app));
    api.upload(&api.token, "/api/v1/plugin?name=p", hostile())
        .await
        .ok(201);
    api.upload(&token, "/api/v1/plugin?name=p", hostile())
        .await
        .ok(403);
    api.upload(&token, &format!("{other}/plugin?name=p"), hostile())
        .await
        .ok(404);
    let own = api
        .upload(&token, &format!("{app}/plugin?name=p"), other_version())
        .await
        .ok(201);
    assert_eq!(own["applicationId"], json!(last(&app)));
    let chain = json!({"chain": [{"plugin": "p", "config": {"mod2": 1}}]});
    let set = api
        .call_as(
            &token,
            Method::PUT,
            &format!("{endpoint}/plugin-chain"),
            chain,
        )
        .await
        .ok(200);
    assert_eq!(set["chain"][0]["pluginId"], own["id"]);
    let chain = json!({"chain": [{"plugin": "p", "config": {"mode": "pass"}}]});
    for app in [&app, &other] {
        let set = api
            .put(&format!("{app}/plugin-chain"), chain.clone())
            .await
            .ok(200);
        assert_ne!(set["chain"][0]["pluginId"], own["id"]);
    }
    api.call_as(
        &token,
        Method::DELETE,
        &format!("{app}/plugin/p"),
        Value::Null,
    )
    .await
    .ok(409);
}

#[tokio::test]
async fn plugins_and_their_versions_are_limited() {
    let api = Api::with(Config {
        plugins_per_owner: 1,
        versions_per_plugin: 1,
        ..Config::default()
    });
    let path = "/api/v1/plugin?name=p";
    api.upload(&api.token, path, hostile()).await.ok(201);
    api.upload(&api.token, path, hostile()).await.ok(200);
    for (path, wasm, says) in [
        (path, other_version(), "1 versions"),
        ("/api/v1/plugin?name=q", hostile(), "1 plugins"),
    ] {
        let refused = api.upload(&api.token, path, wasm).await.ok(409);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains(says), "{detail}");
    }
    // An application's plugins are counted by themselves.
    let app = api.app().await;
    let own = format!("{app}/plugin?name=q");
    api.upload(&api.token, &own, hostile()).await.ok(201);
    api.delete("/api/v1/plugin/p").await.ok(204);
    api.upload(&api.token, "/api/v1/plugin?name=q", hostile())
        .await
        .ok(201);
}

#[tokio::test]
async fn files_go_with_the_last_version_that_names_them() {
    let api = Api::new();
    let app = api.app().await;
    let (one, two) = (Digest::of(&hostile()), Digest::of(&other_version()));
    let kept = async || {
        let kept = api.state.sandbox.kept().await.unwrap();
        (kept.contains(&one), kept.contains(&two))
    };
    let (p, q) = ("/api/v1/plugin?name=p", format!("{app}/plugin?name=q"));
    api.upload(&api.token, p, hostile()).await.ok(201);
    api.upload(&api.token, &q, hostile()).await.ok(201);
    let chain = json!({"chain": [{"plugin": "p", "config": {"mode": "pass"}}]});
    let set = format!("{app}/plugin-chain");
    api.put(&set, chain).await.ok(200);
    api.upload(&api.token, p, other_version()).await.ok(409);
    assert_eq!(kept().await, (true, false), "refused");
    api.put(&set, json!({"chain": []})).await.ok(200);
    api.upload(&api.token, p, other_version()).await.ok(200);
    assert_eq!(kept().await, (true, true));
    api.delete("/api/v1/plugin/p").await.ok(204);
    assert_eq!(kept().await, (true, false), "the other plugin has one");
    api.delete(&app).await.ok(204);
    assert_eq!(kept().await, (false, false), "the application is gone");
    api.upload(&api.token, p, hostile()).await.ok(201);
    assert_eq!(kept().await, (true, false));
}

#[tokio::test]
async fn an_upload_survives_a_removal_before_its_commit() {
    let api = Api::new();
    let version = Digest::of(&hostile());
    let sandbox = &api.state.sandbox;
    let guard = api.state.plugin_files.lock().await;
    let upload = api.upload(&api.token, "/api/v1/plugin?name=p", hostile());
    let removal = async {
        while sandbox.kept().await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        sandbox.forget(version).await.unwrap();
        drop(guard);
    };
    let (reply, ()) = tokio::join!(upload, removal);
    reply.ok(201);
    assert_eq!(sandbox.upload(version).await.unwrap(), hostile());
}

#[tokio::test]
async fn what_is_no_plugin_is_refused() {
    let api = Api::new();
    let path = "/api/v1/plugin?name=p";
    for wasm in [
        Bytes::new(),
        Bytes::from_static(b"\0asm\x01\0\0\0"),
        Bytes::from_static(b"MZ"),
    ] {
        assert_eq!(
            api.upload(&api.token, path, wasm).await.fault_at(),
            ["body"]
        );
    }
    api.upload(&api.token, path, vec![0; (4 << 20) + 1].into())
        .await
        .ok(413);
    for path in [
        "/api/v1/plugin",
        "/api/v1/plugin?name=a%20b",
        "/api/v1/plugin?name=p&partial=x",
    ] {
        api.upload(&api.token, path, hostile()).await.ok(422);
    }
    assert_eq!(
        api.post(path, json!({})).await.ok(415)["code"],
        "unsupported_media_type"
    );
}

#[tokio::test]
async fn the_sandboxs_limits_are_the_apis() {
    let bytes = hostile().len();
    let of = |upload_bytes, chain_length| {
        let limits = sandbox::Limits {
            chain_length,
            ..sandbox::Limits::default()
        };
        let sandbox = sandbox::Config {
            upload_bytes,
            limits,
            ..sandbox::Config::default()
        };
        Api::made_of(ingest::Config::default(), Config::default(), sandbox)
    };
    let path = "/api/v1/plugin?name=p";
    let api = of(bytes - 1, 8);
    api.upload(&api.token, path, hostile()).await.ok(413);
    let api = of(bytes, 1);
    api.upload(&api.token, path, hostile()).await.ok(201);
    let app = api.app().await;
    for (length, status) in [(1, 200), (2, 422)] {
        let entry = json!({"plugin": "p", "config": {"mode": "pass"}});
        let chain = json!({"chain": vec![entry; length]});
        api.put(&format!("{app}/plugin-chain"), chain)
            .await
            .ok(status);
    }
}

#[tokio::test]
async fn a_backup_is_whole_and_an_administrators() {
    let api = Api::new();
    api.app().await;
    api.upload(&api.token, "/api/v1/plugin?name=p", hostile())
        .await
        .ok(201);
    let admin = api.mint(&Scope::Administrator);
    let request = api
        .request(&admin, Method::GET, "/api/v1/admin/backup")
        .body(Body::empty());
    let answer = api.router.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut rest = answer.into_body().collect().await.unwrap().to_bytes();
    let mut kinds = String::new();
    while !rest.is_empty() {
        let head = rest.split_to(5);
        let len = u32::from_be_bytes(head[1..].try_into().unwrap());
        let content = rest.split_to(usize::try_from(len).unwrap());
        kinds.push(char::from(head[0]));
        match head[0] {
            b'H' => assert_eq!(content, BACKUP_HEAD),
            b'P' => assert_eq!(content, hostile()),
            _ => {}
        }
    }
    assert!(kinds.starts_with("HS") && kinds.ends_with("PE"), "{kinds}");
}
