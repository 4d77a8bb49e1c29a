//! What a tenant's deliveries are measured with: a closed loop that finds the most that goes through, and an open one at
//! half of that.

use std::time::{Duration, Instant};

use crate::client::{self, Target, Until};
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::payload::Template;
use crate::receiver::Receiver;
use crate::report::{Cost, percentile};
use crate::usage::CpuTime;

use super::raw::Raw;

/// Callers that post. Measured: at 64 the gateway waits for the disk between its groups of messages, at 256 one endpoint
/// falls behind what is accepted for it.
pub(super) const CALLERS: usize = 128;

/// For the last delivery to come. Chosen: a gateway that needs longer has lost it.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// A tenant whose endpoints all are at one receiver.
pub(super) struct Flow<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) messages: Target,
    pub(super) receiver: &'a Receiver,
    pub(super) endpoints: u64,
    pub(super) body: Template,
    pub(super) callers: usize,
    /// What stamps count from.
    pub(super) start: Instant,
}

/// What went through a closed loop.
pub(super) struct Reached {
    /// Deliveries a second.
    pub(super) rate: f64,
    pub(super) used: Used,
}

/// CPU time of each.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) gateway: Duration,
    bench: Duration,
}

/// Times of an open loop, each from when the message was due.
pub(super) struct Times {
    /// To its answer.
    pub(super) accepts: Vec<Duration>,
    /// To its arrivals.
    pub(super) ways: Vec<Duration>,
}

impl Flow<'_> {
    /// Posts so many messages as fast as they are taken; ends with the last arrival.
    pub(super) async fn closed(&self, messages: u64) -> Result<Reached, Failure> {
        let messages = messages.max(1);
        let meter = Meter::start(self.gateway)?;
        let goal = self.receiver.count() + messages * self.endpoints;
        let began = Instant::now();
        let until = Until::Sent(messages);
        client::post(&self.messages, self.callers, until, self.start, &self.body).await?;
        self.receiver.wait_for(goal, PATIENCE).await?;
        let deliveries = messages * self.endpoints;
        let rate = deliveries as f64 / began.elapsed().as_secs_f64();
        Ok(Reached {
            rate,
            used: meter.each_of(deliveries)?,
        })
    }

    /// Posts messages for that long, evenly, for half of this rate of deliveries.
    pub(super) async fn at_half_of(&self, rate: f64, time: Duration) -> Result<Times, Failure> {
        self.receiver.take_ways();
        let rate = rate / 2.0 / self.endpoints as f64;
        let messages = ((rate * time.as_secs_f64()) as u64).max(1);
        let goal = self.receiver.count() + messages * self.endpoints;
        let accepts =
            client::post_when_due(&self.messages, rate, messages, self.start, &self.body).await?;
        self.receiver.wait_for(goal, PATIENCE).await?;
        Ok(Times {
            accepts,
            ways: self.receiver.take_ways(),
        })
    }
}

impl Times {
    /// In seconds.
    pub(super) fn way_p99(&self) -> f64 {
        let mut ways = self.ways.clone();
        ways.sort_unstable();
        percentile(&ways, 0.99).unwrap_or_default().as_secs_f64()
    }
}

impl Used {
    pub(super) fn beside(self, raw: Raw) -> Cost {
        let all = self.gateway + self.bench;
        Cost {
            gateway: self.gateway,
            bench: self.bench,
            by_cpu: raw.cpu.as_secs_f64() / all.as_secs_f64(),
        }
    }
}

/// Reads CPU times from now on.
pub(super) struct Meter<'a> {
    gateway: &'a Gateway,
    began: (CpuTime, CpuTime),
}

impl<'a> Meter<'a> {
    pub(super) fn start(gateway: &'a Gateway) -> Result<Self, Failure> {
        Ok(Self {
            gateway,
            began: (gateway.cpu()?, CpuTime::own()?),
        })
    }

    /// What was used until now, for each of so many.
    pub(super) fn each_of(self, number: u64) -> Result<Used, Failure> {
        let (gateway, bench) = self.began;
        let number = number.max(1) as f64;
        Ok(Used {
            gateway: self.gateway.cpu()?.since(gateway).div_f64(number),
            bench: CpuTime::own()?.since(bench).div_f64(number),
        })
    }
}
