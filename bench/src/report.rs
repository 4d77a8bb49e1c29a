//! Collects figures over the rounds and writes them down: median, spread, the median of the ratios to the baseline of the
//! same round, and what a delivery cost in CPU time. Pure.
//!
//! - `targets`: what the figures are meant to reach
//! - `sweep`: figures against a size, with their plot

pub(crate) mod plot;
mod sweep;
mod targets;

use std::fmt;
use std::time::Duration;

pub(crate) use sweep::{Axis, Point, Sweep};

/// The head of the results' file.
pub(crate) const PREFACE: &str = "\
# Measured

`cargo xtask bench` writes this page and its plots. Client, receiver and gateway share one machine, and the payload is
1 KiB unless it says otherwise. Every ratio is to a baseline of the same round, taken right before and right after: for
rates the raw client, which posts the same payload straight to the same receiver; for accepts also the disk's own syncs; for
a store with a backlog a second gateway with an empty one. A ratio says more than its figure, since machines differ.
\"By CPU\" is the CPU time of one post of the raw client with its receiver, divided by that of one delivery with gateway,
client and receiver: the ratio that an otherwise idle machine gives, whatever else ran on this one.

";

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    /// Given in seconds.
    Time,
    Bytes,
    /// Of one core.
    Core,
}

/// What was used for one delivery or accept, of a whole measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) gateway: Duration,
    /// Client and receiver.
    pub(crate) bench: Duration,
    /// CPU time of one post of the raw client, over that of one of these.
    pub(crate) by_cpu: f64,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    sweeps: Vec<Sweep>,
}

#[derive(Debug)]
struct Figure {
    name: String,
    unit: Unit,
    values: Vec<f64>,
    /// What it is compared with, and the ratio of each round.
    against: Option<(&'static str, Vec<f64>)>,
    costs: Vec<Cost>,
}

impl Report {
    /// One round's value of a figure.
    pub(crate) fn add(&mut self, name: &str, unit: Unit, value: f64) {
        self.figure(name, unit).values.push(value);
        eprintln!("  {name}: {}", written(unit, value));
    }

    /// The same, beside this round's baseline.
    pub(crate) fn compare(
        &mut self,
        name: &str,
        unit: Unit,
        value: f64,
        with: &'static str,
        baseline: f64,
    ) {
        self.add(name, unit, value);
        let figure = self.figure(name, unit);
        figure
            .against
            .get_or_insert((with, Vec::new()))
            .1
            .push(value / baseline);
    }

    /// What one of a figure that is there cost in this round.
    pub(crate) fn cost(&mut self, name: &str, unit: Unit, cost: Cost) {
        self.figure(name, unit).costs.push(cost);
    }

    /// The 50th and the 99th percentile of one round's times.
    pub(crate) fn add_times(&mut self, name: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        for (label, share) in [("p50", 0.50), ("p99", 0.99)] {
            if let Some(time) = percentile(&times, share) {
                self.add(&format!("{name}, {label}"), Unit::Time, time.as_secs_f64());
            }
        }
    }

    /// One measurement at one place of a sweep.
    pub(crate) fn sweep(&mut self, axis: &'static Axis, x: u64, point: Point) {
        eprintln!("  {} {x}: {point}", axis.name);
        let at = self
            .sweeps
            .iter()
            .position(|sweep| sweep.axis.name == axis.name)
            .unwrap_or_else(|| {
                self.sweeps.push(Sweep::new(axis));
                self.sweeps.len() - 1
            });
        self.sweeps[at].add(x, point);
    }

    pub(crate) fn sweeps(&self) -> &[Sweep] {
        &self.sweeps
    }

    /// What was reached of what is meant to be.
    pub(crate) fn targets(&self) -> String {
        targets::table(&self.figures)
    }

    fn figure(&mut self, name: &str, unit: Unit) -> &mut Figure {
        let at = self
            .figures
            .iter()
            .position(|figure| figure.name == name)
            .unwrap_or_else(|| {
                self.figures.push(Figure {
                    name: name.to_owned(),
                    unit,
                    values: Vec::new(),
                    against: None,
                    costs: Vec::new(),
                });
                self.figures.len() - 1
            });
        &mut self.figures[at]
    }
}

impl Figure {
    fn ratio(&self) -> Option<f64> {
        self.against.as_ref().map(|(_, ratios)| median(ratios))
    }

    fn cost(&self, of: impl Fn(&Cost) -> f64) -> Option<f64> {
        let costs: Vec<f64> = self.costs.iter().map(of).collect();
        (!costs.is_empty()).then(|| median(&costs))
    }

    fn by_cpu(&self) -> Option<f64> {
        self.cost(|cost| cost.by_cpu)
    }
}

/// Of sorted times; none of none.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    // Rounded up: the time that at least this share of them did not exceed.
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    Some(sorted[at.min(last)])
}

/// The middle one, or the mean of the two in the middle; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// The lowest and the highest.
fn span(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (low, high)
}

fn written(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond if value >= 100.0 => format!("{value:.0}/s"),
        Unit::PerSecond => format!("{value:.1}/s"),
        Unit::Time if value < 1e-3 => format!("{:.1} us", value * 1e6),
        Unit::Time if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Time => format!("{value:.2} s"),
        Unit::Bytes => format!("{:.0} MB", value / 1e6),
        Unit::Core => format!("{:.1} % of a core", value * 100.0),
    }
}

/// 10000 as 10,000.
pub(crate) fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// The cell of a figure that may be missing.
fn cell(value: Option<f64>, write: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(String::new, write)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| figure | median | lowest to highest | rounds | ratio | by CPU | CPU, gateway | CPU, client and receiver |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|")?;
        for figure in &self.figures {
            let (low, high) = span(&figure.values);
            let ratio = figure
                .against
                .as_ref()
                .map_or_else(String::new, |(with, ratios)| {
                    format!("{:.3} of the {with}", median(ratios))
                });
            let time = |seconds| written(Unit::Time, seconds);
            writeln!(
                f,
                "| {} | {} | {} to {} | {} | {ratio} | {} | {} | {} |",
                figure.name,
                written(figure.unit, median(&figure.values)),
                written(figure.unit, low),
                written(figure.unit, high),
                figure.values.len(),
                cell(figure.by_cpu(), |ratio| format!("{ratio:.3}")),
                cell(figure.cost(|cost| cost.gateway.as_secs_f64()), time),
                cell(figure.cost(|cost| cost.bench.as_secs_f64()), time),
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_do_not_flatter() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&times, 0.50), Some(Duration::from_millis(50)));
        assert_eq!(percentile(&times, 0.99), Some(Duration::from_millis(99)));
        assert_eq!(
            percentile(&times[..1], 0.99),
            Some(Duration::from_millis(1))
        );
        assert_eq!(percentile(&[], 0.5), None);
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        let mut report = Report::default();
        // Twice the machine in the second round: the ratio stays.
        report.compare("accepts", Unit::PerSecond, 100.0, "raw client", 1000.0);
        report.compare("accepts", Unit::PerSecond, 200.0, "raw client", 2000.0);
        let table = report.to_string();
        assert!(
            table.contains("| accepts | 150/s | 100/s to 200/s | 2 | 0.100 of the raw client |"),
            "{table}"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(with_commas),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn the_median_of_two_is_between_them() {
        assert!((median(&[3.0, 1.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
