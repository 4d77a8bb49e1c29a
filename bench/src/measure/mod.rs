//! A file for each measured thing, and the order of a round. Baselines come first in every round: what follows is
//! compared with them.

mod accept;
mod deliver;
mod disk;
mod latency;
mod plugin;
mod raw;

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Failure;
use crate::gateway::Gateway;
use crate::report::Report;

/// How long and how often. Chosen so that a quick round takes about a minute on two cores, and all rounds of a full run
/// about ten minutes.
#[derive(Debug)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Of each closed loop and of the open one.
    pub(crate) time: Duration,
    /// Deliveries of each delivery figure, over all its endpoints.
    pub(crate) deliveries: u64,
    /// Calls of the plugin, in the sandbox and natively.
    pub(crate) calls: usize,
}

impl Effort {
    pub(crate) const QUICK: Self = Self {
        rounds: 1,
        time: Duration::from_secs(3),
        deliveries: 10_000,
        calls: 2_000,
    };
    pub(crate) const FULL: Self = Self {
        rounds: 5,
        time: Duration::from_secs(5),
        deliveries: 40_000,
        calls: 10_000,
    };
}

/// One round, with a gateway and a data directory of its own.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    pub(crate) effort: &'a Effort,
    pub(crate) gateway: &'a Path,
    pub(crate) plugins: &'a Path,
    pub(crate) disk: &'a Path,
    pub(crate) report: &'a mut Report,
}

/// This round's baselines.
#[derive(Clone, Copy, Debug)]
struct Baseline {
    /// Posts a second of the raw client.
    raw: f64,
    /// Syncs a second of the disk.
    syncs: f64,
}

impl Round<'_> {
    pub(crate) async fn run(&mut self, only: &[String]) -> Result<(), Failure> {
        let wanted = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
        let start = Instant::now();
        let baseline = Baseline {
            raw: raw::run(self, start).await?,
            syncs: disk::run(self)?,
        };
        if wanted("plugin") {
            plugin::run(self).await?;
        }
        if wanted("accept") || wanted("deliver") || wanted("latency") {
            let gateway = Gateway::start(self.gateway, self.disk).await?;
            if wanted("accept") {
                accept::run(self, &gateway, baseline, start).await?;
            }
            if wanted("deliver") {
                deliver::run(self, &gateway, baseline, start).await?;
            }
            if wanted("latency") {
                latency::run(self, &gateway, start).await?;
            }
            gateway.stop().await?;
        }
        Ok(())
    }
}
