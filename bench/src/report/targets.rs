//! What the figures are meant to reach, and the table that says whether they do.

use std::fmt::Write;

use super::{Figure, cell, median, written};

/// A figure's target; specified, except where it says chosen.
struct Target {
    figure: &'static str,
    goal: Goal,
}

enum Goal {
    /// The ratio to the baseline is at least the first; the second is what to go on toward.
    Ratio(f64, Option<f64>),
    /// The ratio to the baseline is at most this.
    RatioBelow(f64),
    /// In the figure's own unit.
    Below(f64),
}

const TARGETS: &[Target] = &[
    ratio("deliveries, 1 endpoint", 0.12, Some(0.20)),
    ratio("deliveries, 10 endpoints", 0.20, Some(0.35)),
    ratio("deliveries, 1 endpoint, redact", 0.10, Some(0.17)),
    below("half rate, accept, p50", 0.003),
    below("half rate, accept, p99", 0.015),
    below("half rate, end to end, p50", 0.010),
    delivered("healthy beside dead and failing endpoints of its own tenant, delivered"),
    slower("healthy beside dead and failing endpoints of its own tenant, p99"),
    delivered("healthy beside those of another tenant, delivered"),
    slower("healthy beside those of another tenant, p99"),
    delivered("healthy beside a hundredfold tenant, delivered"),
    slower("healthy beside a hundredfold tenant, p99"),
    delivered("healthy beside a tenant whose plugin loops, delivered"),
    slower("healthy beside a tenant whose plugin loops, p99"),
    below("1,000,000 waiting, memory", 300e6),
    ratio("1,000,000 waiting, accepts", 0.8, None),
    ratio("1,000,000 waiting, deliveries", 0.8, None),
    below("1,000,000 waiting, first delivery after a kill", 5.0),
    below("1,000,000 waiting, first delivery after a clean end", 5.0),
    below("1,000,000 at silent receivers, memory", 300e6),
    ratio("1,000,000 at silent receivers, accepts", 0.8, None),
    ratio("1,000,000 at silent receivers, deliveries", 0.8, None),
    below(
        "1,000,000 at silent receivers, first delivery after a kill",
        5.0,
    ),
    below(
        "1,000,000 at silent receivers, first delivery after a clean end",
        5.0,
    ),
    // Chosen: what a process takes whose tasks all sleep, as far as the kernel's clock ticks can tell.
    below("10,000 dead endpoints, idle gateway", 0.005),
];

const fn ratio(figure: &'static str, least: f64, beyond: Option<f64>) -> Target {
    Target {
        figure,
        goal: Goal::Ratio(least, beyond),
    }
}

/// Of what it is offered.
const fn delivered(figure: &'static str) -> Target {
    ratio(figure, 0.9, None)
}

/// Than alone.
const fn slower(figure: &'static str) -> Target {
    Target {
        figure,
        goal: Goal::RatioBelow(2.0),
    }
}

const fn below(figure: &'static str, most: f64) -> Target {
    Target {
        figure,
        goal: Goal::Below(most),
    }
}

/// Lines of Markdown; only the figures that were measured.
pub(super) fn table(figures: &[Figure]) -> String {
    let mut text =
        "| figure | value | ratio | by CPU | target | met |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for Target { figure, goal } in TARGETS {
        let Some(found) = figures.iter().find(|found| found.name == *figure) else {
            continue;
        };
        let value = median(&found.values);
        let (target, met) = match *goal {
            Goal::Below(most) => (
                format!("at most {}", written(found.unit, most)),
                value <= most,
            ),
            Goal::RatioBelow(most) => {
                let reached = found.ratio().unwrap_or(f64::NAN);
                (format!("at most {most:.2}"), reached <= most)
            }
            Goal::Ratio(least, beyond) => {
                let then = cell(beyond, |beyond| format!(", then {beyond:.2}"));
                let reached = found.ratio().unwrap_or(f64::NAN);
                (format!("at least {least:.2}{then}"), reached >= least)
            }
        };
        let three = |ratio| format!("{ratio:.3}");
        // Into a String nothing fails.
        let _ = writeln!(
            text,
            "| {figure} | {} | {} | {} | {target} | {} |",
            written(found.unit, value),
            cell(found.ratio(), three),
            cell(found.by_cpu(), three),
            if met { "yes" } else { "**no**" },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Report, Unit};

    #[test]
    fn a_target_is_met_or_not() {
        let mut report = Report::default();
        report.compare(
            "deliveries, 1 endpoint",
            Unit::PerSecond,
            130.0,
            "raw client",
            1000.0,
        );
        report.add("half rate, accept, p50", Unit::Time, 0.004);
        let table = report.targets();
        assert!(
            table.contains(
                "| deliveries, 1 endpoint | 130/s | 0.130 |  | at least 0.12, then 0.20 | yes |"
            ),
            "{table}"
        );
        assert!(
            table.contains("| half rate, accept, p50 | 4.00 ms |  |  | at most 3.00 ms | **no** |"),
            "{table}"
        );
        assert!(!table.contains("redact"), "{table}");
    }
}
