//! Turns an event with a JSON payload into the body of a Slack incoming webhook: `text` for notifications and `blocks`
//! for display, both from templates. Values are escaped and cut to what Slack takes.
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>

use hookmill_plugin::{Error, Event, Outcome, Request, Result};
use hookmill_plugin_fields::{Template, Values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::Blocks;

mod blocks;
mod limits;

/// The message. In every text `{{…}}` stands for a value: a dotted path (`{{repository.full_name}}`) or a JSON pointer
/// (`{{/commits/0/message}}`) into the payload, or `{{@type}}`, `{{@id}}`, `{{@application}}` of the event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The text, in Slack's mrkdwn. Without `blocks` it is also what is shown.
    #[schemars(length(min = 1))]
    template: String,
    /// Blocks to show, as Slack's Block Kit Builder makes them, with values in their texts.
    #[serde(default)]
    #[schemars(length(max = 50))]
    blocks: Vec<Value>,
    /// The name to post under; only older kinds of webhook heed it.
    #[serde(default)]
    username: Option<String>,
    /// The channel to post to; only older kinds of webhook heed it.
    #[serde(default)]
    channel: Option<String>,
    /// Stands for a value that is missing, null or an empty text.
    #[serde(default = "not_available")]
    missing: String,
}

fn not_available() -> String {
    "n/a".to_owned()
}

#[derive(Serialize)]
struct Message<'a> {
    text: String,
    blocks: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}

/// Turns an event into a message for a Slack incoming webhook.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if config.blocks.len() > limits::BLOCKS {
        return Err(Error::new(format!(
            "blocks: Slack takes {} at most",
            limits::BLOCKS
        )));
    }
    let payload: Value = event.json()?;
    let values = Values {
        event,
        payload: &payload,
        missing: &config.missing,
    };

    let template = Template::at("template", &config.template)?;
    let text = template.render(&values, limits::escape);
    if text.trim().is_empty() {
        // Slack refuses an empty message every time; trying again would not help.
        return Ok(Outcome::drop("the template gives an empty text"));
    }
    let blocks = if config.blocks.is_empty() {
        let shown = limits::cut(&text, limits::TEXT);
        vec![json!({ "type": "section", "text": { "type": "mrkdwn", "text": shown } })]
    } else {
        Blocks { values: &values }.render(&config.blocks)?
    };
    let message = Message {
        text: limits::cut(&text, limits::MESSAGE),
        blocks,
        username: config.username.as_deref(),
        channel: config.channel.as_deref(),
    };
    Ok(Request::json(&message)?.into())
}

#[cfg(test)]
mod tests;
