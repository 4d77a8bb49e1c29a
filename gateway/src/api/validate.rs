//! What makes a request's value wrong, and where: faults are gathered, so that a caller hears of all at once.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize};

use super::error::ApiError;
use crate::domain::Uid;

/// Longest name of a channel, in characters (Svix v1 contract).
const MAX_CHANNEL: usize = 128;

/// Longest tag, in characters. Chosen: that of a name.
const MAX_TAG: usize = 256;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The way to it: `body`, `query`, `path` or `header`, then names and indices.
    pub loc: Vec<String>,
    /// What is wrong, for people.
    pub msg: String,
    /// What is wrong, for programs.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Fault {
    pub(crate) fn new<S: Into<String>>(
        loc: impl IntoIterator<Item = S>,
        msg: impl Into<String>,
    ) -> Self {
        Self {
            loc: loc.into_iter().map(Into::into).collect(),
            msg: msg.into(),
            kind: "value_error",
        }
    }
}

/// Gathers faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub(crate) fn add<S: Into<String>>(
        &mut self,
        loc: impl IntoIterator<Item = S>,
        msg: impl Into<String>,
    ) {
        self.0.push(Fault::new(loc, msg));
    }

    /// Notes a fault of a field of the body, unless it holds.
    pub(crate) fn check(&mut self, holds: bool, field: &str, msg: impl Display) {
        if !holds {
            self.add(["body", field], msg.to_string());
        }
    }

    /// Fails if there are any.
    pub(crate) fn none(self) -> Result<(), ApiError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ApiError::Invalid(self.0))
        }
    }

    /// A set of names that is either absent or has `1..=most` of them.
    pub(crate) fn names(&mut self, names: Option<&BTreeSet<Uid>>, field: &str, most: usize) {
        let Some(names) = names else { return };
        self.check(
            !names.is_empty(),
            field,
            "must not be empty; leave it out for all",
        );
        self.check(
            names.len() <= most,
            field,
            format!("must have at most {most} entries"),
        );
    }

    /// Channels: [`Self::names`], and shorter names.
    pub(crate) fn channels(&mut self, names: Option<&BTreeSet<Uid>>, most: usize) {
        self.names(names, "channels", most);
        let short = |name: &Uid| name.as_str().len() <= MAX_CHANNEL;
        self.check(
            names.is_none_or(|names| names.iter().all(short)),
            "channels",
            format!("a channel has at most {MAX_CHANNEL} characters"),
        );
    }

    /// Tags: up to `most`, none of them empty or long.
    pub(crate) fn tags(&mut self, tags: Option<&BTreeSet<String>>, most: usize) {
        let Some(tags) = tags else { return };
        self.check(
            tags.len() <= most,
            "tags",
            format!("must have at most {most} entries"),
        );
        let fits = |tag: &String| (1..=MAX_TAG).contains(&tag.chars().count());
        self.check(
            tags.iter().all(fits),
            "tags",
            format!("a tag has 1 to {MAX_TAG} characters"),
        );
    }

    /// Free key-value pairs within so many bytes.
    pub(crate) fn metadata(&mut self, metadata: &BTreeMap<String, String>, most: usize) {
        let bytes: usize = metadata
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        self.check(
            bytes <= most,
            "metadata",
            format!("must have at most {most} bytes"),
        );
    }

    /// A rate of at least one.
    pub(crate) fn rate(&mut self, rate: Option<impl Into<u32>>) {
        let some = rate.is_none_or(|rate| rate.into() > 0);
        self.check(some, "throttleRate", "must be at least 1");
    }

    /// A text of `1..=most` characters.
    pub(crate) fn text(&mut self, text: &str, field: &str, most: usize) {
        self.check(!text.is_empty(), field, "must not be empty");
        self.at_most(text, field, most);
    }

    /// A text of at most so many characters.
    pub(crate) fn at_most(&mut self, text: &str, field: &str, most: usize) {
        self.check(
            text.chars().count() <= most,
            field,
            format!("must have at most {most} characters"),
        );
    }

    /// One value under its name and its name in the other generation of clients: the one that is given.
    pub(crate) fn either<T: PartialEq>(
        &mut self,
        value: Option<T>,
        field: &str,
        other: Option<T>,
        other_field: &str,
    ) -> Option<T> {
        match (value, other) {
            (Some(value), Some(other)) => {
                let msg = format!("differs from `{other_field}`, which is the same setting");
                self.check(value == other, field, msg);
                Some(value)
            }
            (value, other) => value.or(other),
        }
    }
}

/// For `#[serde(deserialize_with = …)]`: a text that may not be empty, told with the other faults of reading.
pub(crate) fn not_empty<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        Err(D::Error::custom("must not be empty"))
    } else {
        Ok(text)
    }
}
