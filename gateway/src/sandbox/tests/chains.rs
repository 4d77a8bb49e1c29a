//! What chains come to.

use super::*;

fn delivered(result: &ChainResult) -> (&str, &[(String, String)], &[u8]) {
    match &result.outcome {
        ChainOutcome::Deliver {
            content_type,
            headers,
            payload,
        } => (content_type, headers, payload),
        other => panic!("{other:?}"),
    }
}

fn outcomes(result: &ChainResult) -> Vec<StepOutcome> {
    result.steps.iter().map(|step| step.outcome).collect()
}

#[tokio::test]
async fn a_plugin_sees_the_event() {
    let room = Room::new(config()).await;
    let ChainOutcome::Reject { plugin, reason } = room.run("describe-event").await.outcome else {
        panic!()
    };
    assert_eq!(&*plugin, "hostile");
    assert_eq!(
        reason,
        r#"msg_1 invoice.paid 1790000000123 ["eu", "vip"] app_1 Some("customer-7") None application/json 8"#
    );
}

#[tokio::test]
async fn each_plugin_sees_what_those_before_it_made() {
    let room = Room::new(config()).await;
    let modes = ["append", "pass", "add-header", "append"];
    let result = room.run_steps(modes.map(|mode| room.step(mode))).await;
    let (content_type, headers, payload) = delivered(&result);
    assert_eq!(content_type, "application/json");
    assert_eq!(payload, br#"{"id":7}++"#);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        headers,
        [header("x-source", "github"), header("x-plugin", "was here")]
    );
    use StepOutcome::{Deliver, Pass};
    assert_eq!(outcomes(&result), [Deliver, Pass, Deliver, Deliver]);
    assert!(
        result
            .steps
            .iter()
            .all(|step| step.version == room.version && step.memory_peak > 0)
    );
}

#[tokio::test]
async fn a_chain_that_only_passes_changes_nothing() {
    let room = Room::new(config()).await;
    assert_eq!(room.run_steps([]).await.outcome, ChainOutcome::Pass);
    let result = room.run_steps([room.step("pass"), room.step("pass")]).await;
    assert_eq!(result.outcome, ChainOutcome::Pass);
    assert_eq!(outcomes(&result), [StepOutcome::Pass; 2]);
}

#[tokio::test]
async fn a_drop_or_reject_ends_the_chain() {
    let room = Room::new(config()).await;
    let result = room
        .run_steps([room.step("append"), room.step("drop"), room.step("append")])
        .await;
    let drop = ChainOutcome::Drop {
        plugin: "hostile".into(),
        reason: "not wanted".into(),
    };
    assert_eq!(result.outcome, drop);
    assert_eq!(outcomes(&result), [StepOutcome::Deliver, StepOutcome::Drop]);
    let result = room.run("reject").await;
    let reject = ChainOutcome::Reject {
        plugin: "hostile".into(),
        reason: "malformed".into(),
    };
    assert_eq!(result.outcome, reject);
}

#[tokio::test]
async fn a_failure_goes_where_the_step_says() {
    let room = Room::new(config()).await;
    let with = |on_failure| Step {
        on_failure,
        ..room.step("panic")
    };
    let error = "the plugin panicked or aborted".to_owned();
    let result = room
        .run_steps([with(OnFailure::Fail), room.step("append")])
        .await;
    let plugin: Arc<str> = "hostile".into();
    let failed = ChainOutcome::Failed {
        plugin: plugin.clone(),
        error: error.clone(),
        deterministic: true,
    };
    assert_eq!(result.outcome, failed);
    let result = room
        .run_steps([with(OnFailure::Drop), room.step("append")])
        .await;
    assert_eq!(
        result.outcome,
        ChainOutcome::Drop {
            plugin,
            reason: error.clone()
        }
    );
    assert_eq!(result.steps[0].outcome, StepOutcome::Trap);
    let result = room
        .run_steps([with(OnFailure::Pass), room.step("append")])
        .await;
    assert_eq!(delivered(&result).2, br#"{"id":7}+"#);
    assert_eq!(result.steps[0].reason, Some(error));
}

#[tokio::test]
async fn a_chain_has_a_longest_length() {
    let room = Room::new(config()).await;
    assert_eq!(
        room.run_steps(vec![room.step("pass"); 8]).await.outcome,
        ChainOutcome::Pass
    );
    let result = room.run_steps(vec![room.step("pass"); 9]).await;
    assert!(matches!(
        result.outcome,
        ChainOutcome::Failed {
            deterministic: true,
            ..
        }
    ));
    assert!(result.steps.is_empty());
}

#[tokio::test]
async fn a_version_that_is_not_there_fails_the_attempt() {
    let room = Room::new(config()).await;
    let version = Digest::of(b"never uploaded");
    let step = Step {
        version,
        on_failure: OnFailure::Drop,
        ..room.step("pass")
    };
    let result = room.run_steps([step]).await;
    let ChainOutcome::Failed {
        error,
        deterministic: false,
        ..
    } = result.outcome
    else {
        panic!()
    };
    assert!(error.contains(&version.to_string()));
}

/// Runs one mode twice under one key; whether the second was run or remembered is told by its time, which no two
/// runs share to the microsecond, and by the step's log.
async fn remembered(room: &Room, step: Step) -> bool {
    let key = MemoKey {
        message: "msg_1".into(),
        owner: step.config.clone(),
        revision: 1,
    };
    let run = ChainRun {
        memo_key: Some(key),
        ..chain_of("app_1", [step])
    };
    let first = room.sandbox.run_chain(run.clone()).await;
    // The version is gone: only a remembered result can be given.
    let mut elsewhere = run;
    elsewhere.steps = [Step {
        version: Digest::of(b"gone"),
        ..elsewhere.steps[0].clone()
    }]
    .into();
    room.sandbox.run_chain(elsewhere).await == first
}

#[tokio::test]
async fn results_are_remembered_unless_time_made_them() {
    let room = Room::new(config()).await;
    for mode in ["pass", "append", "drop", "reject", "error", "panic"] {
        assert!(remembered(&room, room.step(mode)).await, "{mode}");
    }
    assert!(!remembered(&room, room.step("loop")).await);
    // Not even where the time-out became a drop.
    let step = Step {
        on_failure: OnFailure::Drop,
        config: r#"{"mode":"loop","a":1}"#.into(),
        ..room.step("")
    };
    assert!(!remembered(&room, step).await);
}

#[tokio::test]
async fn results_survive_the_formats_that_keep_them() {
    let room = Room::new(config()).await;
    for mode in ["append", "drop", "panic", "log"] {
        let result = room.run(mode).await;
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<ChainResult>(&json).unwrap(), result);
        let stored = postcard::to_stdvec(&result).unwrap();
        assert_eq!(
            postcard::from_bytes::<ChainResult>(&stored).unwrap(),
            result
        );
    }
}
