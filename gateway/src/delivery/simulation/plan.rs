//! What a seed makes of a run: how many gateways, with which bounds, over how good a store.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use crate::delivery::{AutoDisable, CircuitConfig, Config, InFlight};
use crate::domain::RetryPolicy;
use crate::ingest;

/// Short ones, so that deliveries come to the end of them.
const SCHEDULES: [&str; 5] = ["", "1s", "500ms,2s", "1s,5s,30s", "200ms,200ms,200ms,1m"];

/// What is broken on purpose, to see that the laws object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// Nothing.
    None,
    /// The store answers some writes of outcomes without having done them.
    LosesOutcomes,
    /// The gateways start one attempt more than they may.
    OneTooMany,
    /// The store takes outcomes from whoever brings them.
    Unfenced,
    /// The store shows parked deliveries before they are due.
    Hasty,
    /// The store does not say which deliveries of an open message have a row.
    Forgetful,
}

/// A run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) sabotage: Sabotage,
    pub(super) gateways: usize,
    pub(super) organizations: usize,
    pub(super) applications: usize,
    pub(super) endpoints: usize,
    /// What people, machines and receivers do, one after the other.
    pub(super) happenings: u32,
    /// At most between two of them.
    pub(super) pause: Duration,
    /// What a call of the store takes at most.
    pub(super) latency: Duration,
    /// How many calls of the store fail.
    pub(super) faults: f64,
    /// How far the wall clock steps at most.
    pub(super) clock_step: Duration,
    pub(super) delivery: Config,
    pub(super) ingest: ingest::Config,
}

impl Plan {
    pub(super) fn of(seed: u64, sabotage: Sabotage) -> Self {
        let dice = &mut StdRng::seed_from_u64(seed);
        let far = dice.random_bool(0.03);
        Self {
            seed,
            sabotage,
            gateways: dice.random_range(1..=3),
            organizations: dice.random_range(1..=2),
            applications: dice.random_range(1..=3),
            endpoints: dice.random_range(2..=6),
            happenings: dice.random_range(20..=200),
            pause: Duration::from_millis(one_of(dice, &[50, 500, 3_000])),
            latency: Duration::from_millis(one_of(dice, &[0, 3, 20])),
            faults: one_of(dice, &[0.0, 0.0, 0.01, 0.1]),
            clock_step: Duration::from_secs(if far { 2 * 24 * 3600 } else { 600 }),
            delivery: delivery(dice),
            ingest: ingest::Config {
                fan_out_queue: one_of(dice, &[1, 4, 1_000]),
                ..ingest::Config::default()
            },
        }
    }

    /// What the gateways are told.
    pub(super) fn told(&self) -> Config {
        let mut told = self.delivery.clone();
        if self.sabotage == Sabotage::OneTooMany {
            told.in_flight.gateway += 1;
            told.in_flight.organization += 1;
            told.in_flight.application += 1;
            told.in_flight.endpoint_max += 1;
        }
        told
    }
}

pub(super) fn schedule(dice: &mut StdRng) -> RetryPolicy {
    RetryPolicy::parse(one_of(dice, &SCHEDULES)).unwrap()
}

pub(super) fn one_of<T: Copy>(dice: &mut StdRng, of: &[T]) -> T {
    *of.choose(dice).unwrap()
}

/// Small bounds, so that all of them are met all the time.
fn delivery(dice: &mut StdRng) -> Config {
    let gateway = dice.random_range(1..=8);
    let auto_disable = if dice.random_bool(0.2) {
        AutoDisable {
            silence_s: 60,
            failures: 3,
            spread_s: 30,
        }
    } else {
        AutoDisable::default()
    };
    Config {
        retry_schedule: schedule(dice),
        timeout_ms: dice.random_range(500..=5_000),
        slow_down_floor_ms: dice.random_range(500..=10_000),
        in_flight: InFlight {
            gateway,
            organization: dice.random_range(1..=gateway),
            application: dice.random_range(1..=gateway),
            endpoint_start: dice.random_range(1..=4),
            endpoint_max: dice.random_range(1..=6),
        },
        lane_window: dice.random_range(2..=8),
        idle_lanes: dice.random_range(0..=3),
        refills: dice.random_range(1..=3),
        in_flight_bytes: one_of(dice, &[100, 1 << 20]),
        new_bytes: one_of(dice, &[0, 1 << 20]),
        lane_queue: one_of(dice, &[1, 4, 64]),
        record_queue: one_of(dice, &[1, 4, 64]),
        record_batch: one_of(dice, &[1, 4, 64]),
        lease_ttl_ms: dice.random_range(2_000..=20_000),
        grace_ms: dice.random_range(100..=5_000),
        auto_disable,
        circuit: CircuitConfig {
            failures: one_of(dice, &[3, 10, 50]),
            first_probe_ms: dice.random_range(100..=2_000),
            longest_probe_s: dice.random_range(1..=5),
        },
        ..Config::default()
    }
}
