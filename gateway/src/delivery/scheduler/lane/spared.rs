//! A lane whose circuit is open: few deliveries stay in memory, one at a time goes out as a probe, and those that
//! have grown too old meanwhile are let out to fail.

use super::Lane;
use crate::delivery::scheduler::circuit::Circuit;
use crate::delivery::scheduler::{Action, Item, OpenCircuit};
use crate::domain::{DeliveryRow, DeliveryState, Timestamp, Trigger};

/// Deliveries that stay in memory. Chosen: enough to probe with; ten thousand dead endpoints hold little.
const WINDOW: usize = 16;

impl Lane {
    /// Deliveries that this lane may hold in memory.
    pub(super) fn window_limit(&self) -> usize {
        if self.is_spared() {
            self.window.min(WINDOW)
        } else {
            self.window
        }
    }

    /// Leaves to the store what has no use in memory while the circuit is open: the last ones.
    pub(in crate::delivery::scheduler) fn withdraw(&mut self, actions: &mut Vec<Action>) {
        // A read that is under way would move the cursor past what is given back meanwhile.
        if !self.is_spared() || self.window_len() <= WINDOW || self.refill.is_some() {
            return;
        }
        let firsts = self.first.len().min(self.first_room());
        let retries = self.retries.len().min(self.again_room());
        let firsts = self.first.split_off(firsts);
        let retries = self.retries.split_off(retries);
        for item in firsts.into_iter().chain(retries) {
            self.give_back(item, actions);
        }
    }

    fn is_spared(&self) -> bool {
        self.circuit.is_open() && self.closed.is_none()
    }

    /// A try by hand is not read back like others: what waits for the circuit would keep it out of the window.
    pub(super) fn takes_at_once(&self, row: &DeliveryRow) -> bool {
        let DeliveryState::Parked { trigger, .. } = row.state else {
            return false;
        };
        self.is_spared() && trigger == Trigger::Manual
    }

    /// Takes over that its owner has changed the endpoint, or that it is enabled again.
    pub(super) fn reconsider(&mut self) {
        self.circuit.probe_soon();
    }

    /// Whether something waits that has grown too old behind an open circuit.
    pub(super) fn has_outlived(&self, now: Timestamp) -> bool {
        self.circuit.is_open()
            && (self.outlived_first(now).is_some() || self.outlived_retry(now).is_some())
    }

    pub(super) fn pick_outlived(&mut self, now: Timestamp) -> Option<Item> {
        if let Some(place) = self.outlived_first(now) {
            return self.first.remove(place);
        }
        let place = self.outlived_retry(now)?;
        self.retries.remove(place)
    }

    /// In order only the next one is let out.
    fn outlived_first(&self, now: Timestamp) -> Option<usize> {
        let candidates = match self.fifo {
            Some(_) => usize::from(self.is_ready(now)),
            None => self.first.len(),
        };
        let mut candidates = self.first.iter().take(candidates);
        candidates.position(|item| item.is_too_old(now))
    }

    fn outlived_retry(&self, now: Timestamp) -> Option<usize> {
        self.retries.iter().position(|item| item.is_too_old(now))
    }

    /// When time alone lets something out of a lane whose circuit is open.
    pub(super) fn spared_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.is_spared() {
            return None;
        }
        let waiting = self.first.iter().chain(&self.retries);
        let expiries = waiting.filter_map(|item| item.expires);
        let probe = self
            .waits_by_schedule()
            .then(|| self.circuit.wake())
            .flatten();
        expiries.chain(probe).filter(|moment| *moment > now).min()
    }

    /// The circuit's view, and whether it has changed since this was asked last.
    pub(in crate::delivery::scheduler) fn circuit_news(&mut self) -> bool {
        self.circuit.take_news()
    }

    /// As people see it; none: closed.
    pub(in crate::delivery::scheduler) fn circuit(&self) -> Option<OpenCircuit> {
        self.circuit.view()
    }

    pub(super) fn first_circuit(failing_since: Option<Timestamp>) -> Circuit {
        failing_since.map_or_else(Circuit::default, Circuit::in_doubt)
    }
}
