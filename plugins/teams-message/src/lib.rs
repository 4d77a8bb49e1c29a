//! Turns an event with a JSON payload into a card for Microsoft Teams, as the trigger "When a Teams webhook request is
//! received" of Workflows takes it: one Adaptive Card with a title, a text, facts and a button.
//! <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook>

use hookmill_plugin::{Error, Event, Outcome, Request, Result};
use hookmill_plugin_fields::{Template, Values, as_it_is};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

mod text;

/// The largest message that Teams takes is 28 KB; chosen below it, for what Workflows puts around the card.
const MESSAGE_BYTES: usize = 27_000;
/// The version of Adaptive Cards that Teams shows everywhere, phones included.
const CARD_VERSION: &str = "1.4";

/// The card. In every text `{{…}}` stands for a value: a dotted path (`{{repository.full_name}}`) or a JSON pointer
/// (`{{/commits/0/message}}`) into the payload, or `{{@type}}`, `{{@id}}`, `{{@application}}` of the event.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The first line, in larger letters.
    #[schemars(length(min = 1))]
    title: String,
    /// The text below it, in the Markdown of Adaptive Cards.
    #[serde(default)]
    text: Option<String>,
    /// Names with values, shown as a table.
    #[serde(default)]
    facts: Vec<Fact>,
    /// A button that opens an address.
    #[serde(default)]
    button: Option<Button>,
    /// The colour of the title.
    #[serde(default)]
    color: Color,
    /// Stands for a value that is missing, null or an empty text.
    #[serde(default = "not_available")]
    missing: String,
}

/// A line of the table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Fact {
    /// What it is.
    title: String,
    /// Its value.
    value: String,
}

/// The button.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Button {
    /// What is on it.
    title: String,
    /// What it opens. Without an address of http or https there is no button.
    url: String,
}

/// The colours that a card knows.
#[derive(Debug, Default, Clone, Copy, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Color {
    #[default]
    Default,
    Accent,
    Good,
    Warning,
    Attention,
}

fn not_available() -> String {
    "n/a".to_owned()
}

/// Turns an event into a card for a Microsoft Teams channel.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    let payload: Value = event.json()?;
    let values = Values {
        event,
        payload: &payload,
        missing: &config.missing,
    };
    let card = Card::render(config, &values)?;
    // Only values that are far too long make this loop turn: each text is cut to half of what it was allowed before.
    let mut longest = MESSAGE_BYTES;
    while longest > 0 {
        let request = Request::json(&card.message(longest))?;
        if request.payload.len() <= MESSAGE_BYTES {
            return Ok(request.into());
        }
        longest /= 2;
    }
    Err(Error::new("the facts alone are more than Teams takes"))
}

/// The texts of a card, with the values in them.
struct Card {
    title: String,
    color: Color,
    text: Option<String>,
    facts: Vec<(String, String)>,
    /// What is on the button, and the address behind it.
    button: Option<(String, String)>,
}

impl Card {
    fn render(config: &Config, values: &Values<'_>) -> Result<Self> {
        let shown = |place: &str, template: &str| {
            let text = Template::at(place, template)?.render(values, text::escape);
            Ok::<_, Error>(text::cut(&text, MESSAGE_BYTES))
        };
        let fact = |(index, fact): (usize, &Fact)| {
            let place = format!("facts/{index}");
            Ok((shown(&place, &fact.title)?, shown(&place, &fact.value)?))
        };
        let button = |button: &Button| {
            let url = Template::at("button/url", &button.url)?.render(values, as_it_is);
            Ok::<_, Error>((shown("button/title", &button.title)?, url))
        };
        let button = config.button.as_ref().map(button).transpose()?;
        Ok(Self {
            title: shown("title", &config.title)?,
            color: config.color,
            text: config
                .text
                .as_deref()
                .map(|text| shown("text", text))
                .transpose()?,
            facts: config
                .facts
                .iter()
                .enumerate()
                .map(fact)
                .collect::<Result<_>>()?,
            // A card whose button has no address is refused as a whole.
            button: button
                .filter(|(_, url)| url.starts_with("https://") || url.starts_with("http://")),
        })
    }

    /// The message; no text in it has more than so many bytes.
    fn message(&self, longest: usize) -> Value {
        let cut = |text: &str| text::cut(text, longest);
        let mut body = vec![json!({
            "type": "TextBlock", "text": cut(&self.title), "size": "large", "weight": "bolder",
            "color": self.color, "wrap": true,
        })];
        if let Some(text) = &self.text {
            body.push(json!({ "type": "TextBlock", "text": cut(text), "wrap": true }));
        }
        if !self.facts.is_empty() {
            let fact = |(title, value): &(String, String)| json!({ "title": cut(title), "value": cut(value) });
            let facts: Vec<Value> = self.facts.iter().map(fact).collect();
            body.push(json!({ "type": "FactSet", "facts": facts }));
        }
        let action = |(title, url): &(String, String)| json!({ "type": "Action.OpenUrl", "title": cut(title), "url": url });
        let actions: Vec<Value> = self.button.iter().map(action).collect();
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": CARD_VERSION,
                    "body": body,
                    "actions": actions,
                },
            }],
        })
    }
}

#[cfg(test)]
mod tests;
