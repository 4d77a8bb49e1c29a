//! The store's contract as tests, over any backend. Each backend's test module calls all of it, so that none
//! has private rules.

pub(super) mod accept;
pub(super) mod attempts;
pub(super) mod batches;
pub(super) mod leases;
pub(super) mod parked;
pub(super) mod records;
pub(super) mod turns;
pub(super) mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{AcceptItem, IdempotencyRecord, Lease, Outcome, ShardSet, Store};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, AttemptStatus, Clock, DeliveryKey, DeliveryRow,
    DeliveryState, Digest, EndpointId, ManualClock, Message, MessageId, NewMessage, OrganizationId,
    Seq, Timestamp, Trigger, Uid,
};

/// Makes one test of each function of the contract.
macro_rules! suite {
    ($make:path) => {
        $crate::store::conformance::suite!(@ $make, records: inserts_are_found, updates_check_the_revision,
            removals_free_the_names, uids_are_unique_in_their_parent, a_commit_is_all_or_nothing,
            writes_of_a_commit_see_earlier_ones, observers_run_before_the_answer, pages_both_ways,
            pages_hold_under_writes, concurrent_updates_have_one_winner, big_bodies_come_back);
        $crate::store::conformance::suite!(@ $make, accept: messages_are_found, one_result_per_item,
            event_ids_are_unique_in_their_application, idempotency_is_committed_along,
            concurrent_twins_have_one_winner, sequence_is_shared_and_rises, payloads_of_every_size_come_back,
            events_are_read_together,
            messages_are_paged_and_filtered, pages_of_few_end_early, a_reader_that_follows_misses_nothing);
        $crate::store::conformance::suite!(@ $make, leases: shards_have_one_holder, lapsed_leases_are_taken_over,
            concurrent_takers_share_nothing, released_shards_are_free, fenced_outcomes_change_nothing);
        $crate::store::conformance::suite!(@ $make, parked: unsettled_names_what_has_rows, rows_replace_rows,
            due_is_ordered_and_paged, due_lanes_are_paged_within_shards, shaped_is_kept_until_settled,
            outbox_entries_page);
        $crate::store::conformance::suite!(@ $make, turns: turns_and_moments_are_told_apart,
            turns_are_rows_of_the_outbox, a_first_attempt_ends_a_turn,
            turns_go_with_their_endpoint_and_their_message);
        $crate::store::conformance::suite!(@ $make, attempts: attempts_are_appended, attempts_are_filtered,
            attempts_are_paged, big_attempts_come_back);
        $crate::store::conformance::suite!(@ $make, batches: messages_of_a_batch_are_paged,
            attempts_of_a_batch_are_paged, the_outbox_of_a_batch_empties, messages_leave_a_batch_one_by_one);
        $crate::store::conformance::suite!(@ $make, upkeep: expired_messages_go_whole,
            nothing_goes_before_its_deliveries_end, expired_keys_are_swept, a_removed_application_takes_everything,
            a_removed_organization_takes_its_management_application,
            a_removed_endpoint_takes_its_lane, late_outcomes_of_deleted_messages_are_dropped, exports_are_imported,
            export_is_consistent_under_writes, broken_exports_are_refused, closed_is_closed);
    };
    (@ $make:path, $room:ident: $($case:ident),+) => {
        mod $room {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::store::conformance::$room::$case($make).await;
                }
            )+
        }
    };
}
pub(super) use suite;

/// A fresh store with what keeps it alive.
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<ManualClock>,
    _directory: Option<tempfile::TempDir>,
}

/// When every test begins.
pub(super) const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// Of leases that need not lapse. Chosen.
pub(super) const TTL: Duration = Duration::from_secs(3600);

impl Subject {
    /// Over a store without a directory.
    pub(super) fn of<S: Store>(make: impl FnOnce(Arc<dyn Clock>) -> S) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        Self {
            store: Arc::new(make(clock.clone())),
            clock,
            _directory: None,
        }
    }

    /// Over a store in a directory of its own.
    pub(super) fn in_directory<S: Store>(
        make: impl FnOnce(Arc<dyn Clock>, &std::path::Path) -> S,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let subject = Self::of(|clock| make(clock, directory.path()));
        Self {
            _directory: Some(directory),
            ..subject
        }
    }

    pub(super) async fn lease(&self) -> Lease {
        let lease = self.store.lease_shards("test", ShardSet::ALL, TTL);
        lease.await.unwrap()
    }

    pub(super) async fn accept(&self, item: AcceptItem) -> Message {
        self.store
            .accept(vec![item])
            .await
            .unwrap()
            .remove(0)
            .unwrap()
    }
}

/// So many seconds after the start.
pub(super) fn later(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

pub(super) fn app() -> ApplicationId {
    ApplicationId::generate(START)
}

pub(super) fn endpoint() -> EndpointId {
    EndpointId::generate(START)
}

/// An endpoint in this shard.
pub(super) fn endpoint_in(shard: u8) -> EndpointId {
    let mut bytes = *endpoint().as_bytes();
    bytes[19] = shard;
    EndpointId::from_bytes(bytes)
}

pub(super) fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// A message that expires a day after the start.
pub(super) fn item(app: ApplicationId, payload: impl Into<Bytes>) -> AcceptItem {
    let payload = payload.into();
    let message = Message {
        id: MessageId::generate(START),
        seq: Seq(0),
        app,
        org: OrganizationId::from_bytes([7; 20]),
        event_id: None,
        event_type: uid("invoice.paid"),
        channels: vec![uid("europe")],
        tags: vec!["urgent".into()],
        content_type: "application/json".into(),
        created_at: START,
        deliver_at: None,
        expires_at: later(86_400),
        payload_len: u32::try_from(payload.len()).unwrap(),
    };
    AcceptItem {
        new: NewMessage { message, payload },
        idempotency: None,
    }
}

pub(super) fn with_event_id(app: ApplicationId, event_id: &str) -> AcceptItem {
    let mut item = item(app, "{}");
    item.new.message.event_id = Some(uid(event_id));
    item
}

pub(super) fn key(name: &str) -> IdempotencyRecord {
    IdempotencyRecord {
        scope: "org_1".into(),
        key: name.into(),
        request: Digest::of(name.as_bytes()),
        status: 202,
        body: Bytes::from_static(b"{\"id\":\"msg_1\"}"),
        expires_at: later(12 * 3600),
    }
}

pub(super) fn row(endpoint: EndpointId, message: Seq, state: DeliveryState) -> DeliveryRow {
    DeliveryRow {
        key: DeliveryKey { endpoint, message },
        state,
        tries: 1,
        resume_due: None,
    }
}

/// Parked until so many seconds after the start.
pub(super) fn parked(endpoint: EndpointId, message: Seq, seconds: u64) -> Outcome {
    let state = DeliveryState::Parked {
        due: later(seconds),
        trigger: Trigger::Scheduled,
    };
    Outcome {
        row: Some(row(endpoint, message, state)),
        ..Outcome::default()
    }
}

/// The plain end of a delivery, and of its message if it was the last.
pub(super) fn delivered(endpoint: EndpointId, message: &Message, last: bool) -> Outcome {
    Outcome {
        row: Some(row(endpoint, message.seq, DeliveryState::Success)),
        attempt: Some(attempt(endpoint, message)),
        shaped: None,
        outbox_done: last.then_some(message.seq),
    }
}

pub(super) fn attempt(endpoint: EndpointId, message: &Message) -> Attempt {
    Attempt {
        id: AttemptId::generate(START),
        seq: Seq(0),
        delivery: DeliveryKey {
            endpoint,
            message: message.seq,
        },
        message: message.id,
        event_type: message.event_type.clone(),
        channels: message.channels.clone(),
        tags: message.tags.clone(),
        at: START,
        duration_ms: 12,
        status: AttemptStatus::Success,
        response_code: Some(204),
        response: String::new(),
        url: "https://receiver.test/hook".into(),
        trigger: Trigger::Scheduled,
        plugins: Vec::new(),
    }
}

/// Sweeps until nothing is left; how many rows went.
pub(super) async fn sweep_all(store: &Arc<dyn Store>, now: Timestamp) -> usize {
    let mut deleted = 0;
    loop {
        match store.sweep(now, 10).await.unwrap() {
            0 => return deleted,
            rows => deleted += rows,
        }
    }
}
