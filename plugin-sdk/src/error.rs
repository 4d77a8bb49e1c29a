//! The error of a transform: a text, since text is all that the contract lets out of the sandbox.

use std::fmt;

/// What [`transform`](crate::Transformer::transform) returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a transform could not be done. Any standard error converts into it with `?`, its causes included.
///
/// An error leads to the chain entry's `onFailure`. Where the event is simply not wanted,
/// [`Outcome::drop`](crate::Outcome::drop) and [`Outcome::reject`](crate::Outcome::reject) say so without failing.
///
/// It is not a `std::error::Error` itself: that is what makes the conversion from every one of them possible.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    text: String,
}

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// Puts what was being done in front.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self::new(format!("{doing}: {}", self.text))
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self { text }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    // Plain text, so that a test's `unwrap` and a `main` that returns it read well.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
