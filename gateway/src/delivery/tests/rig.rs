//! A gateway without its API, and a receiver that answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::delivery::{self, Config, Deliveries, DeliveryError, Parts};
use crate::domain::{
    Application, ApplicationId, Attempt, Chain, ChainEntry, Clock, DeliveryKey, DeliveryOrder,
    DeliveryRow, DeliveryState, Digest, Endpoint, EndpointId, EndpointSecret, Message, MessageId,
    OnFailure, Organization, OrganizationId, PauseState, PluginId, PluginLimits, RetryPolicy,
    Sealed, Secret, Seq, SystemClock, Timestamp, Uid, VersionPin,
};
use crate::ingest::{self, Accepted, Ingest, IngestError, Submission};
use crate::metrics::Metrics;
use crate::outbound::{self, Outbound};
use crate::sandbox::tests::{MemoryDigests, hostile};
use crate::sandbox::{self, Compiler, Sandbox};
use crate::store::memory::MemoryStore;
use crate::store::records::{self, ChainOwner, ChainRecord};
use crate::store::vault::Vault;
use crate::store::{AttemptFilter, AttemptsOf, PageRequest, Store, Stored};

/// Longer than anything here takes; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `whsec_` and 24 bytes.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// 32 bytes that seal the secrets of tests.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A gateway without its API.
pub(crate) struct Rig {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ingest: Ingest,
    pub(crate) deliveries: Deliveries,
    pub(crate) app: Application,
    pub(crate) metrics: Arc<Metrics>,
    sandbox: Arc<Sandbox>,
    shutdown: CancellationToken,
    engine: JoinHandle<Result<(), DeliveryError>>,
    fan_out: JoinHandle<()>,
    operational: JoinHandle<()>,
    _dir: TempDir,
}

/// How a gateway of a test differs from the usual one.
#[derive(Default)]
pub(crate) struct Setup {
    pub(crate) delivery: Config,
    pub(crate) ingest: ingest::Config,
    /// Another gateway's store: this one goes on where that one ended.
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) app: Option<Application>,
    pub(crate) clock: Option<Arc<dyn Clock>>,
}

impl Setup {
    pub(crate) fn retry(mut self, schedule: &str) -> Self {
        self.delivery.retry_schedule = RetryPolicy::parse(schedule).unwrap();
        self
    }

    pub(crate) async fn start(self) -> Rig {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::start()));
        let store = self
            .store
            .unwrap_or_else(|| Arc::new(MemoryStore::new(Arc::clone(&clock))));
        let metrics = Arc::new(Metrics::new());
        let outbound = outbound::Config {
            allow_subnets: vec!["127.0.0.0/8".parse().unwrap()],
            ..outbound::Config::default()
        };
        let dir = tempfile::tempdir().unwrap();
        let sandbox_config = sandbox::Config {
            slots: 4,
            warm_slots: 1,
            compiler: Compiler::InProcess,
            ..sandbox::Config::default()
        };
        let digests = Arc::new(MemoryDigests::default());
        let sandbox = Sandbox::new(sandbox_config, dir.path().to_owned(), digests).unwrap();
        let sandbox = Arc::new(sandbox);
        let (events, told) = crate::events::queue(1_024, Arc::clone(&metrics));
        let parts = Parts {
            store: Arc::clone(&store),
            events,
            outbound: Arc::new(Outbound::new(&outbound, Arc::default()).unwrap()),
            sandbox: Arc::clone(&sandbox),
            vault: Arc::new(vault()),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
        };
        let (deliveries, lanes, engine) = delivery::open(self.delivery, parts);
        let (ingest, fan_out) = ingest::new(
            self.ingest,
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&metrics),
            lanes,
        );
        let operational = ingest::operational(told, &ingest);
        let app = match self.app {
            Some(app) => app,
            None => {
                let app = application(clock.now());
                store.insert(&app, None).await.unwrap();
                app
            }
        };
        let shutdown = CancellationToken::new();
        Rig {
            engine: tokio::spawn(engine.run(shutdown.clone())),
            fan_out: tokio::spawn(fan_out.run(shutdown.clone())),
            store,
            clock,
            ingest,
            deliveries,
            app,
            metrics,
            operational: tokio::spawn(operational.run(shutdown.clone())),
            sandbox,
            shutdown,
            _dir: dir,
        }
    }
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// A new endpoint of the application.
    pub(crate) async fn endpoint(&self, url: &str, change: impl FnOnce(&mut Endpoint)) -> Endpoint {
        let now = self.clock.now();
        let mut endpoint = endpoint_of(&self.app, url, now);
        change(&mut endpoint);
        self.store.insert(&endpoint, None).await.unwrap();
        endpoint
    }

    pub(crate) async fn read_endpoint(&self, id: EndpointId) -> Endpoint {
        self.stored_endpoint(id).await.value
    }

    async fn stored_endpoint(&self, id: EndpointId) -> Stored<Endpoint> {
        self.store.get::<Endpoint>(id).await.unwrap().unwrap()
    }

    pub(crate) async fn change_endpoint(&self, id: EndpointId, change: impl FnOnce(&mut Endpoint)) {
        let stored = self.stored_endpoint(id).await;
        let mut endpoint = stored.value.clone();
        change(&mut endpoint);
        let write = stored.update(&endpoint).unwrap();
        self.store.commit(vec![write], None).await.unwrap();
    }

    pub(crate) async fn delete_endpoint(&self, id: EndpointId) {
        let write = records::remove::<Endpoint>(id);
        self.store.commit(vec![write], None).await.unwrap();
    }

    /// How many unfinished deliveries the organization may have.
    pub(crate) async fn limit_pending(&self, most: Option<u64>) {
        let new = Organization {
            max_pending: most,
            ..Organization::new(self.app.org, self.clock.now())
        };
        match self.store.get::<Organization>(new.id).await.unwrap() {
            None => self.store.insert(&new, None).await.unwrap(),
            Some(stored) => {
                let write = stored.update(&new).unwrap();
                self.store.commit(vec![write], None).await.unwrap();
            }
        }
    }

    /// Sets a chain of the guest `hostile` in these modes.
    pub(crate) async fn chain(&self, owner: ChainOwner, modes: &[&str]) {
        let version = self.hostile().await;
        let entries = modes.iter().map(|mode| ChainEntry {
            plugin: PluginId::generate(self.clock.now()),
            name: "hostile".to_owned(),
            pin: VersionPin::Latest,
            version,
            config: serde_json::json!({ "mode": mode }),
            on_failure: OnFailure::Fail,
        });
        let chain = |revision| ChainRecord {
            owner,
            app: self.app.id,
            chain: Chain {
                revision,
                entries: entries.clone().collect(),
                updated_at: self.clock.now(),
            },
        };
        match self.store.get::<ChainRecord>(owner).await.unwrap() {
            None => self.store.insert(&chain(1), None).await.unwrap(),
            Some(stored) => {
                let next = chain(stored.value.chain.revision + 1);
                let write = stored.update(&next).unwrap();
                self.store.commit(vec![write], None).await.unwrap();
            }
        }
    }

    async fn hostile(&self) -> Digest {
        self.sandbox.admit(hostile()).await.unwrap().digest
    }

    pub(crate) fn submission(&self, payload: impl Into<Bytes>) -> Submission {
        Submission {
            app: self.app.clone(),
            event_type: Uid::parse("invoice.paid").unwrap(),
            channels: Vec::new(),
            tags: Vec::new(),
            event_id: None,
            payload: payload.into(),
            content_type: "application/json".to_owned(),
            deliver_at: None,
            retention: None,
        }
    }

    pub(crate) async fn try_submit(&self, event: Submission) -> Result<Message, IngestError> {
        let accepted = self.ingest.submit(event, |_| None).await;
        accepted.map(|Accepted { message }| message)
    }

    pub(crate) async fn submit(&self, payload: impl Into<Bytes>) -> Message {
        self.try_submit(self.submission(payload)).await.unwrap()
    }

    pub(crate) async fn row(&self, message: &Message, endpoint: &Endpoint) -> Option<DeliveryRow> {
        let key = DeliveryKey {
            endpoint: endpoint.id,
            message: message.seq,
        };
        self.store.delivery(key).await.unwrap()
    }

    pub(crate) async fn state(&self, message: &Message, endpoint: &Endpoint) -> DeliveryState {
        self.row(message, endpoint).await.unwrap().state
    }

    /// Waits until the delivery has a row that fits.
    pub(crate) async fn row_that(
        &self,
        message: &Message,
        endpoint: &Endpoint,
        fits: impl Fn(&DeliveryRow) -> bool,
    ) -> DeliveryRow {
        let look = async || self.row(message, endpoint).await.filter(|row| fits(row));
        eventually(look).await
    }

    pub(crate) async fn settled(&self, message: &Message, endpoint: &Endpoint) -> DeliveryState {
        let settled = |row: &DeliveryRow| row.state.is_settled();
        self.row_that(message, endpoint, settled).await.state
    }

    /// The attempts of a message, oldest first.
    pub(crate) async fn attempts(&self, message: &Message) -> Vec<Attempt> {
        let of = AttemptsOf::Message(message.seq);
        let page = PageRequest::first(100);
        self.store
            .attempts(of, &AttemptFilter::default(), page)
            .await
            .unwrap()
            .rows
    }

    pub(crate) fn metrics_text(&self) -> String {
        self.metrics.encode().unwrap()
    }

    /// Shuts down gracefully; everything that ended is on disk afterwards.
    pub(crate) async fn stop(self) -> Stopped {
        self.shutdown.cancel();
        let ended = async {
            self.fan_out.await.unwrap();
            self.operational.await.unwrap();
            self.engine.await.unwrap()
        };
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.expect("the gateway ends").unwrap();
        Stopped {
            store: self.store,
            app: self.app,
        }
    }

    /// Ends without any ceremony: what was not on disk is lost.
    pub(crate) async fn kill(self) -> Stopped {
        self.fan_out.abort();
        self.operational.abort();
        self.engine.abort();
        assert!(self.engine.await.is_err());
        assert!(self.fan_out.await.is_err());
        Stopped {
            store: self.store,
            app: self.app,
        }
    }
}

/// What is left of a gateway.
pub(crate) struct Stopped {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) app: Application,
}

impl Stopped {
    /// The next gateway over the same store.
    pub(crate) fn again(self) -> Setup {
        Setup {
            store: Some(self.store),
            app: Some(self.app),
            ..Setup::default()
        }
    }
}

/// Looks until there is something; for what happens without telling anybody.
pub(crate) async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        let mut pause = tokio::time::interval(Duration::from_millis(2));
        loop {
            if let Some(found) = look().await {
                return found;
            }
            pause.tick().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.expect("it happens in time")
}

/// A message with this number, of nobody in particular.
pub(crate) fn message(seq: Seq) -> Message {
    let now = Timestamp::from_millis(1_790_000_000_000);
    Message {
        id: MessageId::generate(now),
        seq,
        app: ApplicationId::generate(now),
        org: OrganizationId::generate(now),
        event_id: None,
        event_type: Uid::parse("invoice.paid").unwrap(),
        channels: Vec::new(),
        tags: Vec::new(),
        content_type: "application/json".to_owned(),
        payload_len: 2,
        created_at: now,
        deliver_at: None,
        expires_at: now.after(Duration::from_secs(3600)),
    }
}

pub(crate) fn application(now: Timestamp) -> Application {
    Application {
        id: ApplicationId::generate(now),
        org: OrganizationId::generate(now),
        uid: None,
        name: "tenant".to_owned(),
        throttle_rate: None,
        plugin_limits: PluginLimits::default(),
        metadata: BTreeMap::new(),
        created_at: now,
        updated_at: now,
        tokens_not_before: None,
        management: false,
    }
}

pub(crate) fn endpoint_of(app: &Application, url: &str, now: Timestamp) -> Endpoint {
    Endpoint {
        id: EndpointId::generate(now),
        app: app.id,
        org: app.org,
        uid: None,
        url: url.to_owned(),
        description: String::new(),
        event_types: None,
        channels: None,
        disabled: false,
        disabled_reason: None,
        pause: PauseState::Running,
        throttle_rate: None,
        order: DeliveryOrder::default(),
        metadata: BTreeMap::new(),
        secrets: vec![EndpointSecret {
            sealed: seal(SECRET),
            expires_at: None,
        }],
        headers: None,
        retry: None,
        created_at: now,
        updated_at: now,
        failing_since: None,
    }
}

pub(crate) fn vault() -> Vault {
    Vault::new([KEY]).unwrap()
}

pub(crate) fn seal(text: &str) -> Sealed {
    vault().seal(&Secret::new(text)).unwrap()
}

// --- the receiver ----------------------------------------------------------------------------------

/// A request as the receiver got it.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An HTTP server that answers 200 unless told otherwise.
pub(crate) struct Receiver {
    address: SocketAddr,
    requests: tokio::sync::Mutex<mpsc::UnboundedReceiver<Received>>,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

struct Script {
    answers: Mutex<VecDeque<Answer>>,
    always: Mutex<Answer>,
    seen: mpsc::UnboundedSender<Received>,
    /// One place per answer; taken away to hold answers back.
    gate: Semaphore,
}

type Answer = (StatusCode, Option<(HeaderName, HeaderValue)>);

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = mpsc::unbounded_channel();
        let script = Arc::new(Script {
            answers: Mutex::default(),
            always: Mutex::new((StatusCode::OK, None)),
            seen,
            gate: Semaphore::new(1_000_000),
        });
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&script));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            requests: tokio::sync::Mutex::new(requests),
            script,
            server,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Answers the next requests so, before going back to what it always answers.
    pub(crate) fn then(&self, status: u16) -> &Self {
        self.push(status, None)
    }

    pub(crate) fn then_with(&self, status: u16, name: &'static str, value: &'static str) -> &Self {
        let header = (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        self.push(status, Some(header))
    }

    fn push(&self, status: u16, header: Option<(HeaderName, HeaderValue)>) -> &Self {
        let status = StatusCode::from_u16(status).unwrap();
        self.script.answers.lock().push_back((status, header));
        self
    }

    pub(crate) fn always(&self, status: u16) {
        *self.script.always.lock() = (StatusCode::from_u16(status).unwrap(), None);
    }

    /// Answers nothing until [`Receiver::release`].
    pub(crate) fn hold(&self) {
        let all = self.script.gate.available_permits();
        self.script.gate.forget_permits(all);
    }

    pub(crate) fn release(&self) {
        self.script.gate.add_permits(1_000_000);
    }

    /// The next request.
    pub(crate) async fn next(&self) -> Received {
        let mut requests = self.requests.lock().await;
        let next = tokio::time::timeout(PATIENCE, requests.recv()).await;
        next.expect("a request comes in time").unwrap()
    }

    /// A request that has come and was not looked at.
    pub(crate) async fn unseen(&self) -> Option<Received> {
        self.requests.lock().await.try_recv().ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let headers = parts.headers;
    // A test that ended looks no more.
    script.seen.send(Received { headers, body }).ok();
    script.gate.acquire().await.unwrap().forget();
    let next = script.answers.lock().pop_front();
    let (status, header) = next.unwrap_or_else(|| script.always.lock().clone());
    let mut headers = HeaderMap::new();
    headers.extend(header);
    (status, headers, "seen")
}
