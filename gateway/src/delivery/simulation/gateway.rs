//! The gateways: the real parts of one, started, stalled, stopped and killed by the world. Nothing of theirs is
//! rebuilt here; only what they reach is not real.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::line::{LifeClock, Line};
use super::receiver::Receivers;
use super::store::SimStore;
use super::world::World;
use crate::delivery::tests::rig::vault;
use crate::delivery::{self, Deliveries, DeliveryError, Engine, Parts};
use crate::domain::Clock;
use crate::ingest::{self, FanOut, Ingest};
use crate::metrics::Metrics;
use crate::outbound::{self, Outbound};
use crate::sandbox::tests::MemoryDigests;
use crate::sandbox::{self, Compiler, Sandbox};
use crate::store::Store;

/// How long a gateway that has ended stays away at most, in milliseconds.
const AWAY_MS: u64 = 3_000;

/// The way out, without the simulated end of it. Reads the machine's certificates, so once.
static OUTBOUND: LazyLock<Outbound> =
    LazyLock::new(|| Outbound::new(&outbound::Config::default(), Arc::default()).unwrap());

/// No endpoint has a plugin, so all share one.
static SANDBOX: LazyLock<Arc<Sandbox>> = LazyLock::new(|| {
    let config = sandbox::Config {
        slots: 4,
        warm_slots: 1,
        compiler: Compiler::InProcess,
        ..sandbox::Config::default()
    };
    let dir: PathBuf = tempfile::tempdir().unwrap().keep();
    let sandbox = Sandbox::new(config, dir.clone(), Arc::new(MemoryDigests::default()));
    std::fs::remove_dir_all(dir).unwrap();
    Arc::new(sandbox.unwrap())
});

/// A place where a gateway runs, one life after the other.
#[derive(Debug, Default)]
pub(super) struct Slot {
    up: Mutex<Option<Life>>,
}

/// A gateway that runs.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) line: Arc<Line>,
    pub(super) ingest: Ingest,
    pub(super) deliveries: Deliveries,
    pub(super) clock: Arc<dyn Clock>,
    /// Ends it gracefully.
    pub(super) stop: CancellationToken,
    /// Ends it at once.
    pub(super) kill: CancellationToken,
}

/// What runs in it.
struct Body {
    engine: Engine,
    fan_out: FanOut,
}

impl Slot {
    /// What runs here now.
    pub(super) fn life(&self) -> Option<Life> {
        self.up.lock().clone()
    }

    /// One life after the other.
    pub(super) async fn run(&self, world: &Arc<World>, lives: &Mutex<u32>) {
        loop {
            let number = {
                let mut lives = lives.lock();
                *lives += 1;
                *lives
            };
            let (life, body) = boot(world, number);
            *self.up.lock() = Some(life.clone());
            world.truth().living.push(number);
            world.say(|| format!("life {number}: begins"));
            let how = live(&life, body).await;
            // The process is gone, and what was left of it does nothing more.
            life.line.cut();
            *self.up.lock() = None;
            world.truth().living.retain(|life| *life != number);
            world.say(|| format!("life {number}: {how}"));
            let away = Duration::from_millis(world.below(AWAY_MS));
            tokio::time::sleep(away).await;
        }
    }
}

fn boot(world: &Arc<World>, number: u32) -> (Life, Body) {
    let line = Line::new(number);
    let clock: Arc<dyn Clock> = LifeClock::boot(world);
    let store: Arc<dyn Store> = SimStore::new(world, &line);
    let metrics = Arc::new(Metrics::new());
    let receivers = Receivers {
        world: Arc::clone(world),
        line: Arc::clone(&line),
        clock: Arc::clone(&clock),
    };
    // Nobody listens: what is told is dropped.
    let (events, _) = crate::events::queue(1, Arc::clone(&metrics));
    let parts = Parts {
        store: Arc::clone(&store),
        events,
        outbound: Arc::new(OUTBOUND.leading_to(Arc::new(receivers))),
        sandbox: Arc::clone(&SANDBOX),
        vault: Arc::new(vault()),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
    };
    let (deliveries, lanes, engine) = delivery::open(world.plan.told(), parts);
    let config = world.plan.ingest.clone();
    let (ingest, fan_out) = ingest::new(config, store, Arc::clone(&clock), metrics, lanes);
    let life = Life {
        line,
        ingest,
        deliveries,
        clock,
        stop: CancellationToken::new(),
        kill: CancellationToken::new(),
    };
    (life, Body { engine, fan_out })
}

/// Runs the parts as the gateway does, to their end or to a violent one.
async fn live(life: &Life, body: Body) -> String {
    let Body { engine, fan_out } = body;
    let mut engine = tokio::spawn(engine.run(life.stop.clone()));
    let mut fan_out = tokio::spawn(fan_out.run(life.stop.clone()));
    let stop = life.stop.clone();
    let ending = async {
        let ended: Result<(), DeliveryError> = (&mut engine).await.unwrap();
        stop.cancel();
        (&mut fan_out).await.unwrap();
        ended
    };
    let ended = life.kill.run_until_cancelled(ending).await;
    match ended {
        Some(Ok(())) => "stops".to_owned(),
        Some(Err(error)) => format!("ends: {error}"),
        None => {
            life.line.cut();
            engine.abort();
            fan_out.abort();
            "is killed".to_owned()
        }
    }
}

impl World {
    /// The gateway that people reach: the one with the lanes, or any while nobody has them.
    pub(super) fn reachable(&self, slots: &[Arc<Slot>]) -> Option<Life> {
        let up: Vec<Life> = slots.iter().filter_map(|slot| slot.life()).collect();
        let up = up.into_iter().filter(|life| !life.line.is_stalled());
        let holder = self.truth().holder.as_ref().map(|holder| holder.life);
        let holder = holder.filter(|life| self.truth().lives(*life));
        let reachable: Vec<Life> = up
            .filter(|life| holder.is_none_or(|holder| holder == life.line.life))
            .collect();
        self.any(&reachable)
    }

    pub(super) fn stall(&self, life: &Life, lasts: Duration) {
        self.say(|| format!("life {}: stalls for {lasts:?}", life.line.life));
        life.line.stall_until(Instant::now() + lasts);
        self.truth().trouble_until(self.ms(), lasts);
    }
}
