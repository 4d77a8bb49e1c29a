//! A policy as text: `5s,5m,2h`, `svix` or `exponential:first=5s,factor=2,cap=12h,retries=12`, each perhaps
//! followed by `;max-age=3d`.

use std::fmt;
use std::time::Duration;

use super::{Delays, Exponential, RetryPolicy, RetryPolicyError, Schedule, millis};

/// From the largest to the smallest.
const UNITS: [(u64, &str); 4] = [(3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

const EXPONENTIAL: &str = "exponential:";
const MAX_AGE: &str = "max-age=";

impl RetryPolicy {
    /// Reads the text form; units `ms`, `s`, `m`, `h`, `d`. An empty text is a policy without retries.
    pub fn parse(text: &str) -> Result<Self, RetryPolicyError> {
        let (schedule, age) = match text.split_once(';') {
            Some((schedule, age)) => {
                let age = age.trim().strip_prefix(MAX_AGE);
                let age = age.ok_or_else(|| RetryPolicyError::UnknownForm(shortened(text)))?;
                (schedule.trim(), Some(parse_duration(age.trim())?))
            }
            None => (text.trim(), None),
        };
        let policy = match (Self::preset(schedule), schedule.strip_prefix(EXPONENTIAL)) {
            (Some(preset), _) => preset,
            (None, Some(rule)) => Self::try_new(Schedule::Exponential(exponential(rule)?))?,
            (None, None) => Self::try_new(Schedule::List(list(schedule)?))?,
        };
        policy.with_max_age(age)
    }
}

fn list(text: &str) -> Result<Vec<Duration>, RetryPolicyError> {
    // A misspelt preset should hear of presets.
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.len() > 2 {
        return Err(RetryPolicyError::UnknownForm(shortened(text)));
    }
    let steps = text.split(',').map(str::trim);
    steps
        .filter(|step| !step.is_empty())
        .map(parse_duration)
        .collect()
}

fn exponential(text: &str) -> Result<Exponential, RetryPolicyError> {
    let unknown = || RetryPolicyError::UnknownForm(format!("{EXPONENTIAL}{}", shortened(text)));
    let (mut first, mut factor, mut cap, mut retries) = (None, None, None, None);
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(unknown)?;
        let value = value.trim();
        let again = match name.trim() {
            "first" => first.replace(parse_duration(value)?).is_some(),
            "cap" => cap.replace(parse_duration(value)?).is_some(),
            "retries" => retries
                .replace(value.parse().map_err(|_| unknown())?)
                .is_some(),
            "factor" => {
                let number: f64 = value.parse().map_err(|_| unknown())?;
                factor.replace(thousandths(number)?).is_some()
            }
            _ => true,
        };
        if again {
            return Err(unknown());
        }
    }
    match (first, factor, cap, retries) {
        (Some(first), Some(factor_thousandths), Some(cap), Some(retries)) => Ok(Exponential {
            first,
            factor_thousandths,
            cap,
            retries,
        }),
        _ => Err(unknown()),
    }
}

/// A factor as an exponential schedule holds it.
pub fn thousandths(factor: f64) -> Result<u32, RetryPolicyError> {
    if !(1.0..=f64::from(RetryPolicy::MAX_FACTOR)).contains(&factor) {
        return Err(RetryPolicyError::Factor);
    }
    // In range, so nothing is cut off but the fourth decimal.
    Ok((factor * 1000.0).round() as u32)
}

/// An error names what it could not read, not a page of it.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

/// As [`RetryPolicy::parse`] reads it.
impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.delays {
            Delays::List(steps) => {
                for (index, step) in steps.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let step = display_duration(Duration::from_millis(*step));
                    write!(f, "{comma}{step}")?;
                }
            }
            Delays::Exponential(rule) => write!(
                f,
                "{EXPONENTIAL}first={},factor={},cap={},retries={}",
                display_duration(rule.first),
                f64::from(rule.factor_thousandths) / 1000.0,
                display_duration(rule.cap),
                rule.retries
            )?,
        }
        if let Some(age) = self.max_age() {
            write!(f, ";{MAX_AGE}{}", display_duration(age))?;
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

/// A duration in the largest unit that holds it whole, as [`parse_duration`] reads it.
pub fn display_duration(duration: Duration) -> String {
    let millis = millis(duration);
    let whole = UNITS
        .iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    let (unit, name) = whole.unwrap_or(&UNITS[3]);
    format!("{}{name}", millis / unit)
}

/// Reads one duration: a whole number and a unit, `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, RetryPolicyError> {
    let unreadable = || RetryPolicyError::Unreadable(shortened(text));
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
