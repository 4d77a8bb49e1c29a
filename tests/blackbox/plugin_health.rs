//! How plugins fare: their figures, what becomes of one that fails over and over, and what tenants may use.

use hookmill_tests::{Client, Gateway, Receiver, Reply, Tenant, plugins};
use serde_json::{Value, json};

use crate::chains::{entry, mode, version, with_plugins};

const SUSPENDING: &str = "[delivery]\nsuspend_plugin_after = 3";

async fn figures(tenant: &Tenant, plugin: &str) -> Value {
    let version = version(plugin);
    let path = format!("/api/v1/plugin/{plugin}/version/{version}/stats");
    tenant.client.get(&path).await.expect(200).json()
}

fn below(tenant: &Tenant, endpoint: &str, rest: &str) -> String {
    tenant.path(&format!("/endpoint/{endpoint}/plugin-chain/{rest}"))
}

/// What an answer says is suspended.
fn listed(reply: &Reply) -> Vec<Value> {
    let shown = reply.clone().expect(200).json();
    shown["suspended"].as_array().unwrap().clone()
}

async fn suspended(tenant: &Tenant, endpoint: &str) -> Vec<Value> {
    let path = below(tenant, endpoint, "suspensions");
    listed(&tenant.client.get(&path).await)
}

/// Sends, and waits until the message has failed at this endpoint; its attempt there.
async fn failed(tenant: &Tenant, endpoint: &str) -> Value {
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, endpoint, "fail").await;
    let attempts = tenant.attempts(&message, 1).await;
    let mut attempts = attempts.into_iter();
    attempts
        .find(|attempt| attempt["endpointId"] == endpoint)
        .unwrap()
}

#[tokio::test]
async fn a_version_tells_its_calls_by_outcome_with_their_time_and_memory() {
    let gateway = Gateway::builder().retry_schedule("10ms,10ms").start().await;
    let tenant = with_plugins(&gateway, &["hostile", "redact"]).await;
    let receiver = Receiver::start().await;
    let trapping = tenant.endpoint(&receiver.url()).await;
    let delivering = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&trapping, json!([mode("panic")])).await;
    tenant.chain(&delivering, json!([mode("append")])).await;
    let none = figures(&tenant, "hostile").await;
    assert_eq!(
        (&none["calls"], &none["p50Micros"]),
        (&json!(0), &Value::Null)
    );
    for _ in 0..2 {
        let message = tenant.send(json!({})).await;
        // Three tries, of which the last two find the trap of the first.
        tenant.settled(&message, &trapping, "fail").await;
        tenant.settled(&message, &delivering, "success").await;
    }
    let figures_now = figures(&tenant, "hostile").await;
    let expected = json!({
        "pass": 0, "deliver": 2, "drop": 0, "reject": 0, "error": 0, "trap": 2, "limit": 0
    });
    assert_eq!(
        figures_now["outcomes"], expected,
        "a kept result is no call"
    );
    assert_eq!(figures_now["calls"], 4);
    let figure = |name: &str| figures_now[name].as_u64().unwrap();
    assert!(figure("p50Micros") > 0 && figure("p50Micros") <= figure("p99Micros"));
    assert!(figure("memoryPeak") >= 64 << 10, "{figures_now}");
    assert_eq!(figures(&tenant, "redact").await["calls"], 0);
    let metrics = tenant.client.get("/metrics").await.expect(200);
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let line = "hookmill_plugin_calls_total{outcome=\"trap\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    for path in [
        "/api/v1/plugin/hostile/version/sha256:00/stats".to_owned(),
        format!("/api/v1/plugin/hostile/version/{}/stats", version("redact")),
        format!("/api/v1/plugin/none/version/{}/stats", version("redact")),
    ] {
        tenant.client.get(&path).await.expect(404);
    }
}

#[tokio::test]
async fn a_plugin_that_traps_over_and_over_is_suspended_at_its_endpoint_until_it_is_resumed() {
    let mut gateway = Gateway::builder()
        .config(SUSPENDING)
        .retry_schedule("")
        .start()
        .await;
    let mut tenant = with_plugins(&gateway, &["hostile"]).await;
    let (receiver, listener) = (Receiver::start().await, Receiver::start().await);
    let hears = json!({"url": listener.url(), "filterTypes": ["plugin.suspended"]});
    let operational = "/api/v1/operational-webhook/endpoint";
    tenant.client.post(operational, hears).await.expect(201);
    let trapping = tenant.endpoint(&receiver.url_of("/trapping")).await;
    let working = tenant.endpoint(&receiver.url_of("/working")).await;
    tenant.chain(&trapping, json!([mode("panic")])).await;
    tenant.chain(&working, json!([mode("pass")])).await;
    for _ in 0..3 {
        assert_eq!(suspended(&tenant, &trapping).await, [] as [Value; 0]);
        let attempt = failed(&tenant, &trapping).await;
        assert_eq!(attempt["plugins"][0]["outcome"], "trap");
    }
    let shown = suspended(&tenant, &trapping).await.remove(0);
    assert_eq!(shown["plugin"], "hostile");
    assert_eq!(shown["version"], version("hostile"));
    assert_eq!(shown["failures"], 3);
    assert!(shown["reason"].as_str().unwrap().contains("panicked"));
    let told = listener.wait_for(1).await.remove(0).json();
    assert_eq!(told["type"], "plugin.suspended");
    assert_eq!(told["data"]["endpointId"], trapping);
    assert_eq!(told["data"]["version"], version("hostile"));
    assert_eq!(told["data"]["reason"], shown["reason"]);

    // It is not called any more, after a restart neither, and the neighbour's is.
    for _ in 0..2 {
        let attempt = failed(&tenant, &trapping).await;
        assert_eq!(attempt["plugins"][0]["outcome"], "suspended");
        assert!(attempt["response"].as_str().unwrap().contains("suspended"));
        gateway.restart().await;
        tenant = tenant.with_client(gateway.client().await);
    }
    assert_eq!(
        suspended(&tenant, &trapping).await,
        std::slice::from_ref(&shown)
    );
    assert_eq!(suspended(&tenant, &working).await, [] as [Value; 0]);
    let got = receiver.wait_for(5).await;
    assert!(got.iter().all(|one| one.path == "/working"));

    let resume = below(&tenant, &trapping, "resume");
    let client = &tenant.client;
    let wrong = json!({"plugin": "another"});
    client.post(&resume, wrong).await.expect(404);
    let left = client.post(&resume, json!({"plugin": "hostile"})).await;
    assert_eq!(listed(&left), [] as [Value; 0]);
    let attempt = failed(&tenant, &trapping).await;
    assert_eq!(attempt["plugins"][0]["outcome"], "trap", "called again");
    assert_eq!(listener.count(), 1, "told once");
}

#[tokio::test]
async fn what_waits_for_a_suspended_plugin_goes_out_when_the_chain_is_changed() {
    let gateway = Gateway::builder()
        .config(SUSPENDING)
        .retry_schedule("1h")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&endpoint, json!([mode("error")])).await;
    for _ in 0..5 {
        let message = tenant.send(json!({})).await;
        tenant.attempts(&message, 1).await;
    }
    assert_eq!(suspended(&tenant, &endpoint).await.len(), 1);
    tenant.chain(&endpoint, json!([mode("pass")])).await;
    receiver.wait_for(5).await;
    assert_eq!(suspended(&tenant, &endpoint).await, [] as [Value; 0]);
}

#[tokio::test]
async fn every_failure_policy_holds_for_a_suspended_plugin() {
    let config = format!("[api]\nallow_pass_on_failure = true\n{SUSPENDING}");
    let gateway = Gateway::builder()
        .config(&config)
        .retry_schedule("")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    for (policy, status, sent) in [("drop", "canceled", 0), ("pass", "success", 5)] {
        let receiver = Receiver::start().await;
        let endpoint = tenant.endpoint(&receiver.url()).await;
        let mut failing = mode("error");
        failing["onFailure"] = json!(policy);
        let chain = json!([
            mode("append"),
            failing,
            entry("hostile", json!({"mode": "append"}))
        ]);
        tenant.chain(&endpoint, chain).await;
        let mut seen = Vec::new();
        for _ in 0..5 {
            let message = tenant.send(json!({})).await;
            tenant.settled(&message, &endpoint, status).await;
            let attempt = tenant.attempts(&message, 1).await.remove(0);
            seen.push(attempt["plugins"][1]["outcome"].clone());
        }
        let expected = ["error", "error", "error", "suspended", "suspended"];
        assert_eq!(seen, expected, "{policy}");
        let got = receiver.requests();
        assert_eq!(got.len(), sent);
        // The others in the chain go on as they did.
        assert!(got.iter().all(|one| one.body == got[0].body));
        let path = tenant.path(&format!("/endpoint/{endpoint}"));
        tenant.client.delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn an_applications_chain_is_suspended_for_all_its_endpoints_and_resumed_by_its_organization()
{
    let gateway = Gateway::builder()
        .config(SUSPENDING)
        .retry_schedule("")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let chain = json!({"chain": [mode("error")]});
    let path = tenant.path("/plugin-chain");
    tenant.client.put(&path, chain).await.expect(200);
    for _ in 0..4 {
        failed(&tenant, &endpoint).await;
    }
    let shown = tenant.client.get(&format!("{path}/suspensions")).await;
    assert_eq!(listed(&shown)[0]["plugin"], "hostile");
    let token = gateway.app_token(gateway.org(), &tenant.app).await;
    let own = tenant.client.with_token(&token);
    own.get(&format!("{path}/suspensions")).await.expect(200);
    let resume = format!("{path}/resume");
    own.post(&resume, json!({})).await.expect(403);
    let left = tenant.client.post(&resume, json!({})).await;
    assert_eq!(listed(&left), [] as [Value; 0]);
}

async fn administrator(gateway: &Gateway) -> Client {
    Client::new(gateway.url(), Some(&gateway.admin_token().await))
}

fn of_organization(gateway: &Gateway) -> String {
    format!("/api/v1/admin/organization/{}/plugin-limits", gateway.org())
}

fn of_application(gateway: &Gateway, tenant: &Tenant) -> String {
    let (org, app) = (gateway.org(), &tenant.app);
    format!("/api/v1/admin/organization/{org}/app/{app}/plugin-limits")
}

#[tokio::test]
async fn an_administrator_sets_what_plugins_may_use_within_what_the_gateway_allows() {
    let gateway = Gateway::builder()
        .config("[sandbox.usual]\nlog_bytes = 1000\n[sandbox.limits]\nmemory_bytes = 33554432")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let admin = administrator(&gateway).await;
    let (org, app) = (of_organization(&gateway), of_application(&gateway, &tenant));
    let shown = admin.get(&app).await.expect(200).json();
    assert_eq!(shown["own"], json!({}));
    assert_eq!(shown["inForce"]["memoryBytes"], 33_554_432);
    assert_eq!(shown["inForce"]["logBytes"], 1_000, "what is usual");
    assert_eq!(shown["inForce"].as_object().unwrap().len(), 9, "{shown}");
    for wrong in [json!({"memoryBytes": 33_554_433}), json!({"plugins": 101})] {
        let (field, figure) = wrong.as_object().unwrap().iter().next().unwrap();
        let most = (figure.as_u64().unwrap() - 1).to_string();
        for path in [&org, &app] {
            let fault = admin.patch(path, wrong.clone()).await.expect(422).json();
            let fault = &fault["detail"][0];
            assert_eq!(fault["loc"], json!(["body", field]));
            assert!(fault["msg"].as_str().unwrap().contains(&most), "{fault}");
        }
    }
    for wrong in [
        json!({"callMs": 0}),
        json!({"memory": 1}),
        json!({"callMs": "1"}),
    ] {
        admin.patch(&org, wrong).await.expect(422);
    }
    let set = json!({"callMs": 20, "outputBytes": 900});
    admin.patch(&org, set).await.expect(200);
    // Also more than is usual.
    let set = json!({"callMs": 10, "logBytes": 2_000});
    let shown = admin.patch(&app, set.clone()).await.expect(200).json();
    assert_eq!(shown["own"], set);
    let in_force = |name: &str| shown["inForce"][name].as_u64().unwrap();
    let figures = ["callMs", "outputBytes", "logBytes"].map(in_force);
    assert_eq!(figures, [10, 900, 2_000]);

    // Those concerned see it and change none of it.
    let token = gateway.app_token(gateway.org(), &tenant.app).await;
    let own = tenant.client.with_token(&token);
    let path = tenant.path("/plugin-limits");
    for client in [&own, &tenant.client] {
        assert_eq!(client.get(&path).await.expect(200).json(), shown);
        client.patch(&app, json!({"callMs": 50})).await.expect(403);
        client.get(&org).await.expect(403);
    }
    own.get("/api/v1/plugin-limits").await.expect(403);
    let shown = tenant.client.get("/api/v1/plugin-limits").await.expect(200);
    assert_eq!(
        shown.json()["own"],
        json!({"callMs": 20, "outputBytes": 900})
    );
    tenant
        .client
        .patch(&tenant.base, json!({"name": "another"}))
        .await
        .expect(200);
    let shown = admin.patch(&app, json!({"callMs": null})).await.expect(200);
    assert_eq!(shown.json()["own"], json!({"logBytes": 2_000}));
    assert_eq!(shown.json()["inForce"]["callMs"], 20);
}

#[tokio::test]
async fn an_upload_beyond_its_owners_limits_is_refused_by_name() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let admin = administrator(&gateway).await;
    let (org, app) = (of_organization(&gateway), of_application(&gateway, &tenant));
    let client = &tenant.client;
    let upload = async |path: &str, plugin: &str| client.upload(path, plugins::wasm(plugin)).await;
    admin.patch(&org, json!({"plugins": 1})).await.expect(200);
    upload("/api/v1/plugin?name=one", "hostile")
        .await
        .expect(201);
    let refused = upload("/api/v1/plugin?name=two", "hostile").await;
    assert!(refused.expect(409).text("detail").contains("1 plugins"));
    let set = json!({"versions": 1, "plugins": null});
    admin.patch(&org, set).await.expect(200);
    let refused = upload("/api/v1/plugin?name=one", "redact").await;
    assert!(refused.expect(409).text("detail").contains("1 versions"));
    upload("/api/v1/plugin?name=one", "hostile")
        .await
        .expect(200);
    // The application has a limit of its own.
    let set = json!({"moduleBytes": 1_000});
    admin.patch(&app, set).await.expect(200);
    let refused = upload(&tenant.path("/plugin?name=own"), "hostile").await;
    assert!(refused.expect(413).text("detail").contains("1000"));
    upload("/api/v1/plugin?name=two", "redact")
        .await
        .expect(201);
}

#[tokio::test]
async fn a_call_beyond_its_applications_limits_fails_with_the_figure_and_its_neighbours_does_not() {
    let gateway = Gateway::builder()
        .config("[sandbox.limits]\ncall_ticks = 2000\nchain_ticks = 2000\nwall_ms = 30000")
        .retry_schedule("")
        .start()
        .await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let neighbour = Tenant::of(tenant.client.clone()).await;
    let admin = administrator(&gateway).await;
    let app = of_application(&gateway, &tenant);
    let receiver = Receiver::start().await;
    for (set, does, said) in [
        (
            json!({"memoryBytes": 8 << 20}),
            "touch-16-mib",
            "8388608 bytes of memory",
        ),
        (json!({"outputBytes": 1}), "append", "more than 1 bytes"),
        (json!({"callMs": 7}), "loop", "longer than 7 ms"),
    ] {
        admin.patch(&app, set.clone()).await.expect(200);
        let endpoint = tenant.endpoint(&receiver.url()).await;
        tenant.chain(&endpoint, json!([mode(does)])).await;
        let attempt = failed(&tenant, &endpoint).await;
        let report = &attempt["plugins"][0];
        assert_eq!(report["outcome"], "limit", "{report}");
        let detail = report["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{set}: {detail}");
        if does != "loop" {
            let endpoint = neighbour.endpoint(&receiver.url()).await;
            neighbour.chain(&endpoint, json!([mode(does)])).await;
            let message = neighbour.send(json!({})).await;
            neighbour.settled(&message, &endpoint, "success").await;
            let path = neighbour.path(&format!("/endpoint/{endpoint}"));
            neighbour.client.delete(&path).await.expect(204);
        }
        let path = tenant.path(&format!("/endpoint/{endpoint}"));
        tenant.client.delete(&path).await.expect(204);
    }
}

#[tokio::test]
async fn who_is_over_his_share_of_cpu_time_is_slowed_and_everything_arrives() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = with_plugins(&gateway, &["hostile"]).await;
    let admin = administrator(&gateway).await;
    let app = of_application(&gateway, &tenant);
    // A few milliseconds a call, of which twenty are saved up.
    admin
        .patch(&app, json!({"cpuPercent": 2}))
        .await
        .expect(200);
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    tenant.chain(&endpoint, json!([mode("touch-16-mib")])).await;
    let mut sent = Vec::new();
    for n in 0..8 {
        sent.push(tenant.send(json!({"n": n})).await);
    }
    for message in &sent {
        tenant.settled(message, &endpoint, "success").await;
        assert_eq!(tenant.attempts_now(message).await.len(), 1);
    }
    assert_eq!(receiver.count(), sent.len());
}
