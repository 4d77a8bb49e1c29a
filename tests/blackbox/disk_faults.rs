//! A disk that fills up in the middle of a commit, and one that nothing can be written to. What was acknowledged is
//! there when the fault is over, and the gateway goes on by itself.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use hookmill_tests::load::Load;
use hookmill_tests::power_cut::Disk;
use hookmill_tests::settings::{rounds, skipped};
use hookmill_tests::{Client, Gateway, Tenant, eventually};
use reqwest::Method;

/// Nobody looks how much is free: it shows when a write fails.
const UNWATCHED: &str = "[store.sled]\nmin_free_bytes = 0\nreserve_bytes = 0";

/// Room for the store of a few rounds, and soon filled.
const SMALL: u64 = 192 << 20;

/// Waits until a message is answered with one of these.
async fn answers(client: &Client, path: &str, statuses: &[u16]) {
    let what = format!("a message to be answered with {statuses:?}");
    eventually(&what, async || {
        let body = r#"{"eventType":"probe","channels":["nobody"],"payload":{}}"#;
        let headers = [("content-type", "application/json")];
        let request = client.try_raw(Method::POST, path, &headers, Some(body.into()));
        match request.await {
            Ok(reply) if statuses.contains(&reply.status) => Ok(()),
            Ok(reply) => Err(format!("{}", reply.status)),
            Err(error) => Err(error.to_string()),
        }
    })
    .await;
}

/// A load whose messages alone reach its receiver: the probes go to a channel of nobody.
async fn loaded(gateway: &Gateway) -> Load {
    let load = Load::new(Tenant::new(gateway).await).await;
    load.only_the_load().await;
    load
}

/// Waits until messages have been accepted.
async fn load_is_on(gateway: &Gateway) {
    let client = gateway.client().await.anonymous();
    eventually("accepted messages", async || {
        let metrics = client.get("/metrics").await.expect(200);
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        let accepted = "hookmill_accepts_total{outcome=\"accepted\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(accepted));
        match count.and_then(|count| count.parse::<u64>().ok()) {
            Some(count) if count > 20 => Ok(()),
            count => Err(format!("{count:?}")),
        }
    })
    .await;
}

/// Takes every byte that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for piece in [1 << 20, 64 << 10, 512] {
        while file.write_all(&vec![0; piece]).is_ok() {}
    }
    // Says the same as the last write.
    let _ = file.sync_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_in_the_middle_of_a_commit() {
    let disk = match Disk::of(SMALL) {
        Ok(disk) => disk,
        Err(no_disk) => return skipped("disk_faults::a_disk_that_fills_up", &no_disk.reason),
    };
    let data = disk.mount_point().join("data");
    let filler = disk.mount_point().join("filler");
    let mut gateway = Gateway::builder()
        .data_dir(&data)
        .config(UNWATCHED)
        .start()
        .await;
    let mut load = loaded(&gateway).await;
    for _ in 0..rounds(2, 20) {
        let (client, path) = (load.tenant.client.clone(), load.tenant.path("/msg"));
        load.during(async || {
            // Somebody else fills it.
            fill(&filler);
            answers(&client, &path, &[503]).await;
            std::fs::remove_file(&filler).unwrap();
            answers(&client, &path, &[202]).await;
        })
        .await;
        load.settle().await;
    }
    let log = gateway.log();
    assert!(
        log.contains("the store is open again"),
        "commits have failed, and the store was reopened in place: {log}"
    );
    load.report("disk full in the middle of commits");
    // And nothing of it is lost at the next start.
    gateway.restart().await;
    load.tenant = load.tenant.with_client(gateway.client().await);
    load.settle().await;
    gateway.kill().await;
}

/// Lets nobody write to this file any more, not even who has it open; or lets them again.
fn immutable(path: &Path, yes: bool) -> Result<(), String> {
    let flag = if yes { "+i" } else { "-i" };
    let output = Command::new("chattr").arg(flag).arg(path).output();
    let output = output.map_err(|error| format!("chattr: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_turns_read_only_and_back() {
    let disk = match Disk::new() {
        Ok(disk) => disk,
        Err(no_disk) => return skipped("disk_faults::turns_read_only", &no_disk.reason),
    };
    let mut gateway = Gateway::builder()
        .data_dir(disk.mount_point().join("data"))
        .start()
        .await;
    let mut load = loaded(&gateway).await;
    let log = gateway.data_dir().join("store/db/db");
    for _ in 0..rounds(2, 20) {
        let (client, path) = (load.tenant.client.clone(), load.tenant.path("/msg"));
        let done = load
            .during(async || {
                immutable(&log, true)?;
                answers(&client, &path, &[503]).await;
                client.anonymous().get("/livez").await.expect(204);
                immutable(&log, false)?;
                answers(&client, &path, &[202]).await;
                Ok::<_, String>(())
            })
            .await;
        if let Err(reason) = done {
            return skipped("disk_faults::turns_read_only", &reason);
        }
        load.settle().await;
    }
    load.report("store turned read-only and back");
    gateway.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_directory_is_refused_by_name() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(no_disk) => return skipped("disk_faults::read_only_directory", &no_disk.reason),
    };
    let data = disk.mount_point().join("data");
    // There is nothing yet, and nothing can be made.
    disk.set_read_only(true);
    let refusal = Gateway::builder().data_dir(&data).refuse().await;
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    let names_it = |message: &str| {
        message.contains(data.to_str().unwrap()) && message.contains("Read-only file system")
    };
    assert!(names_it(&refusal.message), "{refusal:?}");

    // There is a store, and it can not be written.
    disk.set_read_only(false);
    let mut gateway = Gateway::builder().data_dir(&data).start().await;
    let mut load = Load::new(Tenant::new(&gateway).await).await;
    load.during(async || {
        load_is_on(&gateway).await;
        gateway.kill().await;
    })
    .await;
    disk.set_read_only(true);
    let refusal = Gateway::builder().data_dir(&data).refuse().await;
    assert_eq!(refusal.code, Some(1), "{refusal:?}");
    assert!(names_it(&refusal.message), "{refusal:?}");
    // It can be looked at all the same.
    let dir = data.to_str().unwrap();
    let output = gateway
        .command(&["store", "check", "--data-dir", dir])
        .await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}: {output:?}");
    assert!(said.contains("messages: "), "{said}");

    disk.set_read_only(false);
    gateway.restart().await;
    load.tenant = load.tenant.with_client(gateway.client().await);
    load.settle().await;
    load.report("started on a read-only directory, then on a writable one");
    gateway.kill().await;
}
