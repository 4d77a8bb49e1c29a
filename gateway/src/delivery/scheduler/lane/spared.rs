//! A lane whose circuit is open: few deliveries stay in memory, one at a time goes out as a probe, and those that
//! have grown too old meanwhile are let out to fail.

use super::{Held, Lane};
use crate::delivery::scheduler::circuit::Circuit;
use crate::delivery::scheduler::{Action, Item, OpenCircuit};
use crate::domain::{DeliveryRow, DeliveryState, Timestamp, Trigger};

/// Deliveries that stay in memory. Chosen: enough to probe with; ten thousand dead endpoints hold little.
const WINDOW: usize = 16;

impl Lane {
    /// Deliveries that this lane may hold in memory, of so many at most.
    pub(super) fn window_limit(&self, window: usize) -> usize {
        if self.circuit.is_open() {
            window.min(WINDOW)
        } else {
            window
        }
    }

    /// Leaves to the store what has no use in memory while the circuit is open.
    pub(in crate::delivery::scheduler) fn withdraw(&mut self, actions: &mut Vec<Action>) {
        // A read that is under way would move the cursor past what is given back meanwhile.
        if !self.circuit.is_open() || self.window_len() <= WINDOW || self.refill.is_some() {
            return;
        }
        let firsts = self.first.len().min(WINDOW / 2);
        let retries = self.retries.len().min(WINDOW / 2);
        let withdrawn: Vec<Item> = self
            .first
            .drain(firsts..)
            .chain(self.retries.drain(retries..))
            .collect();
        self.overflowed = true;
        for item in withdrawn {
            if item.ticket.is_some() {
                let (due, trigger) = (item.due, Trigger::Scheduled);
                self.write(item, DeliveryState::Parked { due, trigger }, None, actions);
            } else {
                self.held.remove(&item.message);
                self.note_parked(item.due, item.message);
            }
        }
    }

    /// A try by hand is not read back like others: what waits for the circuit would keep it out of the window.
    pub(super) fn takes_at_once(&mut self, row: &DeliveryRow) -> bool {
        let DeliveryState::Parked { due, trigger } = row.state else {
            return false;
        };
        let at_once = trigger == Trigger::Manual && self.circuit.is_open() && self.closed.is_none();
        if at_once {
            self.held.insert(row.key.message, Held::Waiting);
            self.manual.push_back(Item::of_row(row, due));
        }
        at_once
    }

    /// Takes over that its owner has changed the endpoint, or that it is enabled again.
    pub(super) fn reconsider(&mut self) {
        self.circuit.probe_soon();
    }

    /// Whether something waits that has grown too old behind an open circuit.
    pub(super) fn has_outlived(&self, now: Timestamp) -> bool {
        self.circuit.is_open() && self.waiting().any(|item| item.is_too_old(now))
    }

    pub(super) fn pick_outlived(&mut self, now: Timestamp) -> Option<Item> {
        [&mut self.first, &mut self.retries]
            .into_iter()
            .find_map(|queue| {
                let place = queue.iter().position(|item| item.is_too_old(now))?;
                queue.remove(place)
            })
    }

    /// When time alone lets something out of a lane whose circuit is open.
    pub(super) fn spared_wake(&self) -> Option<Timestamp> {
        if !self.circuit.is_open() || self.closed.is_some() {
            return None;
        }
        let outlived = self.waiting().filter_map(|item| item.expires).min();
        let probe = self.has_scheduled().then(|| self.circuit.wake()).flatten();
        [outlived, probe].into_iter().flatten().min()
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

    fn waiting(&self) -> impl Iterator<Item = &Item> {
        self.first.iter().chain(&self.retries)
    }
}
