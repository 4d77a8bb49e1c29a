//! Rewrites a JSON text by rules. Only objects and arrays on the way to a rule are read and written anew; everything
//! else is copied as the text it was. That keeps what a parsed value would lose (order of members, `1.0`, numbers beyond
//! 64 bits) and treats every occurrence of a doubled key, where a parsed value would let one slip through.

use hookmill_plugin::Result;
use hookmill_plugin_fields::Members;
use serde_json::value::RawValue;

use crate::rules::{Action, Rules};

/// How values are replaced. Both yield JSON.
pub(crate) struct Editor<'a> {
    pub(crate) mask: &'a str,
    pub(crate) hash: &'a dyn Fn(&RawValue) -> Result<String>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rewritten {
    /// No rule met anything.
    Unchanged,
    Changed {
        json: String,
        places: usize,
    },
}

impl Editor<'_> {
    pub(crate) fn rewrite(&self, payload: &RawValue, rules: &Rules) -> Result<Rewritten> {
        let mut json = String::with_capacity(payload.get().len());
        let places = self.value(payload, &[rules], &mut json)?;
        Ok(match places {
            0 => Rewritten::Unchanged,
            places => Rewritten::Changed { json, places },
        })
    }

    /// Writes a value that is not removed; how many places were hidden.
    fn value(&self, value: &RawValue, rules: &[&Rules], json: &mut String) -> Result<usize> {
        match action(rules) {
            Some(Action::Mask) => json.push_str(self.mask),
            Some(Action::Hash) => json.push_str(&(self.hash)(value)?),
            // A removed value does not come here: its container leaves it out.
            Some(Action::Remove) | None => return self.inside(value, rules, json),
        }
        Ok(1)
    }

    /// Writes a value that stays, down to the rules inside it.
    fn inside(&self, value: &RawValue, rules: &[&Rules], json: &mut String) -> Result<usize> {
        let text = value.get();
        let leaf = rules.iter().all(|rules| rules.is_leaf());
        match text.as_bytes().first() {
            Some(b'{') if !leaf => self.object(text, rules, json),
            Some(b'[') if !leaf => self.array(text, rules, json),
            _ => {
                json.push_str(text);
                Ok(0)
            }
        }
    }

    fn object(&self, text: &str, rules: &[&Rules], json: &mut String) -> Result<usize> {
        let Members(members) = serde_json::from_str(text)?;
        let start = json.len();
        let mut places = 0;
        json.push('{');
        for (key, value) in members {
            let below = below(rules, &key);
            if action(&below) == Some(Action::Remove) {
                places += 1;
                continue;
            }
            separate(json, start);
            json.push_str(&serde_json::to_string(&key)?);
            json.push(':');
            places += self.value(value, &below, json)?;
        }
        json.push('}');
        Ok(keep_if_untouched(text, start, places, json))
    }

    fn array(&self, text: &str, rules: &[&Rules], json: &mut String) -> Result<usize> {
        let items: Vec<&RawValue> = serde_json::from_str(text)?;
        let start = json.len();
        let mut places = 0;
        json.push('[');
        for (index, value) in items.into_iter().enumerate() {
            let index = index.to_string();
            let below = below(rules, &index);
            if action(&below) == Some(Action::Remove) {
                places += 1;
                continue;
            }
            separate(json, start);
            places += self.value(value, &below, json)?;
        }
        json.push(']');
        Ok(keep_if_untouched(text, start, places, json))
    }
}

fn action(rules: &[&Rules]) -> Option<Action> {
    rules.iter().filter_map(|rules| rules.action).max()
}

fn below<'a>(rules: &[&'a Rules], segment: &'a str) -> Vec<&'a Rules> {
    rules
        .iter()
        .flat_map(|rules| rules.under(segment))
        .collect()
}

/// A comma, unless this is the first in the container that began at `start`.
fn separate(json: &mut String, start: usize) {
    if json.len() > start + 1 {
        json.push(',');
    }
}

/// Puts the container's own text back where nothing in it was hidden.
fn keep_if_untouched(text: &str, start: usize, places: usize, json: &mut String) -> usize {
    if places == 0 {
        json.truncate(start);
        json.push_str(text);
    }
    places
}
