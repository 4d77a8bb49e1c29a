//! Kills and power cuts. The test runs itself as a child that writes and says what was answered; then the
//! child is killed, or the file system is stopped without its journal being flushed, and what the child said
//! is compared with what is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use sled::IVec;

use super::flip_tests::{logged, rows};
use super::*;
use crate::domain::{ManualClock, MessageId};
use crate::store::conformance::{self, START, TTL};
use power_cut::{Disk, NoDisk};

/// The end-to-end tests cut the power with it too.
#[path = "../../../../tests/src/power_cut.rs"]
#[expect(
    unreachable_pub,
    dead_code,
    reason = "it is a public module where it lives, and these tests need a part of it"
)]
mod power_cut;

/// Where the child writes; set by its parent only.
const DIR: &str = "HOOKMILL_CRASH_DIR";
/// How many rounds, or `full`; a handful without it.
const ROUNDS: &str = "HOOKMILL_ROUNDS";
/// Chosen: the end-to-end tests play ten times as many.
const FULL_ROUNDS: u32 = 20;
/// Concurrent writers of the child.
const WRITERS: u8 = 8;

fn config(dir: &Path) -> SledConfig {
    SledConfig {
        cache_bytes: 2 << 20,
        min_free_bytes: 1 << 20,
        reserve_bytes: 1 << 20,
        ..SledConfig::in_dir(dir)
    }
}

fn open_in(dir: &Path) -> Result<SledStore, StoreError> {
    let clock = Arc::new(ManualClock::at(START));
    SledStore::open(config(dir), clock, Arc::new(Metrics::new()))
}

fn rounds(few: u32) -> u32 {
    match std::env::var_os(ROUNDS)
        .as_deref()
        .and_then(|text| text.to_str())
    {
        None => few,
        Some("full") => FULL_ROUNDS,
        Some(text) => text.parse().unwrap(),
    }
}

/// Says one thing in one write, so that a kill never leaves half a line that reads as a whole one.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}.\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Sizes that take every way through the codec.
fn payload(id: MessageId, n: usize) -> Vec<u8> {
    let length = [200, 2_000, 40, 9_000, 3_000, 150_000][n % 6];
    id.as_bytes().iter().copied().cycle().take(length).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes until it is killed: run by the tests below as their child"]
async fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = Arc::new(open_in(Path::new(&dir)).unwrap());
    let lease = store.lease_shards("child", ShardSet::ALL, TTL);
    let lease = lease.await.unwrap();
    let writers: Vec<_> = (0..WRITERS)
        .map(|n| tokio::spawn(write(store.clone(), lease.clone(), n)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Accepts, records, retries and settles, saying before and after.
async fn write(store: Arc<SledStore>, lease: Lease, writer: u8) {
    let app = ApplicationId::from_bytes([writer; 20]);
    let lane = conformance::endpoint();
    for n in usize::from(writer).. {
        let mut item = conformance::item(app, "");
        let id = item.new.message.id;
        item.new.payload = payload(id, n).into();
        item.new.message.payload_len = u32::try_from(item.new.payload.len()).unwrap();
        say(&format!("try {id}"));
        let message = store.accept(vec![item]).await.unwrap().remove(0).unwrap();
        say(&format!("accepted {id} {} {n}", message.seq.0));
        if n % 3 == 0 {
            let parked = conformance::parked(lane, message.seq, 5);
            store.record(&lease, vec![parked]).await.unwrap();
        }
        if n % 4 != 0 {
            let done = conformance::delivered(lane, &message, true);
            store.record(&lease, vec![done]).await.unwrap();
            say(&format!("settled {id}"));
        }
    }
}

/// What the children of all rounds said.
#[derive(Default)]
struct Said {
    tried: HashSet<MessageId>,
    accepted: HashMap<MessageId, (Seq, usize)>,
    settled: HashSet<MessageId>,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let Some(said) = line
            .strip_prefix('@')
            .and_then(|said| said.strip_suffix('.'))
        else {
            return;
        };
        let words: Vec<_> = said.split(' ').collect();
        let id = words[1].parse().unwrap();
        match words[0] {
            "try" => drop(self.tried.insert(id)),
            "accepted" => {
                let at = (Seq(words[2].parse().unwrap()), words[3].parse().unwrap());
                self.accepted.insert(id, at);
            }
            "settled" => drop(self.settled.insert(id)),
            other => panic!("{other}"),
        }
    }

    /// All that was answered is there and whole, and nothing is there that was not tried.
    async fn compare(&self, store: &Arc<dyn Store>) {
        let lease = store.lease_shards("parent", ShardSet::ALL, TTL);
        let lease = lease.await.unwrap();
        let unsettled = store.unsettled(&lease, Seq(0), usize::MAX).await.unwrap();
        let unsettled: HashSet<_> = unsettled.iter().map(|entry| entry.message.id).collect();
        for (id, (seq, n)) in &self.accepted {
            let message = store.message(*seq).await.unwrap();
            assert_eq!(message.map(|message| message.id), Some(*id), "lost");
            let kept = store.payload(*seq).await.unwrap().unwrap();
            assert!(kept == payload(*id, *n), "the payload of {id} differs");
        }
        for id in &self.settled {
            assert!(!unsettled.contains(id), "{id} is settled twice");
        }
        for writer in 0..WRITERS {
            let app = ApplicationId::from_bytes([writer; 20]);
            let everything = MessageFilter::default();
            let page = PageRequest::first(usize::MAX);
            for message in store.messages(app, &everything, page).await.unwrap().rows {
                self.judge(store, &message, &unsettled).await;
            }
        }
    }

    async fn judge(
        &self,
        store: &Arc<dyn Store>,
        message: &Message,
        unsettled: &HashSet<MessageId>,
    ) {
        let id = message.id;
        assert!(self.tried.contains(&id), "{id} was invented");
        let by_id = store.message_by_id(message.app, &id.to_string()).await;
        assert_eq!(by_id.unwrap().as_ref(), Some(message));
        let payload = store.payload(message.seq).await.unwrap().unwrap();
        assert_eq!(payload.len(), message.payload_len as usize);
        let of = AttemptsOf::Message(message.seq);
        let everything = AttemptFilter::default();
        let attempts = store.attempts(of, &everything, PageRequest::first(10));
        let attempts = attempts.await.unwrap().rows.len();
        let rows = store.deliveries(message.seq).await.unwrap();
        let settled = rows.iter().filter(|row| row.state.is_settled()).count();
        let ended = usize::from(!unsettled.contains(&id));
        assert_eq!((settled, attempts), (ended, ended), "half a group of {id}");
    }
}

/// A running child and what it says.
struct Writing {
    child: Child,
    lines: Receiver<String>,
}

impl Writing {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sled::crash_tests::child"])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env(DIR, dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Hears until something was accepted and then for a while longer; or from the start for a while.
    fn hear(&self, said: &mut Said, after_first: bool, while_: Duration) {
        let mut until = Instant::now() + while_;
        let mut waiting = after_first;
        loop {
            let left = match waiting {
                // A child that never gets there has failed to open.
                true => Duration::from_secs(60),
                false => until.saturating_duration_since(Instant::now()),
            };
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    said.hear(&line);
                    if waiting && line.starts_with("@accepted") {
                        waiting = false;
                        until = Instant::now() + while_;
                    }
                }
                Err(RecvTimeoutError::Timeout) if !waiting => return,
                Err(error) => panic!("the child did not write: {error}"),
            }
            if !waiting && Instant::now() >= until {
                return;
            }
        }
    }

    /// Kills it, and hears what it had said by then.
    fn kill(mut self, said: &mut Said) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().for_each(|line| said.hear(&line));
    }
}

/// What is read without sled of a store that nobody closed. None if it was never opened to the end.
struct Left(Option<(Salvaged, BTreeMap<IVec, IVec>)>);

impl Left {
    fn read(dir: &Path) -> Self {
        let was_opened = dir.join("marker").exists();
        Self(was_opened.then(|| {
            let salvaged = salvage(&config(dir), |_| Ok(())).unwrap();
            (salvaged, logged(dir))
        }))
    }

    /// sled takes the very same rows for what was written, and an export is whole as well.
    fn compare(self, store: &SledStore) {
        let Some((salvaged, logged)) = self.0 else {
            return;
        };
        let opened = rows(store);
        let missing = opened
            .iter()
            .filter(|(key, value)| logged.get(*key) != Some(*value));
        let invented = logged.keys().filter(|key| !opened.contains_key(*key));
        let (missing, invented) = (missing.count(), invented.count());
        assert_eq!((missing, invented), (0, 0), "missing, invented");
        assert!(salvaged.is_whole(), "{salvaged:?}");
    }
}

/// Up to so many milliseconds.
fn some(most: u64) -> Duration {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).unwrap();
    Duration::from_millis(u64::from_le_bytes(bytes) % most)
}

/// A program that another test starts has a copy of the lock's descriptor until it runs.
fn open_patiently(dir: &Path) -> SledStore {
    loop {
        match open_in(dir) {
            Err(StoreError::Locked) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_and_invent_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    let rounds = rounds(6);
    for round in 0..rounds {
        let child = Writing::start(directory.path());
        // Every third kill may come while the store opens.
        match round % 3 {
            2 => child.hear(&mut said, false, some(60)),
            _ => child.hear(&mut said, true, some(300)),
        }
        child.kill(&mut said);
        let left = Left::read(directory.path());
        let store = open_patiently(directory.path());
        left.compare(&store);
        let store: Arc<dyn Store> = Arc::new(store);
        said.compare(&store).await;
    }
    let acked = said.accepted.len();
    println!("kill -9: {rounds} rounds, {acked} messages acknowledged, none lost, none invented");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_and_invent_nothing() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(NoDisk { reason }) => {
            println!("SKIPPED power_cuts_lose_and_invent_nothing: {reason}");
            return;
        }
    };
    let dir = disk.mount_point().join("store");
    let mut said = Said::default();
    let rounds = rounds(3);
    for _ in 0..rounds {
        let child = Writing::start(&dir);
        child.hear(&mut said, true, some(400));
        disk.cut_power();
        child.kill(&mut said);
        disk.power_up();
        let left = Left::read(&dir);
        let store = open_in(&dir).unwrap();
        left.compare(&store);
        let store: Arc<dyn Store> = Arc::new(store);
        said.compare(&store).await;
    }
    let acked = said.accepted.len();
    println!("power cut: {rounds} rounds, {acked} messages acknowledged, none lost, none invented");
}

/// A small file system in memory.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Result<Self, String> {
        let at = tempfile::tempdir().unwrap();
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(at.path())
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(Self(at)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Nobody is left to tell if it fails.
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

/// Waits for the store to answer again after a fault.
async fn accept_again(store: &SledStore) -> Message {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let item = conformance::item(conformance::app(), "again");
        match store.accept(vec![item]).await {
            Ok(mut accepted) => return accepted.remove(0).unwrap(),
            Err(error) if Instant::now() > until => panic!("{error}"),
            // Answered by the writer, which waits between its tries to reopen.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// The disk really fills up; the handle is dead from then on, the store is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_heals() {
    let disk = match Small::mount() {
        Ok(disk) => disk,
        Err(reason) => {
            println!("SKIPPED a_full_disk_heals: needs root: {reason}");
            return;
        }
    };
    let at = disk.0.path();
    let clock = Arc::new(ManualClock::at(START));
    let hardly_watched = SledConfig {
        // One page: the write fails before the watermark is reached.
        min_free_bytes: 4 << 10,
        reserve_bytes: 2 << 20,
        ..SledConfig::in_dir(at.join("store"))
    };
    let store = SledStore::open(hardly_watched, clock, Arc::new(Metrics::new())).unwrap();
    let lease = store.lease_shards("a", ShardSet::ALL, TTL).await.unwrap();
    // Somebody else fills the disk.
    let filler = at.join("filler");
    std::fs::write(&filler, vec![0; 9 << 20]).unwrap();
    let app = conformance::app();
    let mut acked = Vec::new();
    let refusal = loop {
        let item = conformance::item(app, vec![b'f'; 300_000]);
        match store.accept(vec![item]).await {
            Ok(mut accepted) => acked.push(accepted.remove(0).unwrap()),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, StoreError::Closed), "{refusal:?}");
    println!("full disk: {} accepted, then {refusal:?}", acked.len());
    std::fs::remove_file(&filler).unwrap();
    let again = accept_again(&store).await;
    assert!(acked.iter().all(|message| message.seq < again.seq));
    for message in &acked {
        let payload = store.payload(message.seq).await.unwrap().unwrap();
        assert!(payload == vec![b'f'; 300_000]);
    }
    store.writable().unwrap();
    assert!(at.join("store/reserve").exists(), "a new reserve");
    // The lease outlives the reopening.
    let done = conformance::delivered(conformance::endpoint(), &again, true);
    store.record(&lease, vec![done]).await.unwrap();
    // Before the disk.
    drop(store);
}
