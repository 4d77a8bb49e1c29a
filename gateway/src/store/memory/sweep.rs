//! Deletes from memory what has expired or whose owner is gone.

use super::Kept;
use crate::domain::{ApplicationId, DeliveryKey, EndpointId, Seq, Timestamp};
use crate::store::{Change, Kind, PageRequest, Write};

impl Kept {
    /// Deletes about `budget` rows; says how many, and which records went.
    pub(super) fn sweep(&mut self, now: Timestamp, budget: usize) -> (usize, Vec<Change>) {
        let mut deleted = 0;
        let mut changes = Vec::new();
        while deleted < budget {
            let Some((kind, id)) = self.records.removed.first().cloned() else {
                break;
            };
            let swept = self.sweep_owner(kind, &id, budget - deleted, &mut changes);
            if swept == 0 {
                self.records.removed.remove(&(kind, id));
            }
            deleted += swept;
        }
        deleted += self.sweep_expired(now, budget.saturating_sub(deleted));
        (deleted, changes)
    }

    fn sweep_owner(
        &mut self,
        kind: Kind,
        id: &str,
        budget: usize,
        changes: &mut Vec<Change>,
    ) -> usize {
        let mut deleted = 0;
        if let (Kind::Application, Ok(app)) = (kind, id.parse::<ApplicationId>()) {
            let messages: Vec<Seq> = self
                .events
                .by_app
                .get(&app)
                .into_iter()
                .flatten()
                .copied()
                .take(budget)
                .collect();
            deleted += messages
                .iter()
                .map(|seq| self.drop_message(*seq))
                .sum::<usize>();
        }
        let mut belongings: Vec<(Kind, String)> = Vec::new();
        if let (Kind::Endpoint, Ok(endpoint)) = (kind, id.parse::<EndpointId>()) {
            deleted += self.drop_lane(endpoint);
            let there = |kind: &Kind| self.records.by_id(*kind, id).is_some();
            let kinds = Kind::OF_ENDPOINT.into_iter().filter(there);
            belongings.extend(kinds.map(|kind| (kind, id.to_owned())));
        }
        for (child, parent) in kind.children_of(id) {
            let page = PageRequest::first(budget);
            // Reading a page of memory can not fail.
            let children = self.records.of(child, &parent, page).unwrap_or_default();
            belongings.extend(children.into_iter().map(|record| (record.kind, record.id)));
        }
        let removals = belongings
            .into_iter()
            .map(|(kind, id)| Write::Remove { kind, id })
            .collect();
        // They were read under the same lock, so none is missing.
        if let Ok((records, removed)) = self.records.apply(removals, &mut self.seq) {
            deleted += records.len();
            changes.extend(removed);
        }
        deleted
    }

    fn drop_lane(&mut self, endpoint: EndpointId) -> usize {
        let parked = self.events.due.remove(&endpoint).unwrap_or_default();
        for (_, message) in &parked {
            self.events.rows.remove(&(*message, endpoint));
            self.events.shaped.remove(&(*message, endpoint));
        }
        let attempts = self
            .events
            .attempts_at
            .remove(&endpoint)
            .unwrap_or_default();
        parked.len() + attempts.len()
    }

    fn sweep_expired(&mut self, now: Timestamp, budget: usize) -> usize {
        let events = &self.events;
        let keys: Vec<_> = events
            .idempotency
            .iter()
            .filter(|(_, kept)| kept.expires_at <= now)
            .map(|(key, _)| key.clone())
            .take(budget)
            .collect();
        let messages: Vec<Seq> = events
            .messages
            .values()
            .map(|(message, _)| message)
            .filter(|message| message.expires_at <= now && !self.is_under_way(message.seq))
            .map(|message| message.seq)
            .take(budget - keys.len())
            .collect();
        for key in &keys {
            self.events.idempotency.remove(key);
        }
        let rows: usize = messages.iter().map(|seq| self.drop_message(*seq)).sum();
        keys.len() + rows
    }

    /// Whether a delivery of this message may still come: one parked for an endpoint that is gone will not.
    fn is_under_way(&self, seq: Seq) -> bool {
        self.events.outbox.contains(&seq)
            || self.events.rows_of(seq).any(|row| {
                !row.state.is_settled()
                    && self
                        .records
                        .by_id(Kind::Endpoint, &row.key.endpoint.to_string())
                        .is_some()
            })
    }

    fn drop_message(&mut self, seq: Seq) -> usize {
        let events = &mut self.events;
        let Some((message, _)) = events.messages.remove(&seq) else {
            return 0;
        };
        events.outbox.remove(&seq);
        events.ids.remove(&message.id);
        if let Some(event_id) = message.event_id {
            events.event_ids.remove(&(message.app, event_id));
        }
        if let Some(siblings) = events.by_app.get_mut(&message.app) {
            siblings.remove(&seq);
        }
        let rows: Vec<DeliveryKey> = events.rows_of(seq).map(|row| row.key).collect();
        for key in &rows {
            events.drop_due(*key);
            events.rows.remove(&(seq, key.endpoint));
            events.shaped.remove(&(seq, key.endpoint));
        }
        let attempts: Vec<_> = events
            .attempts
            .range((seq, Seq(0))..=(seq, Seq(u64::MAX)))
            .map(|(key, attempt)| (*key, attempt.delivery.endpoint))
            .collect();
        for (key, endpoint) in &attempts {
            events.attempts.remove(key);
            if let Some(at) = events.attempts_at.get_mut(endpoint) {
                at.remove(&key.1);
            }
        }
        1 + rows.len() + attempts.len()
    }
}
