//! Spares a receiver that fails over and over, and the tries of the deliveries that wait for it: after so many
//! failures in a row only one delivery at a time goes to it, as a probe, at growing intervals. The first success
//! lets the others go on. Pure.

use std::time::Duration;

use crate::domain::{Seq, Timestamp};

/// When a circuit opens, and how often it is probed then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CircuitLimits {
    /// Failures in a row; zero: it never opens.
    pub(crate) failures: u32,
    /// Before the first probe; doubled by each that fails.
    pub(crate) first_probe: Duration,
    /// No two probes lie further apart.
    pub(crate) longest_probe: Duration,
}

/// A circuit that is not closed, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenCircuit {
    /// When it opened.
    pub since: Timestamp,
    /// Half open: a probe is under way.
    pub probing: bool,
    /// When the next one may go.
    pub next_probe: Timestamp,
}

/// One lane's.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    /// In a row.
    failures: u32,
    open: Option<Open>,
    /// Something has changed that was not told yet.
    news: bool,
}

#[derive(Debug)]
struct Open {
    since: Timestamp,
    probe_at: Timestamp,
    /// Probes that failed, for the length of the interval.
    failed: u32,
    /// The delivery that probes at present.
    probe: Option<Seq>,
}

impl Circuit {
    /// Of an endpoint that has failed since then as far as is known: its next delivery is a probe.
    pub(super) fn in_doubt(failing_since: Timestamp) -> Self {
        Self {
            open: Some(Open {
                since: failing_since,
                probe_at: Timestamp::default(),
                failed: 0,
                probe: None,
            }),
            news: true,
            failures: 0,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a delivery by schedule may start.
    pub(super) fn lets_through(&self, now: Timestamp) -> bool {
        self.open
            .as_ref()
            .is_none_or(|open| open.probe.is_none() && open.probe_at <= now)
    }

    /// When a probe may start, if that is what is waited for.
    pub(super) fn wake(&self) -> Option<Timestamp> {
        let open = self.open.as_ref()?;
        open.probe.is_none().then_some(open.probe_at)
    }

    /// A delivery goes to the receiver. While the circuit is open, it is the probe unless there is one.
    pub(super) fn started(&mut self, message: Seq) {
        if let Some(open) = &mut self.open
            && open.probe.is_none()
        {
            open.probe = Some(message);
            self.news = true;
        }
    }

    /// The receiver took a delivery. True: the circuit was open.
    pub(super) fn success(&mut self) -> bool {
        self.failures = 0;
        let was_open = self.open.take().is_some();
        self.news |= was_open;
        was_open
    }

    /// The receiver did not take this one.
    pub(super) fn failure(&mut self, now: Timestamp, message: Seq, limits: &CircuitLimits) {
        match &mut self.open {
            Some(open) if open.probe == Some(message) => {
                open.probe = None;
                open.failed = open.failed.saturating_add(1);
                open.probe_at = now.after(limits.interval(open.failed));
                self.news = true;
            }
            // Started before it opened, or by hand beside a probe.
            Some(_) => {}
            None => {
                self.failures = self.failures.saturating_add(1);
                if limits.failures > 0 && self.failures >= limits.failures {
                    self.open = Some(Open {
                        since: now,
                        probe_at: now.after(limits.interval(0)),
                        failed: 0,
                        probe: None,
                    });
                    self.news = true;
                }
            }
        }
    }

    /// The receiver was not asked after all: another delivery may probe at once.
    pub(super) fn not_asked(&mut self, message: Seq) {
        if let Some(open) = &mut self.open
            && open.probe == Some(message)
        {
            open.probe = None;
            self.news = true;
        }
    }

    /// The owner has changed the endpoint, so it is worth a try now, and soon again.
    pub(super) fn probe_soon(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_at = Timestamp::default();
            open.failed = 0;
            self.news = true;
        }
    }

    /// There is nothing to spare any more.
    pub(super) fn close(&mut self) {
        self.news |= self.open.is_some();
        self.failures = 0;
        self.open = None;
    }

    /// As people see it; none: closed.
    pub(super) fn view(&self) -> Option<OpenCircuit> {
        self.open.as_ref().map(|open| OpenCircuit {
            since: open.since,
            probing: open.probe.is_some(),
            next_probe: open.probe_at,
        })
    }

    /// Whether the view has changed since this was asked last.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }
}

impl CircuitLimits {
    /// The wait after so many probes that failed.
    fn interval(&self, failed: u32) -> Duration {
        let doubled = 2_u32.checked_pow(failed);
        doubled
            .and_then(|times| self.first_probe.checked_mul(times))
            .map_or(self.longest_probe, |wait| wait.min(self.longest_probe))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const LIMITS: CircuitLimits = CircuitLimits {
        failures: 3,
        first_probe: Duration::from_secs(5),
        longest_probe: Duration::from_secs(60),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000 * seconds)
    }

    /// One that opened at second zero.
    fn opened() -> Circuit {
        let mut circuit = Circuit::default();
        for n in 0..3 {
            circuit.failure(at(0), Seq(n), &LIMITS);
        }
        assert!(circuit.is_open());
        circuit
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut circuit = Circuit::default();
        for n in 0..20 {
            circuit.failure(at(0), Seq(n), &LIMITS);
            circuit.failure(at(0), Seq(n), &LIMITS);
            assert!(!circuit.success());
        }
        assert!(!circuit.is_open() && !circuit.take_news());
        let never = CircuitLimits {
            failures: 0,
            ..LIMITS
        };
        for n in 0..1_000 {
            circuit.failure(at(0), Seq(n), &never);
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn probes_go_one_at_a_time_at_growing_intervals() {
        let mut circuit = opened();
        let mut now = 0;
        for wait in [5, 10, 20, 40, 60, 60, 60] {
            assert!(!circuit.lets_through(at(now + wait - 1)));
            assert_eq!(circuit.wake(), Some(at(now + wait)));
            now += wait;
            assert!(circuit.lets_through(at(now)));
            circuit.started(Seq(now));
            assert!(!circuit.lets_through(at(now + 1_000)), "one at a time");
            assert_eq!(circuit.wake(), None);
            circuit.failure(at(now), Seq(now), &LIMITS);
        }
        circuit.started(Seq(7));
        assert!(circuit.success());
        assert!(circuit.lets_through(at(now)));
        assert_eq!(circuit.view(), None);
    }

    #[test]
    fn what_was_under_way_before_it_opened_changes_nothing_but_by_success() {
        let mut circuit = opened();
        let before = circuit.view();
        circuit.failure(at(1), Seq(99), &LIMITS);
        assert_eq!(circuit.view(), before);
        assert!(circuit.success());
    }

    #[test]
    fn a_probe_that_asked_nobody_is_followed_by_another_at_once() {
        let mut circuit = opened();
        circuit.started(Seq(1));
        circuit.not_asked(Seq(2));
        assert!(!circuit.lets_through(at(5)));
        circuit.not_asked(Seq(1));
        assert!(circuit.lets_through(at(5)));
    }

    #[test]
    fn a_changed_endpoint_is_probed_at_once_and_from_the_shortest_interval() {
        let mut circuit = opened();
        for n in 0..5 {
            circuit.started(Seq(n));
            circuit.failure(at(100), Seq(n), &LIMITS);
        }
        circuit.probe_soon();
        assert!(circuit.lets_through(at(100)));
        circuit.started(Seq(9));
        circuit.failure(at(100), Seq(9), &LIMITS);
        assert_eq!(circuit.wake(), Some(at(110)));
        assert!(Circuit::in_doubt(at(1)).lets_through(at(2)));
    }

    /// Whatever happens in whatever order: no two probes at once, none sooner than the shortest interval after a
    /// failed one, and never a longer wait than the longest.
    #[test]
    fn probes_keep_their_distance_whatever_happens() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut circuit = Circuit::default();
            let (mut now, mut probe, mut failed_at) = (at(0), None, None::<Timestamp>);
            for n in 0..500 {
                let message = Seq(n);
                now = now.after(Duration::from_millis(random.random_range(0..5_000)));
                if circuit.is_open() && circuit.lets_through(now) && probe.is_none() {
                    if let Some(failed) = failed_at {
                        assert!(now.since(failed) >= LIMITS.first_probe, "seed {seed}");
                    }
                    circuit.started(message);
                    probe = Some(message);
                }
                match (random.random_range(0..20), probe) {
                    (0, _) => {
                        circuit.success();
                        (probe, failed_at) = (None, None);
                    }
                    (1..5, Some(probing)) => {
                        circuit.failure(now, probing, &LIMITS);
                        (probe, failed_at) = (None, Some(now));
                    }
                    (5, Some(probing)) => {
                        circuit.not_asked(probing);
                        probe = None;
                        failed_at = None;
                    }
                    (6..12, _) => circuit.failure(now, Seq(1_000 + n), &LIMITS),
                    _ => {}
                }
                if let Some(wake) = circuit.wake() {
                    assert!(wake <= now.after(LIMITS.longest_probe), "seed {seed}");
                }
                assert_eq!(
                    circuit.view().is_some_and(|view| view.probing),
                    probe.is_some()
                );
            }
        }
    }
}
