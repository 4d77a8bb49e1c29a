//! Changing a value at a place. Reading is `hookmill_plugin_fields::find`, which names places alike.

use std::fmt;

use serde_json::{Map, Value};

/// Why nothing can be put at a place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlaceError {
    /// On the way lies a value that has no members.
    NoObject(String),
    /// On the way lies an array, and the name is no index of it.
    NoItem(String),
}

impl std::error::Error for PlaceError {}

impl fmt::Display for PlaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoObject(field) => write!(f, "{field}: on the way to it is no object"),
            Self::NoItem(field) => {
                write!(f, "{field}: on the way to it is an array without that item")
            }
        }
    }
}

/// Puts a value at a place, in place of what is there.
pub(crate) fn set(payload: &mut Value, field: &str, value: Value) -> Result<(), PlaceError> {
    let mut at = payload;
    for name in names(field) {
        at = match at {
            Value::Object(members) => members.entry(name).or_insert(Value::Null),
            Value::Array(items) => {
                let item = name
                    .parse()
                    .ok()
                    .and_then(|index: usize| items.get_mut(index));
                item.ok_or_else(|| PlaceError::NoItem(field.to_owned()))?
            }
            Value::Null => {
                *at = Value::Object(Map::new());
                let Value::Object(members) = at else {
                    return Err(PlaceError::NoObject(field.to_owned()));
                };
                members.entry(name).or_insert(Value::Null)
            }
            _ => return Err(PlaceError::NoObject(field.to_owned())),
        };
    }
    *at = value;
    Ok(())
}

/// Takes out the value at a place; those behind it in an array move up.
pub(crate) fn remove(payload: &mut Value, field: &str) -> Option<Value> {
    let mut names = names(field);
    let last = names.pop()?;
    let mut at = payload;
    for name in names {
        at = match at {
            Value::Object(members) => members.get_mut(&name)?,
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match at {
        Value::Object(members) => members.remove(&last),
        Value::Array(items) => {
            let index = last.parse().ok().filter(|index| *index < items.len())?;
            Some(items.remove(index))
        }
        _ => None,
    }
}

/// The names on the way to a field: RFC 6901 for a pointer.
fn names(field: &str) -> Vec<String> {
    match field.strip_prefix('/') {
        Some(pointer) => {
            let unescape = |name: &str| name.replace("~1", "/").replace("~0", "~");
            pointer.split('/').map(unescape).collect()
        }
        None => field.split('.').map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_are_made_on_the_way_and_nothing_else_is_broken() {
        let mut payload = json!({"a": {"b": 1}, "n": null, "l": [{}], "t": "x"});
        for field in ["a.c.d", "/n/x~1y/z", "l.0.e", "a.b"] {
            set(&mut payload, field, json!(2)).unwrap();
        }
        assert_eq!(
            payload,
            json!({"a": {"b": 2, "c": {"d": 2}}, "n": {"x/y": {"z": 2}}, "l": [{"e": 2}], "t": "x"})
        );
        let before = payload.clone();
        assert_eq!(
            set(&mut payload, "t.u", json!(1)),
            Err(PlaceError::NoObject("t.u".into()))
        );
        assert_eq!(
            set(&mut payload, "l.1.e", json!(1)),
            Err(PlaceError::NoItem("l.1.e".into()))
        );
        assert_eq!(payload, before);
    }

    #[test]
    fn what_is_taken_out_is_gone() {
        let mut payload = json!({"a": {"b": 1, "c.d": 2}, "l": [1, 2, 3]});
        assert_eq!(remove(&mut payload, "a.b"), Some(json!(1)));
        assert_eq!(remove(&mut payload, "/a/c.d"), Some(json!(2)));
        assert_eq!(remove(&mut payload, "l.1"), Some(json!(2)));
        for field in ["a.b", "l.2", "l.x", "l.0.a", "x.y", ""] {
            assert_eq!(remove(&mut payload, field), None, "{field}");
        }
        assert_eq!(payload, json!({"a": {}, "l": [1, 3]}));
    }
}
