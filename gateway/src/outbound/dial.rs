//! The HTTP clients, built once: what they trust, how long they wait, what they keep open. May read root
//! certificates; must never be given a proxy, a redirect policy or a cookie store.

use std::cell::Cell;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tower::{Layer, Service};

use super::config::{Config, OutboundError, TlsConfig};
use super::resolve::{NameResolver, ResolverHook};

/// Largest head of an HTTP/2 answer in bytes; the policy for HTTP/1.1 as well, where the library's own
/// bounds hold (100 fields, some 400 KiB).
const MAX_HEAD: u32 = 64 * 1024;
/// A ping after so long without a frame while requests are open. Chosen: an HTTP/2 connection that a middle
/// box has forgotten must not time out more than one round of attempts.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// Whether the request being sent in this task has started a connection of its own. Scoped to one
    /// request; the client's connector has no other way to tell.
    static DIALLED: Cell<bool>;
}

/// The clients share one resolver, one TLS configuration and its session cache.
#[derive(Debug)]
pub(super) struct Clients {
    /// Reuses connections.
    pub(super) pooled: Client,
    /// Dials anew, after a reused connection turned out dead.
    pub(super) fresh: Client,
    /// Dials anew and refuses this machine's own addresses; for the gateway's own ports.
    pub(super) own_port: Client,
}

/// Notes in [`DIALLED`] that a connection is being made.
#[derive(Debug, Clone)]
struct NoteDial;

#[derive(Debug, Clone)]
struct NotedDial<S>(S);

impl Clients {
    pub(super) fn new(config: &Config, names: &Arc<NameResolver>) -> Result<Self, OutboundError> {
        let tls = tls(&config.tls)?;
        let builder = |refuse_own| {
            let hook = ResolverHook {
                names: Arc::clone(names),
                refuse_own,
            };
            base(config, tls.clone(), hook)
        };
        let build = |builder: ClientBuilder| builder.build().map_err(OutboundError::Client);
        let pooled = builder(false)
            .pool_max_idle_per_host(config.pool.idle_per_host)
            .pool_idle_timeout(Duration::from_millis(config.pool.idle_timeout_ms));
        Ok(Self {
            pooled: build(pooled)?,
            fresh: build(builder(false).pool_max_idle_per_host(0))?,
            own_port: build(builder(true).pool_max_idle_per_host(0))?,
        })
    }
}

/// Runs `send` and tells whether it started a connection. False: it went over one that was open before.
/// (True as well where a connection became free while its own was being made.)
pub(super) async fn noting_dial<T>(send: impl Future<Output = T>) -> (T, bool) {
    let noted = async {
        let sent = send.await;
        (sent, DIALLED.with(Cell::get))
    };
    DIALLED.scope(Cell::new(false), noted).await
}

fn base(config: &Config, tls: ClientConfig, hook: ResolverHook) -> ClientBuilder {
    // The client's timeout spans lookup, connect and handshake; the lookup has a limit of its own.
    let connect_timeout = config.connect_timeout() + Duration::from_millis(config.dns.timeout_ms);
    Client::builder()
        .tls_backend_preconfigured(tls)
        .dns_resolver(hook)
        .connector_layer(NoteDial)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        // Bodies are kept as they come, whatever features another crate switches on in the client.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(config.user_agent.as_str())
        .connect_timeout(connect_timeout)
        .http2_max_header_list_size(MAX_HEAD)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(PING_TIMEOUT)
}

fn tls(config: &TlsConfig) -> Result<ClientConfig, OutboundError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(OutboundError::Tls)?
        .with_root_certificates(roots(config)?)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

/// The platform's roots and the configured ones.
fn roots(config: &TlsConfig) -> Result<RootCertStore, OutboundError> {
    let mut roots = RootCertStore::empty();
    let platform = rustls_native_certs::load_native_certs();
    for error in &platform.errors {
        tracing::debug!(%error, "a root certificate of the platform was not read");
    }
    roots.add_parsable_certificates(platform.certs);
    for path in &config.extra_roots {
        let failed = |source| OutboundError::ExtraRoots {
            path: path.clone(),
            source,
        };
        let before = roots.len();
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|error| failed(error.into()))?
        {
            let certificate = certificate.map_err(|error| failed(error.into()))?;
            roots
                .add(certificate)
                .map_err(|error| failed(error.into()))?;
        }
        if roots.len() == before {
            return Err(OutboundError::NoRoots(path.clone()));
        }
    }
    if roots.is_empty() {
        // Not an error: a gateway that delivers over http only needs none.
        tracing::warn!(
            "no root certificates on this system: https deliveries fail; install them or set outbound.tls.extra_roots"
        );
    }
    Ok(roots)
}

impl<S> Layer<S> for NoteDial {
    type Service = NotedDial<S>;

    fn layer(&self, inner: S) -> NotedDial<S> {
        NotedDial(inner)
    }
}

impl<S: Service<R>, R> Service<R> for NotedDial<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, target: R) -> S::Future {
        // Outside a request (a connection finished in the background) nobody asks.
        let _ = DIALLED.try_with(|dialled| dialled.set(true));
        self.0.call(target)
    }
}
