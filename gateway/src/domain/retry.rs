//! Decides when a failed attempt is tried again. Pure: no clock, no I/O, no randomness of its own.
//! The worker passes the moment and a random number in, so a test can give both.
//!
//! `text` is the form that settings, flags and records hold.

mod text;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Timestamp;
pub use text::{display_duration, parse_duration, thousandths};

/// Why something is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryPolicyError {
    /// More steps than any receiver needs.
    #[error("a retry schedule has at most {max} steps, not {given}", max = RetryPolicy::MAX_STEPS)]
    TooManySteps {
        /// How many there were.
        given: usize,
    },
    /// A step longer than the longest retention would outlive its message.
    #[error("a retry step lasts at most {max:?}, not {given:?}", max = RetryPolicy::MAX_STEP)]
    StepTooLong {
        /// The step.
        given: Duration,
    },
    /// More retries than any receiver needs.
    #[error("an exponential schedule has at most {max} retries, not {given}", max = RetryPolicy::MAX_RETRIES)]
    TooManyRetries {
        /// How many there were.
        given: u16,
    },
    /// A delay that does not grow is a list; one that grows faster is a slip of the pen.
    #[error("the factor of an exponential schedule is 1 to {max}", max = RetryPolicy::MAX_FACTOR)]
    Factor,
    /// A first delay of nothing never grows, and one above the cap never counts.
    #[error("the first delay of an exponential schedule is at least 1ms and at most its cap")]
    First,
    /// Nothing would be tried.
    #[error("a maximum age is at least 1ms")]
    NoAge,
    /// Not a number with a unit.
    #[error("`{0}` is not a duration such as `5s`, `5m`, `2h`")]
    Unreadable(String),
    /// Neither a preset nor a list nor an exponential schedule.
    #[error(
        "`{0}` is not a schedule: give delays such as `5s,5m,2h`, a preset (`standard-webhooks`, `svix`), or \
         `exponential:first=5s,factor=2,cap=12h,retries=12`; `;max-age=3d` may follow"
    )]
    UnknownForm(String),
}

/// The delays before the retries, and how old a delivery may get. The first try is immediate and not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryPolicy {
    delays: Delays,
    /// In milliseconds.
    max_age: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Delays {
    /// Milliseconds each.
    List(Vec<u64>),
    Exponential(Exponential),
}

/// Delays that grow by a factor up to a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exponential {
    /// Before the first retry.
    pub first: Duration,
    /// Thousandths: each delay is so many times the one before.
    pub factor_thousandths: u32,
    /// No delay is longer, jitter included.
    pub cap: Duration,
    /// How often it is tried again.
    pub retries: u16,
}

/// Delays as they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// One by one.
    List(Vec<Duration>),
    /// By a rule.
    Exponential(Exponential),
}

impl RetryPolicy {
    /// Chosen: ten times the example of Standard Webhooks.
    pub const MAX_STEPS: usize = 100;
    /// Chosen: well inside the longest retention of a message (90 days).
    pub const MAX_STEP: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Chosen: one each 5 minutes over three days and more.
    pub const MAX_RETRIES: u16 = 1_000;
    /// Chosen: from one second to the longest step in six.
    pub const MAX_FACTOR: u32 = 10;
    /// Uniform within 20 % either way (svix-server's and our choice), so that a mended receiver is not
    /// met by everything at once.
    pub const JITTER: f64 = 0.2;

    /// Checks number and length of the steps.
    pub fn try_new(schedule: Schedule) -> Result<Self, RetryPolicyError> {
        let delays = match schedule {
            Schedule::List(steps) => Delays::list(&steps)?,
            Schedule::Exponential(rule) => Delays::Exponential(rule.checked()?),
        };
        Ok(Self {
            delays,
            max_age: None,
        })
    }

    /// The same, and a delivery fails for good once it is older.
    pub fn with_max_age(self, max_age: Option<Duration>) -> Result<Self, RetryPolicyError> {
        if max_age.is_some_and(|age| age < Duration::from_millis(1)) {
            return Err(RetryPolicyError::NoAge);
        }
        Ok(Self {
            max_age: max_age.map(millis),
            ..self
        })
    }

    /// The example of Standard Webhooks 1.0.0: nine retries over 75 hours.
    pub fn standard_webhooks() -> Self {
        Self::of_seconds(&[5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400])
    }

    /// What svix-server does by default: at once, then seven retries over 28 hours.
    pub fn svix() -> Self {
        Self::of_seconds(&[5, 300, 1800, 7200, 18_000, 36_000, 36_000])
    }

    /// The policy of this name: `standard-webhooks` or `svix`.
    pub fn preset(name: &str) -> Option<Self> {
        match name {
            "standard-webhooks" => Some(Self::standard_webhooks()),
            "svix" => Some(Self::svix()),
            _ => None,
        }
    }

    fn of_seconds(seconds: &[u64]) -> Self {
        Self {
            delays: Delays::List(seconds.iter().map(|seconds| seconds * 1000).collect()),
            max_age: None,
        }
    }

    /// What it was made from.
    pub fn schedule(&self) -> Schedule {
        match &self.delays {
            Delays::List(steps) => {
                Schedule::List(steps.iter().copied().map(Duration::from_millis).collect())
            }
            Delays::Exponential(rule) => Schedule::Exponential(*rule),
        }
    }

    /// How old a delivery may get.
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age.map(Duration::from_millis)
    }

    /// When a delivery is too old to be tried that could first be tried at this moment; none: never.
    pub fn deadline(&self, since: Timestamp) -> Option<Timestamp> {
        self.max_age().map(|age| since.after(age))
    }

    /// How long to wait after the `tries`-th try failed (1 after the first), or none when the schedule is
    /// used up. `random` lies in 0..1.
    pub fn delay_after(&self, tries: u16, random: f64) -> Option<Duration> {
        let retry = tries.checked_sub(1)?;
        let (step, cap) = match &self.delays {
            Delays::List(steps) => (*steps.get(usize::from(retry))?, None),
            Delays::Exponential(rule) => (rule.step(retry)?, Some(millis(rule.cap))),
        };
        let low = Duration::from_millis(step).mul_f64(1.0 - Self::JITTER);
        let mut high = Duration::from_millis(step).mul_f64(1.0 + Self::JITTER);
        if let Some(cap) = cap {
            // Jitter at the cap goes down only, and is spread all the same.
            high = high.min(Duration::from_millis(cap));
        }
        Some(low + (high - low).mul_f64(random.clamp(0.0, 1.0)))
    }

    /// The longest wait this policy can ask for, jitter included.
    pub fn longest_step(&self) -> Duration {
        match &self.delays {
            Delays::List(steps) => {
                let longest = steps.iter().copied().max().unwrap_or(0);
                Duration::from_millis(longest).mul_f64(1.0 + Self::JITTER)
            }
            Delays::Exponential(rule) => rule.cap,
        }
    }
}

impl Delays {
    fn list(steps: &[Duration]) -> Result<Self, RetryPolicyError> {
        if steps.len() > RetryPolicy::MAX_STEPS {
            return Err(RetryPolicyError::TooManySteps { given: steps.len() });
        }
        for step in steps {
            within_longest(*step)?;
        }
        Ok(Self::List(steps.iter().copied().map(millis).collect()))
    }
}

impl Exponential {
    fn checked(self) -> Result<Self, RetryPolicyError> {
        within_longest(self.cap)?;
        if self.retries > RetryPolicy::MAX_RETRIES {
            return Err(RetryPolicyError::TooManyRetries {
                given: self.retries,
            });
        }
        if !(1_000..=1_000 * RetryPolicy::MAX_FACTOR).contains(&self.factor_thousandths) {
            return Err(RetryPolicyError::Factor);
        }
        if !(Duration::from_millis(1)..=self.cap).contains(&self.first) {
            return Err(RetryPolicyError::First);
        }
        Ok(self)
    }

    /// The delay before this retry (0: the first) in milliseconds, without jitter.
    fn step(&self, retry: u16) -> Option<u64> {
        if retry >= self.retries {
            return None;
        }
        let factor = f64::from(self.factor_thousandths) / 1000.0;
        let grown = self.first.as_secs_f64() * factor.powi(i32::from(retry));
        let capped = grown.min(self.cap.as_secs_f64());
        Some(millis(Duration::from_secs_f64(capped)))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::standard_webhooks()
    }
}

fn within_longest(given: Duration) -> Result<(), RetryPolicyError> {
    if given > RetryPolicy::MAX_STEP {
        return Err(RetryPolicyError::StepTooLong { given });
    }
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
