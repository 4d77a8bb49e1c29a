//! Colours, where they help: on a terminal, unless who sits there wants none.

use std::borrow::Cow;

const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Paints, or leaves as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    wanted: bool,
}

impl Paint {
    /// Colours for a terminal, unless `NO_COLOR` is set and not empty (no-color.org).
    pub(super) fn for_terminal(is_terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::new(is_terminal && !refused)
    }

    pub(super) const fn new(wanted: bool) -> Self {
        Self { wanted }
    }

    pub(super) fn good(self, text: &str) -> Cow<'_, str> {
        self.paint(GREEN, text)
    }

    pub(super) fn bad(self, text: &str) -> Cow<'_, str> {
        self.paint(RED, text)
    }

    /// A line of a unified diff by its first letter.
    pub(super) fn of_diff(self, line: &str) -> Cow<'_, str> {
        match line.bytes().next() {
            Some(b'-') => self.paint(RED, line),
            Some(b'+') => self.paint(GREEN, line),
            Some(b'@') => self.paint(CYAN, line),
            _ => Cow::Borrowed(line),
        }
    }

    fn paint<'a>(self, colour: &str, text: &'a str) -> Cow<'a, str> {
        if self.wanted {
            Cow::Owned(format!("\x1b[{colour}m{text}\x1b[0m"))
        } else {
            Cow::Borrowed(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_diff_have_their_colours() {
        let paint = Paint::new(true);
        assert_eq!(paint.of_diff("-a"), "\x1b[31m-a\x1b[0m");
        assert_eq!(paint.of_diff("+a"), "\x1b[32m+a\x1b[0m");
        assert_eq!(paint.of_diff(" a"), " a");
        assert_eq!(Paint::new(false).of_diff("-a"), "-a");
        assert_eq!(Paint::for_terminal(false).bad("FAIL"), "FAIL");
    }
}
