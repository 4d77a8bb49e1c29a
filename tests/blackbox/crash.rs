//! Kills and power cuts under load. What was acknowledged is delivered at least once, nothing is delivered that was
//! not sent, and the store opens every time. The counts stand in the fault table.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use hookmill_tests::load::Load;
use hookmill_tests::power_cut::Disk;
use hookmill_tests::settings::{rounds, say, skipped};
use hookmill_tests::{Gateway, Tenant};
use rustix::process::Signal;

/// A moment at which to crash: mostly within the first second, now and then at once.
fn random_moment() -> Duration {
    let most = if rand::random_ratio(1, 6) { 30 } else { 900 };
    Duration::from_millis(rand::random_range(0..most))
}

/// Starts it again after a crash, and waits for what it owes.
async fn come_back(gateway: &mut Gateway, load: &mut Load) {
    gateway.restart().await;
    load.tenant = load.tenant.with_client(gateway.client().await);
    load.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load() {
    let mut gateway = Gateway::start().await;
    let mut load = Load::new(Tenant::new(&gateway).await).await;
    for _ in 0..rounds(4, 100) {
        load.during(async || {
            tokio::time::sleep(random_moment()).await;
            gateway.kill().await;
        })
        .await;
        come_back(&mut gateway, &mut load).await;
    }
    load.report("kill -9 under load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_while_starting() {
    let mut gateway = Gateway::start().await;
    let mut load = Load::new(Tenant::new(&gateway).await).await;
    for _ in 0..rounds(3, 60) {
        load.during(async || {
            tokio::time::sleep(random_moment()).await;
            gateway.kill().await;
        })
        .await;
        // While it opens the store, plays the outbox back, or delivers already.
        for _ in 0..rand::random_range(1..=4) {
            gateway.kill_while_starting(random_moment() / 3).await;
        }
        come_back(&mut gateway, &mut load).await;
    }
    load.report("kill -9 under load, then 1 to 4 while starting");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_a_backup() {
    let mut gateway = Gateway::start().await;
    // The store of all rounds is copied again and again: no long messages.
    let mut load = Load::up_to(10_000, Tenant::new(&gateway).await).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let (rounds, mut whole) = (rounds(3, 40), 0);
    for round in 0..rounds {
        let before: HashSet<String> = load.acknowledged().map(str::to_owned).collect();
        let copy = elsewhere.path().join(round.to_string());
        let admin = gateway.admin_token().await;
        let keys = gateway.data_dir().to_str().unwrap().to_owned();
        let args = [
            "backup",
            "--out",
            copy.to_str().unwrap(),
            "--keys-from",
            &keys,
        ];
        let output = load
            .during(async || {
                let backup = gateway.client_command(&admin, &args, "");
                // Every third ends before the kill, the others may.
                if round % 3 == 0 {
                    let output = backup.await;
                    assert!(output.status.success(), "{output:?}");
                    gateway.signal(Signal::KILL);
                    return output;
                }
                let kill = async {
                    tokio::time::sleep(random_moment() * 2).await;
                    gateway.signal(Signal::KILL);
                };
                tokio::join!(backup, kill).0
            })
            .await;
        // A copy that says it is whole has all that was acknowledged before it began.
        if output.status.success() {
            whole += 1;
            has_all(&copy, gateway.org(), &load.tenant, &before).await;
        }
        come_back(&mut gateway, &mut load).await;
    }
    say(&format!(
        "crash: {whole} of {rounds} backups were whole before the kill"
    ));
    load.report("kill -9 under load during a backup");
}

/// Starts a gateway on a copy and looks for the messages.
async fn has_all(copy: &Path, org: &str, tenant: &Tenant, messages: &HashSet<String>) {
    // Strict: what waits in the copy is not delivered from there.
    let restored = Gateway::builder().data_dir(copy).strict().start().await;
    let there = tenant.with_client(restored.client_of(org).await);
    let mut found = HashSet::new();
    let mut page = there.path("/msg?limit=250&with_content=false");
    loop {
        let reply = there.client.get(&page).await.expect(200);
        let list = reply.json();
        for message in list["data"].as_array().unwrap() {
            found.insert(message["id"].as_str().unwrap().to_owned());
        }
        if list["done"] == true {
            break;
        }
        let next = list["iterator"].as_str().unwrap();
        page = there.path(&format!(
            "/msg?limit=250&with_content=false&iterator={next}"
        ));
    }
    let missing = messages.difference(&found).count();
    assert_eq!(missing, 0, "of {} in the copy", messages.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_under_load() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(no_disk) => return skipped("crash::power_cuts_under_load", &no_disk.reason),
    };
    let data = disk.mount_point().join("data");
    let mut gateway = Gateway::builder().data_dir(&data).start().await;
    let mut load = Load::new(Tenant::new(&gateway).await).await;
    for _ in 0..rounds(3, 50) {
        load.during(async || {
            tokio::time::sleep(random_moment()).await;
            disk.cut_power();
            gateway.kill().await;
        })
        .await;
        disk.power_up();
        come_back(&mut gateway, &mut load).await;
    }
    load.report("power cut under load");
    gateway.kill().await;
}
