//! What is counted, in one place, for Prometheus. Knows no other room: each room is handed the counters
//! and calls one method per fact. Label values come from fixed sets, never from a tenant.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One label, `outcome`, from a fixed set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

/// One label, `protocol`: `http/1.1` or `http/2`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    protocol: &'static str,
}

/// Every counter of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    accepts: Family<ByOutcome, Counter>,
    deliveries: Family<ByOutcome, Counter>,
    attempt_seconds: Histogram,
    connections_opened: Family<ByProtocol, Counter>,
    connections_reused: Family<ByProtocol, Counter>,
    plugin_calls: Family<ByOutcome, Counter>,
    plugin_seconds: Histogram,
    plugin_suspensions: Counter,
    commit_rows: Histogram,
    commit_seconds: Histogram,
    backlog: Gauge,
    oldest_due_seconds: Gauge<f64, AtomicU64>,
    open_circuits: Gauge,
    operational_events: Family<ByOutcome, Counter>,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("hookmill"),
            accepts: Family::default(),
            deliveries: Family::default(),
            // Measured: a delivery on one machine takes from 0.2 ms; the deadline is 15 to 30 s.
            attempt_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 17)),
            connections_opened: Family::default(),
            connections_reused: Family::default(),
            plugin_calls: Family::default(),
            // Measured: 14 us for a small event; the limit is 50 ticks of 1 ms.
            plugin_seconds: Histogram::new(exponential_buckets(0.000_01, 2.0, 15)),
            plugin_suspensions: Counter::default(),
            commit_rows: Histogram::new(exponential_buckets(1.0, 2.0, 12)),
            // Measured: 0.15 ms for one message on a fast disk; 10 ms and more on a slow one.
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 15)),
            backlog: Gauge::default(),
            oldest_due_seconds: Gauge::default(),
            open_circuits: Gauge::default(),
            operational_events: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "accepts",
            "Messages by outcome of accepting",
            self.accepts.clone(),
        );
        registry.register("deliveries", "Attempts by outcome", self.deliveries.clone());
        registry.register(
            "attempt_seconds",
            "Time from connect to verdict",
            self.attempt_seconds.clone(),
        );
        registry.register(
            "connections_opened",
            "Connections made to receivers",
            self.connections_opened.clone(),
        );
        registry.register(
            "connections_reused",
            "Requests sent over a connection that was open before",
            self.connections_reused.clone(),
        );
        registry.register(
            "plugin_calls",
            "Plugin calls by outcome",
            self.plugin_calls.clone(),
        );
        registry.register(
            "plugin_seconds",
            "Time in the sandbox",
            self.plugin_seconds.clone(),
        );
        registry.register(
            "plugin_suspensions",
            "Plugin versions suspended in a chain",
            self.plugin_suspensions.clone(),
        );
        registry.register(
            "commit_items",
            "Items in a group commit",
            self.commit_rows.clone(),
        );
        registry.register(
            "commit_seconds",
            "Time of a group commit",
            self.commit_seconds.clone(),
        );
        registry.register(
            "backlog",
            "Deliveries in memory that wait",
            self.backlog.clone(),
        );
        registry.register(
            "oldest_due_seconds",
            "Age of the oldest delivery that is due and waits",
            self.oldest_due_seconds.clone(),
        );
        registry.register(
            "open_circuits",
            "Endpoints that fail over and over and are only probed",
            self.open_circuits.clone(),
        );
        registry.register(
            "operational_events",
            "Operational events by outcome",
            self.operational_events.clone(),
        );
    }

    /// One request to accept a message ended so: `accepted`, `duplicate`, `refused` or `error`.
    pub fn accepted(&self, outcome: &'static str) {
        self.accepts.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// One attempt ended so: `success`, `fail`, `canceled`.
    pub fn attempted(&self, outcome: &'static str, took: Duration) {
        self.deliveries.get_or_create(&ByOutcome { outcome }).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// A request goes out over a connection of this protocol, made for it or open before.
    pub fn connected(&self, protocol: &'static str, was_reused: bool) {
        let connections = if was_reused {
            &self.connections_reused
        } else {
            &self.connections_opened
        };
        connections.get_or_create(&ByProtocol { protocol }).inc();
    }

    /// One plugin call ended so.
    pub fn plugin_called(&self, outcome: &'static str, took: Duration) {
        self.plugin_calls
            .get_or_create(&ByOutcome { outcome })
            .inc();
        self.plugin_seconds.observe(took.as_secs_f64());
    }

    /// One plugin version was suspended in one chain.
    pub fn plugin_suspended(&self) {
        self.plugin_suspensions.inc();
    }

    /// One group of this many items was committed.
    pub fn committed(&self, items: usize, took: Duration) {
        self.commit_rows.observe(items as f64);
        self.commit_seconds.observe(took.as_secs_f64());
    }

    /// How many deliveries wait in memory, and for how long the oldest due one has.
    pub fn backlog(&self, waiting: usize, oldest_due: Duration) {
        self.backlog.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.oldest_due_seconds.set(oldest_due.as_secs_f64());
    }

    /// So many endpoints are only probed at present.
    pub fn open_circuits(&self, open: usize) {
        self.open_circuits
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// One operational event ended so: `sent`, `counted` (with a later one), `dropped`.
    pub fn operational_event(&self, outcome: &'static str) {
        self.operational_events
            .get_or_create(&ByOutcome { outcome })
            .inc();
    }

    /// The OpenMetrics text that `/metrics` answers with.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.accepted("accepted");
        metrics.attempted("success", Duration::from_millis(3));
        metrics.connected("http/1.1", false);
        metrics.connected("http/2", true);
        metrics.committed(7, Duration::from_micros(900));
        metrics.backlog(12, Duration::from_secs(3));
        let text = metrics.encode().unwrap();
        for line in [
            "hookmill_accepts_total{outcome=\"accepted\"} 1",
            "hookmill_deliveries_total{outcome=\"success\"} 1",
            "hookmill_connections_opened_total{protocol=\"http/1.1\"} 1",
            "hookmill_connections_reused_total{protocol=\"http/2\"} 1",
            "hookmill_commit_items_sum 7",
            "hookmill_backlog 12",
            "hookmill_oldest_due_seconds 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
