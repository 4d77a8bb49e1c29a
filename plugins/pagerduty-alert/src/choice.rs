//! A choice by the value of a field: how each monitor's own words become PagerDuty's.

use std::collections::BTreeMap;

use hookmill_plugin_fields::Values;
use schemars::JsonSchema;
use serde::Deserialize;

/// What is chosen.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct Choice<T> {
    /// The field that decides: a dotted path, a JSON pointer, or `@type`.
    #[serde(default)]
    by: String,
    /// What each of its values means, in any case.
    #[serde(default)]
    values: BTreeMap<String, T>,
    /// What every other value means.
    otherwise: T,
}

impl<T: Copy> Choice<T> {
    pub(crate) fn always(otherwise: T) -> Self {
        Self {
            by: String::new(),
            values: BTreeMap::new(),
            otherwise,
        }
    }

    pub(crate) fn of(&self, values: &Values<'_>) -> T {
        let value = values.get(&self.by);
        let meant = |(name, _): &(&String, &T)| name.to_lowercase() == value.to_lowercase();
        self.values
            .iter()
            .find(meant)
            .map_or(self.otherwise, |(_, meant)| *meant)
    }
}
