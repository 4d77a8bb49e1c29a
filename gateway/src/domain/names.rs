//! Names that users give: uids, event types, channels, plugin names. One alphabet for all of them,
//! `^[a-zA-Z0-9\-_.]+$` with at most 256 characters, as the Svix v1 contract has it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest uid, event type or plugin name, in characters (Svix v1 contract).
pub(super) const MAX_NAME: usize = 256;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("must not be empty")]
    Empty,
    /// Over the limit.
    #[error("must have at most {MAX_NAME} characters")]
    TooLong,
    /// A character outside the alphabet.
    #[error("may only hold letters, digits, `-`, `_` and `.`")]
    Alphabet,
}

/// A name chosen by the user: letters, digits, `-`, `_`, `.`; 1 to 256 of them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Uid(String);

impl Uid {
    /// Checks length and alphabet.
    pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        {
            return Err(NameError::Alphabet);
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Uid {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> String {
        uid.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_and_length() {
        assert_eq!(
            Uid::parse("user.sign-up_2").unwrap().as_str(),
            "user.sign-up_2"
        );
        assert_eq!(Uid::parse(""), Err(NameError::Empty));
        assert_eq!(Uid::parse("a b"), Err(NameError::Alphabet));
        assert_eq!(Uid::parse("é"), Err(NameError::Alphabet));
        assert_eq!(Uid::parse("a".repeat(257)), Err(NameError::TooLong));
    }
}
