//! Damage in the store's log, a byte in every segment: the gateway opens with everything, or says that the store is
//! damaged and what to do, and that works: `store export` writes what can be read and counts the rest, `store
//! import` makes a data directory of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hookmill_tests::fault_table::FaultRow;
use hookmill_tests::gateway::Refusal;
use hookmill_tests::settings::{hookmill_bin, rounds, say};
use hookmill_tests::{Gateway, Receiver, Tenant};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// A segment of the log.
const SEGMENT: u64 = 512 << 10;

/// Kinds of rows in an export whose every row has to be there, by the first byte of the key: messages, pieces of long
/// values, attempts, records. The others change when a gateway starts.
const LASTING: [u8; 4] = [0x10, 0x15, 0x30, 0x40];

/// Messages have this one.
const MESSAGE: u8 = 0x10;

/// `hookmill store …`
fn store(args: &[&str]) -> Output {
    let mut command = Command::new(hookmill_bin());
    command.env_clear().arg("store").args(args);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows of an exported file that last.
fn rows(file: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let file = fs::read(file).unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    // Frames of the backup; those of the store, one behind the other, are its export.
    let (mut export, mut rest) = (Vec::new(), &file[..]);
    let mut last = 0;
    while let [kind, after @ ..] = rest {
        let len = number(after);
        if *kind == b'S' {
            export.extend_from_slice(&after[4..4 + len]);
        }
        last = *kind;
        rest = &after[4 + len..];
    }
    assert_eq!(last, b'E', "an export has an end");
    let mut rows = BTreeMap::new();
    let mut rest = export.strip_prefix(b"hookmill sled export 1\n").unwrap();
    while let [operation, after @ ..] = rest {
        let (key, value) = (number(after), number(&after[4..]));
        let (row, after) = after[8..].split_at(key + value);
        if *operation == 1 && LASTING.contains(&row[0]) {
            rows.insert(row[..key].to_vec(), row[key..].to_vec());
        }
        rest = after;
    }
    rows
}

fn messages(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> u64 {
    rows.keys().filter(|key| key[0] == MESSAGE).count() as u64
}

fn copy(from: &Path, to: &Path) {
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

/// A data directory with messages of all sizes, delivered and waiting, after several starts.
async fn populated(messages: usize) -> Gateway {
    let mut gateway = Gateway::builder().retry_schedule("10h").start().await;
    let mut tenant = Tenant::new(&gateway).await;
    let (good, bad) = (Receiver::start().await, Receiver::start().answer(500).await);
    let delivered = tenant.endpoint(&good.url()).await;
    tenant.endpoint(&bad.url()).await;
    for n in 0..messages {
        if n == messages / 2 {
            // From here on the log is not in a snapshot.
            assert!(gateway.terminate().await.success());
            gateway.restart().await;
            tenant = tenant.with_client(gateway.client().await);
        }
        let size = [100, 3_000, 900, 60_000, 20, 1_000_000][n % 6];
        let message = tenant
            .send(json!({"n": n, "filling": "x".repeat(size)}))
            .await;
        tenant.settled(&message, &delivered, "success").await;
        tenant.attempts(&message, 2).await;
    }
    assert!(gateway.terminate().await.success());
    gateway
}

/// Changes one byte of the log.
fn flip(data: &Path, place: u64, bit: u32) {
    let log = data.join("store/db/db");
    let log = File::options().read(true).write(true).open(log).unwrap();
    let mut byte = [0];
    log.read_exact_at(&mut byte, place).unwrap();
    log.write_all_at(&[byte[0] ^ (1 << bit)], place).unwrap();
}

/// What the flips came to.
#[derive(Default)]
struct Outcome {
    opened: u64,
    refused: u64,
    /// Messages of the damaged stores, and those that the export has.
    due: u64,
    saved: u64,
}

/// A gateway on the damaged directory, or its refusal.
async fn serve(data: &Path) -> Result<Gateway, Refusal> {
    let how = Gateway::builder()
        .data_dir(data)
        .retry_schedule("10h")
        .config("[store.sled]\nopen_timeout_ms = 30000");
    how.start_or_refuse().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_every_segment() {
    let seed: u64 = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let gateway = populated(rounds(12, 60) as usize).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let whole = elsewhere.path().join("whole");
    let output = store(&[
        "export",
        whole.to_str().unwrap(),
        "--data-dir",
        gateway.data_dir().to_str().unwrap(),
    ]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let before = rows(&whole);
    let length = fs::metadata(gateway.data_dir().join("store/db/db"))
        .unwrap()
        .len();
    let mut outcome = Outcome::default();
    for segment in 0..length.div_ceil(SEGMENT) {
        let end = length.min((segment + 1) * SEGMENT);
        let place = rng.random_range(segment * SEGMENT..end);
        let here = elsewhere.path().join(format!("segment-{segment}"));
        copy(gateway.data_dir(), &here.join("data"));
        flip(&here.join("data"), place, rng.random_range(0..8));
        say_on_panic(seed, place, judge(&here, &before, &mut outcome)).await;
        fs::remove_dir_all(&here).unwrap();
    }
    let segments = outcome.opened + outcome.refused;
    say(&format!(
        "flipped bytes: {segments} segments, {} opened with every row, {} refused by name; of the {} messages of \
         these `store export` wrote {}",
        outcome.opened, outcome.refused, outcome.due, outcome.saved
    ));
    let accepted = outcome.opened * messages(&before);
    FaultRow {
        fault: "one byte flipped in each segment, where the store opens",
        rounds: segments,
        accepted,
        delivered: accepted,
        lost: 0,
        duplicated: 0,
    }
    .report();
}

/// Names what a failure is repeated with.
async fn say_on_panic(seed: u64, place: u64, judge: impl Future<Output = ()>) {
    struct Names(u64, u64);
    impl Drop for Names {
        fn drop(&mut self) {
            if std::thread::panicking() {
                say(&format!("seed {}, byte {}", self.0, self.1));
            }
        }
    }
    let _names = Names(seed, place);
    judge.await;
}

async fn judge(here: &Path, before: &BTreeMap<Vec<u8>, Vec<u8>>, outcome: &mut Outcome) {
    let data = here.join("data");
    // As it was found: a start writes.
    copy(&data, &here.join("found"));
    match serve(&data).await {
        Ok(mut gateway) => {
            outcome.opened += 1;
            assert!(gateway.terminate().await.success());
            let (after, said) = exported(&data, &here.join("after"));
            for (key, value) in before {
                // A record may have been written anew since.
                let there = after.get(key);
                let same = there == Some(value) || (key[0] == 0x40 && there.is_some());
                assert!(same, "{key:?} is not there: {said}");
            }
        }
        Err(refusal) => {
            outcome.refused += 1;
            assert_eq!(refusal.code, Some(6), "{refusal:?}");
            for part in ["the store is damaged", "hookmill store export"] {
                assert!(refusal.message.contains(part), "{refusal:?}");
            }
            let found = here.join("found");
            let output = store(&["check", "--data-dir", found.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
            let file = here.join("saved");
            let (saved, said) = exported(&found, &file);
            let same = |key: &Vec<u8>, value: &Vec<u8>| before.get(key) == Some(value);
            let invented = saved
                .iter()
                .find(|(key, value)| key[0] != 0x40 && !same(key, value));
            assert!(invented.is_none(), "{invented:?}: {said}");
            outcome.due += messages(before);
            outcome.saved += messages(&saved);
            assert!(
                one_page(before, &saved),
                "one byte, so many messages: {said}"
            );
            restored(&file, &here.join("restored"));
        }
    }
}

/// Whether the messages that are missing may have lain in one page, the longest stretch that one byte can damage: side by
/// side, and no more than sled keeps together of rows as they are here. A page of pieces has those of two messages.
fn one_page(before: &BTreeMap<Vec<u8>, Vec<u8>>, saved: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
    const ROWS: usize = 20;
    let all = before.keys().filter(|key| key[0] == MESSAGE);
    let missing: Vec<bool> = all.map(|key| !saved.contains_key(key)).collect();
    let stretches = missing.chunk_by(|one, next| one == next);
    let lost: Vec<usize> = stretches
        .filter(|stretch| stretch[0])
        .map(<[bool]>::len)
        .collect();
    lost.len() <= 1 && lost.iter().all(|rows| *rows <= ROWS) || lost == [1, 1]
}

/// Exports a directory; its rows and what was said.
fn exported(data: &Path, file: &Path) -> (BTreeMap<Vec<u8>, Vec<u8>>, String) {
    let args = [
        "export",
        file.to_str().unwrap(),
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let output = store(&args);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!([Some(0), Some(6)].contains(&output.status.code()), "{said}");
    (rows(file), said)
}

/// What was exported makes a store that is whole.
fn restored(file: &Path, data: &Path) {
    let (file, dir) = (file.to_str().unwrap(), data.to_str().unwrap());
    let output = store(&["import", file, "--data-dir", dir]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = store(&["check", "--data-dir", dir]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exported_store_lives_elsewhere() {
    let gateway = populated(7).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file: PathBuf = elsewhere.path().join("export");
    let (file, new) = (file.to_str().unwrap(), elsewhere.path().join("new"));
    let old = gateway.data_dir().to_str().unwrap();
    let output = store(&["check", "--data-dir", old]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        said.contains("messages: 7\n") && said.ends_with("the store is whole\n"),
        "{said}"
    );
    let output = store(&["export", file, "--data-dir", old]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        said.contains("messages: 7\n") && said.contains("attempts: 14\n"),
        "{said}"
    );
    let again = store(&["export", file, "--data-dir", old]);
    assert_eq!(again.status.code(), Some(1), "an export overwrites nothing");
    let dir = new.to_str().unwrap();
    let output = store(&["import", file, "--data-dir", dir, "--keys-from", old]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = store(&["check", "--data-dir", dir]);
    assert!(
        text(&output.stdout).contains("attempts: 14\n"),
        "{output:?}"
    );

    let restored = Gateway::builder()
        .data_dir(&new)
        .retry_schedule("10h")
        .start()
        .await;
    let client = restored.client_of(gateway.org()).await;
    let apps = client.get("/api/v1/app").await.expect(200).data();
    let app = apps[0]["id"].as_str().unwrap();
    let list = format!("/api/v1/app/{app}/msg?limit=50");
    assert_eq!(client.get(&list).await.expect(200).data().len(), 7);
    // The lock of a running gateway is respected.
    let busy = store(&["check", "--data-dir", dir]);
    assert_eq!(busy.status.code(), Some(4), "{}", text(&busy.stderr));
    let nothing = store(&["check", "--data-dir", "/nowhere"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", text(&nothing.stderr));
}
