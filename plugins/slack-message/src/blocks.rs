//! Blocks are templates all through: every text in them may hold values. What a text may be long, and whether its
//! values are escaped, depends on where it stands.

use hookmill_plugin::{Error, Result};
use hookmill_plugin_fields::{Template, Values, as_it_is};
use serde_json::{Map, Value};

use crate::limits;

/// How a value is put into the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// As Slack asks for text: no value can make a link or a mention.
    Slack,
    /// As it is, for addresses and identifiers.
    Nothing,
}

pub(crate) struct Blocks<'a> {
    pub(crate) values: &'a Values<'a>,
}

impl Blocks<'_> {
    pub(crate) fn render(&self, blocks: &[Value]) -> Result<Vec<Value>> {
        let place = |index| move |error: Error| error.context(format!("blocks/{index}"));
        let blocks = blocks.iter().enumerate();
        blocks
            .map(|(index, block)| {
                self.value(block, limits::TEXT, Escape::Slack)
                    .map_err(place(index))
            })
            .collect()
    }

    fn value(&self, value: &Value, limit: usize, escape: Escape) -> Result<Value> {
        Ok(match value {
            Value::String(text) => {
                let template = Template::parse(text)?;
                Value::String(match escape {
                    Escape::Slack => {
                        limits::cut(&template.render(self.values, limits::escape), limit)
                    }
                    // A part of an address is no address: Slack names what is too long.
                    Escape::Nothing => template.render(self.values, as_it_is),
                })
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item, limit, escape));
                Value::Array(items.collect::<Result<_>>()?)
            }
            Value::Object(members) => Value::Object(self.object(members, limit)?),
            other => other.clone(),
        })
    }

    fn object(&self, members: &Map<String, Value>, limit: usize) -> Result<Map<String, Value>> {
        let limit = match members.get("type").and_then(Value::as_str) {
            Some("header") => limits::HEADER,
            Some("button") => limits::BUTTON,
            // The text object inside one of the others.
            Some("mrkdwn" | "plain_text") => limit,
            _ => limits::TEXT,
        };
        let render = |(key, value): (&String, &Value)| {
            let limit = if key == "fields" {
                limits::FIELD
            } else {
                limit
            };
            let value = self.value(value, limit, escape(key))?;
            Ok((key.clone(), value))
        };
        members.iter().map(render).collect()
    }
}

/// Values are escaped in what people read; addresses and identifiers are taken by Slack as they are.
fn escape(key: &str) -> Escape {
    match key {
        "url" | "image_url" | "thumb_url" | "title_url" | "video_url" | "value" | "action_id"
        | "block_id" => Escape::Nothing,
        _ => Escape::Slack,
    }
}
