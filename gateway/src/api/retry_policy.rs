//! A retry policy in JSON: the text of the settings, or an object. Whatever resource has one includes
//! [`RetryPolicyIn`] and [`RetryPolicyOut`] as a field `retryPolicy`; what is answered can be sent back.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{
    Exponential, RetryPolicy, RetryPolicyError, Schedule, display_duration, parse_duration,
    thousandths,
};

/// `"5s,5m,2h"`, `"svix"`, or an object with one of `preset`, `delays` and `exponential`, and perhaps a `maxAge`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RetryPolicyIn(pub(crate) RetryPolicy);

/// An object with `delays` or `exponential`, and `maxAge`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RetryPolicyOut {
    #[serde(skip_serializing_if = "Option::is_none")]
    delays: Option<Vec<Text>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exponential: Option<Rule>,
    max_age: Option<Text>,
}

/// A duration such as `90s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Text(Duration);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Rule {
    first: Text,
    factor: f64,
    cap: Text,
    retries: u16,
}

/// The object as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    preset: Option<String>,
    delays: Option<Vec<Text>>,
    exponential: Option<Rule>,
    max_age: Option<Text>,
}

#[derive(Debug, thiserror::Error)]
enum WrittenError {
    #[error("give one of `preset`, `delays` and `exponential`")]
    NotOne,
    #[error("`{0}` is not a preset; there are `standard-webhooks` and `svix`")]
    Preset(String),
    #[error(transparent)]
    Policy(#[from] RetryPolicyError),
}

impl From<&RetryPolicy> for RetryPolicyOut {
    fn from(policy: &RetryPolicy) -> Self {
        let (delays, exponential) = match policy.schedule() {
            Schedule::List(steps) => (Some(steps.into_iter().map(Text).collect()), None),
            Schedule::Exponential(rule) => (None, Some(Rule::from(rule))),
        };
        Self {
            delays,
            exponential,
            max_age: policy.max_age().map(Text),
        }
    }
}

impl From<Exponential> for Rule {
    fn from(rule: Exponential) -> Self {
        Self {
            first: Text(rule.first),
            factor: f64::from(rule.factor_thousandths) / 1000.0,
            cap: Text(rule.cap),
            retries: rule.retries,
        }
    }
}

impl TryFrom<Written> for RetryPolicy {
    type Error = WrittenError;

    fn try_from(written: Written) -> Result<Self, WrittenError> {
        let policy = match (written.preset, written.delays, written.exponential) {
            (Some(name), None, None) => {
                RetryPolicy::preset(&name).ok_or(WrittenError::Preset(name))?
            }
            (None, Some(delays), None) => {
                let delays = delays.into_iter().map(|Text(delay)| delay);
                RetryPolicy::try_new(Schedule::List(delays.collect()))?
            }
            (None, None, Some(rule)) => RetryPolicy::try_new(Schedule::Exponential(Exponential {
                first: rule.first.0,
                factor_thousandths: thousandths(rule.factor)?,
                cap: rule.cap.0,
                retries: rule.retries,
            }))?,
            _ => return Err(WrittenError::NotOne),
        };
        Ok(policy.with_max_age(written.max_age.map(|Text(age)| age))?)
    }
}

impl<'de> Deserialize<'de> for RetryPolicyIn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = RetryPolicy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a retry policy: a text such as `5s,5m,2h` or an object")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RetryPolicy, E> {
                RetryPolicy::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RetryPolicy, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                written.try_into().map_err(A::Error::custom)
            }
        }

        from.deserialize_any(Either).map(Self)
    }
}

impl Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&display_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<RetryPolicy, String> {
        let policy = serde_json::from_value::<RetryPolicyIn>(value);
        policy
            .map(|policy| policy.0)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_answered_can_be_sent_back() {
        for (written, answered) in [
            (
                json!("5s,5m"),
                json!({"delays": ["5s", "5m"], "maxAge": null}),
            ),
            (json!(""), json!({"delays": [], "maxAge": null})),
            (
                json!({"preset": "svix", "maxAge": "1d"}),
                json!({"delays": ["5s", "5m", "30m", "2h", "5h", "10h", "10h"], "maxAge": "24h"}),
            ),
            (
                json!({"exponential": {"first": "5s", "factor": 1.5, "cap": "1h", "retries": 20}}),
                json!({"exponential": {"first": "5s", "factor": 1.5, "cap": "1h", "retries": 20}, "maxAge": null}),
            ),
        ] {
            let policy = read(written).unwrap();
            let out = serde_json::to_value(RetryPolicyOut::from(&policy)).unwrap();
            assert_eq!(out, answered);
            assert_eq!(read(out), Ok(policy));
        }
    }

    #[test]
    fn what_can_not_be_is_named() {
        for (written, word) in [
            (json!({}), "one of"),
            (json!({"preset": "svix", "delays": []}), "one of"),
            (json!({"preset": "sviks"}), "sviks"),
            (json!("sviks"), "sviks"),
            (json!({"delays": ["5 s"]}), "5 s"),
            (json!({"delays": [5]}), "string"),
            (json!({"delays": ["8d"]}), "at most"),
            (
                json!({"exponential": {"first": "5s", "factor": 2, "cap": "1h"}}),
                "retries",
            ),
            (
                json!({"exponential": {"first": "5s", "factor": 0, "cap": "1h", "retries": 1}}),
                "factor",
            ),
            (json!({"preset": "svix", "maxAge": "0s"}), "maximum age"),
            (json!(5), "retry policy"),
        ] {
            let error = read(written.clone()).unwrap_err();
            assert!(error.contains(word), "{written}: {error}");
        }
    }
}
