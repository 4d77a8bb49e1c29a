//! Messages, deliveries and attempts in memory. Knows no lock; fencing is checked before it is called.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Kept;
use crate::domain::{
    ApplicationId, Attempt, AttemptId, DeliveryKey, DeliveryRow, DeliveryState, EndpointId,
    Message, MessageId, Seq, Timestamp, Uid,
};
use crate::store::{
    AcceptItem, AcceptRefusal, AttemptFilter, AttemptsOf, DueLane, Found, IdempotencyRecord,
    MessageFilter, OutboxEntry, Outcome, PageRequest, Shaped, ShardSet, StoreError,
};

/// Everything in the life of events.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Events {
    pub(super) idempotency: BTreeMap<(String, String), IdempotencyRecord>,
    pub(super) messages: BTreeMap<Seq, (Message, Bytes)>,
    pub(super) by_app: BTreeMap<ApplicationId, BTreeSet<Seq>>,
    pub(super) ids: BTreeMap<MessageId, Seq>,
    pub(super) event_ids: BTreeMap<(ApplicationId, Uid), Seq>,
    pub(super) outbox: BTreeSet<Seq>,
    pub(super) rows: BTreeMap<(Seq, EndpointId), DeliveryRow>,
    /// Ordered as a lane is served.
    pub(super) due: BTreeMap<EndpointId, BTreeSet<(Timestamp, Seq)>>,
    pub(super) shaped: BTreeMap<(Seq, EndpointId), Shaped>,
    pub(super) attempts: BTreeMap<(Seq, Seq), Attempt>,
    /// Attempts at an endpoint, with their message.
    pub(super) attempts_at: BTreeMap<EndpointId, BTreeMap<Seq, Seq>>,
}

impl Kept {
    pub(super) fn accept(
        &mut self,
        item: AcceptItem,
        now: Timestamp,
    ) -> Result<Message, AcceptRefusal> {
        let AcceptItem { new, idempotency } = item;
        if let Some(taken) = idempotency
            .as_ref()
            .and_then(|new| self.events.idempotency_taken(new, now))
        {
            return Err(AcceptRefusal::IdempotencyKeyTaken(Box::new(taken)));
        }
        let app = new.message.app;
        let event_id = new.message.event_id.clone();
        if let Some(existing) = event_id
            .as_ref()
            .and_then(|event_id| self.events.event_ids.get(&(app, event_id.clone())))
            .and_then(|seq| self.events.message(*seq))
        {
            return Err(AcceptRefusal::EventIdTaken {
                existing: existing.id,
            });
        }
        let seq = self.next_seq();
        let message = Message { seq, ..new.message };
        let events = &mut self.events;
        if let Some(event_id) = event_id {
            events.event_ids.insert((app, event_id), seq);
        }
        if let Some(new) = idempotency {
            events.keep_idempotency(new);
        }
        events.ids.insert(message.id, seq);
        events.by_app.entry(app).or_default().insert(seq);
        events.outbox.insert(seq);
        events.messages.insert(seq, (message.clone(), new.payload));
        Ok(message)
    }

    pub(super) fn record(&mut self, outcome: Outcome) {
        if let Some(seq) = outcome.outbox_done {
            self.events.outbox.remove(&seq);
        }
        if let Some(row) = outcome.row
            && self.events.messages.contains_key(&row.key.message)
        {
            self.events.put_row(row, outcome.shaped);
        }
        if let Some(attempt) = outcome.attempt
            && self.events.messages.contains_key(&attempt.delivery.message)
        {
            let seq = self.next_seq();
            self.events.put_attempt(Attempt { seq, ..attempt });
        }
    }
}

impl Events {
    pub(super) fn idempotency(
        &self,
        scope: &str,
        key: &str,
        now: Timestamp,
    ) -> Option<IdempotencyRecord> {
        let kept = self.idempotency.get(&(scope.to_owned(), key.to_owned()))?;
        (kept.expires_at > now).then(|| kept.clone())
    }

    pub(super) fn idempotency_taken(
        &self,
        new: &IdempotencyRecord,
        now: Timestamp,
    ) -> Option<IdempotencyRecord> {
        self.idempotency(&new.scope, &new.key, now)
    }

    pub(super) fn keep_idempotency(&mut self, new: IdempotencyRecord) {
        self.idempotency
            .insert((new.scope.clone(), new.key.clone()), new);
    }

    fn put_row(&mut self, row: DeliveryRow, shaped: Option<Shaped>) {
        let DeliveryKey { endpoint, message } = row.key;
        self.drop_due(row.key);
        match row.state {
            DeliveryState::Parked { due, .. } => {
                self.due.entry(endpoint).or_default().insert((due, message));
                if let Some(shaped) = shaped {
                    self.shaped.insert((message, endpoint), shaped);
                }
            }
            _ => drop(self.shaped.remove(&(message, endpoint))),
        }
        self.rows.insert((message, endpoint), row);
    }

    /// Takes the delivery's present row out of the due index.
    pub(super) fn drop_due(&mut self, key: DeliveryKey) {
        let row = self.rows.get(&(key.message, key.endpoint));
        if let Some(DeliveryState::Parked { due, .. }) = row.map(|row| row.state)
            && let Some(lane) = self.due.get_mut(&key.endpoint)
        {
            lane.remove(&(due, key.message));
            if lane.is_empty() {
                self.due.remove(&key.endpoint);
            }
        }
    }

    fn put_attempt(&mut self, attempt: Attempt) {
        let DeliveryKey { endpoint, message } = attempt.delivery;
        self.attempts_at
            .entry(endpoint)
            .or_default()
            .insert(attempt.seq, message);
        self.attempts.insert((message, attempt.seq), attempt);
    }

    pub(super) fn unsettled(&self, after: Seq, limit: usize) -> Vec<OutboxEntry> {
        let start = Seq(after.0.saturating_add(1));
        self.outbox
            .range(start..)
            .filter_map(|seq| self.message(*seq))
            .take(limit)
            .map(|message| OutboxEntry {
                have_rows: self
                    .rows_of(message.seq)
                    .map(|row| row.key.endpoint)
                    .collect(),
                message,
            })
            .collect()
    }

    pub(super) fn due_lanes(
        &self,
        held: ShardSet,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Vec<DueLane> {
        let place = |endpoint: EndpointId| (crate::store::Shard::of(endpoint), endpoint);
        let lanes: BTreeMap<_, _> = self
            .due
            .iter()
            .map(|(endpoint, rows)| (place(*endpoint), rows))
            .filter(|(at, _)| held.contains(at.0) && after.is_none_or(|last| *at > place(last)))
            .collect();
        lanes
            .into_iter()
            .filter_map(|((_, endpoint), rows)| {
                let (earliest, _) = *rows.first()?;
                Some(DueLane { endpoint, earliest })
            })
            .take(limit)
            .collect()
    }

    pub(super) fn due(
        &self,
        lane: EndpointId,
        until: Timestamp,
        after: Option<(Timestamp, Seq)>,
        limit: usize,
    ) -> Vec<DeliveryRow> {
        self.due
            .get(&lane)
            .into_iter()
            .flatten()
            .filter(|at| after.is_none_or(|last| **at > last))
            .take_while(|(due, _)| *due <= until)
            .filter_map(|(_, message)| self.rows.get(&(*message, lane)).cloned())
            .take(limit)
            .collect()
    }

    pub(super) fn next_due(&self, lane: EndpointId) -> Option<Timestamp> {
        self.due.get(&lane)?.first().map(|(due, _)| *due)
    }

    pub(super) fn parked(&self, lane: EndpointId) -> u64 {
        self.due.get(&lane).map_or(0, |rows| rows.len() as u64)
    }

    pub(super) fn message(&self, seq: Seq) -> Option<Message> {
        self.messages.get(&seq).map(|(message, _)| message.clone())
    }

    pub(super) fn message_by_id(&self, app: ApplicationId, text: &str) -> Option<Message> {
        let by_id = text.parse().ok().and_then(|id| self.ids.get(&id));
        let by_event_id = || {
            let event_id = Uid::parse(text).ok()?;
            self.event_ids.get(&(app, event_id))
        };
        by_id
            .and_then(|seq| self.message(*seq))
            .filter(|message| message.app == app)
            .or_else(|| self.message(*by_event_id()?))
    }

    pub(super) fn payload(&self, seq: Seq) -> Option<Bytes> {
        self.messages.get(&seq).map(|(_, payload)| payload.clone())
    }

    pub(super) fn events(&self, messages: &[Seq], most: usize) -> Vec<(Message, Bytes)> {
        let found = messages.iter().filter_map(|seq| self.messages.get(seq));
        let mut bytes = 0;
        let fitting = found.take_while(|(_, payload)| {
            bytes += payload.len();
            bytes <= most
        });
        fitting.cloned().collect()
    }

    pub(super) fn messages(
        &self,
        app: ApplicationId,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<Found<Message>, StoreError> {
        let (Some(rows), Some((first, last))) = (self.by_app.get(&app), page.span()) else {
            return Ok(Found::nothing());
        };
        let read = |seq: &Seq| {
            let message = self.message(*seq);
            Ok((*seq, message.filter(|message| filter.matches(message))))
        };
        let rows = rows.range(first..=last);
        if page.scans_upwards() {
            page.find(rows.map(read))
        } else {
            page.find(rows.rev().map(read))
        }
    }

    pub(super) fn attempts(
        &self,
        of: AttemptsOf,
        filter: &AttemptFilter,
        page: PageRequest,
    ) -> Result<Found<Attempt>, StoreError> {
        let Some((first, last)) = page.span() else {
            return Ok(Found::nothing());
        };
        let mut keys: Vec<(Seq, Seq)> = match of {
            AttemptsOf::Message(message) => self
                .attempts
                .range((message, first)..=(message, last))
                .map(|(key, _)| *key)
                .collect(),
            AttemptsOf::Endpoint(endpoint) => self
                .attempts_at
                .get(&endpoint)
                .into_iter()
                .flat_map(|rows| rows.range(first..=last))
                .map(|(seq, message)| (*message, *seq))
                .collect(),
        };
        if !page.scans_upwards() {
            keys.reverse();
        }
        page.find(keys.into_iter().map(|key| {
            let attempt = self.attempts.get(&key);
            let attempt = attempt.filter(|attempt| filter.matches(attempt));
            Ok((key.1, attempt.cloned()))
        }))
    }

    pub(super) fn attempt(&self, message: Seq, id: AttemptId) -> Option<Attempt> {
        self.attempts
            .range((message, Seq(0))..=(message, Seq(u64::MAX)))
            .map(|(_, attempt)| attempt)
            .find(|attempt| attempt.id == id)
            .cloned()
    }

    pub(super) fn delivery(&self, key: DeliveryKey) -> Option<DeliveryRow> {
        self.rows.get(&(key.message, key.endpoint)).cloned()
    }

    pub(super) fn deliveries(&self, message: Seq) -> Vec<DeliveryRow> {
        self.rows_of(message).cloned().collect()
    }

    pub(super) fn rows_of(&self, message: Seq) -> impl Iterator<Item = &DeliveryRow> {
        self.rows
            .range((message, EndpointId::from_bytes([0; 20]))..)
            .take_while(move |((seq, _), _)| *seq == message)
            .map(|(_, row)| row)
    }

    pub(super) fn shaped(&self, key: DeliveryKey) -> Option<Shaped> {
        self.shaped.get(&(key.message, key.endpoint)).cloned()
    }
}
