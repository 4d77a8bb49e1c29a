//! `hookmill plugin bench`: how long a plugin takes in a fresh instance, by size of payload, against the limits.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use serde_json::Value;

use super::Failure;
use super::case::{self, Case, Outcome};
use super::figures::{bytes, time};
use super::local::{self, Local, Rules};
use super::test::fit;
use crate::cli::peer::block_on;
use crate::sandbox::{Admitted, Event, Limits, Sandbox, StepOutcome};

/// Bytes of the payloads: a small event, a usual one, a large one, and one that few senders have.
const SIZES: [usize; 4] = [300, 1 << 10, 10 << 10, 100 << 10];

/// Calls whose times count, so that the p99 has twenty behind it.
const CALLS: usize = 2_000;

/// Calls before those: caches, and slots that are mapped at their first use.
const WARM_UP: usize = 50;

/// A size gets no more time than this; then fewer calls count. Chosen: all four in the time that one waits.
const LONGEST: Duration = Duration::from_secs(3);

/// What payloads are filled up with: a record as events have many.
const RECORD: &str =
    r#"{"id":48151,"name":"a line of an order","price":12.5,"tags":["a","b"],"open":true}"#;

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    /// The plugin.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Case files whose events and configs are used: those that pass or deliver a JSON object. Without them the
    /// event is an object of records and the config is empty.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    #[command(flatten)]
    rules: Rules,
}

/// What is called with.
#[derive(Debug)]
struct Subject {
    event: Event,
    config: Value,
}

/// What was measured at one size.
#[derive(Debug)]
struct Row {
    size: usize,
    /// In ascending order; empty if every case is larger than this.
    times: Vec<Duration>,
    /// Bytes of memory at the largest.
    memory: u64,
    /// Why a call failed.
    failed: Option<String>,
}

pub(super) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let cases = args.cases.as_deref().map(case::read_folder).transpose();
    let cases = cases.map_err(Failure::other)?;
    let (upload, rules) = (local::read(&args.file)?, args.rules.read()?);
    let limits = rules.limits.clone();
    let rows = block_on(async {
        let local = Local::open(rules)?;
        let plugin = local.take(upload).await?;
        let subjects = subjects(&plugin, cases.as_deref())?;
        let mut rows = Vec::new();
        for size in SIZES {
            rows.push(measure(&local, &plugin, &subjects, size).await?);
        }
        Ok::<_, Failure>(rows)
    })??;
    print!("{}", table(&rows, &limits));
    match rows
        .iter()
        .find_map(|row| Some((row.size, row.failed.as_ref()?)))
    {
        None => Ok(()),
        Some((size, why)) => Err(Failure::Refused(format!(
            "with a payload of {} a call failed: {why}",
            bytes(size as u64)
        ))),
    }
}

fn subjects(plugin: &Admitted, cases: Option<&[Case]>) -> Result<Vec<Subject>, Failure> {
    let Some(cases) = cases else {
        let event = case::default_event();
        let config = Value::Object(serde_json::Map::new());
        return match Sandbox::validate_config(&plugin.manifest.config_schema, &config) {
            Ok(()) => Ok(vec![Subject { event, config }]),
            Err(_) => Err(Failure::Refused(
                "the plugin needs a config: give --cases with case files that have one".to_owned(),
            )),
        };
    };
    fit(plugin, cases)?;
    let subjects: Vec<Subject> = cases
        .iter()
        .filter(|case| matches!(case.expect.outcome, Outcome::Pass | Outcome::Deliver))
        .filter(|case| {
            matches!(
                serde_json::from_slice(&case.event.payload),
                Ok(Value::Object(_))
            )
        })
        .map(|case| Subject {
            event: case.event.clone(),
            config: case.config.clone(),
        })
        .collect();
    if subjects.is_empty() {
        let problem =
            "none of the cases passes or delivers an event whose payload is a JSON object";
        return Err(Failure::Refused(problem.to_owned()));
    }
    Ok(subjects)
}

/// Calls the plugin with every subject in turn, grown to this size.
async fn measure(
    local: &Local,
    plugin: &Admitted,
    subjects: &[Subject],
    size: usize,
) -> Result<Row, Failure> {
    let mut row = Row {
        size,
        times: Vec::with_capacity(CALLS),
        memory: 0,
        failed: None,
    };
    let subjects: Vec<(Event, &Value)> = subjects
        .iter()
        .filter_map(|subject| {
            let payload = grown(&subject.event.payload, size)?;
            let event = subject.event.clone();
            Some((Event { payload, ..event }, &subject.config))
        })
        .collect();
    let started = Instant::now();
    for (number, (event, config)) in subjects.iter().cycle().take(WARM_UP + CALLS).enumerate() {
        if started.elapsed() > LONGEST && !row.times.is_empty() {
            break;
        }
        let call = local.call(plugin, event.clone(), config).await?;
        let ended = call.report.outcome;
        if matches!(
            ended,
            StepOutcome::Error | StepOutcome::Trap | StepOutcome::Limit
        ) {
            row.failed = Some(call.report.reason.unwrap_or_default());
            break;
        }
        row.memory = row.memory.max(call.report.memory_peak);
        if number >= WARM_UP {
            row.times.push(call.busy());
        }
    }
    row.times.sort_unstable();
    Ok(row)
}

/// The object with records added until it has exactly this many bytes; none if it has more already.
fn grown(payload: &[u8], size: usize) -> Option<Bytes> {
    let open = payload.strip_suffix(b"}")?;
    let comma = if open == b"{" { "" } else { "," };
    let mut text = [open, comma.as_bytes(), br#""padding":["#].concat();
    let end = br#""]}"#;
    // The records, then a text for what is left, which may be empty.
    while text.len() + RECORD.len() + 2 + end.len() <= size {
        text.extend_from_slice(RECORD.as_bytes());
        text.push(b',');
    }
    text.push(b'"');
    let rest = size.checked_sub(text.len() + end.len())?;
    text.resize(text.len() + rest, b'x');
    text.extend_from_slice(end);
    Some(text.into())
}

/// The time that so many of a hundred calls stay within: the nearest rank.
fn percentile(times: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (times.len() * percent).div_ceil(100).max(1);
    times.get(rank - 1).copied()
}

fn table(rows: &[Row], limits: &Limits) -> String {
    let mut text = format!(
        "{:<10}{:>7}{:>10}{:>10}{:>12}\n",
        "payload", "calls", "p50", "p99", "memory"
    );
    for row in rows {
        let shown = |percent| percentile(&row.times, percent).map_or_else(|| "-".to_owned(), time);
        text.push_str(&format!(
            "{:<10}{:>7}{:>10}{:>10}{:>12}{}\n",
            bytes(row.size as u64),
            row.times.len(),
            shown(50),
            shown(99),
            bytes(row.memory),
            match (&row.failed, row.times.is_empty()) {
                (Some(_), _) => "  failed",
                (None, true) => "  every case is larger",
                (None, false) => "",
            }
        ));
    }
    let call = Duration::from_millis(limits.call_ticks.into());
    text.push_str(&format!(
        "{:<10}{:>7}{:>10}{:>10}{:>12}\n",
        "limit",
        "",
        "",
        time(call),
        bytes(limits.memory_bytes as u64)
    ));
    text
}

#[cfg(test)]
mod tests;
