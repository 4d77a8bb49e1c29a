//! Why a call failed, in words for whoever wrote the script, with the place in it.

use std::fmt;

use rquickjs::{CaughtError, Coerced, Ctx};

/// What scripts are called in stacks.
pub(crate) const FILE: &str = "script.js";

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error of a call.
#[derive(Debug)]
pub(crate) enum Error {
    /// An exception of the engine's; [`Catch::caught`] makes words of it.
    Thrown(rquickjs::Error),
    /// Final words.
    Said(String),
}

impl Error {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said(text.into())
    }
}

impl From<rquickjs::Error> for Error {
    fn from(error: rquickjs::Error) -> Self {
        Self::Thrown(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thrown(error) => error.fmt(f),
            Self::Said(text) => f.write_str(text),
        }
    }
}

/// Takes the exception that is pending, while there still is a context to ask.
pub(crate) trait Catch<T> {
    fn caught(self, ctx: &Ctx<'_>) -> Result<T>;
}

impl<T, E: Into<Error>> Catch<T> for std::result::Result<T, E> {
    fn caught(self, ctx: &Ctx<'_>) -> Result<T> {
        self.map_err(|error| match error.into() {
            Error::Thrown(error) => Error::Said(words(CaughtError::from_error(ctx, error))),
            said => said,
        })
    }
}

/// `TypeError: not a function (line 3, column 9)`.
fn words(caught: CaughtError<'_>) -> String {
    match caught {
        CaughtError::Error(error) => error.to_string(),
        CaughtError::Value(value) => match value.get::<Coerced<String>>() {
            Ok(text) => format!("thrown: {}", text.0),
            Err(_) => "something that is no text was thrown".to_owned(),
        },
        CaughtError::Exception(exception) => {
            let name: Option<String> = exception.as_object().get("name").ok();
            let message = exception.message().unwrap_or_default();
            let name = name.unwrap_or_else(|| "Error".to_owned());
            let text = if message.is_empty() {
                name
            } else {
                format!("{name}: {message}")
            };
            match exception.stack().as_deref().and_then(place) {
                Some((line, column)) => format!("{text} (line {line}, column {column})"),
                None => text,
            }
        }
    }
}

/// The innermost place within the script that a stack names.
fn place(stack: &str) -> Option<(u32, u32)> {
    let start = format!("{FILE}:");
    stack.split(&*start).skip(1).find_map(|rest| {
        let end = |c: char| !c.is_ascii_digit();
        let (line, rest) = rest.split_once(':')?;
        let column = rest.split(end).next()?;
        Some((line.parse().ok()?, column.parse().ok()?))
    })
}
