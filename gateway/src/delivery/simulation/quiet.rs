//! When a run has come to rest, and what must be true then.

use super::truth::{Known, Tries, Truth};
use super::world::{World, at_once};
use crate::domain::{Attempt, DeliveryRow, DeliveryState, Endpoint, Seq, Trigger};
use crate::store::{AttemptFilter, AttemptsOf, PageRequest};

/// More than any message has.
const ALL: usize = 10_000;

impl World {
    /// Why the run has not come to rest, if it has not.
    pub(super) fn unrest(&self) -> Option<String> {
        let Some(holder) = self.truth().holder.clone() else {
            return Some("nobody has the lanes".to_owned());
        };
        if !self.truth().lives(holder.life) {
            return Some("who has the lanes is dead".to_owned());
        }
        let open = at_once(self.store.unsettled(&holder.lease, Seq(0), ALL));
        if let Some(entry) = open.first() {
            return Some(format!("{:?} is in the outbox", entry.message.seq));
        }
        let truth = self.truth();
        let parked = truth.messages.keys().find_map(|seq| {
            let rows = at_once(self.store.deliveries(*seq)).into_iter();
            let parked = rows.filter(|row| !row.state.is_settled());
            parked
                .map(|row| (truth.place_of(&row), row))
                .find(|(place, _)| !truth.endpoints[*place].deleted)
        });
        if let Some((place, row)) = parked {
            return Some(format!("endpoint {place} waits: {row:?}"));
        }
        // Others answer once they have the lanes.
        let unanswered = truth.asked.get(&holder.life).filter(|count| **count > 0);
        unanswered.map(|count| format!("life {} has not answered {count} resends", holder.life))
    }

    /// The laws of what is left.
    pub(super) fn judge_rest(&self) {
        let mut truth = self.truth();
        for place in truth.standing(None) {
            let id = truth.endpoints[place].endpoint.id;
            let stored = at_once(self.store.get::<Endpoint>(id)).unwrap();
            truth.endpoints[place].disabled |= stored.value.disabled;
        }
        for known in truth.messages.values() {
            let seq = known.message.seq;
            let rows = at_once(self.store.deliveries(seq));
            let of = AttemptsOf::Message(seq);
            let page = PageRequest::first(ALL);
            let attempts = at_once(self.store.attempts(of, &AttemptFilter::default(), page));
            for place in truth.standing(None) {
                let rest = Rest {
                    truth: &truth,
                    place,
                    known,
                    row: rows.iter().find(|row| truth.place_of(row) == place),
                    attempts: &attempts.rows,
                };
                for law in rest.judge() {
                    self.broken(format!("{seq:?} at endpoint {place}: {law}"));
                }
            }
        }
    }
}

impl Truth {
    fn place_of(&self, row: &DeliveryRow) -> usize {
        let id = row.key.endpoint;
        let place = self
            .endpoints
            .iter()
            .position(|place| place.endpoint.id == id);
        place.unwrap()
    }
}

/// What is left of one delivery.
struct Rest<'a> {
    truth: &'a Truth,
    place: usize,
    known: &'a Known,
    row: Option<&'a DeliveryRow>,
    attempts: &'a [Attempt],
}

impl Rest<'_> {
    fn judge(&self) -> Vec<String> {
        let nothing = Tries::default();
        let key = (self.place, self.known.message.seq);
        let tries = self.truth.deliveries.get(&key).unwrap_or(&nothing);
        let laws = [
            self.has_ended_well(tries),
            self.within_policy(),
            self.is_on_record(tries),
            self.is_sent_as_asked(tries),
        ];
        laws.into_iter().flatten().collect()
    }

    /// Delivered, or ended by a rule.
    fn has_ended_well(&self, tries: &Tries) -> Option<String> {
        let wanted = self.truth.matches(self.place, &self.known.message);
        let excused = self.truth.excused(self.place, self.known);
        let by_hand = tries.resends > 0;
        let Some(row) = self.row else {
            return (wanted && !excused)
                .then(|| "it has no row, and the outbox forgot it".to_owned());
        };
        if !wanted && !by_hand {
            return Some(format!("nobody wanted it: {row:?}"));
        }
        let used_up = row.tries >= self.truth.endpoints[self.place].most_tries();
        let told = tries.arrivals.iter().any(|past| past.last);
        let well = match row.state {
            DeliveryState::Success => tries.arrivals.iter().any(|past| past.taken && past.heard),
            DeliveryState::Failed => excused || used_up || told || by_hand,
            DeliveryState::Canceled | DeliveryState::Parked { .. } => false,
        };
        (!well).then(|| format!("it ended as {row:?} after {:?}", tries.arrivals))
    }

    fn within_policy(&self) -> Option<String> {
        let most = self.truth.endpoints[self.place].most_tries();
        let by_schedule = self
            .attempts_here()
            .filter(|a| a.trigger == Trigger::Scheduled);
        let made = by_schedule.count();
        let counted = self.row.map_or(0, |row| row.tries);
        (made > usize::from(most) || counted > most)
            .then(|| format!("{made} tries, {counted} counted, {most} allowed"))
    }

    /// Nothing on record was not made, and whatever a gateway heard that still lives is on record.
    fn is_on_record(&self, tries: &Tries) -> Option<String> {
        let recorded = self.attempts_here().count();
        let known = tries
            .arrivals
            .iter()
            .filter(|past| self.truth.lives(past.life));
        let known = known.filter(|past| past.ended_at.is_some()).count();
        let made = tries.arrivals.len();
        (recorded < known || recorded > made)
            .then(|| format!("{recorded} attempts on record, {known} to {made} made"))
    }

    /// A try by hand that was promised is made.
    fn is_sent_as_asked(&self, tries: &Tries) -> Option<String> {
        let since = tries.owed_since?;
        let place = &self.truth.endpoints[self.place];
        let let_go = place.disabled || place.disabled_until.is_some_and(|end| end >= since);
        let ends = tries.arrivals.iter().map(|past| past.ended_at);
        let made = ends
            .into_iter()
            .any(|end| end.is_none_or(|end| end >= since));
        (!made && !let_go).then(|| format!("it was to be sent once more at {since}"))
    }

    fn attempts_here(&self) -> impl Iterator<Item = &Attempt> {
        let id = self.truth.endpoints[self.place].endpoint.id;
        let attempts = self.attempts.iter();
        attempts.filter(move |attempt| attempt.delivery.endpoint == id)
    }
}
