//! What really happened, noted by the world and not by the gateways: who was accepted when, who asked for what,
//! what reached which receiver, and who had the lanes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::receiver::Mode;
use crate::domain::{Application, DeliveryOrder, Endpoint, Message, MessageId, RetryPolicy, Seq};
use crate::store::Lease;

#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) applications: Vec<Application>,
    /// By number, which is in their URL.
    pub(super) endpoints: Vec<Place>,
    pub(super) messages: BTreeMap<Seq, Known>,
    ids: BTreeMap<MessageId, Seq>,
    /// By endpoint and message.
    pub(super) deliveries: BTreeMap<(usize, Seq), Tries>,
    pub(super) holder: Option<Holder>,
    /// Lives that have begun and not ended.
    pub(super) living: Vec<u32>,
    /// Endpoints that are being asked, by who asks.
    pub(super) under_way: BTreeMap<u32, Vec<usize>>,
    /// Resends that have not been answered, by who was asked.
    pub(super) asked: BTreeMap<u32, u32>,
    /// Stalls and outages blur when something was begun; in milliseconds.
    pub(super) blurred_until: u64,
}

/// Who may deliver.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) life: u32,
    pub(super) lease: Lease,
}

/// An endpoint and its receiver. Times are milliseconds of the run.
#[derive(Debug)]
pub(super) struct Place {
    /// As it was made.
    pub(super) endpoint: Endpoint,
    pub(super) seq: Seq,
    pub(super) policy: RetryPolicy,
    pub(super) mode: Mode,
    pub(super) rate: Option<u16>,
    pub(super) rate_since: u64,
    /// Whose attempts are counted, and the earliest moment of the next one, in microseconds.
    pub(super) paced: Option<(u32, u64)>,
    pub(super) deleted: bool,
    pub(super) disabled: bool,
    /// Was known to be disabled last.
    pub(super) disabled_until: Option<u64>,
    pub(super) paused: bool,
    /// Since when it is paused, disabled or deleted.
    pub(super) held_back_since: Option<u64>,
}

/// A message that is in the store.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) message: Message,
    pub(super) accepted_at: u64,
    /// When its sender asked, and was answered.
    pub(super) asked_at: u64,
    pub(super) answered_at: Option<u64>,
}

/// Everything about one delivery.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) resends: u32,
    /// Since when one more try is owed to who asked for it.
    pub(super) owed_since: Option<u64>,
}

/// A request that reached its receiver.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) life: u32,
    pub(super) ended_at: Option<u64>,
    /// Answered with 2xx, whether or not in time.
    pub(super) taken: bool,
    /// Answered so that no retry follows.
    pub(super) last: bool,
    /// The gateway heard the answer.
    pub(super) heard: bool,
}

impl Truth {
    // --- gateways ----------------------------------------------------------------------------------

    pub(super) fn taken_over(&mut self, life: u32, lease: Lease) {
        self.holder = Some(Holder { life, lease });
    }

    pub(super) fn given_back(&mut self, lease: &Lease) {
        if let Some(holder) = &self.holder
            && holder.lease.token == lease.token
        {
            self.holder = None;
        }
    }

    pub(super) fn holds(&self, life: u32) -> bool {
        self.holder
            .as_ref()
            .is_some_and(|holder| holder.life == life)
    }

    pub(super) fn lives(&self, life: u32) -> bool {
        self.living.contains(&life)
    }

    /// Moments within this time, and somewhat after it, prove nothing.
    pub(super) fn trouble_until(&mut self, ms: u64, lasts: Duration) {
        let lasts = u64::try_from(lasts.as_millis()).unwrap();
        self.blurred_until = self.blurred_until.max(ms + lasts + 5_000);
    }

    // --- messages ----------------------------------------------------------------------------------

    pub(super) fn accepted(&mut self, message: Message, ms: u64) {
        self.ids.insert(message.id, message.seq);
        let known = Known {
            accepted_at: ms,
            asked_at: ms,
            answered_at: None,
            message,
        };
        self.messages.insert(known.message.seq, known);
    }

    pub(super) fn by_id(&self, id: MessageId) -> Option<&Known> {
        self.messages.get(self.ids.get(&id)?)
    }

    /// Whether the endpoint wants the message, by what both said when they came.
    pub(super) fn matches(&self, place: usize, message: &Message) -> bool {
        let Place { endpoint, seq, .. } = &self.endpoints[place];
        endpoint.app == message.app
            && *seq < message.seq
            && endpoint.wants(message.event_type.as_str(), &message.channels)
    }

    /// Whether the endpoint was disabled or deleted after the message came: then what waits fails.
    pub(super) fn excused(&self, place: usize, known: &Known) -> bool {
        let place = &self.endpoints[place];
        place.deleted
            || place.disabled
            || place
                .disabled_until
                .is_some_and(|end| known.accepted_at <= end)
    }

    pub(super) fn tries(&mut self, place: usize, message: Seq) -> &mut Tries {
        self.deliveries.entry((place, message)).or_default()
    }

    /// The endpoints that are there and of this application.
    pub(super) fn standing(&self, app: Option<usize>) -> Vec<usize> {
        let app = app.map(|app| self.applications[app].id);
        let places = self.endpoints.iter().enumerate();
        places
            .filter(|(_, place)| !place.deleted)
            .filter(|(_, place)| app.is_none_or(|app| place.endpoint.app == app))
            .map(|(number, _)| number)
            .collect()
    }
}

impl Place {
    pub(super) fn new(endpoint: Endpoint, seq: Seq, policy: RetryPolicy, ms: u64) -> Self {
        Self {
            seq,
            policy,
            mode: Mode::Well,
            rate: endpoint.throttle_rate,
            rate_since: ms,
            paced: None,
            deleted: false,
            disabled: false,
            disabled_until: None,
            paused: false,
            held_back_since: None,
            endpoint,
        }
    }

    /// Scheduled tries that a delivery gets.
    pub(super) fn most_tries(&self) -> u16 {
        let used_up = |tries: &u16| self.policy.delay_after(*tries, 0.5).is_none();
        (1..).find(used_up).unwrap()
    }

    pub(super) fn is_held_back(&self) -> bool {
        self.paused || self.disabled || self.deleted
    }

    /// After a change of what holds it back.
    pub(super) fn note_held_back(&mut self, ms: u64) {
        self.held_back_since = self
            .is_held_back()
            .then(|| self.held_back_since.unwrap_or(ms));
    }

    /// After how many failed tries those behind may go first; none: it wants no order.
    pub(super) fn in_order(&self) -> Option<Option<u16>> {
        match self.endpoint.order {
            DeliveryOrder::Free => None,
            DeliveryOrder::Fifo { skip_after } => Some(skip_after),
        }
    }
}
