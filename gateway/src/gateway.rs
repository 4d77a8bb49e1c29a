//! Puts the rooms together and runs them. The only place that chooses a backend.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiState, JwtSecret, Rooms, TokenError};
use crate::artifacts::StoredDigests;
use crate::config::{Backend, Settings};
use crate::delivery::{self, Deliveries, DeliveryError, Engine, Parts};
use crate::domain::{Clock, Secret, SystemClock};
use crate::events::{self, Event};
use crate::ingest::{self, FanOut, Ingest, Operational};
use crate::metrics::Metrics;
use crate::outbound::{Outbound, OutboundError};
use crate::sandbox::{Sandbox, SandboxError};
use crate::store::memory::MemoryStore;
use crate::store::sled::SledStore;
use crate::store::vault::{Vault, VaultError};
use crate::store::{Store, StoreError};
use crate::{javascript, server, upkeep};

/// Why a gateway did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be made or entered.
    #[error("the data directory {} cannot be used", path.display())]
    DataDir {
        /// As set.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store did not open, or did not close.
    #[error("the store")]
    Store(#[from] StoreError),
    /// The sealing key cannot be used.
    #[error("the sealing key")]
    Vault(#[from] VaultError),
    /// The secret that signs tokens cannot be used.
    #[error("the secret of the tokens")]
    Token(#[from] TokenError),
    /// No way out of this machine.
    #[error("outgoing connections")]
    Outbound(#[from] OutboundError),
    /// No way to run plugins.
    #[error("the sandbox")]
    Sandbox(#[from] SandboxError),
    /// Delivering ended by itself.
    #[error("deliveries")]
    Delivery(#[from] DeliveryError),
    /// A fault of the gateway's own ended it.
    #[error("the gateway broke")]
    Panicked(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Chooses what a gateway is made of.
#[derive(Debug)]
pub struct GatewayBuilder {
    settings: Settings,
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    own_ports: Vec<u16>,
}

impl GatewayBuilder {
    /// Keeps everything in this store instead of the one that the settings name.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Takes the time from this clock instead of the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A port on which this process listens: no tenant may have messages delivered to it.
    #[must_use]
    pub fn own_port(mut self, port: u16) -> Self {
        self.own_ports.push(port);
        self
    }

    /// Opens the store and puts the rooms together. Needs a tokio runtime; nothing is delivered before
    /// [`Gateway::run`].
    pub async fn build(self) -> Result<Gateway, GatewayError> {
        let Self {
            settings,
            store,
            clock,
            own_ports,
        } = self;
        let dir = settings.data_dir.clone();
        std::fs::create_dir_all(&dir).map_err(|source| GatewayError::DataDir {
            path: dir.clone(),
            source,
        })?;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::start()));
        let metrics = Arc::new(Metrics::new());
        let store = match store {
            Some(store) => store,
            None => open_store(&settings, &clock, &metrics).await?,
        };
        let jwt = match &settings.jwt_secret {
            Some(secret) => JwtSecret::new(&Secret::new(secret.expose()))?,
            None => JwtSecret::load_or_create(&dir)?,
        };
        let vault = Arc::new(match &settings.sealing_key {
            Some(key) => Vault::new([key.expose()])?,
            None => Vault::load_or_create(&dir)?,
        });
        let mut outbound = settings.outbound.clone();
        outbound.own_ports.extend(own_ports);
        let outbound = Arc::new(Outbound::new(&outbound, Arc::clone(&metrics))?);
        let digests = Arc::new(StoredDigests(Arc::clone(&store)));
        let sandbox = Sandbox::new(settings.sandbox.clone(), dir.join("sandbox"), digests)?;
        let places = settings.ingest.operational_queue;
        let (events, told) = events::queue(places, Arc::clone(&metrics));
        let parts = Parts {
            events,
            store,
            outbound,
            sandbox: Arc::new(sandbox),
            vault,
            clock,
            metrics,
        };
        Ok(Gateway::over(settings, jwt, parts, told))
    }
}

/// Opening blocks for as long as the store needs, so it has a thread to itself.
async fn open_store(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn Store>, GatewayError> {
    let (clock, metrics) = (Arc::clone(clock), Arc::clone(metrics));
    match settings.store.backend {
        Backend::Memory => Ok(Arc::new(MemoryStore::new(clock))),
        Backend::Sled => {
            let mut config = settings.store.sled.clone();
            config.dir = settings.data_dir.join("store");
            let opening = move || SledStore::open(config, clock, metrics);
            let store = tokio::task::spawn_blocking(opening)
                .await
                .map_err(|panic| StoreError::Backend(panic.into()))??;
            Ok(Arc::new(store))
        }
    }
}

/// A gateway, ready to run.
#[derive(Debug)]
pub struct Gateway {
    settings: Settings,
    parts: Parts,
    jwt: JwtSecret,
    ingest: Ingest,
    fan_out: FanOut,
    operational: Operational,
    deliveries: Deliveries,
    engine: Engine,
}

impl Gateway {
    /// A gateway with these settings.
    pub fn builder(settings: Settings) -> GatewayBuilder {
        GatewayBuilder {
            settings,
            store: None,
            clock: None,
            own_ports: Vec::new(),
        }
    }

    fn over(settings: Settings, jwt: JwtSecret, parts: Parts, told: mpsc::Receiver<Event>) -> Self {
        let (deliveries, lanes, engine) = delivery::open(settings.delivery.clone(), parts.clone());
        let (ingest, fan_out) = ingest::new(
            settings.ingest.clone(),
            Arc::clone(&parts.store),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.metrics),
            lanes,
        );
        Self {
            operational: ingest::operational(told, &ingest),
            settings,
            parts,
            jwt,
            ingest,
            fan_out,
            deliveries,
            engine,
        }
    }

    /// The API's routes, to be served alone or mounted under others.
    pub fn router(&self) -> Router {
        let parts = self.parts.clone();
        let rooms = Rooms {
            store: parts.store,
            vault: parts.vault,
            sandbox: parts.sandbox,
            outbound: parts.outbound,
            ingest: self.ingest.clone(),
            deliveries: self.deliveries.clone(),
            clock: parts.clock,
            metrics: parts.metrics,
            events: parts.events,
        };
        api::router(ApiState::new(
            rooms,
            self.jwt.clone(),
            self.settings.api.clone(),
        ))
    }

    /// The way in for a program that has the gateway inside: accepts messages without HTTP.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Everything that is kept.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.parts.store
    }

    /// Delivers until `shutdown`, lets attempts under way finish, and closes the store.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), GatewayError> {
        let Parts {
            store,
            clock,
            sandbox,
            ..
        } = self.parts;
        let preparing = javascript::prepare(Arc::clone(&store), sandbox, shutdown.clone());
        let sweeping = upkeep::run(Arc::clone(&store), clock, shutdown.clone());
        let telling = self.operational.run(shutdown.clone());
        let fan_out = self.fan_out.run(shutdown.clone());
        let background = async { tokio::join!(preparing, sweeping, fan_out, telling) };
        // Delivering that ends by itself ends the others too.
        let delivering = async {
            let ended = self.engine.run(shutdown.clone()).await;
            shutdown.cancel();
            ended
        };
        let (ended, _) = tokio::join!(delivering, background);
        store.close().await?;
        Ok(ended?)
    }

    /// [`Gateway::router`] on this listener beside [`Gateway::run`]. At `shutdown` no new connection is
    /// taken and requests under way are answered, as far as they are within the server's grace.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), GatewayError> {
        let (router, config) = (self.router(), self.settings.server.clone());
        // Deliveries end after the last request: what is accepted meanwhile still has its lanes. If they end
        // by themselves, the server follows.
        let served = CancellationToken::new();
        let running = tokio::spawn(self.run(served.clone()));
        let stop = shutdown.child_token();
        let serving = server::serve(listener, router, &config, stop.clone());
        let following = async {
            served.cancelled().await;
            stop.cancel();
        };
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = following => serving.await,
        }
        served.cancel();
        running
            .await
            .map_err(|panic| GatewayError::Panicked(panic.into()))?
    }
}
