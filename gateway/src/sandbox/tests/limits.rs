//! Each limit, and what a guest that meets it comes to.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::*;
use crate::domain::PluginReport;

#[tokio::test]
async fn an_endless_loop_ends_by_running_ticks() {
    let room = Room::new(config()).await;
    let start = Instant::now();
    let (error, deterministic) = room.failure("loop").await;
    assert_eq!(error, "the plugin ran longer than 50 ms");
    assert!(!deterministic);
    assert!(start.elapsed() < Duration::from_secs(5));
    // Host calls are guest time too.
    assert_eq!(
        room.failure("log-for-ever").await.0,
        "the plugin ran longer than 50 ms"
    );
    assert_eq!(room.run("pass").await.outcome, ChainOutcome::Pass);
}

#[tokio::test]
async fn an_application_that_has_used_its_share_is_slowed_and_not_failed() {
    let room = Room::new(Config {
        cpu_percent_per_application: NonZeroU32::new(10),
        // On a busy machine a run holds its thread for longer than it computes.
        max_wait_ms: 120_000,
        ..config()
    })
    .await;
    let start = Instant::now();
    for _ in 0..4 {
        let error = "the plugin ran longer than 50 ms";
        assert_eq!(room.failure("loop").await.0, error);
    }
    // Three runs have used 150 ms, of which 100 were there; the other 50 take half a second to come. A run may be
    // a tick shorter.
    assert!(start.elapsed() > Duration::from_millis(400));
    let waiting = room.run("pass");
    let neighbour = room
        .sandbox
        .run_chain(chain_of("app_2", [room.step("pass")]));
    tokio::select! {
        biased;
        _ = waiting => panic!("has nothing left of its share"),
        result = neighbour => assert_eq!(result.outcome, ChainOutcome::Pass),
    }
    assert_eq!(room.run("pass").await.outcome, ChainOutcome::Pass);
}

#[test]
fn no_share_at_all_is_no_setting() {
    let set = |percent: u32| {
        toml::from_str::<Config>(&format!("cpu_percent_per_application = {percent}"))
            .map(|config| config.cpu_percent_per_application().get())
    };
    assert_eq!(set(50), Ok(50));
    assert!(set(0).is_err_and(|error| error.message().contains("nonzero")));
    let cores = std::thread::available_parallelism().unwrap().get();
    let quarter = Config::default().cpu_percent_per_application().get();
    assert_eq!(quarter as usize, cores * 25);
}

#[tokio::test]
async fn a_chain_has_a_budget_of_its_own() {
    let limits = Limits {
        call_ticks: 50,
        chain_ticks: 60,
        ..Limits::default()
    };
    let room = Room::new(Config { limits, ..config() }).await;
    let lenient = |mode| Step {
        on_failure: OnFailure::Pass,
        ..room.step(mode)
    };
    let result = room
        .run_steps([lenient("loop"), lenient("loop"), lenient("loop")])
        .await;
    let reasons: Vec<_> = result
        .steps
        .iter()
        .map(|step| step.reason.clone().unwrap())
        .collect();
    assert_eq!(reasons[0], "the plugin ran longer than 50 ms");
    assert_eq!(reasons[1], "the plugin ran longer than 10 ms");
    assert_eq!(reasons[2], "the plugin's chain has used its time");
}

#[tokio::test]
async fn the_wall_bounds_what_the_ticks_do_not() {
    let limits = Limits {
        call_ticks: 1_000_000,
        chain_ticks: 1_000_000,
        wall_ms: 30,
        ..Limits::default()
    };
    let room = Room::new(Config { limits, ..config() }).await;
    let (error, deterministic) = room.failure("loop").await;
    assert_eq!(error, "the plugin's chain took more than 30 ms");
    assert!(!deterministic);
}

#[tokio::test]
async fn memory_is_bounded_in_both_modes() {
    // More time, so that on a busy machine too it is the memory that runs out.
    let limits = Limits {
        call_ticks: 10_000,
        chain_ticks: 10_000,
        ..Limits::default()
    };
    for memory in [MemoryMode::Pooled, MemoryMode::Fresh] {
        let room = Room::new(Config {
            memory,
            limits: limits.clone(),
            ..config()
        });
        let room = room.await;
        let (error, deterministic) = room.failure("allocate").await;
        assert_eq!(
            error, "the plugin needs more than 67108864 bytes of memory",
            "{memory:?}"
        );
        assert!(deterministic);
        let report = room.run("touch-16-mib").await.steps.remove(0);
        assert!(
            (16 << 20..64 << 20).contains(&report.memory_peak),
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn crashes_are_the_plugins_own() {
    let room = Room::new(config()).await;
    let deterministic = true;
    let panicked = ("the plugin panicked or aborted".to_owned(), deterministic);
    assert_eq!(room.failure("panic").await, panicked);
    let (error, again) = room.failure("recurse").await;
    assert!(
        error.contains("out of bounds") || error.contains("stack"),
        "{error}"
    );
    assert!(again);
    assert_eq!(
        room.failure("error").await,
        ("the plugin says no".to_owned(), deterministic)
    );
    assert_eq!(room.failure("long-error").await.0.len(), 2048);
}

#[tokio::test]
async fn output_is_bounded() {
    let room = Room::new(config()).await;
    let too_much = "the plugin delivers more than 1048576 bytes of payload";
    assert_eq!(
        room.failure("output-2-mib").await,
        (too_much.to_owned(), true)
    );
    // Past what a call may copy: refused before the host has made room for it.
    let (error, again) = room.failure("output-32-mib").await;
    assert!(
        error.starts_with("the plugin's answer could not be read"),
        "{error}"
    );
    assert!(again);
    let (error, _) = room.failure("huge-output").await;
    assert!(error.contains("bytes of memory"), "{error}");
}

#[tokio::test]
async fn headers_are_judged() {
    let room = Room::new(config()).await;
    for (mode, error) in [
        (
            "reserved-header",
            "the plugin sets the header webhook-signature, which is the gateway's",
        ),
        (
            "upper-case-header",
            "the plugin sets a header whose name is not a lower-case token",
        ),
        (
            "header-injection",
            "the plugin sets the header x-plugin, whose value is not visible ASCII",
        ),
        ("many-headers", "the plugin sets more than 64 headers"),
        (
            "large-headers",
            "the plugin's headers are larger than 16384 bytes",
        ),
        (
            "bad-content-type",
            "the plugin sets a content type that is empty or not visible ASCII",
        ),
    ] {
        assert_eq!(room.failure(mode).await, (error.to_owned(), true));
    }
}

#[tokio::test]
async fn logs_are_kept_and_bounded() {
    let room = Room::new(config()).await;
    let report = room.run("log").await.steps.remove(0);
    let line = LogLine {
        level: LogLevel::Warn,
        text: "one line".into(),
    };
    assert_eq!((&report.logs, report.logs_truncated), (&vec![line], false));
    assert_eq!(PluginReport::from(&report).logs.len(), 1);
    let report = room.run("log-flood").await.steps.remove(0);
    assert_eq!((report.logs.len(), report.logs_truncated), (64, true));
    let shown = PluginReport::from(&report).logs;
    assert_eq!(shown.len(), 65);
    let cut = ("warn".to_owned(), "[the rest was cut]".to_owned());
    assert_eq!(shown.last(), Some(&cut));
    let report = room.run("log-long").await.steps.remove(0);
    assert_eq!(
        (report.logs[0].text.len(), report.logs_truncated),
        (8192, true)
    );
}

#[tokio::test]
async fn nothing_of_a_call_is_there_in_the_next() {
    for memory in [MemoryMode::Pooled, MemoryMode::Fresh] {
        let room = Room::new(Config { memory, ..config() }).await;
        for _ in 0..3 {
            let outcome = room.run("count").await.outcome;
            assert!(
                matches!(&outcome, ChainOutcome::Reject { reason, .. } if reason == "1"),
                "{outcome:?}"
            );
        }
    }
}

/// The neighbour runs on the same two threads as guests that never stop by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_runs_on_beside_loops() {
    let config = Config {
        guests: Some(4),
        // The loops may use all that their turns give them.
        cpu_percent_per_application: NonZeroU32::new(10_000),
        ..config()
    };
    let room = Arc::new(Room::new(config).await);
    let greedy: Vec<_> = (0..40)
        .map(|_| {
            let (sandbox, run) = (
                room.sandbox.clone(),
                chain_of("greedy", [room.step("loop")]),
            );
            tokio::spawn(async move { sandbox.run_chain(run).await })
        })
        .collect();
    let start = Instant::now();
    for _ in 0..20 {
        let run = chain_of("neighbour", [room.step("append")]);
        let outcome = room.sandbox.run_chain(run).await.outcome;
        assert!(
            matches!(outcome, ChainOutcome::Deliver { .. }),
            "{outcome:?}"
        );
    }
    let neighbour = start.elapsed();
    assert!(
        greedy.iter().any(|task| !task.is_finished()),
        "the loops ended before the neighbour"
    );
    for task in greedy {
        let outcome = task.await.unwrap().outcome;
        assert!(
            matches!(outcome, ChainOutcome::Failed { .. }),
            "{outcome:?}"
        );
    }
    assert!(
        neighbour * 2 < start.elapsed(),
        "{neighbour:?} of {:?}",
        start.elapsed()
    );
}
