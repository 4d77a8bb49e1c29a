//! Draws panels side by side as SVG. Written by hand, since two panels of points need neither a font nor a plotting
//! library. Heights are logarithmic and span at least a decade, so that noise looks small and a factor looks the same
//! everywhere; places stand at equal distances, as the sizes of a sweep grow by factors.

use std::fmt::{self, Write};

/// Pixels of a panel, and of its frame's distance from the panel's edges.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;

/// Pixels for the title above the panels.
const TITLE: f64 = 30.0;

/// Half the width of the strokes that end a spread.
const CAP: f64 = 5.0;

/// A figure against places.
pub(super) struct Panel<W> {
    pub(super) x_label: &'static str,
    pub(super) y_label: &'static str,
    /// How a height is written.
    pub(super) write: W,
    pub(super) places: Vec<Place>,
}

pub(super) struct Place {
    pub(super) label: String,
    pub(super) low: f64,
    pub(super) median: f64,
    pub(super) high: f64,
}

/// A panel's elements, its own corner at 0, 0.
pub(super) struct Drawn(String);

/// A picture of these panels.
pub(super) fn svg(title: &str, panels: &[Drawn]) -> String {
    let width = WIDTH * panels.len() as f64;
    let height = HEIGHT + TITLE;
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="{}" y="22" font-size="15" text-anchor="middle">{title}</text>
"##,
        width / 2.0
    );
    for (number, Drawn(elements)) in panels.iter().enumerate() {
        let x = WIDTH * number as f64;
        text.push_str(&format!(
            "<g transform=\"translate({x} {TITLE})\">\n{elements}</g>\n"
        ));
    }
    text.push_str("</svg>\n");
    text
}

impl<W: Fn(f64) -> String> Panel<W> {
    pub(super) fn drawn(&self) -> Drawn {
        let mut text = String::new();
        // Into a String nothing fails.
        let _ = self.draw(&mut text);
        Drawn(text)
    }

    fn draw(&self, text: &mut String) -> fmt::Result {
        let scale = Scale::over(&self.places);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in scale.ticks() {
            let y = scale.y(tick);
            writeln!(
                text,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#ddd"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"##,
                LEFT - 6.0,
                y + 4.0,
                (self.write)(tick)
            )?;
        }
        writeln!(
            text,
            r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#222"/>"##
        )?;
        let middle = f64::midpoint(LEFT, right);
        writeln!(
            text,
            r#"<text x="{middle}" y="{}" text-anchor="middle">{}</text><text x="{middle}" y="18" text-anchor="middle">{}</text>"#,
            HEIGHT - 12.0,
            self.x_label,
            self.y_label
        )?;
        let step = (right - LEFT) / self.places.len().max(1) as f64;
        let mut line = String::new();
        for (number, place) in self.places.iter().enumerate() {
            let x = LEFT + step * (number as f64 + 0.5);
            let y = scale.y(place.median);
            write!(line, "{}{x:.1} {y:.1}", if number == 0 { "M" } else { "L" })?;
            let (low, high) = (scale.y(place.low), scale.y(place.high));
            let (from, to) = (x - CAP, x + CAP);
            writeln!(
                text,
                r##"<path d="M{from:.1} {high:.1}H{to:.1}M{x:.1} {high:.1}V{low:.1}M{from:.1} {low:.1}H{to:.1}" stroke="#4477aa"/><circle cx="{x:.1}" cy="{y:.1}" r="4" fill="#4477aa"/><text x="{x:.1}" y="{}" text-anchor="middle">{}</text>"##,
                bottom + 18.0,
                place.label
            )?;
        }
        writeln!(
            text,
            r##"<path d="{line}" fill="none" stroke="#4477aa" stroke-width="2"/>"##
        )
    }
}

/// The heights of a panel.
struct Scale {
    /// Logarithms.
    low: f64,
    high: f64,
}

impl Scale {
    fn over(places: &[Place]) -> Self {
        let heights = || places.iter().flat_map(|place| [place.low, place.high]);
        let low = heights().fold(f64::INFINITY, f64::min);
        let high = heights().fold(f64::NEG_INFINITY, f64::max);
        if !(low > 0.0 && high.is_finite()) {
            return Self {
                low: 0.0,
                high: 1.0,
            };
        }
        let (low, high) = (low.log10(), high.log10());
        let missing = (1.0 - (high - low)).max(0.1) / 2.0;
        Self {
            low: low - missing,
            high: high + missing,
        }
    }

    /// 1, 2 and 5 times the powers of ten that it spans.
    fn ticks(&self) -> Vec<f64> {
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        powers
            .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)))
            .filter(|tick| (self.low..=self.high).contains(&tick.log10()))
            .collect()
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value.log10() - self.low) / (self.high - self.low);
        let bottom = HEIGHT - BOTTOM;
        bottom - share * (bottom - TOP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(low: f64, high: f64) -> Place {
        Place {
            label: "1 KiB".to_owned(),
            low,
            median: f64::midpoint(low, high),
            high,
        }
    }

    #[test]
    fn a_scale_spans_a_decade_and_all_its_places() {
        let scale = Scale::over(&[place(900.0, 1100.0)]);
        assert!(scale.high - scale.low >= 1.0);
        assert_eq!(scale.ticks(), [500.0, 1000.0, 2000.0]);
        let wide = Scale::over(&[place(1.0, 2.0), place(5_000.0, 9_000.0)]);
        assert!(wide.y(9_000.0) > TOP && wide.y(1.0) < HEIGHT - BOTTOM);
    }

    #[test]
    fn every_place_is_drawn() {
        let panel = Panel {
            x_label: "payload",
            y_label: "deliveries a second",
            write: |value| format!("{value}/s"),
            places: vec![place(900.0, 1100.0), place(90.0, 110.0)],
        };
        let picture = svg("Speed", &[panel.drawn()]);
        assert_eq!(picture.matches("<circle").count(), 2);
        assert!(picture.contains(">1 KiB</text>") && picture.contains(">100/s</text>"));
    }

    #[test]
    fn nothing_measured_is_an_empty_frame() {
        assert_eq!(Scale::over(&[]).ticks(), [1.0, 2.0, 5.0, 10.0]);
    }
}
