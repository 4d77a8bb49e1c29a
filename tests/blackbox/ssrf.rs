//! Which URLs an endpoint may have: every row of the two tables, at the check that registers it.

use hookmill_tests::settings::fixture;
use hookmill_tests::{Gateway, Receiver, Tenant};
use serde_json::{Value, json};

struct Row {
    allowed: bool,
    url: String,
    reason: String,
}

fn rows() -> Vec<Row> {
    let table = String::from_utf8(fixture("ssrf.tsv")).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("verdict\turl\treason"));
    let row = |verdict: &str, url: &str, reason: &str| Row {
        allowed: match verdict {
            "allow" => true,
            "deny" => false,
            other => panic!("no verdict: {other}"),
        },
        url: url.to_owned(),
        reason: reason.to_owned(),
    };
    let mut rows: Vec<_> = lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let mut cells = line.split('\t');
            let mut cell = || cells.next().unwrap();
            row(cell(), cell(), cell())
        })
        .collect();
    let raw: Vec<Value> = serde_json::from_slice(&fixture("ssrf-raw.json")).unwrap();
    rows.extend(raw.iter().map(|one| {
        let text = |field: &str| one[field].as_str().unwrap();
        row(text("verdict"), text("url"), text("reason"))
    }));
    rows
}

#[tokio::test]
async fn every_row_of_the_tables_is_judged_right_at_registration() {
    let gateway = Gateway::builder().strict().start().await;
    let tenant = Tenant::new(&gateway).await;
    let rows = rows();
    assert!(rows.len() > 300, "only {} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        let reply = tenant
            .client
            .post(&tenant.path("/endpoint"), json!({"url": row.url}))
            .await;
        let expected = if row.allowed { 201 } else { 422 };
        if reply.status != expected {
            wrong.push(format!("{:?} ({}): {}", row.url, row.reason, reply.status));
        }
        if reply.status == 201 {
            let path = tenant.path(&format!("/endpoint/{}", reply.text("id")));
            tenant.client.delete(&path).await.expect(204);
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[tokio::test]
async fn changes_of_an_endpoint_are_judged_too() {
    let gateway = Gateway::builder().strict().start().await;
    let tenant = Tenant::new(&gateway).await;
    let endpoint = tenant.endpoint("https://example.com/").await;
    let path = tenant.path(&format!("/endpoint/{endpoint}"));
    let inside = json!({"url": "http://127.0.0.1/"});
    tenant.client.put(&path, inside.clone()).await.expect(422);
    tenant.client.patch(&path, inside).await.expect(422);
}

#[tokio::test]
async fn the_refusal_names_the_flag_that_opens_it() {
    let gateway = Gateway::builder().strict().start().await;
    let tenant = Tenant::new(&gateway).await;
    let inside = json!({"url": "http://10.1.2.3/"});
    let reply = tenant
        .client
        .post(&tenant.path("/endpoint"), inside)
        .await
        .expect(422);
    assert!(
        reply.json()["detail"]
            .to_string()
            .contains("--allow-subnet")
    );
    // Metadata services stay closed, whatever is opened.
    let open = Gateway::builder()
        .strict()
        .arg("--allow-subnet=0.0.0.0/0")
        .start()
        .await;
    let tenant = Tenant::new(&open).await;
    tenant.endpoint("http://10.1.2.3/").await;
    let metadata = json!({"url": "http://169.254.169.254/latest/meta-data/"});
    tenant
        .client
        .post(&tenant.path("/endpoint"), metadata)
        .await
        .expect(422);
}

#[tokio::test]
async fn an_address_that_was_closed_again_is_not_dialled() {
    let mut gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    assert!(gateway.terminate().await.success());

    // The same directory under an operator who does not open the loopback.
    let strict = Gateway::builder()
        .strict()
        .retry_schedule("")
        .data_dir(gateway.data_dir())
        .start()
        .await;
    let client = strict.client_of(gateway.org()).await;
    let tenant = tenant.with_client(client);
    let message = tenant.send(json!({})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    assert_eq!(attempt["responseStatusCode"], 0);
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn proxy_variables_are_not_obeyed() {
    // Nobody listens there: whoever obeyed would deliver nothing.
    let nobody = "http://127.0.0.1:1";
    let gateway = Gateway::builder()
        .env("HTTP_PROXY", nobody)
        .env("http_proxy", nobody)
        .env("HTTPS_PROXY", nobody)
        .env("ALL_PROXY", nobody)
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({"n": 1})).await;
    tenant.settled(&message, &endpoint, "success").await;
}

#[tokio::test]
async fn a_broken_egress_proxy_is_named_in_the_attempt_and_its_password_nowhere() {
    let gateway = Gateway::builder()
        .env(
            "HOOKMILL_OUTBOUND__PROXY",
            "http://gate:hush-hush@127.0.0.1:1",
        )
        .retry_schedule("")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = Receiver::start().await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({"n": 1})).await;
    tenant.settled(&message, &endpoint, "fail").await;
    let attempts = tenant.attempts(&message, 1).await;
    let said = attempts[0]["response"].as_str().unwrap();
    assert!(said.contains("no way through the egress proxy"), "{said}");
    assert_eq!(receiver.count(), 0);
    assert!(!gateway.log().contains("hush"), "{}", gateway.log());
}
