//! The world of one run: time, chance, the store that all gateways share, and what is noted about all of it.
//! Single-threaded; the locks are there because what the gateways are made of asks for them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::{Mutex, MutexGuard};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use super::plan::Plan;
use super::truth::Truth;
use crate::domain::{Clock, Timestamp};
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoreError};

/// What the wall shows when a run begins.
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// Distinguishes the world's dice from the plan's.
const DICE: u64 = 0x5eed;

#[derive(Debug)]
pub(super) struct World {
    pub(super) plan: Plan,
    /// The store itself: what the world reads and changes it does without delay or fault.
    pub(super) store: Arc<dyn Store>,
    began: Instant,
    state: Mutex<State>,
    truth: Mutex<Truth>,
    trace: Trace,
}

#[derive(Debug)]
struct State {
    dice: StdRng,
    /// Milliseconds by which the wall clock is off.
    wall_off: i64,
    /// The store answers nobody until then.
    outage_until: Instant,
    /// Nothing breaks any more.
    calm: bool,
    /// Laws that were broken.
    broken: Vec<String>,
}

/// What happened, in order.
#[derive(Debug)]
pub(super) enum Trace {
    Nowhere,
    Printed,
    Kept(Mutex<Vec<String>>),
}

/// Time since the run began, on a clock that nobody steps.
#[derive(Debug)]
struct WorldClock(Instant);

impl World {
    pub(super) fn new(plan: Plan, trace: Trace) -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self {
            store: Arc::new(MemoryStore::new(Arc::new(WorldClock(began)))),
            began,
            state: Mutex::new(State {
                dice: StdRng::seed_from_u64(plan.seed ^ DICE),
                wall_off: 0,
                outage_until: began,
                calm: false,
                broken: Vec::new(),
            }),
            truth: Mutex::new(Truth::default()),
            trace,
            plan,
        })
    }

    // --- time --------------------------------------------------------------------------------------

    /// Milliseconds since the run began.
    pub(super) fn ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    pub(super) fn wall(&self) -> Timestamp {
        let steady = START.after(self.began.elapsed());
        Timestamp::from_millis(
            steady
                .millis()
                .saturating_add_signed(self.state.lock().wall_off),
        )
    }

    pub(super) fn step_wall_clock(&self, by: i64) {
        self.say(|| format!("the wall clock steps by {by} ms"));
        self.state.lock().wall_off += by;
    }

    // --- chance ------------------------------------------------------------------------------------

    pub(super) fn dice<T>(&self, throw: impl FnOnce(&mut StdRng) -> T) -> T {
        throw(&mut self.state.lock().dice)
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.dice(|dice| dice.random_range(0..end.max(1)))
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.dice(|dice| dice.random_bool(probability))
    }

    /// One of these; none if there is none.
    pub(super) fn any<T: Clone>(&self, of: &[T]) -> Option<T> {
        let last = u64::try_from(of.len()).unwrap().checked_sub(1)?;
        let place = self.below(last + 1);
        of.get(usize::try_from(place).unwrap()).cloned()
    }

    /// How long something takes between a gateway and the world.
    pub(super) fn latency(&self) -> Duration {
        let most = u64::try_from(self.plan.latency.as_millis()).unwrap();
        if most == 0 || self.chance(0.5) {
            return Duration::ZERO;
        }
        Duration::from_millis(self.below(most + 1))
    }

    // --- faults ------------------------------------------------------------------------------------

    pub(super) fn begin_outage(&self, lasts: Duration) {
        self.say(|| format!("the store is away for {lasts:?}"));
        self.state.lock().outage_until = Instant::now() + lasts;
        self.truth().trouble_until(self.ms(), lasts);
    }

    /// Whether this call of the store fails.
    pub(super) fn store_fault(&self) -> Option<StoreError> {
        let mut state = self.state.lock();
        if state.outage_until > Instant::now() {
            return Some(StoreError::Closed);
        }
        if state.calm || !state.dice.random_bool(self.plan.faults) {
            return None;
        }
        Some(match state.dice.random_range(0..3) {
            0 => StoreError::Busy,
            1 => StoreError::Closed,
            _ => StoreError::Backend("a fault of the simulated disk".into()),
        })
    }

    pub(super) fn calm_down(&self) {
        self.state.lock().calm = true;
    }

    // --- what is known -----------------------------------------------------------------------------

    pub(super) fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock()
    }

    pub(super) fn broken(&self, law: String) {
        self.say(|| format!("BROKEN: {law}"));
        self.state.lock().broken.push(law);
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.state.lock().broken.is_empty()
    }

    pub(super) fn take_broken(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().broken)
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        let line = || format!("{:>9} {}", self.ms(), what());
        match &self.trace {
            Trace::Nowhere => {}
            Trace::Printed => println!("{}", line()),
            Trace::Kept(lines) => lines.lock().push(line()),
        }
    }

    pub(super) fn take_trace(&self) -> Vec<String> {
        match &self.trace {
            Trace::Kept(lines) => std::mem::take(&mut lines.lock()),
            _ => Vec::new(),
        }
    }
}

/// What the store in memory answers at once.
pub(super) fn at_once<T>(asked: impl Future<Output = Result<T, StoreError>>) -> T {
    let answer = asked.now_or_never();
    answer.expect("the store in memory never waits").unwrap()
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        START.after(self.0.elapsed())
    }

    fn wall(&self) -> Timestamp {
        self.now()
    }
}
