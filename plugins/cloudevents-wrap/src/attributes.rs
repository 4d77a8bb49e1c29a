//! The attributes of a CloudEvent.

use std::collections::BTreeMap;

use hookmill_plugin::{Error, Event, Result};

/// The names that the specification gives a meaning or a place.
const STANDARD: [&str; 10] = [
    "data",
    "data_base64",
    "datacontenttype",
    "dataschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "type",
];

/// The attributes by name; all of them text.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Attributes(BTreeMap<String, String>);

impl Attributes {
    /// Those that follow from the event alone.
    pub(crate) fn of(event: &Event) -> Result<Self> {
        let time = i64::try_from(event.timestamp_ms)
            .ok()
            .and_then(|milliseconds| jiff::Timestamp::from_millisecond(milliseconds).ok())
            .ok_or_else(|| Error::new("the event's time is beyond the calendar"))?;
        let mut attributes = Self(BTreeMap::new());
        attributes.set("specversion", "1.0".to_owned());
        attributes.set("id", event.id.clone());
        attributes.set("time", time.to_string());
        Ok(attributes)
    }

    pub(crate) fn set(&mut self, name: &str, value: String) {
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn into_iter(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter()
    }
}

/// Whether an extension may have this name: section "Naming Conventions", and none that is taken.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !name.is_empty() && name.bytes().all(allowed) && !STANDARD.contains(&name)
}
