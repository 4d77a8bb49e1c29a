//! Lines that the gateway keeps with the attempt. In a native test they are kept by [`crate::testing::run`].
//!
//! Use the macros [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn) and
//! [`error!`](crate::error). The gateway keeps 64 lines and 8 KiB a call by default and leaves out the rest.

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes one line; the macros are shorter.
pub fn write(level: Level, text: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::guest::write_log(level, text);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::capture(level, text);
}

/// Logs at level debug; arguments as for `format!`.
#[macro_export]
macro_rules! debug {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Debug, &::std::format!($($argument)+))
    };
}

/// Logs at level info; arguments as for `format!`.
#[macro_export]
macro_rules! info {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Info, &::std::format!($($argument)+))
    };
}

/// Logs at level warn; arguments as for `format!`.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Warn, &::std::format!($($argument)+))
    };
}

/// Logs at level error; arguments as for `format!`. Logging an error does not fail the transform.
#[macro_export]
macro_rules! error {
    ($($argument:tt)+) => {
        $crate::log::write($crate::log::Level::Error, &::std::format!($($argument)+))
    };
}
