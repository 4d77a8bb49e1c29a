//! A field of a partial change: left out, set to null, or set. Pure.

use serde::{Deserialize, Deserializer};

/// What a partial change says of a field that may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Patch<T> {
    /// Not mentioned: stays as it is. Needs `#[serde(default)]` on the field.
    #[default]
    Absent,
    /// Emptied.
    Null,
    /// Replaced.
    Set(T),
}

impl<T> Patch<T> {
    /// Writes the change into a field.
    pub(crate) fn apply(self, field: &mut Option<T>) {
        match self {
            Patch::Absent => {}
            Patch::Null => *field = None,
            Patch::Set(value) => *field = Some(value),
        }
    }

    /// The new value, where there is one.
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Patch::Set(value) => Some(value),
            Patch::Absent | Patch::Null => None,
        }
    }

    /// The same change of another type.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Set(value) => Patch::Set(change(value)),
        }
    }

    /// None where it is not mentioned: for a setting that has two names.
    pub(crate) fn mentioned(self) -> Option<Self> {
        match self {
            Patch::Absent => None,
            other => Some(other),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(from)? {
            Some(value) => Patch::Set(value),
            None => Patch::Null,
        })
    }
}

/// For `#[serde(default, deserialize_with = …)]`: a field that may be left out but not be null.
pub(crate) fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Change {
        #[serde(default)]
        uid: Patch<String>,
        #[serde(default, deserialize_with = "not_null")]
        name: Option<String>,
    }

    #[test]
    fn absent_null_and_set_differ() {
        let read = |text| serde_json::from_str::<Change>(text);
        assert_eq!(read("{}").unwrap().uid, Patch::Absent);
        assert_eq!(read(r#"{"uid":null}"#).unwrap().uid, Patch::Null);
        assert_eq!(
            read(r#"{"uid":"a"}"#).unwrap().uid,
            Patch::Set("a".to_owned())
        );
        assert_eq!(read(r#"{"name":"a"}"#).unwrap().name.as_deref(), Some("a"));
        assert!(read(r#"{"name":null}"#).is_err());
    }
}
