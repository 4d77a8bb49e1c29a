//! Embeds are templates all through: every text in them may hold values. How long a text may be follows from where
//! it stands; all of them together share one limit.

use std::cell::Cell;

use hookmill_plugin::{Error, Result};
use hookmill_plugin_fields::{Template, Values, as_it_is};
use serde_json::{Map, Value};

use crate::limits;

pub(crate) struct Embeds<'a> {
    values: &'a Values<'a>,
    /// Characters that all texts to come may still have.
    left: Cell<usize>,
}

/// Where a text stands.
#[derive(Clone, Copy)]
enum Place {
    /// Read by people: escaped, and cut at this many characters.
    Shown(usize),
    /// Addresses, colours, times.
    Plain,
}

impl<'a> Embeds<'a> {
    pub(crate) fn new(values: &'a Values<'a>) -> Self {
        Self {
            values,
            left: Cell::new(limits::ALL_EMBEDS),
        }
    }

    pub(crate) fn render(&self, embeds: &[Value]) -> Result<Vec<Value>> {
        let place = |index| move |error: Error| error.context(format!("embeds/{index}"));
        let embeds = embeds.iter().enumerate();
        embeds
            .map(|(index, embed)| self.value(embed, Place::Plain).map_err(place(index)))
            .collect()
    }

    fn value(&self, value: &Value, place: Place) -> Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text, place)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item, place));
                Value::Array(items.collect::<Result<_>>()?)
            }
            Value::Object(members) => {
                let render = |(key, value): (&String, &Value)| {
                    Ok((key.clone(), self.value(value, place_of(key))?))
                };
                let members: Result<Map<_, _>> = members.iter().map(render).collect();
                Value::Object(members?)
            }
            other => other.clone(),
        })
    }

    fn text(&self, text: &str, place: Place) -> Result<String> {
        let template = Template::parse(text)?;
        let Place::Shown(limit) = place else {
            return Ok(template.render(self.values, as_it_is));
        };
        let text = template.render(self.values, limits::escape);
        let text = match self.left.get().min(limit) {
            0 => String::new(),
            limit => limits::cut(&text, limit),
        };
        self.left.set(self.left.get() - text.chars().count());
        Ok(text)
    }
}

fn place_of(key: &str) -> Place {
    match key {
        "title" | "name" => Place::Shown(limits::TITLE),
        "description" => Place::Shown(limits::DESCRIPTION),
        "value" => Place::Shown(limits::FIELD),
        "text" => Place::Shown(limits::FOOTER),
        _ => Place::Plain,
    }
}
