//! Lets through the GitHub events that a receiver wants, by event, action, branch and repository; made for CI/CD. It
//! changes nothing: an event passes as it came or is dropped with the rule and the value that did not match.

use hookmill_plugin::{Event, Outcome, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::github::Payload;
use crate::pattern::matches;

mod github;
mod pattern;

/// The rules. An event passes if it meets every rule that is given; in each list one match is enough.
///
/// In a pattern `*` stands for any characters but `/`, and `**` for any characters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Patterns for GitHub's name of the event: `push`, `pull_request`, `*`. An event type such as `github.push` is also
    /// matched in full.
    events: Vec<String>,
    /// Patterns for the action: `opened`, `completed`. Events that have no action, such as `push`, are not judged.
    actions: Vec<String>,
    /// Patterns for the branch: `main`, `release/*`. Of a pull request it is the base branch. An event without a
    /// branch, such as the push of a tag, does not pass.
    branches: Vec<String>,
    /// Patterns for the repository's full name, in any case: `octo-org/*`. An event without a repository does not pass.
    repositories: Vec<String>,
}

/// Lets through GitHub events by event, action, branch and repository.
#[hookmill_plugin::plugin]
fn transform(event: &Event, config: &Config) -> Result<Outcome> {
    Ok(match unmet_rule(event, config)? {
        Some(reason) => Outcome::drop(reason),
        None => Outcome::pass(),
    })
}

/// The first rule that the event does not meet. The event's type is judged before its payload is read, so
/// that what is not from GitHub is dropped and not an error.
fn unmet_rule(event: &Event, config: &Config) -> Result<Option<String>> {
    let full = event.event_type.as_str();
    let name = full.rsplit('.').next().unwrap_or(full);
    let wanted =
        |patterns: &[String], value: &str| patterns.iter().any(|pattern| matches(pattern, value));

    if !config.events.is_empty() && !wanted(&config.events, name) && !wanted(&config.events, full) {
        return Ok(Some(format!("events: \"{full}\" is not wanted")));
    }
    let payload: Payload = event.json()?;
    if let Some(action) = payload.action.as_deref()
        && !config.actions.is_empty()
        && !wanted(&config.actions, action)
    {
        return Ok(Some(format!("actions: \"{action}\" is not wanted")));
    }
    if !config.branches.is_empty() {
        let branches = payload.branches();
        if branches.is_empty() {
            return Ok(Some(match &payload.reference {
                Some(reference) => format!("branches: \"{reference}\" is not a branch"),
                None => "branches: the event has no branch".to_owned(),
            }));
        }
        if !branches
            .iter()
            .any(|branch| wanted(&config.branches, branch))
        {
            let branches = branches.join("\", \"");
            return Ok(Some(format!("branches: \"{branches}\" is not wanted")));
        }
    }
    if !config.repositories.is_empty() {
        let Some(repository) = &payload.repository else {
            return Ok(Some("repositories: the event has no repository".to_owned()));
        };
        let name = repository.full_name.as_str();
        let lower = name.to_ascii_lowercase();
        let any = config
            .repositories
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), &lower));
        if !any {
            return Ok(Some(format!("repositories: \"{name}\" is not wanted")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
