//! What ties one life of a gateway to the world: its clock, and a line that everything it says or hears goes
//! over. A crash cuts the line, so that a life that has ended does nothing more; a stall holds it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::world::World;
use crate::domain::{Clock, Timestamp};

/// The line of one life.
#[derive(Debug)]
pub(super) struct Line {
    /// Which life, counted over all gateways.
    pub(super) life: u32,
    cut: AtomicBool,
    stalled_until: Mutex<Instant>,
}

impl Line {
    pub(super) fn new(life: u32) -> Arc<Self> {
        Arc::new(Self {
            life,
            cut: AtomicBool::new(false),
            stalled_until: Mutex::new(Instant::now()),
        })
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }

    pub(super) fn stall_until(&self, until: Instant) {
        *self.stalled_until.lock() = until;
    }

    pub(super) fn is_stalled(&self) -> bool {
        *self.stalled_until.lock() > Instant::now()
    }

    /// Takes its time; never ends once the line is cut.
    pub(super) async fn pass(&self, world: &World) {
        self.travel(world).await;
        if self.is_cut() {
            std::future::pending().await
        }
    }

    /// The same for what is on its way already: it may arrive although the line is cut behind it.
    pub(super) async fn travel(&self, world: &World) {
        let latency = world.latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        loop {
            let until = *self.stalled_until.lock();
            if until <= Instant::now() || self.is_cut() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// The clock of one life: what the wall said at its start, and what has passed since.
#[derive(Debug)]
pub(super) struct LifeClock {
    pub(super) world: Arc<World>,
    pub(super) booted: Instant,
    pub(super) wall_at_boot: Timestamp,
}

impl LifeClock {
    pub(super) fn boot(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            booted: Instant::now(),
            wall_at_boot: world.wall(),
        })
    }
}

impl Clock for LifeClock {
    fn now(&self) -> Timestamp {
        self.wall_at_boot.after(self.booted.elapsed())
    }

    fn wall(&self) -> Timestamp {
        self.world.wall()
    }
}
