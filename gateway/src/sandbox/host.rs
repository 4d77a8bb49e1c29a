//! The host side of `wit/hookmill.wit`: the generated bindings, and what a guest can reach through them, which is
//! a log. Anything added here is reachable by every tenant's code.

use serde::{Deserialize, Serialize};
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use super::meter::Guest;

pub(super) use bindings::PluginPre;
pub(super) use bindings::exports::hookmill::plugin::transformer::{Event, Manifest, Outcome};
pub(super) use bindings::hookmill::plugin::types::HeaderParam;

#[allow(
    missing_debug_implementations,
    unreachable_pub,
    unsafe_code,
    clippy::unwrap_used,
    reason = "generated from the contract"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        exports: { default: async },
        // What goes to a guest is lent, not copied once more.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// A line that a plugin wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    pub level: LogLevel,
    pub text: String,
}

/// The weight of a line, as the plugin gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The lines of one call, up to a number of lines and bytes.
#[derive(Debug)]
pub(super) struct LogBook {
    pub(super) lines: Vec<LogLine>,
    pub(super) truncated: bool,
    lines_left: usize,
    bytes_left: usize,
}

impl LogBook {
    pub(super) fn new(lines: usize, bytes: usize) -> Self {
        Self {
            lines: Vec::new(),
            truncated: false,
            lines_left: lines,
            bytes_left: bytes,
        }
    }

    fn write(&mut self, level: LogLevel, mut text: String) {
        if self.lines_left == 0 || (self.bytes_left == 0 && !text.is_empty()) {
            self.truncated = true;
            return;
        }
        if text.len() > self.bytes_left {
            text.truncate(text.floor_char_boundary(self.bytes_left));
            text.shrink_to_fit();
            self.truncated = true;
        }
        self.lines_left -= 1;
        self.bytes_left -= text.len();
        self.lines.push(LogLine { level, text });
    }
}

impl bindings::hookmill::plugin::types::Host for Guest {}

impl bindings::hookmill::plugin::log::Host for Guest {
    fn write(&mut self, level: bindings::hookmill::plugin::log::Level, text: String) {
        use bindings::hookmill::plugin::log::Level;
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log.write(level, text);
    }
}

/// The imports of the world `plugin`, and no others.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    bindings::Plugin::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bytes_are_capped() {
        let mut log = LogBook::new(2, 5);
        log.write(LogLevel::Info, "abc".into());
        log.write(LogLevel::Info, "dä".into());
        log.write(LogLevel::Info, String::new());
        assert_eq!(
            log.lines
                .iter()
                .map(|l| l.text.as_str())
                .collect::<Vec<_>>(),
            ["abc", "d"]
        );
        assert!(log.truncated);
    }
}
