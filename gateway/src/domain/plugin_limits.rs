//! How much the plugins of an organization or application may use. Pure figures: what is not said is for the next
//! wider to say, the application before its organization, the organization before the gateway.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum PluginLimit {
    /// Bytes of an upload.
    ModuleBytes,
    /// Plugins of the organization, or of the application.
    Plugins,
    /// Versions of one plugin.
    Versions,
    /// Seconds of CPU to compile an upload.
    CompileSeconds,
    /// Milliseconds that a call may hold a thread.
    CallMs,
    /// Bytes of a call's memory.
    MemoryBytes,
    /// Bytes of payload that a plugin may deliver.
    OutputBytes,
    /// Bytes of log text kept of a call.
    LogBytes,
    /// CPU time of all calls together, in percent of one core: past it they wait.
    CpuPercent,
}

/// Figures for some of the limits; none of them is zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginLimits(BTreeMap<PluginLimit, NonZeroU64>);

/// There is no limit of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no limit `{0}`; there are {names}", names = names())]
pub struct NoSuchLimit(String);

impl PluginLimit {
    /// Each with its name in settings and records, and in the API.
    const NAMES: [(Self, &'static str, &'static str); 9] = [
        (Self::ModuleBytes, "module_bytes", "moduleBytes"),
        (Self::Plugins, "plugins", "plugins"),
        (Self::Versions, "versions", "versions"),
        (Self::CompileSeconds, "compile_seconds", "compileSeconds"),
        (Self::CallMs, "call_ms", "callMs"),
        (Self::MemoryBytes, "memory_bytes", "memoryBytes"),
        (Self::OutputBytes, "output_bytes", "outputBytes"),
        (Self::LogBytes, "log_bytes", "logBytes"),
        (Self::CpuPercent, "cpu_percent", "cpuPercent"),
    ];

    fn names(self) -> (&'static str, &'static str) {
        let mut names = Self::NAMES.into_iter();
        let of_this = names.find(|(limit, ..)| *limit == self);
        let (_, setting, field) = of_this.expect("every limit has a row in the table");
        (setting, field)
    }

    /// Its name in the API.
    pub fn field(self) -> &'static str {
        self.names().1
    }
}

fn names() -> String {
    PluginLimit::NAMES.map(|(.., field)| field).join(", ")
}

impl TryFrom<String> for PluginLimit {
    type Error = NoSuchLimit;

    fn try_from(name: String) -> Result<Self, NoSuchLimit> {
        let mut names = Self::NAMES.into_iter();
        let found = names.find(|(_, setting, field)| *setting == name || *field == name);
        found.map(|(limit, ..)| limit).ok_or(NoSuchLimit(name))
    }
}

impl From<PluginLimit> for &'static str {
    fn from(limit: PluginLimit) -> Self {
        limit.names().0
    }
}

impl PluginLimits {
    /// The figure of a limit; none: the next wider decides.
    pub fn get(&self, limit: PluginLimit) -> Option<u64> {
        self.0.get(&limit).map(|figure| figure.get())
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every figure, in one order.
    pub fn iter(&self) -> impl Iterator<Item = (PluginLimit, u64)> {
        self.0.iter().map(|(limit, figure)| (*limit, figure.get()))
    }

    /// Sets a figure, or leaves it to the next wider.
    pub fn set(&mut self, limit: PluginLimit, figure: Option<NonZeroU64>) {
        match figure {
            Some(figure) => self.0.insert(limit, figure),
            None => self.0.remove(&limit),
        };
    }

    /// These, and those of the next wider where these say nothing.
    #[must_use]
    pub fn or(&self, wider: &Self) -> Self {
        let mut both = wider.0.clone();
        both.extend(&self.0);
        Self(both)
    }

    /// None of them above what `most` says of it.
    #[must_use]
    pub fn within(&self, most: &Self) -> Self {
        let least = |(limit, figure): (&PluginLimit, &NonZeroU64)| {
            let most = most.0.get(limit).unwrap_or(figure);
            (*limit, *figure.min(most))
        };
        Self(self.0.iter().map(least).collect())
    }
}

impl FromIterator<(PluginLimit, u64)> for PluginLimits {
    /// A zero is taken for one, which allows as little.
    fn from_iter<I: IntoIterator<Item = (PluginLimit, u64)>>(figures: I) -> Self {
        let figures = figures.into_iter();
        let some = |(limit, figure)| (limit, NonZeroU64::new(figure).unwrap_or(NonZeroU64::MIN));
        Self(figures.map(some).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(figures: &[(PluginLimit, u64)]) -> PluginLimits {
        figures.iter().copied().collect()
    }

    #[test]
    fn the_narrower_decides_within_the_most() {
        use PluginLimit::{CallMs, MemoryBytes, OutputBytes};
        let app = limits(&[(CallMs, 5), (OutputBytes, 900)]);
        let org = limits(&[(CallMs, 7), (MemoryBytes, 30)]);
        let most = limits(&[(CallMs, 50), (MemoryBytes, 20), (OutputBytes, 1_000)]);
        let in_force = app.or(&org).or(&most).within(&most);
        let expected = limits(&[(CallMs, 5), (MemoryBytes, 20), (OutputBytes, 900)]);
        assert_eq!(in_force, expected);
    }

    #[test]
    fn both_names_are_read_and_one_is_written() {
        for (limit, setting, field) in PluginLimit::NAMES {
            let expected = limits(&[(limit, 3)]);
            for name in [setting, field] {
                let read: PluginLimits =
                    serde_json::from_str(&format!("{{\"{name}\":3}}")).unwrap();
                assert_eq!(read, expected);
            }
            let written = serde_json::to_string(&expected).unwrap();
            assert_eq!(written, format!("{{\"{setting}\":3}}"));
            assert_eq!(limit.field(), field);
        }
        for wrong in [r#"{"memory":1}"#, r#"{"call_ms":0}"#] {
            assert!(serde_json::from_str::<PluginLimits>(wrong).is_err());
        }
    }
}
