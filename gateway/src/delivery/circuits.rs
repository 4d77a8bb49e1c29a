//! Which endpoints' circuits are open, for people and metrics. Kept in memory: after a start every circuit is
//! closed, and that of an endpoint known to fail begins with a probe.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::scheduler::OpenCircuit;
use crate::domain::EndpointId;
use crate::metrics::Metrics;

/// At most one entry for each lane in memory.
#[derive(Debug)]
pub(crate) struct Circuits {
    open: RwLock<HashMap<EndpointId, OpenCircuit>>,
    metrics: Arc<Metrics>,
}

impl Circuits {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            open: RwLock::default(),
            metrics,
        }
    }

    /// Takes over how this endpoint's circuit stands; none: closed.
    pub(super) fn set(&self, endpoint: EndpointId, circuit: Option<OpenCircuit>) {
        let mut open = self.open.write();
        let before = match circuit {
            Some(circuit) => open.insert(endpoint, circuit),
            None => open.remove(&endpoint),
        };
        let count = open.len();
        drop(open);
        match (before, circuit) {
            (None, Some(_)) => {
                tracing::info!(%endpoint, "the circuit is open: one probe at a time")
            }
            (Some(_), None) => tracing::info!(%endpoint, "the circuit is closed"),
            _ => {}
        }
        self.metrics.open_circuits(count);
    }

    /// None: closed.
    pub(super) fn get(&self, endpoint: EndpointId) -> Option<OpenCircuit> {
        self.open.read().get(&endpoint).copied()
    }
}
