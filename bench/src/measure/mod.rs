//! A file for each measured thing, and the order of a round. The raw client is measured before and after whatever is
//! compared with it, since a machine's speed drifts.
//!
//! - `raw`, `disk`: baselines
//! - `plugin`, `accept`, `deliver`, `latency`: the gateway alone with its work
//! - `sweep`: against the number of endpoints and the size of a payload
//! - `backlog`: beside a million deliveries that wait, and against their number
//! - `fairness`: a healthy endpoint beside neighbours of several kinds
//! - `flow`: what one tenant's deliveries are measured with

mod accept;
mod backlog;
mod deliver;
mod disk;
mod fairness;
mod flow;
mod latency;
mod plugin;
mod raw;
mod sweep;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::gateway::Gateway;
use crate::report::Report;
use raw::Raw;

/// How long and how often. Chosen so that a quick run takes under two minutes on two cores, and a full one under twenty.
#[derive(Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Rounds of the sweeps, of these.
    pub(crate) sweeps: usize,
    /// Of each closed loop and of each open one.
    pub(crate) time: Duration,
    /// Of each measurement of the raw client, of which there are many.
    pub(crate) raw: Duration,
    /// Deliveries of each delivery figure, over all its endpoints.
    pub(crate) deliveries: u64,
    /// Calls of the plugin, in the sandbox and natively.
    pub(crate) calls: usize,
    /// Deliveries that wait, one after the other.
    pub(crate) backlogs: &'static [u64],
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        sweeps: 1,
        time: Duration::from_millis(1_300),
        raw: Duration::from_millis(400),
        deliveries: 5_000,
        calls: 2_000,
        backlogs: &[0, 10_000, 100_000],
    };
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        sweeps: 3,
        time: Duration::from_secs(4),
        raw: Duration::from_millis(1_500),
        deliveries: 40_000,
        calls: 10_000,
        backlogs: &[0, 10_000, 100_000, 1_000_000],
    };
}

/// One round, with gateways and data directories of its own.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) effort: &'a Effort,
    /// Counted from 0.
    pub(crate) number: usize,
    pub(crate) gateway: &'a Path,
    pub(crate) plugins: &'a Path,
    pub(crate) disk: &'a Path,
    pub(crate) report: &'a mut Report,
    /// The raw client as it was measured last.
    pub(crate) raw: Option<Raw>,
    /// What stamps count from.
    pub(crate) start: Instant,
}

impl Round<'_> {
    pub(crate) async fn run(&mut self, only: &[String]) -> Result<(), Failure> {
        let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        if wanted("plugin") {
            plugin::run(self).await?;
        }
        if wanted("accept") || wanted("deliver") || wanted("latency") {
            let mut gateway = Gateway::start(self.gateway, self.disk).await?;
            if wanted("accept") {
                accept::run(self, &gateway).await?;
            }
            if wanted("deliver") {
                deliver::run(self, &gateway).await?;
            }
            if wanted("latency") {
                latency::run(self, &gateway).await?;
            }
            gateway.stop(crate::gateway::End::Clean).await?;
        }
        if wanted("sweep") && self.number < self.effort.sweeps {
            sweep::run(self).await?;
        }
        if wanted("fairness") {
            fairness::run(self).await?;
        }
        // Takes minutes to build, so it is built once and measured several times.
        if wanted("backlog") && self.number == 0 {
            backlog::run(self).await?;
        }
        Ok(())
    }
}
