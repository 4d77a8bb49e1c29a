//! Figures against a size: how the speed of one tenant's deliveries depends on it.

use std::fmt::{self, Write};
use std::time::Duration;

use super::plot::{Panel, Place};
use super::{Unit, median, plot, span, written};

/// What is varied.
#[derive(Debug)]
pub(crate) struct Axis {
    /// Names the plot's file.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) label: &'static str,
    /// How a size is written.
    pub(crate) write: fn(u64) -> String,
}

/// One measurement at one size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Deliveries a second.
    pub(crate) rate: f64,
    /// From due to received, at half of that rate, in seconds.
    pub(crate) p99: f64,
    /// CPU time of the gateway for each, in the closed loop.
    pub(crate) gateway: Duration,
}

#[derive(Debug)]
pub(crate) struct Sweep {
    pub(super) axis: &'static Axis,
    /// In the order in which they were first measured.
    places: Vec<(u64, Vec<Point>)>,
}

impl Sweep {
    pub(super) fn new(axis: &'static Axis) -> Self {
        Self {
            axis,
            places: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, x: u64, point: Point) {
        match self.places.iter_mut().find(|(at, _)| *at == x) {
            Some((_, points)) => points.push(point),
            None => self.places.push((x, vec![point])),
        }
    }

    pub(crate) fn file_name(&self) -> String {
        format!("{}.svg", self.axis.name)
    }

    /// Rate and p99, side by side.
    pub(crate) fn svg(&self) -> String {
        let panel = |label, unit, of: fn(&Point) -> f64| Panel {
            x_label: self.axis.label,
            y_label: label,
            write: move |value| written(unit, value),
            places: self
                .places
                .iter()
                .map(|(x, points)| {
                    let values: Vec<f64> = points.iter().map(of).collect();
                    let (low, high) = span(&values);
                    Place {
                        label: (self.axis.write)(*x),
                        low,
                        median: median(&values),
                        high,
                    }
                })
                .collect(),
        };
        let rate = panel("deliveries a second", Unit::PerSecond, |point| point.rate);
        let p99 = panel(
            "end to end, p99, at half of that rate",
            Unit::Time,
            |point| point.p99,
        );
        plot::svg(self.axis.title, &[rate.drawn(), p99.drawn()])
    }

    /// A heading, the plot and its numbers.
    pub(crate) fn page(&self) -> String {
        let title = self.axis.title;
        let mut text = format!("## {title}\n\n![{title}]({})\n\n", self.file_name());
        text.push_str(&self.to_string());
        text.push('\n');
        text
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!(
            "| {} | deliveries/s | lowest to highest | p99 at half rate | lowest to highest | CPU, gateway |\n",
            self.axis.label
        );
        text.push_str("|---|---|---|---|---|---|\n");
        for (x, points) in &self.places {
            let values = |of: fn(&Point) -> f64| points.iter().map(of).collect::<Vec<f64>>();
            write!(text, "| {} ", (self.axis.write)(*x))?;
            for (unit, values) in [
                (Unit::PerSecond, values(|point| point.rate)),
                (Unit::Time, values(|point| point.p99)),
            ] {
                let (low, high) = span(&values);
                write!(
                    text,
                    "| {} | {} to {} ",
                    written(unit, median(&values)),
                    written(unit, low),
                    written(unit, high)
                )?;
            }
            let cost = median(&values(|point| point.gateway.as_secs_f64()));
            writeln!(text, "| {} |", written(Unit::Time, cost))?;
        }
        f.write_str(&text)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, p99 {}, gateway {} each",
            written(Unit::PerSecond, self.rate),
            written(Unit::Time, self.p99),
            written(Unit::Time, self.gateway.as_secs_f64())
        )
    }
}
