//! Collects figures over the rounds and prints them: median, spread, and the median of the ratios to the baseline of the
//! same round. Pure.

use std::fmt;
use std::time::Duration;

/// The head of the results' file.
pub(crate) const PREFACE: &str = "\
# Measured

`cargo xtask bench` writes this page. Client, receiver and gateway share one machine, the payload is 1 KiB, and every
ratio is to a baseline of the same round: for rates the raw client, which posts the same payload straight to the same
receiver; for accepts also the disk's own syncs. A ratio says more than its figure, since machines differ.

";

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    PerSecond,
    /// Given in seconds.
    Time,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    name: String,
    unit: Unit,
    values: Vec<f64>,
    /// What it is compared with, and the ratio of each round.
    against: Option<(&'static str, Vec<f64>)>,
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

    /// The 50th and the 99th percentile of one round's times.
    pub(crate) fn add_times(&mut self, name: &str, mut times: Vec<Duration>) {
        times.sort_unstable();
        for (label, share) in [("p50", 0.50), ("p99", 0.99)] {
            if let Some(time) = percentile(&times, share) {
                self.add(&format!("{name}, {label}"), Unit::Time, time.as_secs_f64());
            }
        }
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
                });
                self.figures.len() - 1
            });
        &mut self.figures[at]
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

fn written(unit: Unit, value: f64) -> String {
    match unit {
        Unit::PerSecond if value >= 100.0 => format!("{value:.0}/s"),
        Unit::PerSecond => format!("{value:.1}/s"),
        Unit::Time if value < 1e-3 => format!("{:.1} us", value * 1e6),
        Unit::Time if value < 1.0 => format!("{:.2} ms", value * 1e3),
        Unit::Time => format!("{value:.2} s"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| figure | median | lowest to highest | rounds | ratio |"
        )?;
        writeln!(f, "|---|---|---|---|---|")?;
        for figure in &self.figures {
            let low = figure.values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = figure
                .values
                .iter()
                .copied()
                .fold(f64::NEG_INFINITY, f64::max);
            let ratio = figure
                .against
                .as_ref()
                .map_or_else(String::new, |(with, ratios)| {
                    format!("{:.3} of the {with}", median(ratios))
                });
            writeln!(
                f,
                "| {} | {} | {} to {} | {} | {ratio} |",
                figure.name,
                written(figure.unit, median(&figure.values)),
                written(figure.unit, low),
                written(figure.unit, high),
                figure.values.len(),
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
    fn the_median_of_two_is_between_them() {
        assert!((median(&[3.0, 1.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[9.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
