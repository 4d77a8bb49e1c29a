//! What became of one event at one endpoint, told by its attempts and by what the receiver got.

use hookmill_tests::Tenant;
use hookmill_tests::receiver::Received;
use serde_json::Value;

use crate::paint::Paint;
use crate::scene::Place;

/// Letters of an excerpt; chosen: the story of one delivery stays on one line of a usual terminal.
const EXCERPT: usize = 64;

#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) end: End,
    /// The status of each answer, first try first; empty if nothing was sent.
    answers: Vec<u64>,
    /// Of each plugin: its name, what it did, and why.
    plugins: Vec<String>,
    /// The start of what the receiver took in the end.
    got: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Delivered,
    Dropped,
    Failed,
}

/// Waits for the end of it.
pub(crate) async fn of(tenant: &Tenant, message: &str, place: &Place) -> Story {
    let ended = |destination: &Value| End::of(destination).is_some();
    let destination = tenant
        .destination_when(message, &place.endpoint, "its end", ended)
        .await;
    let mut attempts = tenant.attempts(message, 1).await;
    attempts.retain(|attempt| attempt["endpointId"] == *place.endpoint);
    // The newest stands first.
    attempts.reverse();
    Story {
        end: End::of(&destination).unwrap_or(End::Failed),
        answers: attempts
            .iter()
            .filter_map(|attempt| attempt["responseStatusCode"].as_u64())
            .filter(|status| *status > 0)
            .collect(),
        plugins: attempts
            .last()
            .map(|attempt| shaped(&attempt["plugins"]))
            .unwrap_or_default(),
        got: place
            .receiver
            .requests()
            .iter()
            .rev()
            .find(|got| got.message_id() == message)
            .map(excerpt),
    }
}

/// What each plugin did, in its own words where it gave any: `redact: 7 places hidden`, `github-filter: pass`.
fn shaped(plugins: &Value) -> Vec<String> {
    let told = |plugin: &Value| {
        let name = plugin["plugin"].as_str()?;
        let why = plugin["detail"].as_str().filter(|why| !why.is_empty());
        let logged = plugin["logs"]
            .as_array()
            .and_then(|logs| logs.last()?["text"].as_str());
        Some(format!(
            "{name}: {}",
            why.or(logged).or(plugin["outcome"].as_str())?
        ))
    };
    plugins
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(told)
        .collect()
}

/// The start of a request's body, on one line; of a Slack message its text.
pub(crate) fn excerpt(request: &Received) -> String {
    let text = match serde_json::from_slice::<Value>(&request.body) {
        Ok(json) => json["text"]
            .as_str()
            .map_or_else(|| json.to_string(), str::to_owned),
        Err(_) => String::from_utf8_lossy(&request.body).into_owned(),
    };
    let start: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(EXCERPT)
        .collect();
    format!("{:>6} bytes  {start}", request.body.len())
}

impl End {
    /// None while it is under way.
    fn of(destination: &Value) -> Option<Self> {
        match destination["statusText"].as_str()? {
            "success" => Some(Self::Delivered),
            "canceled" => Some(Self::Dropped),
            // A failed try with another one planned is not the end.
            "fail" if destination["nextAttempt"].is_null() => Some(Self::Failed),
            _ => None,
        }
    }
}

impl Story {
    pub(crate) fn tries(&self) -> usize {
        self.answers.len()
    }

    /// One line for the terminal.
    pub(crate) fn line(&self, place: &Place, paint: Paint) -> String {
        let name = format!("{:<8}", place.name);
        let plugins = self.plugins.join("; ");
        match self.end {
            End::Dropped => format!("{name} {} {plugins}", paint.yellow("dropped")),
            End::Failed => format!(
                "{name} {} after {} tries {plugins}",
                paint.red("failed"),
                self.tries()
            ),
            End::Delivered => {
                let answers: Vec<String> = self
                    .answers
                    .iter()
                    .map(|status| self.painted(*status, paint))
                    .collect();
                let got = self.got.as_deref().unwrap_or("nothing it kept");
                format!(
                    "{name} {} {got}  {}",
                    answers.join(", then "),
                    paint.faint(&plugins)
                )
            }
        }
    }

    fn painted(&self, status: u64, paint: Paint) -> String {
        let text = status.to_string();
        if status < 300 {
            paint.green(&text)
        } else {
            paint.red(&text)
        }
    }
}
