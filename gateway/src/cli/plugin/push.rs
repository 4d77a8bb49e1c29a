//! `hookmill plugin push`: uploads a plugin to a running gateway.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use url::form_urlencoded;

use super::Failure;
use super::local::{self, Local, Rules};
use crate::cli::peer::{Peer, block_on};

#[derive(Debug, Args)]
pub(in crate::cli) struct PushArgs {
    /// The plugin.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    peer: Peer,
    /// The application that gets it, by identifier or uid; without it the organization, for all of its applications.
    #[arg(long, value_name = "APP")]
    app: Option<String>,
    /// The name under which chains know it; without it the one that the plugin gives itself, for which it is loaded
    /// here first.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Leaves chains that follow the latest version, but whose config does not fit this one, at the version they
    /// have.
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    rules: Rules,
}

/// The part of the answer that is shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Uploaded {
    id: String,
    name: String,
    version: Version,
    #[serde(default)]
    not_moved: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Version {
    version: String,
}

pub(super) fn run(args: &PushArgs) -> Result<(), Failure> {
    let upload = local::read(&args.file)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => {
            let rules = args.rules.read()?;
            let taken = block_on(async { Local::open(rules)?.take(upload.clone()).await })?;
            taken?.manifest.name
        }
    };
    let path = path_of(args.app.as_deref(), &name, args.partial);
    // It draws nothing where standard error is no terminal.
    let bar = ProgressBar::new(upload.len() as u64).with_style(style()?);
    let watched = bar.clone();
    let headers = [("content-type", "application/wasm")];
    let answer = args.peer.upload(&path, &headers, upload, move |sent| {
        watched.inc(sent as u64);
    });
    bar.finish_and_clear();
    print!("{}", shown(&answer?)?);
    Ok(())
}

fn style() -> Result<ProgressStyle, Failure> {
    ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}").map_err(Failure::other)
}

fn path_of(app: Option<&str>, name: &str, partial: bool) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("name", name);
    if partial {
        query.append_pair("partial", "true");
    }
    let owner = app.map_or_else(String::new, |app| format!("/app/{app}"));
    format!("/api/v1{owner}/plugin?{}", query.finish())
}

fn shown(answer: &str) -> Result<String, Failure> {
    let uploaded: Uploaded = serde_json::from_str(answer)
        .map_err(|error| Failure::Refused(format!("the gateway's answer: {error}: {answer}")))?;
    let mut text = format!(
        "name      {}\nversion   {}\nid        {}\n",
        uploaded.name, uploaded.version.version, uploaded.id
    );
    for owner in uploaded.not_moved {
        text.push_str(&format!("left      {owner} stays at the version it has\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_names_owner_and_plugin() {
        assert_eq!(path_of(None, "a-b", false), "/api/v1/plugin?name=a-b");
        assert_eq!(
            path_of(Some("app_1"), "two words", true),
            "/api/v1/app/app_1/plugin?name=two+words&partial=true"
        );
    }

    #[test]
    fn name_version_and_id_are_printed() {
        let answer = r#"{"id":"plugin_1","name":"a","latest":"sha256:00","version":{"version":"sha256:00","size":3}}"#;
        assert_eq!(
            shown(answer).unwrap(),
            "name      a\nversion   sha256:00\nid        plugin_1\n"
        );
        let partial = answer.replace(r#""version":{"#, r#""notMoved":["ep_1"],"version":{"#);
        assert!(
            shown(&partial)
                .unwrap()
                .ends_with("left      ep_1 stays at the version it has\n")
        );
        let error = shown("<html>").unwrap_err().to_string();
        assert!(error.contains("<html>"), "{error}");
    }
}
