//! `hookmill plugin inspect`: what a plugin is, what it has of everything limited, and whether it would be taken.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::figures::{bytes, grouped, time};
use super::local::{self, Local, Rules};
use crate::cli::peer::block_on;
use crate::sandbox::{Bound, Form, Inspection, Unit};

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectArgs {
    /// The plugin: a component, or a module for wasm32-unknown-unknown.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: Rules,
}

pub(super) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let (upload, rules) = (local::read(&args.file)?, args.rules.read()?);
    let inspection = block_on(async { Local::open(rules)?.inspect(upload).await })??;
    if args.json {
        println!("{:#}", as_json(&inspection));
    } else {
        print!("{}", as_text(&inspection));
    }
    match &inspection.refusal {
        None => Ok(()),
        Some(refusal) => Err(Failure::Refused(format!(
            "{} would be refused: {}",
            args.file.display(),
            with_causes(refusal)
        ))),
    }
}

/// An error and what led to it, in one line.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some say what led to them in their own words.
        if !text.ends_with(&said) {
            // Writing to a string never fails.
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

fn form_name(form: Option<Form>) -> &'static str {
    match form {
        Some(Form::Module) => "module",
        Some(Form::Component) => "component",
        None => "not WebAssembly",
    }
}

fn as_json(inspection: &Inspection) -> Value {
    let manifest = inspection.manifest.as_ref().map(|manifest| {
        json!({
            "name": manifest.name,
            "version": manifest.version,
            "summary": manifest.summary,
            "configSchema": manifest.config_schema,
        })
    });
    let bound = |bound: &Bound| {
        json!({
            "name": bound.name,
            "unit": match bound.unit { Unit::Bytes => "bytes", Unit::Pieces => "pieces" },
            "used": bound.used,
            "limit": bound.limit,
            "setting": bound.setting,
            "exceeded": bound.is_exceeded(),
        })
    };
    json!({
        "version": inspection.version,
        "form": form_name(inspection.form),
        "manifest": manifest,
        "imports": inspection.imports,
        "exports": inspection.exports,
        "limits": inspection.bounds.iter().map(bound).collect::<Vec<_>>(),
        "takenInMs": inspection.taken_in.map(|time| time.as_millis()),
        "taken": inspection.refusal.is_none(),
        "refusal": inspection.refusal.as_ref().map(|refusal| with_causes(refusal)),
    })
}

fn as_text(inspection: &Inspection) -> String {
    let mut rows = Vec::new();
    if let Some(manifest) = &inspection.manifest {
        rows.push(("name", manifest.name.clone()));
        rows.push(("label", manifest.version.clone()));
        rows.push(("summary", manifest.summary.clone()));
    }
    rows.push(("version", inspection.version.to_string()));
    rows.push(("form", form_name(inspection.form).to_owned()));
    rows.push(("imports", listed(&inspection.imports)));
    rows.push(("exports", listed(&inspection.exports)));
    if let Some(taken_in) = inspection.taken_in {
        rows.push(("taken in", time(taken_in)));
    }
    if let Some(manifest) = &inspection.manifest {
        let schema = format!("{:#}", manifest.config_schema);
        rows.push(("config", schema.replace('\n', "\n          ")));
    }
    let mut text: String = rows
        .iter()
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .collect();
    text.push_str("limits\n");
    text.extend(inspection.bounds.iter().map(bound_line));
    if inspection.refusal.is_none() {
        text.push_str("a gateway with these limits takes it\n");
    }
    text
}

pub(super) fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join("\n          ")
    }
}

fn bound_line(bound: &Bound) -> String {
    let shown = match bound.unit {
        Unit::Bytes => bytes,
        Unit::Pieces => grouped,
    };
    let verdict = if bound.is_exceeded() {
        "  TOO MUCH"
    } else {
        ""
    };
    let setting = bound.setting.unwrap_or("fixed");
    format!(
        "  {:<24}{:>12} of {:<12}{setting}{verdict}\n",
        bound.name,
        shown(bound.used),
        shown(bound.limit)
    )
}

#[cfg(test)]
mod tests;
