//! Moves the engine's epoch each millisecond while guests run, from a thread that sleeps when none does. Knows
//! nothing of guests but their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

use super::SandboxError;

/// One tick: what guests' budgets are counted in, and how long a slow one may hold a thread before it yields.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread parks. Waking it costs the next call a few microseconds, so that it
/// stays up between the calls of a busy gateway.
const IDLE_TICKS: u32 = 50;

/// The thread's handle; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug, Default)]
struct Shared {
    running: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
}

/// While this lives the epoch moves.
#[derive(Debug)]
pub(super) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(super) fn start(engine: &Engine) -> Result<Self, SandboxError> {
        let shared = Arc::new(Shared::default());
        let (engine, of_thread) = (engine.weak(), shared.clone());
        let handle = thread::Builder::new()
            .name("hookmill-epoch".into())
            .spawn(move || tick(&engine, &of_thread))
            .map_err(|error| SandboxError::Engine(error.into()))?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
        })
    }

    pub(super) fn ticking(&self) -> Ticking<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        // After the addition: the thread sets `parked` before it looks at `running`, so one of the two sees.
        if self.shared.parked.load(SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.thread.unpark();
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

fn tick(engine: &EngineWeak, shared: &Shared) {
    let mut idle = 0;
    while !shared.stop.load(SeqCst) {
        if shared.running.load(SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > IDLE_TICKS {
            shared.parked.store(true, SeqCst);
            while shared.running.load(SeqCst) == 0 && !shared.stop.load(SeqCst) {
                thread::park();
            }
            shared.parked.store(false, SeqCst);
            idle = 0;
        }
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
