//! The API over the store in memory. Every answer is checked for its shape, and none may be a 500.

mod events;
mod messages;
mod paging;
mod plugins;
mod records;
mod scopes;
mod twins;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use super::state::Shared;
use super::*;
use crate::delivery::{self, Engine};
use crate::domain::{ApplicationId, Clock, Digest, ManualClock, OrganizationId, Secret, Timestamp};
use crate::events::Event;
use crate::ingest::{self, FanOut};
use crate::metrics::Metrics;
use crate::outbound::{self, Outbound};
use crate::sandbox::{self, ArtifactDigests, Compiler, Sandbox};
use crate::store::memory::MemoryStore;
use crate::store::vault::Vault;

/// An address that the judge lets pass without asking a name server.
const URL: &str = "https://93.184.215.14/hook";

/// A gateway's API with an organization's token.
struct Api {
    state: Shared,
    router: Router,
    clock: Arc<ManualClock>,
    org: OrganizationId,
    token: String,
    /// What delivers; nothing does unless a test runs it.
    idle: Option<(Engine, FanOut)>,
    /// Operational events.
    told: mpsc::Receiver<Event>,
    _dir: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    json: Value,
}

/// Digests of compiled plugins, in memory.
#[derive(Default)]
struct Digests(Mutex<HashMap<(Digest, String), [u8; 32]>>);

#[async_trait::async_trait]
impl ArtifactDigests for Digests {
    async fn get(&self, plugin: Digest, engine: &str) -> Option<[u8; 32]> {
        self.0.lock().get(&(plugin, engine.to_owned())).copied()
    }

    async fn put(&self, plugin: Digest, engine: &str, sha256: [u8; 32]) {
        self.0.lock().insert((plugin, engine.to_owned()), sha256);
    }
}

impl Api {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self::over(ingest::Config::default(), config)
    }

    fn over(ingest: ingest::Config, config: Config) -> Self {
        Self::made_of(ingest, config, sandbox::Config::default())
    }

    fn made_of(ingest: ingest::Config, config: Config, sandbox: sandbox::Config) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_790_000_000_500)));
        let dir = tempfile::tempdir().unwrap();
        let sandbox = sandbox::Config {
            slots: 4,
            warm_slots: 1,
            compiler: Compiler::InProcess,
            ..sandbox
        };
        let digests = Arc::new(Digests::default());
        let metrics = Arc::new(Metrics::new());
        // Nobody makes messages of them here.
        let (events, told) = crate::events::queue(1_024, Arc::clone(&metrics));
        let parts = delivery::Parts {
            events,
            store: Arc::new(MemoryStore::new(clock.clone())),
            outbound: Arc::new(
                Outbound::new(&outbound::Config::default(), Arc::default()).unwrap(),
            ),
            sandbox: Arc::new(Sandbox::new(sandbox, dir.path().to_owned(), digests).unwrap()),
            vault: Arc::new(Vault::load_or_create(dir.path()).unwrap()),
            clock: clock.clone(),
            metrics,
        };
        let (deliveries, lanes, engine) =
            delivery::open(delivery::Config::default(), parts.clone());
        let (ingest, fan_out) = ingest::new(
            ingest,
            parts.store.clone(),
            clock.clone(),
            parts.metrics.clone(),
            lanes,
        );
        let rooms = Rooms {
            store: parts.store,
            ingest,
            deliveries,
            vault: parts.vault,
            sandbox: parts.sandbox,
            outbound: parts.outbound,
            clock: clock.clone(),
            metrics: parts.metrics,
            events: parts.events,
        };
        let jwt = JwtSecret::new(&Secret::new("a secret for the tests")).unwrap();
        let state = ApiState::new(rooms, jwt, config);
        let org = OrganizationId::generate(clock.now());
        let mut api = Self {
            router: router(state.clone()),
            state,
            clock,
            org,
            token: String::new(),
            idle: Some((engine, fan_out)),
            told,
            _dir: dir,
        };
        api.token = api.mint(&Scope::Organization(org));
        api
    }

    fn mint(&self, scope: &Scope) -> String {
        self.state
            .jwt
            .mint(scope, Duration::from_secs(3600), self.clock.wall())
            .unwrap()
    }

    fn app_token(&self, app: &str) -> String {
        let app: ApplicationId = app.parse().unwrap();
        self.mint(&Scope::Application { org: self.org, app })
    }

    /// Sends a request and looks at the shape of its answer.
    async fn send(&self, request: Request<Body>) -> Reply {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        let reply = Reply {
            status: parts.status,
            headers: parts.headers,
            text,
            json,
        };
        assert!(reply.headers.contains_key("x-request-id"), "{what}");
        assert_ne!(
            reply.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{what}: {}",
            reply.text
        );
        if reply.status.as_u16() >= 400 {
            assert!(reply.json["code"].is_string(), "{what}: {}", reply.text);
            let detail = &reply.json["detail"];
            if reply.status == StatusCode::UNPROCESSABLE_ENTITY {
                for fault in detail.as_array().unwrap() {
                    assert!(
                        fault["loc"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .all(Value::is_string)
                    );
                    assert!(fault["msg"].is_string() && fault["type"].is_string());
                }
            } else {
                assert!(detail.is_string(), "{what}: {}", reply.text);
            }
        }
        reply
    }

    fn request(&self, token: &str, method: Method, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
    }

    async fn call_as(&self, token: &str, method: Method, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        self.send(self.request(token, method, path).body(body).unwrap())
            .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.call_as(&self.token, Method::GET, path, Value::Null)
            .await
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.call_as(&self.token, Method::POST, path, body).await
    }

    async fn put(&self, path: &str, body: Value) -> Reply {
        self.call_as(&self.token, Method::PUT, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call_as(&self.token, Method::PATCH, path, body).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.call_as(&self.token, Method::DELETE, path, Value::Null)
            .await
    }

    /// A new application's path.
    async fn app(&self) -> String {
        let reply = self.post("/api/v1/app", json!({"name": "An app"})).await;
        format!("/api/v1/app/{}", reply.ok(201)["id"].as_str().unwrap())
    }

    /// A new endpoint's path in this application's.
    async fn endpoint(&self, app: &str) -> String {
        let reply = self
            .post(&format!("{app}/endpoint"), json!({"url": URL}))
            .await;
        format!("{app}/endpoint/{}", reply.ok(201)["id"].as_str().unwrap())
    }
}

impl Reply {
    /// The body of an answer that must have this status.
    #[track_caller]
    fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json
    }

    /// The place of the first fault of an answer that must be a 422.
    #[track_caller]
    fn fault_at(self) -> Vec<String> {
        let json = self.ok(422);
        let loc = json["detail"][0]["loc"].as_array().unwrap();
        loc.iter()
            .map(|step| step.as_str().unwrap().to_owned())
            .collect()
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}
