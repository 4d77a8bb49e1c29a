//! Runs of whole gateways in a world that is made up: the real scheduler, driver, worker, recorder, recovery,
//! fan-out and ingest over one store in memory, with time, network, faults and crashes drawn from a seed. One
//! thread and a clock that jumps from one thing that happens to the next, so a seed always gives the same run.
//!
//! - `plan`: what a seed makes of a run
//! - `world`, `truth`: time, chance and faults; what really happened
//! - `gateway`, `line`, `store`: lives of gateways, and all that they reach
//! - `receiver`, `happenings`: the others: receivers, tenants, people
//! - `laws`, `quiet`: what must hold at every request, and when everything has come to rest
//!
//! ```text
//! cargo test -p hookmill --lib simulation                              # the seeds of every day
//! HOOKMILL_ROUNDS=full cargo test -p hookmill --lib simulation           # thousands
//! HOOKMILL_SEED=7 cargo test -p hookmill --lib simulation -- --nocapture   # one, and what happens in it
//! ```

mod gateway;
mod happenings;
mod laws;
mod line;
mod plan;
mod quiet;
mod receiver;
mod store;
mod truth;
mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use gateway::Slot;
use happenings::People;
use plan::{Plan, Sabotage};
use world::{Trace, World};

/// The one seed to run.
const SEED: &str = "HOOKMILL_SEED";
/// Rounds of the long tests; see there.
const ROUNDS: &str = "HOOKMILL_ROUNDS";
/// Of the long form, `full`.
const FULL_ROUNDS: u64 = 20;
/// Chosen: some ten seconds in an unoptimised build.
const SEEDS: u64 = 300;
/// Chosen: a full round of tests has 20 of them.
const SEEDS_PER_ROUND: u64 = 250;

/// How long a run may take to come to rest, beside what its clocks may be off. Chosen: many times the longest
/// wait of any schedule, since a lane in order whose receiver fails waits so long for each of its deliveries.
const REST: Duration = Duration::from_secs(36_000);

/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What must not happen any more once a run has come to rest, would happen within this time.
const AFTERMATH: Duration = Duration::from_secs(120);

/// The laws that a run broke, and what happened in it.
fn run(seed: u64, sabotage: Sabotage, trace: Trace) -> (Vec<String>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(Plan::of(seed, sabotage), trace);
        world.say(|| format!("{:#?}", world.plan));
        play(&world).await;
        (world.take_broken(), world.take_trace())
    })
}

async fn play(world: &Arc<World>) {
    let slots: Vec<Arc<Slot>> = (0..world.plan.gateways).map(|_| Arc::default()).collect();
    let people = People {
        world: Arc::clone(world),
        slots: slots.clone(),
    };
    people.settle_in();
    let lives = Arc::new(Mutex::new(0));
    for slot in slots {
        let (world, lives) = (Arc::clone(world), Arc::clone(&lives));
        tokio::spawn(async move { slot.run(&world, &lives).await });
    }
    people.live().await;
    people.rest();
    let until = tokio::time::Instant::now() + REST + world.plan.clock_step * 4;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if world.is_broken() {
            return;
        }
        match world.unrest() {
            None => break,
            Some(why) if tokio::time::Instant::now() > until => return world.broken(why),
            Some(_) => {}
        }
    }
    tokio::time::sleep(AFTERMATH).await;
    match world.unrest() {
        None => world.judge_rest(),
        Some(why) => world.broken(format!("it does not stay at rest: {why}")),
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    Some(text.to_str()?.parse().expect("a number"))
}

#[test]
fn every_schedule_keeps_the_laws() {
    if let Some(seed) = number(SEED) {
        let (broken, _) = run(seed, Sabotage::None, Trace::Printed);
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        return;
    }
    let is_full = std::env::var_os(ROUNDS).is_some_and(|text| text == "full");
    let seeds = if is_full {
        FULL_ROUNDS * SEEDS_PER_ROUND
    } else {
        number(ROUNDS).map_or(SEEDS, |rounds| rounds * SEEDS_PER_ROUND)
    };
    for seed in 0..seeds {
        let (broken, _) = run(seed, Sabotage::None, Trace::Nowhere);
        assert!(
            broken.is_empty(),
            "seed {seed} breaks {broken:#?}\n\
             to see it: {SEED}={seed} cargo test -p hookmill --lib simulation::every -- --nocapture"
        );
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..5 {
        let play = || run(seed, Sabotage::None, Trace::Kept(Mutex::default())).1;
        let (first, second) = (play(), play());
        let differ = first.iter().zip(&second).find(|(a, b)| a != b);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// The laws can be broken, and are then: each of these is a fault of another kind.
#[test]
fn what_is_broken_on_purpose_is_noticed() {
    for sabotage in [
        Sabotage::LosesOutcomes,
        Sabotage::OneTooMany,
        Sabotage::Unfenced,
        Sabotage::Hasty,
        Sabotage::Forgetful,
    ] {
        let noticed = (0..50).find_map(|seed| run(seed, sabotage, Trace::Nowhere).0.pop());
        let law = noticed.unwrap_or_else(|| panic!("nobody notices {sabotage:?}"));
        println!("{sabotage:?}: {law}");
    }
}
