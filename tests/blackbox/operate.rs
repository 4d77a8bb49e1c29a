//! What an operator does to a gateway: pause, disable, back up, stop, start where it can not, and look at it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hookmill_tests::gateway::random_id;
use hookmill_tests::{Gateway, Receiver, Tenant, eventually};
use rustix::process::Signal;
use serde_json::json;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_backup_of_a_running_gateway_lives_elsewhere() {
    let gateway = Gateway::builder().retry_schedule("1h").start().await;
    let tenant = Tenant::new(&gateway).await;
    tenant.upload("hostile").await;
    let failing = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&failing.url()).await;
    let entry = json!({"plugin": "hostile", "version": "latest", "config": {"mode": "append"}});
    tenant.chain(&endpoint, json!([entry])).await;
    let secret = tenant.secret(&endpoint).await;
    let big = "x".repeat(600_000);
    let waiting = tenant.send(json!({"big": big})).await;
    tenant.attempts(&waiting, 1).await;

    // Under load, so that the copy is of a store that moves.
    let elsewhere = tempfile::TempDir::new().unwrap();
    let copy = elsewhere.path().join("copy");
    let (out, keys) = (copy.to_str().unwrap(), gateway.data_dir().to_str().unwrap());
    let args = ["backup", "--out", out, "--keys-from", keys];
    let admin = gateway.admin_token().await;
    let backup = gateway.client_command(&admin, &args, "");
    let load = join_all((0..200).map(|n| tenant.send(json!({"n": n}))));
    let (output, _) = tokio::join!(backup, load);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let again = gateway.client_command(&admin, &args, "").await;
    assert!(!again.status.success(), "a backup overwrites nothing");
    let token = gateway.token(gateway.org()).await;
    let other = elsewhere.path().join("other");
    let args = ["backup", "--out", other.to_str().unwrap()];
    let tenants = gateway.client_command(&token, &args, "").await;
    assert!(
        !tenants.status.success(),
        "only an administrator copies everything"
    );

    let restored = Gateway::builder()
        .data_dir(&copy)
        .retry_schedule("1h")
        .start()
        .await;
    let there = tenant.with_client(restored.client_of(gateway.org()).await);
    assert_eq!(there.secret(&endpoint).await, secret);
    let path = there.path(&format!("/msg/{waiting}?with_content=true"));
    assert_eq!(
        there.client.get(&path).await.expect(200).json()["payload"]["big"],
        *big
    );
    assert_eq!(there.attempts_now(&waiting).await.len(), 1);
    failing.now_answers(200);
    let before = failing.count();
    let path = there.path(&format!("/msg/{waiting}/endpoint/{endpoint}/resend"));
    there.client.post(&path, json!({})).await.expect(202);
    let body = failing
        .wait_until("the restored gateway's delivery", |got| {
            let new = got
                .iter()
                .skip(before)
                .find(|one| one.message_id() == waiting)?;
            Some(new.body.clone())
        })
        .await;
    assert!(body.ends_with(b"}+"), "its plugins came along");
}

#[tokio::test]
async fn start_errors_say_what_is_wrong() {
    let gateway = Gateway::start().await;
    // Error, a part of what it must say.
    let addr = gateway.url().strip_prefix("http://").unwrap().to_owned();
    let taken = Gateway::builder().listen(&addr).refuse().await;
    let locked = Gateway::builder()
        .data_dir(gateway.data_dir())
        .refuse()
        .await;
    let unknown = Gateway::builder()
        .config("[delivery]\ntimout_ms = 5")
        .refuse()
        .await;
    let section = Gateway::builder()
        .config("[nonsense]\na = 1")
        .refuse()
        .await;
    let wrong = Gateway::builder()
        .config("[delivery]\ntimeout_ms = \"soon\"")
        .refuse()
        .await;
    let broken = Gateway::builder().config("[delivery").refuse().await;
    let variable = Gateway::builder()
        .env("HOOKMILL_NONSENSE", "1")
        .refuse()
        .await;
    let schedule = Gateway::builder()
        .retry_schedule("5 minutes")
        .refuse()
        .await;
    let subnet = Gateway::builder()
        .arg("--allow-subnet=everything")
        .refuse()
        .await;
    let secret = Gateway::builder()
        .env("HOOKMILL_JWT_SECRET", "short")
        .refuse()
        .await;
    let beneath = Gateway::builder().data_dir("/dev/null/data").refuse().await;
    let all = [
        ("a taken port", &taken, addr.as_str()),
        ("a directory in use", &locked, "data"),
        ("an unknown key", &unknown, "timout_ms"),
        ("an unknown section", &section, "nonsense"),
        ("a value of another type", &wrong, "timeout_ms"),
        ("no TOML", &broken, "hookmill.toml"),
        ("an unknown variable", &variable, "nonsense"),
        ("an odd schedule", &schedule, "5 minutes"),
        ("an odd subnet", &subnet, "allow_subnets"),
        ("a secret to guess", &secret, "secret"),
        ("no directory", &beneath, "/dev/null/data"),
    ];
    for (why, refusal, part) in all {
        assert!(
            refusal.code.is_some_and(|code| code != 0 && code != 101),
            "{why}: {refusal:?}"
        );
        let said = refusal.message.to_lowercase();
        assert!(said.contains(&part.to_lowercase()), "{why}: {said}");
        assert!(!said.contains("panicked"), "{why}: {said}");
        assert!(
            said.lines().count() <= 12,
            "{why}: a few lines, not a novel: {said}"
        );
    }
    // A script tells them apart.
    for settings in [
        &unknown, &section, &wrong, &broken, &variable, &schedule, &subnet,
    ] {
        assert_eq!(settings.code, Some(2), "{settings:?}");
    }
    assert_eq!((taken.code, locked.code), (Some(3), Some(4)));
    gateway.client().await.get("/api/v1/app").await.expect(200);
}

#[tokio::test]
async fn a_directory_of_a_newer_format_is_left_alone() {
    let mut gateway = Gateway::start().await;
    Tenant::new(&gateway).await;
    assert!(gateway.terminate().await.success());
    let format = gateway.data_dir().join("store/format");
    let old = std::fs::read_to_string(&format).unwrap();
    std::fs::write(&format, "999\n").unwrap();
    let refusal = Gateway::builder()
        .data_dir(gateway.data_dir())
        .refuse()
        .await;
    assert_eq!(refusal.code, Some(5));
    assert!(refusal.message.contains("999"), "{}", refusal.message);
    std::fs::write(&format, old).unwrap();
    gateway.restart().await;
    assert_eq!(
        gateway
            .client()
            .await
            .get("/api/v1/app")
            .await
            .expect(200)
            .data()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_graceful_stop_finishes_what_is_under_way_and_loses_nothing() {
    let mut gateway = Gateway::builder()
        .retry_schedule("100ms,100ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let held = Receiver::start().held().await;
    let endpoint = tenant.endpoint(&held.url()).await;
    let mut messages = Vec::new();
    for n in 0..40 {
        messages.push(tenant.send(json!({"n": n})).await);
    }
    // Some are with the receiver, who does not answer yet; the others wait.
    let under_way = held.wait_for(4).await.len();
    let stop = async {
        let status = gateway.terminate().await;
        assert!(status.success(), "{status}");
        gateway
    };
    let release = async {
        // The stop is under way when new connections are refused or cut off.
        let url = format!("{}/app", tenant.base);
        eventually(
            "the gateway to take no more requests",
            async || match tenant
                .client
                .try_raw(reqwest::Method::GET, &url, &[], None)
                .await
            {
                Err(_) => Ok(()),
                Ok(reply) if reply.status == 503 => Ok(()),
                Ok(reply) => Err(format!("{}", reply.status)),
            },
        )
        .await;
        held.release(usize::from(u16::MAX));
    };
    let (mut gateway, ()) = tokio::join!(stop, release);
    gateway.restart().await;
    let tenant = tenant.with_client(gateway.client().await);
    for message in &messages {
        tenant.settled(message, &endpoint, "success").await;
    }
    let got = held.requests();
    for request in &got[..under_way] {
        let times = got
            .iter()
            .filter(|one| one.message_id() == request.message_id())
            .count();
        assert_eq!(times, 1, "an answered delivery is not repeated");
    }
}

#[tokio::test]
async fn both_signals_stop_it_and_an_idle_gateway_stops_at_once() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut gateway = Gateway::start().await;
        let tenant = Tenant::new(&gateway).await;
        gateway.signal(signal);
        let status = gateway.wait().await;
        assert!(status.success(), "{signal:?}: {status}");
        gateway.restart().await;
        let app = tenant.path("");
        gateway.client().await.get(&app).await.expect(200);
    }
}

#[tokio::test]
async fn a_kept_alive_connection_does_not_hold_up_the_stop() {
    let mut gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "success").await;
    // The client's connection is idle. Another has sent half a request; it is taken before those that come later and
    // are answered.
    let addr = gateway.url().strip_prefix("http://").unwrap().to_owned();
    let mut half = tokio::net::TcpStream::connect(addr).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nHo").await.unwrap();
    for _ in 0..10 {
        gateway.client().await.get("/livez").await.expect(204);
    }
    let start = Instant::now();
    let status = gateway.terminate().await;
    assert!(status.success(), "{status}");
    // Chosen: below the grace period of 30 s, which is for attempts under way, and there are none.
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn sending_from_a_script() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    tenant.endpoint(&receiver.url()).await;
    let token = gateway.token(gateway.org()).await;
    let args = ["send", "--app", &tenant.app, "--type", "script.ran"];
    let payload = r#"{"from": "a script"}"#;
    let output = gateway.client_command(&token, &args, payload).await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let got = receiver.wait_for(1).await;
    assert_eq!(got[0].message_id(), said["id"]);
    assert_eq!(got[0].body, payload);

    let keyed = [&args[..], &["--idempotency-key", "once"]].concat();
    let first = gateway.client_command(&token, &keyed, "{}").await;
    let again = gateway.client_command(&token, &keyed, "{}").await;
    assert_eq!(first.stdout, again.stdout);
    let unknown = ["send", "--app", "nobody", "--type", "a"];
    for (token, args, payload) in [
        (token.as_str(), &args[..], "not JSON"),
        (token.as_str(), &unknown, "{}"),
        ("no.good.token", &args, "{}"),
    ] {
        let output = gateway.client_command(token, args, payload).await;
        assert_eq!(output.status.code(), Some(1), "{args:?} {payload}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let (good, bad) = (Receiver::start().await, Receiver::start().answer(500).await);
    let (one, two) = (
        tenant.endpoint(&good.url()).await,
        tenant.endpoint(&bad.url()).await,
    );
    tenant.upload("hostile").await;
    let entry = json!({"plugin": "hostile", "version": "latest", "config": {"mode": "pass"}});
    tenant.chain(&one, json!([entry])).await;
    for n in 0..3 {
        let message = tenant.send(json!({"n": n})).await;
        tenant.settled(&message, &one, "success").await;
        tenant.settled(&message, &two, "fail").await;
    }
    let reply = tenant.client.anonymous().get("/metrics").await.expect(200);
    let text = String::from_utf8(reply.body.to_vec()).unwrap();
    for line in [
        "hookmill_accepts_total{outcome=\"accepted\"} 3",
        "hookmill_deliveries_total{outcome=\"success\"} 3",
        "hookmill_deliveries_total{outcome=\"fail\"} 3",
        "hookmill_plugin_calls_total{outcome=\"pass\"} 3",
        "hookmill_connections_opened_total{protocol=\"http/1.1\"} 2",
        "hookmill_connections_reused_total{protocol=\"http/1.1\"} 4",
        "hookmill_backlog 0",
    ] {
        assert!(text.lines().any(|have| have == line), "{line}: {text}");
    }
    for family in [
        "attempt_seconds",
        "oldest_due_seconds",
        "plugin_calls",
        "plugin_seconds",
        "commit_items",
        "commit_seconds",
    ] {
        assert!(
            text.contains(&format!("# TYPE hookmill_{family} ")),
            "{family}: {text}"
        );
    }
    assert!(
        text.trim_end().ends_with("# EOF"),
        "OpenMetrics ends with EOF"
    );
    assert!(
        !text.contains(&tenant.app),
        "no tenant's identifiers among the labels"
    );
}

#[tokio::test]
async fn readiness() {
    let gateway = Gateway::start().await;
    let client = gateway.client().await.anonymous();
    for path in ["/livez", "/readyz", "/api/v1/health", "/api/v1/health/ping"] {
        client.get(path).await.expect(204);
    }
}

#[tokio::test]
async fn the_configuration_is_printed_without_its_secrets() {
    let secret = "this must never be printed";
    let gateway = Gateway::builder()
        .env("HOOKMILL_JWT_SECRET", secret)
        .start()
        .await;
    let dir = gateway.data_dir().to_str().unwrap();
    let output = gateway.command(&["config", "--data-dir", dir]).await;
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("timeout_ms") && said.contains("[redacted]"),
        "{said}"
    );
    assert!(!said.contains(secret), "{said}");
    assert!(!gateway.log().contains(secret));
}

#[tokio::test]
async fn the_log_knows_messages_and_no_secrets() {
    let gateway = Gateway::builder()
        .config("[log]\nfilter = \"hookmill=trace\"")
        .retry_schedule("")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url_of("/hook?key=s3cret")).await;
    let secret = tenant.secret(&endpoint).await;
    let message = tenant.send(json!({"card": "4111"})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    let log = gateway.log();
    assert!(log.contains(&message) && log.contains(&endpoint), "{log}");
    let token = gateway.token(gateway.org()).await;
    for hidden in [secret.as_str(), token.as_str(), "s3cret", "4111"] {
        assert!(!log.contains(hidden), "{hidden}: {log}");
    }
}

#[tokio::test]
async fn unknown_subcommands_and_flags_end_with_usage() {
    let gateway = Gateway::start().await;
    for args in [
        vec!["fly"],
        vec!["token"],
        vec!["serve", "--no-such-flag"],
        vec!["send", "--app", "x"],
    ] {
        let output = gateway.command(&args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
    let reply = gateway
        .client()
        .await
        .get(&format!("/api/v1/app/{}", random_id("app_")))
        .await;
    reply.expect(404);
}
