//! Turns an event with a JSON payload into the body of a Discord webhook: `content` and `embeds`, both from templates.
//! Values are escaped and cut to what Discord takes, and mention nobody unless the config says so.
//! <https://docs.discord.com/developers/resources/webhook#execute-webhook>

use hookmill_plugin::{Error, Event, Outcome, Request, Result};
use hookmill_plugin_fields::{Template, Values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::embeds::Embeds;

mod embeds;
mod limits;

/// The message. In every text `{{…}}` stands for a value: a dotted path (`{{repository.full_name}}`) or a JSON pointer
/// (`{{/commits/0/message}}`) into the payload, or `{{@type}}`, `{{@id}}`, `{{@application}}` of the event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The text above the embeds, in Discord's Markdown.
    content: String,
    /// Embeds as Discord takes them, with values in their texts.
    #[schemars(length(max = 10))]
    embeds: Vec<Value>,
    /// The name to post under, instead of the webhook's.
    #[schemars(length(max = 80))]
    username: Option<String>,
    /// The picture to post with, instead of the webhook's.
    #[serde(rename = "avatarUrl")]
    avatar_url: Option<String>,
    /// What the template's own text may mention: `roles`, `users`, `everyone`. Values never do, for they are escaped.
    mentions: Vec<Mention>,
    /// Stands for a value that is missing, null or an empty text.
    missing: String,
}

/// A kind of mention.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mention {
    Roles,
    Users,
    Everyone,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            content: String::new(),
            embeds: Vec::new(),
            username: None,
            avatar_url: None,
            mentions: Vec::new(),
            missing: "n/a".to_owned(),
        }
    }
}

#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "String::is_empty")]
    content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    embeds: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<&'a str>,
    allowed_mentions: AllowedMentions<'a>,
}

#[derive(Serialize)]
struct AllowedMentions<'a> {
    parse: &'a [Mention],
}

/// Turns an event into a message for a Discord webhook.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    if config.embeds.len() > limits::EMBEDS {
        return Err(Error::new(format!(
            "embeds: Discord takes {} at most",
            limits::EMBEDS
        )));
    }
    let payload: Value = event.json()?;
    let values = Values {
        event,
        payload: &payload,
        missing: &config.missing,
    };
    let content = Template::at("content", &config.content)?.render(&values, limits::escape);
    let embeds = Embeds::new(&values).render(&config.embeds)?;
    if content.trim().is_empty() && embeds.is_empty() {
        // Discord refuses an empty message every time; trying again would not help.
        return Ok(Outcome::drop("there is neither content nor an embed"));
    }
    let message = Message {
        content: limits::cut(&content, limits::CONTENT),
        embeds,
        username: config.username.as_deref(),
        avatar_url: config.avatar_url.as_deref(),
        allowed_mentions: AllowedMentions {
            parse: &config.mentions,
        },
    };
    Ok(Request::json(&message)?.into())
}

#[cfg(test)]
mod tests;
