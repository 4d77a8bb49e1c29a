//! The contract over sled, and what is sled's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::*;
use crate::domain::ManualClock;
use crate::store::conformance::{self, START, Subject, TTL};

/// Small files, and no refusal on a build machine with a full disk.
pub(super) fn config(dir: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 8 << 20,
        min_free_bytes: 1 << 20,
        reserve_bytes: 1 << 20,
        ..SledConfig::in_dir(dir)
    }
}

pub(super) fn open_in(config: SledConfig) -> Result<SledStore, StoreError> {
    let clock = Arc::new(ManualClock::at(START));
    SledStore::open(config, clock, Arc::new(Metrics::new()))
}

fn sled() -> Subject {
    Subject::in_directory(|clock, dir| {
        SledStore::open(config(dir), clock, Arc::new(Metrics::new())).unwrap()
    })
}

conformance::suite!(super::sled);

fn damage_in(answer: Result<SledStore, StoreError>) -> String {
    match answer {
        Err(StoreError::Damaged { what }) => what,
        other => panic!("{other:?}"),
    }
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn accept(store: &SledStore, payload: impl Into<Bytes>) -> Message {
    let item = conformance::item(conformance::app(), payload);
    store.accept(vec![item]).await.unwrap().remove(0).unwrap()
}

#[tokio::test]
async fn one_process_at_a_time_and_everything_is_there_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let second = open_in(config(directory.path()));
    assert!(matches!(second, Err(StoreError::Locked)), "{second:?}");
    let lease = store.lease_shards("a", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let message = accept(&store, "{}").await;
    drop(store);
    let store = open_in(config(directory.path())).unwrap();
    assert_eq!(
        store.message(message.seq).await.unwrap(),
        Some(message.clone())
    );
    let fenced = store.renew(&lease, TTL).await;
    assert!(matches!(fenced, Err(StoreError::Fenced)));
    let next = store.lease_shards("a", ShardSet::ALL, TTL);
    assert!(next.await.unwrap().token > lease.token);
    assert!(accept(&store, "{}").await.seq > message.seq);
    store.close().await.unwrap();
    // Closed, not only dropped, gives the directory free.
    open_in(config(directory.path())).unwrap();
}

#[test]
fn foreign_formats_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open_in(config(directory.path())).unwrap());
    fs::write(directory.path().join("format"), "4\n").unwrap();
    let newer = open_in(config(directory.path()));
    assert!(matches!(
        newer,
        Err(StoreError::NewerFormat {
            found: 4,
            supported: 3
        })
    ));
    fs::write(directory.path().join("format"), "?").unwrap();
    damage_in(open_in(config(directory.path())));
    fs::remove_file(directory.path().join("format")).unwrap();
    damage_in(open_in(config(directory.path())));
    fs::write(directory.path().join("format"), "1\n").unwrap();
    open_in(config(directory.path())).unwrap();
}

#[tokio::test]
async fn an_empty_or_older_database_is_not_taken_for_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let (db, old) = (directory.path().join("db"), directory.path().join("old"));
    let store = open_in(config(directory.path())).unwrap();
    accept(&store, "{}").await;
    drop(store);
    copy(&db, &old);
    let store = open_in(config(directory.path())).unwrap();
    accept(&store, "{}").await;
    drop(store);
    fs::remove_dir_all(&db).unwrap();
    let what = damage_in(open_in(config(directory.path())));
    assert!(what.contains("empty"), "{what}");
    fs::remove_dir_all(&db).unwrap();
    copy(&old, &db);
    let what = damage_in(open_in(config(directory.path())));
    assert!(what.contains("lost"), "{what}");
    let other = tempfile::tempdir().unwrap();
    drop(open_in(config(other.path())).unwrap());
    fs::remove_dir_all(&db).unwrap();
    copy(&other.path().join("db"), &db);
    let what = damage_in(open_in(config(directory.path())));
    assert!(what.contains("another"), "{what}");
}

/// Left behind by a kill during an earlier open.
#[tokio::test]
async fn a_half_made_snapshot_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let message = accept(&store, "{}").await;
    drop(store);
    let half = directory.path().join("db/snap.00000000000F0000.generating");
    fs::write(&half, "").unwrap();
    let store = open_in(config(directory.path())).unwrap();
    assert!(!half.exists());
    assert!(store.message(message.seq).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_snapshot_is_left_out_and_a_copy_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut messages = Vec::new();
    for _ in 0..2 {
        let store = open_in(config(directory.path())).unwrap();
        messages.push(accept(&store, "{}").await);
    }
    let snapshot = fs::read_dir(directory.path().join("db"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("snap.")
        })
        .expect("a second open leaves a snapshot");
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&snapshot, bytes).unwrap();
    let store = open_in(config(directory.path())).unwrap();
    for message in messages {
        assert_eq!(store.message(message.seq).await.unwrap(), Some(message));
    }
    assert!(directory.path().join("db.damaged-1/db").exists());
}

#[tokio::test]
async fn a_damaged_log_is_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    for _ in 0..300 {
        accept(&store, vec![b'x'; 3_000]).await;
    }
    drop(store);
    let log = directory.path().join("db/db");
    let length = fs::metadata(&log).unwrap().len();
    fs::File::options()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let what = damage_in(open_in(config(directory.path())));
    assert!(!what.is_empty());
}

/// Files there are never synced: long values have to stay in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn megabytes_leave_no_blobs() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(open_in(config(directory.path())).unwrap());
    let app = conformance::app();
    let lease = store
        .lease_shards("test", ShardSet::ALL, TTL)
        .await
        .unwrap();
    let lane = conformance::endpoint();
    for n in 0..24usize {
        let sizes = [1 << 20, 3_500, 130_000, 8_192];
        let item = conformance::item(app, vec![b'm'; sizes[n % 4]]);
        let message = store.accept(vec![item]).await.unwrap().remove(0).unwrap();
        let shaped = Shaped {
            content_type: "text/plain".into(),
            headers: Vec::new(),
            payload: Some(vec![b's'; 1 << 20].into()),
        };
        let outcome = Outcome {
            shaped: Some(shaped),
            attempt: Some(Attempt {
                response: "r".repeat(16_384),
                ..conformance::attempt(lane, &message)
            }),
            ..conformance::parked(lane, message.seq, 5)
        };
        store.record(&lease, vec![outcome]).await.unwrap();
        if n % 3 == 0 {
            let done = conformance::delivered(lane, &message, true);
            store.record(&lease, vec![done]).await.unwrap();
        }
    }
    conformance::sweep_all(&store, conformance::later(90_000 + 7_200)).await;
    store.close().await.unwrap();
    drop(store);
    let store = open_in(config(directory.path())).unwrap();
    drop(store);
    let blobs: Vec<_> = fs::read_dir(directory.path().join("db/blobs"))
        .unwrap()
        .collect();
    assert!(blobs.is_empty(), "{} blobs", blobs.len());
}

/// Stops the writer between two groups until the sender is used or dropped.
fn hold(store: &SledStore) -> std::sync::mpsc::Sender<()> {
    let (release, held) = std::sync::mpsc::channel();
    let (holding, holds) = std::sync::mpsc::channel();
    let (answer, _) = oneshot::channel();
    let wait = move |_: &mut group::Group<'_>| {
        holding.send(()).unwrap();
        // Dropped by a failing test: goes on as well.
        let _ = held.recv();
        Ok(0)
    };
    let job = Job::Alone(Box::new(wait), answer);
    store.queue.send(job).unwrap();
    holds.recv().unwrap();
    release
}

#[tokio::test]
async fn items_of_one_group_see_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open_in(config(directory.path())).unwrap());
    let app = conformance::app();
    let lane = conformance::endpoint();
    let lease = store
        .lease_shards("test", ShardSet::ALL, TTL)
        .await
        .unwrap();
    let message = accept(&store, "{}").await;
    let record = Record {
        kind: Kind::EventType,
        id: "a".into(),
        parent: "org".into(),
        uid: None,
        seq: Seq(0),
        revision: 0,
        body: "0".into(),
    };
    let record = store
        .commit(vec![Write::Insert(record)], None)
        .await
        .unwrap()
        .remove(0);
    let release = hold(&store);
    let twin = || store.accept(vec![conformance::with_event_id(app, "one")]);
    let change = || store.commit(vec![Write::Update(record.clone())], None);
    let park = |seconds| {
        let outcome = conformance::parked(lane, message.seq, seconds);
        store.record(&lease, vec![outcome])
    };
    let all = async {
        tokio::join!(
            twin(),
            twin(),
            change(),
            change(),
            park(9),
            park(5),
            async {
                // Polled last: everything else waits in the queue by now.
                release.send(()).unwrap();
            }
        )
    };
    let (first, second, won, lost, parked, again, ()) = all.await;
    let first = first.unwrap().remove(0).unwrap();
    assert_eq!(
        second.unwrap(),
        [Err(AcceptRefusal::EventIdTaken { existing: first.id })]
    );
    assert_eq!(won.unwrap()[0].revision, 2);
    assert!(matches!(lost, Err(StoreError::Stale { .. })));
    parked.unwrap();
    again.unwrap();
    let rows = store.due(&lease, lane, conformance::later(60), None, 10);
    assert_eq!(
        rows.await.unwrap(),
        Vec::from_iter(conformance::parked(lane, message.seq, 5).row)
    );
    let text = store.shared.metrics.encode().unwrap();
    assert!(
        text.contains("hookmill_commit_items_bucket{le=\"8.0\"}"),
        "{text}"
    );
    let in_groups = store.shared.metrics.encode().unwrap();
    let count: u32 = in_groups
        .lines()
        .find_map(|line| line.strip_prefix("hookmill_commit_items_count "))
        .unwrap()
        .parse()
        .unwrap();
    // Lease, message, record, the hold, and one group for the six.
    assert_eq!(count, 5);
}

#[tokio::test]
async fn a_full_queue_is_busy_and_outcomes_have_room_left() {
    let directory = tempfile::tempdir().unwrap();
    let small = SledConfig {
        queue: 4,
        ..config(directory.path())
    };
    let store = open_in(small).unwrap();
    let lease = store
        .lease_shards("test", ShardSet::ALL, TTL)
        .await
        .unwrap();
    let message = accept(&store, "{}").await;
    let release = hold(&store);
    let app = conformance::app();
    let four = store.accept((0..4).map(|_| conformance::item(app, "{}")).collect());
    let refused = async {
        let one_more = store.accept(vec![conformance::item(app, "{}")]).await;
        assert!(matches!(one_more, Err(StoreError::Busy)), "{one_more:?}");
        let outcome = vec![conformance::delivered(
            conformance::endpoint(),
            &message,
            true,
        )];
        let outcome = store.record(&lease, outcome);
        let (recorded, ()) = tokio::join!(outcome, async { release.send(()).unwrap() });
        recorded.unwrap();
    };
    let (accepted, ()) = tokio::join!(four, refused);
    assert_eq!(accepted.unwrap().len(), 4);
    accept(&store, "{}").await;
}

#[tokio::test]
async fn too_little_space_stops_messages_only() {
    let directory = tempfile::tempdir().unwrap();
    let full = SledConfig {
        min_free_bytes: u64::MAX,
        ..config(directory.path())
    };
    let store = open_in(full).unwrap();
    assert!(matches!(store.writable(), Err(StoreError::DiskFull { .. })));
    let refused = store
        .accept(vec![conformance::item(conformance::app(), "{}")])
        .await;
    assert!(matches!(refused, Err(StoreError::DiskFull { .. })));
    let organization =
        crate::domain::Organization::new(crate::domain::OrganizationId::generate(START), START);
    let write = crate::store::records::insert(&organization).unwrap();
    store.commit(vec![write], None).await.unwrap();
    assert_eq!(store.sweep(START, 10).await.unwrap(), 0);
}

#[test]
fn the_reserve_is_made_and_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("reserve");
    let settings = config(directory.path());
    let _space = space::Space::of(&settings);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
    let full = space::Space::of(&SledConfig {
        min_free_bytes: u64::MAX,
        ..settings
    });
    full.give_up_reserve();
    assert!(!path.exists());
}

/// A client of a backup may stop reading and stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_nobody_reads_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    for _ in 0..100 {
        accept(&store, vec![b'e'; 100_000]).await;
    }
    let mut copy = store.export().await.unwrap();
    copy.recv().await.unwrap().unwrap();
    accept(&store, "{}").await;
    drop(store);
    open_in(config(directory.path())).unwrap();
    let last = async {
        while let Some(piece) = copy.recv().await {
            if piece.is_err() {
                return true;
            }
        }
        false
    };
    assert!(last.await, "a copy that is not complete says so");
}

/// Reads of rows that are being replaced are not taken for damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_chunks_are_not_damage() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open_in(config(directory.path())).unwrap());
    let record = Record {
        kind: Kind::EventType,
        id: "a".into(),
        parent: "org".into(),
        uid: None,
        seq: Seq(0),
        revision: 0,
        body: vec![b'0'; 200_000].into(),
    };
    let insert = vec![Write::Insert(record)];
    let mut record = store.commit(insert, None).await.unwrap().remove(0);
    let reader = store.clone();
    let reading = tokio::spawn(async move {
        for _ in 0..400 {
            let read = reader.record_by_id(Kind::EventType, "a").await.unwrap();
            let body = read.unwrap().body;
            assert!(body.iter().all(|byte| *byte == body[0]));
        }
    });
    while !reading.is_finished() {
        record.body = vec![b'0' + (record.revision % 10) as u8; 200_000].into();
        let change = vec![Write::Update(record)];
        record = store.commit(change, None).await.unwrap().remove(0);
    }
    reading.await.unwrap();
}

/// A read that goes on until the sender is used or dropped.
fn lasting(
    started: std::sync::mpsc::Sender<()>,
) -> (
    std::sync::mpsc::Sender<()>,
    impl Fn(&sled::Tree) -> Result<(), StoreError> + Send + 'static,
) {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let read = move |_: &sled::Tree| {
        started.send(()).unwrap();
        let _ = held.recv();
        Ok(())
    };
    (release, read)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_caller_is_gone_still_counts() {
    let directory = tempfile::tempdir().unwrap();
    let one = SledConfig {
        readers: 1,
        ..config(directory.path())
    };
    let store = open_in(one).unwrap();
    let (starts, started) = std::sync::mpsc::channel();
    let (release, read) = lasting(starts);
    let shared = store.shared.clone();
    let caller = tokio::spawn(async move { shared.read(read).await });
    started.recv().unwrap();
    caller.abort();
    caller.await.unwrap_err();
    assert_eq!(store.shared.readers.available_permits(), 0);
    release.send(()).unwrap();
    store.shared.read(|_| Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_lists_waits_for_lists() {
    let directory = tempfile::tempdir().unwrap();
    let one = SledConfig {
        readers: 1,
        list_readers: 1,
        ..config(directory.path())
    };
    let store = open_in(one).unwrap();
    let message = accept(&store, "{}").await;
    let (starts, started) = std::sync::mpsc::channel();
    let (release, read) = lasting(starts);
    let shared = store.shared.clone();
    let list = tokio::spawn(async move { shared.read_list(read).await });
    started.recv().unwrap();
    let key = DeliveryKey {
        endpoint: conformance::endpoint(),
        message: message.seq,
    };
    assert_eq!(store.shaped(key).await.unwrap(), None);
    let everything = MessageFilter::default();
    let mut listed =
        std::pin::pin!(store.messages(message.app, &everything, PageRequest::first(1)));
    assert!(listed.as_mut().now_or_never().is_none());
    assert_eq!(store.shared.list_readers.available_permits(), 0);
    release.send(()).unwrap();
    list.await.unwrap().unwrap();
    listed.await.unwrap();
}

impl SledStore {
    /// Has the next group fail when it is synced, after sled has written it.
    pub(crate) fn break_next_sync(&self) {
        // A device that can not be synced.
        let other = fs::File::open("/dev/null").unwrap();
        self.shared.handle.write().as_mut().unwrap().log = other;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failed_group_left_behind_surfaces_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let lease = store.lease_shards("a", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let before = accept(&store, "{}").await;
    let item = conformance::item(conformance::app(), "{}");
    let id = item.new.message.id;
    store.break_next_sync();
    let refused = store.accept(vec![item]).await;
    assert!(matches!(refused, Err(StoreError::Closed)), "{refused:?}");
    let numbers = store.surfaced().await;
    assert!(!numbers.contains(&before.seq));
    let unsettled = store.unsettled(&lease, before.seq, 10).await.unwrap();
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].message.id, id);
    assert!(numbers.contains(&unsettled[0].message.seq));
    assert!(!numbers.contains(&accept(&store, "{}").await.seq));
    assert!(store.surfaced().now_or_never().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_recorded_again_after_a_fault_is_listed_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let lease = store.lease_shards("a", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let message = accept(&store, "{}").await;
    let lane = conformance::endpoint();
    let outcomes = vec![
        Outcome {
            attempt: Some(conformance::attempt(lane, &message)),
            ..conformance::parked(lane, message.seq, 5)
        },
        conformance::delivered(lane, &message, true),
    ];
    for _ in 0..2 {
        store.break_next_sync();
        store.record(&lease, outcomes.clone()).await.unwrap_err();
        // Nothing that surfaces is a message.
        while store.writable().is_err() {
            tokio::task::yield_now().await;
        }
    }
    store.record(&lease, outcomes.clone()).await.unwrap();
    let everything = AttemptFilter::default();
    for of in [AttemptsOf::Message(message.seq), AttemptsOf::Endpoint(lane)] {
        let listed = store.attempts(of, &everything, PageRequest::first(10));
        let listed = listed.await.unwrap().rows;
        let ids: Vec<_> = listed.iter().map(|attempt| attempt.id).collect();
        let given = outcomes.iter().flat_map(|outcome| &outcome.attempt);
        assert_eq!(ids, given.map(|attempt| attempt.id).collect::<Vec<_>>());
    }
    // Another one is still taken.
    let next = conformance::delivered(lane, &message, true);
    store.record(&lease, vec![next]).await.unwrap();
    let of = AttemptsOf::Message(message.seq);
    let listed = store.attempts(of, &everything, PageRequest::first(10));
    assert_eq!(listed.await.unwrap().rows.len(), 3);
}

/// The marker never says more than is on disk.
#[tokio::test]
async fn a_number_that_only_a_refused_record_took_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_in(config(directory.path())).unwrap();
    let record = |id: &str| Record {
        kind: Kind::Application,
        id: id.into(),
        parent: "org".into(),
        uid: Some("taken".into()),
        seq: Seq(0),
        revision: 0,
        body: "1".into(),
    };
    let insert = |id| store.commit(vec![Write::Insert(record(id))], None);
    insert("a").await.unwrap();
    let refused = insert("b").await;
    assert!(
        matches!(refused, Err(StoreError::Exists { .. })),
        "{refused:?}"
    );
    drop(store);
    open_in(config(directory.path())).unwrap();
}
