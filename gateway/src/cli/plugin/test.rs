//! `hookmill plugin test`: runs a plugin's case files in the gateway's sandbox, a line for each.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::answer::{Answer, visible};
use super::case::{self, Case};
use super::figures::{bytes, time};
use super::local::{self, Local, Rules};
use super::paint::Paint;
use crate::cli::peer::block_on;
use crate::sandbox::{Admitted, LogLine, Sandbox};

#[derive(Debug, Args)]
pub(in crate::cli) struct TestArgs {
    /// The plugin, and before it the project whose folder `cases` is meant; without one the working directory.
    #[arg(value_names = ["DIR] [FILE.wasm"], num_args = 1..=2, required = true)]
    paths: Vec<PathBuf>,
    /// Another folder of case files.
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    #[command(flatten)]
    rules: Rules,
}

/// What came of a case.
#[derive(Debug)]
struct Verdict {
    /// The difference to what was expected.
    diff: Option<String>,
    logs: Vec<LogLine>,
    cost: String,
}

pub(super) fn run(args: &TestArgs) -> Result<(), Failure> {
    let (file, folder) = args.places()?;
    let cases = case::read_folder(&folder).map_err(Failure::other)?;
    let (upload, rules) = (local::read(file)?, args.rules.read()?);
    let paint = Paint::for_terminal(std::io::stdout().is_terminal());
    let failed = block_on(async {
        let local = Local::open(rules)?;
        let plugin = local.take(upload).await?;
        fit(&plugin, &cases)?;
        run_all(&local, &plugin, &cases, paint).await
    })??;
    println!("{} passed, {failed} failed", cases.len() - failed);
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "{failed} of {} cases do not come out as expected",
        cases.len()
    )))
}

impl TestArgs {
    /// The plugin's file and the folder of its cases.
    fn places(&self) -> Result<(&Path, PathBuf), Failure> {
        match (self.paths.as_slice(), &self.cases) {
            ([file], Some(cases)) => Ok((file, cases.clone())),
            ([file], None) => Ok((file, PathBuf::from("cases"))),
            ([dir, file], None) => Ok((file, dir.join("cases"))),
            _ => {
                let problem = "either a project or --cases can be given, and one plugin";
                Err(Failure::Refused(problem.to_owned()))
            }
        }
    }
}

/// A gateway takes no chain whose config does not fit, so a case with one shows nothing.
pub(super) fn fit(plugin: &Admitted, cases: &[Case]) -> Result<(), Failure> {
    for case in cases {
        Sandbox::validate_config(&plugin.manifest.config_schema, &case.config)
            .map_err(|problems| Failure::other(case.misfit(&problems)))?;
    }
    Ok(())
}

/// Runs the cases in order and prints a line for each; how many failed.
async fn run_all(
    local: &Local,
    plugin: &Admitted,
    cases: &[Case],
    paint: Paint,
) -> Result<usize, Failure> {
    let mut failed = 0;
    for case in cases {
        let verdict = judge(local, plugin, case).await?;
        failed += usize::from(verdict.diff.is_some());
        let mut out = std::io::stdout().lock();
        out.write_all(shown(case, &verdict, paint).as_bytes())
            .map_err(Failure::other)?;
    }
    Ok(failed)
}

async fn judge(local: &Local, plugin: &Admitted, case: &Case) -> Result<Verdict, Failure> {
    let call = local.call(plugin, case.event.clone(), &case.config).await?;
    let cost = format!("{}, {}", time(call.busy()), bytes(call.report.memory_peak));
    let logs = call.report.logs.clone();
    Ok(Verdict {
        diff: Answer::from(call).differs_from(&case.expect),
        logs,
        cost,
    })
}

fn shown(case: &Case, verdict: &Verdict, paint: Paint) -> String {
    let name = visible(&case.name);
    let Some(diff) = &verdict.diff else {
        return format!("{}    {name} ({})\n", paint.good("ok"), verdict.cost);
    };
    let mut text = format!("{}  {name} in {}\n", paint.bad("FAIL"), case.path.display());
    for line in diff.lines() {
        // Writing to a string never fails.
        let _ = writeln!(text, "      {}", paint.of_diff(line));
    }
    for line in &verdict.logs {
        let _ = writeln!(
            text,
            "      log {}: {}",
            line.level.as_str(),
            visible(&line.text)
        );
    }
    text
}

#[cfg(test)]
mod tests;
