//! The query string, read by name: a list may be repeated or separated by commas, an empty value is none, and
//! what is unknown is ignored. Faults are gathered until [`QueryParams::done`]. Pure.

use axum::extract::FromRequestParts;
use http::request::Parts;
use std::convert::Infallible;

use super::error::ApiError;
use super::validate::Faults;
use crate::domain::{Timestamp, Uid};

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct QueryParams {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl<S: Sync> FromRequestParts<S> for QueryParams {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl QueryParams {
    /// Reads a query string; bytes that are not UTF-8 read as the replacement character.
    pub(crate) fn parse(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        Self {
            pairs,
            faults: Faults::default(),
        }
    }

    /// Fails if anything read so far was wrong.
    pub(crate) fn done(self) -> Result<(), ApiError> {
        self.faults.none()
    }

    /// Notes a fault of this parameter.
    pub(crate) fn fault(&mut self, name: &str, msg: impl Into<String>) {
        self.faults.add(["query", name], msg);
    }

    /// The text of a parameter; the last one if it is repeated.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter read by `read`, which says what is wrong with it.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(self.text(name)?) {
            Ok(value) => Some(value),
            Err(msg) => {
                self.fault(name, msg);
                None
            }
        }
    }

    /// A switch.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        self.read(name, |text| match text {
            "true" | "True" | "1" => Ok(true),
            "false" | "False" | "0" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
        .unwrap_or(default)
    }

    /// A moment in RFC 3339.
    pub(crate) fn moment(&mut self, name: &str) -> Option<Timestamp> {
        self.read(name, |text| {
            parse_moment(text).ok_or_else(|| MOMENT.to_owned())
        })
    }

    /// A name.
    pub(crate) fn name(&mut self, name: &str) -> Option<Uid> {
        self.read(name, |text| {
            Uid::parse(text).map_err(|fault| fault.to_string())
        })
    }

    /// A list of names; none if there is none.
    pub(crate) fn names(&mut self, name: &str) -> Option<Vec<Uid>> {
        let given: Vec<Result<Uid, _>> = self
            .pairs
            .iter()
            .filter(|(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','))
            .map(Uid::parse)
            .collect();
        if given.is_empty() {
            return None;
        }
        match given.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(names) => Some(names),
            Err(fault) => {
                self.fault(name, fault.to_string());
                None
            }
        }
    }
}

/// What [`parse_moment`] wants.
pub(crate) const MOMENT: &str = "must be a date and time in RFC 3339, such as 2026-01-31T09:30:00Z";

/// A moment in RFC 3339; one before 1970 reads as 1970.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    // `+` in a query string stands for a space; an offset that was not escaped is meant as one.
    let moment: jiff::Timestamp = text.replace(' ', "+").parse().ok()?;
    Some(Timestamp::from_millis(
        u64::try_from(moment.as_millisecond()).unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_may_be_repeated_or_separated_by_commas() {
        let mut query = QueryParams::parse("event_types=a.b,c&event_types=d&tag=&limit=5");
        let names = query.names("event_types").unwrap();
        assert_eq!(
            names.iter().map(Uid::as_str).collect::<Vec<_>>(),
            ["a.b", "c", "d"]
        );
        assert_eq!(query.text("tag"), None);
        assert!(query.done().is_ok());
    }

    #[test]
    fn moments_switches_and_names_are_checked() {
        let mut query = QueryParams::parse("after=2026-01-31T10:30:00+01:00&a=maybe&b=%20&c=soon");
        let after = query.moment("after").unwrap();
        assert_eq!(after.to_string(), "2026-01-31T09:30:00.000Z");
        assert!(query.flag("a", true));
        assert_eq!(query.name("b"), None);
        assert_eq!(query.moment("c"), None);
        let Err(ApiError::Invalid(faults)) = query.done() else {
            panic!("three faults")
        };
        assert_eq!(faults.len(), 3);
        assert_eq!(faults[0].loc, ["query", "a"]);
    }
}
