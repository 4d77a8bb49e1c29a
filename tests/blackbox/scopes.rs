//! Who may do what. One table of all routes, and every token that must not get through, at each of them.

use bytes::Bytes;
use hookmill_tests::gateway::{random_id, random_org};
use hookmill_tests::{Client, Gateway, Reply, Tenant, plugins};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use serde_json::{Value, json};

/// Whose a route is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reach {
    /// The organization's alone.
    Organization,
    /// The application's own token reaches it too.
    Application,
}

use Reach::{Application, Organization};

/// Method, path, whose it is. `{app}`, `{ep}`, `{msg}`, `{atmpt}` stand for what exists.
const ROUTES: &[(&str, &str, Reach)] = &[
    ("GET", "/app", Organization),
    ("POST", "/app", Organization),
    ("GET", "/app/{app}", Application),
    ("PUT", "/app/{app}", Organization),
    ("PATCH", "/app/{app}", Organization),
    ("DELETE", "/app/{app}", Organization),
    ("GET", "/app/{app}/endpoint", Application),
    ("POST", "/app/{app}/endpoint", Application),
    ("GET", "/app/{app}/endpoint/{ep}", Application),
    ("PUT", "/app/{app}/endpoint/{ep}", Application),
    ("PATCH", "/app/{app}/endpoint/{ep}", Application),
    ("DELETE", "/app/{app}/endpoint/{ep}", Application),
    ("GET", "/app/{app}/endpoint/{ep}/secret", Application),
    (
        "POST",
        "/app/{app}/endpoint/{ep}/secret/rotate",
        Application,
    ),
    ("GET", "/app/{app}/endpoint/{ep}/headers", Application),
    ("PUT", "/app/{app}/endpoint/{ep}/headers", Application),
    ("PATCH", "/app/{app}/endpoint/{ep}/headers", Application),
    ("POST", "/app/{app}/endpoint/{ep}/pause", Application),
    ("POST", "/app/{app}/endpoint/{ep}/resume", Application),
    ("POST", "/app/{app}/endpoint/{ep}/recover", Application),
    ("GET", "/app/{app}/endpoint/{ep}/plugin-chain", Application),
    ("PUT", "/app/{app}/endpoint/{ep}/plugin-chain", Application),
    ("GET", "/app/{app}/plugin-chain", Application),
    ("PUT", "/app/{app}/plugin-chain", Organization),
    ("GET", "/app/{app}/msg", Application),
    ("POST", "/app/{app}/msg", Organization),
    ("GET", "/app/{app}/msg/{msg}", Application),
    ("GET", "/app/{app}/msg/{msg}/attempt/{atmpt}", Application),
    ("GET", "/app/{app}/msg/{msg}/endpoint", Application),
    (
        "POST",
        "/app/{app}/msg/{msg}/endpoint/{ep}/resend",
        Application,
    ),
    ("GET", "/app/{app}/attempt/endpoint/{ep}", Application),
    ("GET", "/app/{app}/attempt/msg/{msg}", Application),
    ("GET", "/app/{app}/plugin", Application),
    ("POST", "/app/{app}/plugin?name=own", Application),
    ("GET", "/app/{app}/plugin/hostile", Application),
    ("GET", "/app/{app}/plugin/hostile/version", Application),
    ("DELETE", "/app/{app}/plugin/hostile", Application),
    ("POST", "/auth/app-portal-access/{app}", Organization),
    ("POST", "/auth/app/{app}/expire-all", Organization),
    ("GET", "/organization", Organization),
    ("GET", "/event-type", Organization),
    ("POST", "/event-type", Organization),
    ("GET", "/event-type/known", Organization),
    ("PUT", "/event-type/known", Organization),
    ("PATCH", "/event-type/known", Organization),
    ("DELETE", "/event-type/known", Organization),
    ("GET", "/operational-webhook/endpoint", Organization),
    ("POST", "/operational-webhook/endpoint", Organization),
    ("GET", "/plugin", Organization),
    ("POST", "/plugin?name=other", Organization),
    ("GET", "/plugin/hostile", Organization),
    ("GET", "/plugin/hostile/version", Organization),
    ("DELETE", "/plugin/hostile", Organization),
];

/// One application with one of everything that a path can name.
struct World {
    tenant: Tenant,
    endpoint: String,
    message: String,
    attempt: String,
}

impl World {
    async fn new(client: Client) -> Self {
        let tenant = Tenant::of(client).await;
        // Nobody answers there: an attempt is all that is needed.
        let refusing = hookmill_tests::raw::Refusing::start();
        let endpoint = tenant.endpoint(&refusing.url()).await;
        let message = tenant.send(json!({})).await;
        let attempt = tenant.attempts(&message, 1).await.remove(0);
        let plugin = plugins::wasm("hostile");
        let path = tenant.path("/plugin?name=hostile");
        tenant.client.upload(&path, plugin).await.expect(201);
        Self {
            attempt: attempt["id"].as_str().unwrap().to_owned(),
            tenant,
            endpoint,
            message,
        }
    }

    fn path(&self, template: &str) -> String {
        let filled = template
            .replace("{app}", &self.tenant.app)
            .replace("{ep}", &self.endpoint)
            .replace("{msg}", &self.message)
            .replace("{atmpt}", &self.attempt);
        format!("/api/v1{filled}")
    }
}

/// A body that the route would take, so that nothing but the scope can be what refuses it.
fn body(method: &str, template: &str) -> Option<Value> {
    if matches!(method, "GET" | "DELETE") {
        return None;
    }
    let bare = template.split('?').next().unwrap();
    Some(match bare.rsplit('/').next().unwrap() {
        "{app}" if bare.starts_with("/auth") => json!({}),
        "{app}" | "app" => json!({"name": "x"}),
        "{ep}" | "endpoint" => json!({"url": "https://example.com/"}),
        "recover" => json!({"since": "2020-01-01T00:00:00Z"}),
        "headers" => json!({"headers": {"x-a": "b"}}),
        "plugin-chain" => json!({"chain": []}),
        "msg" => json!({"eventType": "a", "payload": {}}),
        "event-type" => json!({"name": "new", "description": "x"}),
        "known" => json!({"description": "x"}),
        _ => json!({}),
    })
}

async fn ask(client: &Client, method: &str, template: &str, path: &str) -> Reply {
    let verb = Method::from_bytes(method.as_bytes()).unwrap();
    if template.contains("plugin?name=") {
        return client.upload(path, plugins::wasm("hostile")).await;
    }
    client.send(verb, path, body(method, template)).await
}

async fn known_event_type(client: &Client) {
    let body = json!({"name": "known", "description": "x"});
    client.post("/api/v1/event-type", body).await.expect(201);
}

#[tokio::test]
async fn an_applications_token_reaches_its_own_and_nothing_else() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let client = gateway.client().await;
    known_event_type(&client).await;
    client
        .upload("/api/v1/plugin?name=hostile", plugins::wasm("hostile"))
        .await
        .expect(201);
    let neighbour = World::new(client.clone()).await;
    let foreign = World::new(gateway.client_of(&random_org()).await).await;
    for (method, template, reach) in ROUTES {
        // One of its own for each route, since some of them take away what others need.
        let own = World::new(client.clone()).await;
        let token = gateway.app_token(gateway.org(), &own.tenant.app).await;
        let client = client.with_token(&token);
        let route = format!("{method} {template}");

        let reply = ask(&client, method, template, &own.path(template)).await;
        match reach {
            Application => {
                assert!(reply.status < 300, "{route}: {}", reply.status);
            }
            Organization => {
                assert_eq!(reply.status, 403, "{route}");
                assert_eq!(reply.json()["code"], "insufficient_permission", "{route}");
            }
        }
        if !template.contains("{app}") {
            continue;
        }
        // A neighbour's application, another organization's and one that is not there look the same.
        let lost = own
            .path(template)
            .replace(&own.tenant.app, &random_id("app_"));
        let lost = ask(&client, method, template, &lost).await;
        assert!(matches!(lost.status, 403 | 404), "{route}: {}", lost.status);
        for other in [&neighbour, &foreign] {
            let reply = ask(&client, method, template, &other.path(template)).await;
            assert_eq!(
                (reply.status, reply.body),
                (lost.status, lost.body.clone()),
                "{route}"
            );
        }
    }
}

#[tokio::test]
async fn an_organizations_token_ends_at_its_organization() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let home = World::new(gateway.client().await).await;
    known_event_type(&home.tenant.client).await;
    let stranger = gateway.client_of(&random_org()).await;
    for (method, template, _) in ROUTES.iter().filter(|route| route.1.contains("{app}")) {
        // An update of an unknown application makes one, in the caller's own organization.
        if (*method, *template) == ("PUT", "/app/{app}") {
            continue;
        }
        let reply = ask(&stranger, method, template, &home.path(template)).await;
        assert_eq!(reply.status, 404, "{method} {template}");
    }
    stranger.get("/api/v1/event-type/known").await.expect(404);
    assert!(
        stranger
            .get("/api/v1/app")
            .await
            .expect(200)
            .data()
            .is_empty()
    );
    assert!(
        stranger
            .get("/api/v1/plugin")
            .await
            .expect(200)
            .data()
            .is_empty()
    );
    let app = home.path("/app/{app}");
    assert_eq!(
        home.tenant.client.get(&app).await.expect(200).text("name"),
        "tenant"
    );
}

const SECRET: &str = "a secret that only the tests know";

fn token(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused_everywhere() {
    let gateway = Gateway::builder()
        .env("HOOKMILL_JWT_SECRET", SECRET)
        .retry_schedule("")
        .start()
        .await;
    let org = gateway.org();
    let now = jiff::Timestamp::now().as_second();
    let day = 24 * 3600;
    let claims = |iat: i64, exp: i64| json!({"sub": org, "iat": iat, "exp": exp, "jti": "one"});
    let good = token(SECRET, Algorithm::HS256, &claims(now, now + day));
    // The table below proves something only if a token made in this way is otherwise good.
    let client = Client::new(gateway.url(), Some(&good));
    client.get("/api/v1/app").await.expect(200);
    let world = World::new(client.clone()).await;

    let part = |n: usize| good.split('.').nth(n).unwrap();
    let without = |claim: &str| {
        let mut claims = claims(now, now + day);
        claims.as_object_mut().unwrap().remove(claim);
        token(SECRET, Algorithm::HS256, &claims)
    };
    let with = |claim: &str, value: Value| {
        let mut claims = claims(now, now + day);
        claims[claim] = value;
        token(SECRET, Algorithm::HS256, &claims)
    };
    let none = format!("eyJhbGciOiJub25lIn0.{}.", part(1));
    let bad = [
        (
            "expired",
            token(SECRET, Algorithm::HS256, &claims(now - 2 * day, now - day)),
        ),
        (
            "of the future",
            token(SECRET, Algorithm::HS256, &claims(now + day, now + 2 * day)),
        ),
        (
            "of another secret",
            token(
                "another secret, as long as ours",
                Algorithm::HS256,
                &claims(now, now + day),
            ),
        ),
        (
            "of another algorithm",
            token(SECRET, Algorithm::HS512, &claims(now, now + day)),
        ),
        ("unsigned", none),
        ("without its signature", format!("{}.{}.", part(0), part(1))),
        (
            "with another's signature",
            format!("{}.{}.{}", part(0), part(1), "A".repeat(43)),
        ),
        ("without exp", without("exp")),
        ("without iat", without("iat")),
        ("without jti", without("jti")),
        ("without sub", without("sub")),
        ("of nobody", with("sub", json!("root"))),
        (
            "of an application without its organization",
            with("sub", json!(random_id("app_"))),
        ),
        ("of a user", with("sub", json!(random_id("user_")))),
        ("whose exp is text", with("exp", json!("soon"))),
        ("empty", String::new()),
        ("one word", "token".to_owned()),
        ("three dots", "a.b.c.d".to_owned()),
        ("far too long", "a".repeat(6000)),
    ];
    for (why, token) in &bad {
        let client = client.with_token(token);
        client
            .get("/api/v1/app")
            .await
            .expect_error(401, "authentication_failed");
        let reply = client
            .post(
                &world.path("/app/{app}/msg"),
                json!({"eventType": "a", "payload": {}}),
            )
            .await;
        assert_eq!(reply.status, 401, "{why}");
    }
    for (method, template, _) in ROUTES {
        for client in [client.anonymous(), client.with_token(&bad[0].1)] {
            let reply = ask(&client, method, template, &world.path(template)).await;
            assert_eq!(reply.status, 401, "{method} {template}");
        }
    }
    for header in [
        "Basic dXNlcjpwYXNz",
        "Bearer",
        "bearer  ",
        &format!("Token {good}"),
    ] {
        let reply = client
            .anonymous()
            .raw(
                Method::GET,
                "/api/v1/app",
                &[("authorization", header)],
                None,
            )
            .await;
        assert_eq!(reply.status, 401, "{header}");
    }
}

#[tokio::test]
async fn a_token_is_good_for_as_long_as_it_says() {
    let gateway = Gateway::start().await;
    let dir = gateway.data_dir().to_str().unwrap();
    let token = async |args: &[&str]| {
        let args = [&["token", "--data-dir", dir], args].concat();
        gateway.command(&args).await
    };
    let output = token(&["--org", gateway.org(), "--ttl", "1h"]).await;
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let client = Client::new(gateway.url(), Some(text.trim()));
    client.get("/api/v1/app").await.expect(200);
    for args in [
        vec![],
        vec!["--org", "not-an-org"],
        vec!["--org", gateway.org(), "--ttl", "for ever"],
        vec!["--org", gateway.org(), "--app", "app_1"],
    ] {
        let output = token(&args).await;
        assert!(!output.status.success(), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[tokio::test]
async fn logging_out_ends_a_token() {
    let gateway = Gateway::start().await;
    let tenant = Tenant::new(&gateway).await;
    let client = tenant
        .client
        .with_token(&gateway.app_token(gateway.org(), &tenant.app).await);
    let path = tenant.path("/endpoint");
    client.get(&path).await.expect(200);
    client
        .raw(Method::POST, "/api/v1/auth/logout", &[], Some(Bytes::new()))
        .await
        .expect(204);
    client.get(&path).await.expect(401);
    tenant.client.get(&path).await.expect(200);
}
