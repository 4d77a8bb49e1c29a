//! Decides when a failed attempt is tried again. Pure: no clock, no I/O, no randomness of its own.
//! The worker passes the moment and a random number in, so a test can give both.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a list of delays is not a policy.
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
    /// Not a number with a unit.
    #[error("`{0}` is not a duration such as `5s`, `5m`, `2h`")]
    Unreadable(String),
}

/// The delays before the retries; the first try is immediate and not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RetryPolicy {
    /// Milliseconds each.
    steps: Vec<u64>,
}

impl RetryPolicy {
    /// Chosen: ten times the example of Standard Webhooks.
    pub const MAX_STEPS: usize = 100;
    /// Chosen: well inside the longest retention of a message (90 days).
    pub const MAX_STEP: Duration = Duration::from_secs(7 * 24 * 3600);
    /// Uniform within 20 % either way (svix-server's and our choice), so that a mended receiver is not
    /// met by everything at once.
    pub const JITTER: f64 = 0.2;

    /// Checks number and length of the steps.
    pub fn try_new(steps: &[Duration]) -> Result<Self, RetryPolicyError> {
        if steps.len() > Self::MAX_STEPS {
            return Err(RetryPolicyError::TooManySteps { given: steps.len() });
        }
        if let Some(&given) = steps.iter().find(|step| **step > Self::MAX_STEP) {
            return Err(RetryPolicyError::StepTooLong { given });
        }
        let steps = steps
            .iter()
            .map(|step| u64::try_from(step.as_millis()).unwrap_or(u64::MAX));
        Ok(Self {
            steps: steps.collect(),
        })
    }

    /// The example of Standard Webhooks 1.0.0: nine retries over 75 hours.
    pub fn standard_webhooks() -> Self {
        const SECONDS: [u64; 9] = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self {
            steps: SECONDS.map(|seconds| seconds * 1000).to_vec(),
        }
    }

    /// Reads `5s,5m,2h`; units `ms`, `s`, `m`, `h`, `d`. An empty text is a policy without retries.
    pub fn parse(text: &str) -> Result<Self, RetryPolicyError> {
        let steps = text
            .split(',')
            .map(str::trim)
            .filter(|step| !step.is_empty());
        Self::try_new(&steps.map(parse_duration).collect::<Result<Vec<_>, _>>()?)
    }

    /// How long to wait after the `tries`-th try failed (1 after the first), or none when the schedule is
    /// used up. `random` lies in 0..1.
    pub fn delay_after(&self, tries: u16, random: f64) -> Option<Duration> {
        let step = *self.steps.get(usize::from(tries).checked_sub(1)?)?;
        let factor = 1.0 + Self::JITTER * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        Some(Duration::from_millis(step).mul_f64(factor))
    }

    /// The longest wait this policy can ask for, jitter included.
    pub fn longest_step(&self) -> Duration {
        let longest = self.steps.iter().copied().max().unwrap_or(0);
        Duration::from_millis(longest).mul_f64(1.0 + Self::JITTER)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::standard_webhooks()
    }
}

/// As [`RetryPolicy::parse`] reads it, each step in the largest unit that holds it whole.
impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
        for (index, step) in self.steps.iter().enumerate() {
            let whole = UNITS.iter().find(|(unit, _)| *step > 0 && step % unit == 0);
            let (unit, name) = whole.unwrap_or(&UNITS[3]);
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}{name}", step / unit)?;
        }
        Ok(())
    }
}

impl TryFrom<String> for RetryPolicy {
    type Error = RetryPolicyError;

    fn try_from(text: String) -> Result<Self, RetryPolicyError> {
        Self::parse(&text)
    }
}

impl From<RetryPolicy> for String {
    fn from(policy: RetryPolicy) -> String {
        policy.to_string()
    }
}

/// Reads one duration: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, RetryPolicyError> {
    let unreadable = || RetryPolicyError::Unreadable(text.to_owned());
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(unreadable)?;
    let count: u64 = text[..digits].parse().map_err(|_| unreadable())?;
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(unreadable()),
    };
    count
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_and_names_what_it_cannot_read() {
        let policy = RetryPolicy::parse("5s, 5m,2h").unwrap();
        assert_eq!(policy.delay_after(1, 0.5), Some(Duration::from_secs(5)));
        assert_eq!(policy.delay_after(3, 0.5), Some(Duration::from_secs(7200)));
        assert_eq!(policy.delay_after(4, 0.5), None);
        assert_eq!(RetryPolicy::parse("").unwrap().delay_after(1, 0.5), None);
        assert_eq!(policy.to_string(), "5s,5m,2h");
        assert_eq!(
            RetryPolicy::parse("90s,1ms,0s").unwrap().to_string(),
            "90s,1ms,0ms"
        );
        for bad in [
            "5",
            "s",
            "5x",
            "-5s",
            "5s,1.5h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(RetryPolicy::parse(bad).is_err(), "{bad}");
        }
        assert!(matches!(
            RetryPolicy::parse("8d"),
            Err(RetryPolicyError::StepTooLong { .. })
        ));
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        let policy = RetryPolicy::standard_webhooks();
        for tries in 1..=9 {
            let middle = policy.delay_after(tries, 0.5).unwrap();
            for step in 0..=100 {
                let delay = policy.delay_after(tries, f64::from(step) / 100.0).unwrap();
                assert!(delay >= middle.mul_f64(0.799) && delay <= middle.mul_f64(1.201));
                assert!(delay <= policy.longest_step());
            }
        }
        assert_eq!(policy.delay_after(0, 0.5), None);
        assert_eq!(policy.delay_after(10, 0.5), None);
    }
}
