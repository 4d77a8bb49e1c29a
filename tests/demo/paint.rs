//! Colour where a person looks on: not in a file or pipe, and not where `NO_COLOR` asks for none.

use std::io::IsTerminal;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    pub(crate) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            on: std::io::stdout().is_terminal() && !refused,
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.with(text, 1)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.with(text, 2)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.with(text, 31)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.with(text, 32)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.with(text, 33)
    }

    /// `code` of "select graphic rendition", ECMA-48 section 8.3.117.
    fn with(self, text: &str, code: u8) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
