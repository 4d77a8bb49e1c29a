//! Judged on the payloads that GitHub really sends.

use hookmill_plugin::testing::{self, EventBuilder, Run};
use serde_json::{Value, json};

use super::*;

macro_rules! github {
    ($file:literal) => {
        event(
            $file,
            include_str!(concat!("../../../tests/fixtures/github/", $file, ".json")),
        )
    };
}

fn event(file: &str, payload: &str) -> EventBuilder {
    let name = file.split('.').next().unwrap();
    testing::event(format!("github.{name}")).payload(payload)
}

fn run(event: EventBuilder, config: Value) -> Run {
    testing::run(Plugin, event, config)
}

#[test]
fn without_rules_everything_passes() {
    assert!(run(github!("push.master"), json!({})).passed());
    assert!(run(github!("ping.organization"), json!({})).passed());
}

#[test]
fn events_are_matched_by_name_full_name_and_pattern() {
    for events in [
        json!(["push"]),
        json!(["github.push"]),
        json!(["issues", "pu*"]),
    ] {
        assert!(
            run(github!("push.master"), json!({"events": events})).passed(),
            "{events}"
        );
    }
    let run = run(
        github!("star.created"),
        json!({"events": ["push", "pull_request"]}),
    );
    assert_eq!(run.dropped(), "events: \"github.star\" is not wanted");
}

#[test]
fn an_unwanted_event_is_dropped_before_its_payload_is_read() {
    let other = testing::event("invoice.paid").payload("not JSON");
    assert_eq!(
        run(other.clone(), json!({"events": ["push"]})).dropped(),
        "events: \"invoice.paid\" is not wanted"
    );
    assert!(
        run(other, json!({}))
            .error()
            .starts_with("the payload is not the JSON")
    );
}

#[test]
fn actions_judge_only_events_that_have_one() {
    let config = json!({"actions": ["opened", "completed"]});
    assert!(run(github!("pull_request.opened"), config.clone()).passed());
    assert!(run(github!("workflow_run.completed"), config.clone()).passed());
    assert!(run(github!("push.master"), config.clone()).passed());
    assert_eq!(
        run(github!("pull_request.closed"), config).dropped(),
        "actions: \"closed\" is not wanted"
    );
}

#[test]
fn the_branch_is_found_in_every_kind_of_event() {
    let on = |branch: &str| json!({"branches": [branch]});
    assert!(run(github!("push.master"), on("master")).passed());
    assert!(run(github!("pull_request.opened"), on("master")).passed());
    assert!(run(github!("workflow_run.completed"), on("master")).passed());
    assert!(run(github!("workflow_dispatch.main"), on("main")).passed());
    assert!(run(github!("check_run.completed"), on("changes")).passed());
    assert!(run(github!("deployment_status.created"), on("master")).passed());
    assert!(run(github!("release.published"), on("master")).passed());
    assert!(
        run(github!("status.success"), on("gh-pages")).passed(),
        "any of its branches"
    );
    assert_eq!(
        run(github!("status.success"), on("main")).dropped(),
        "branches: \"master\", \"changes\", \"gh-pages\" is not wanted"
    );
}

#[test]
fn another_branch_a_tag_and_no_branch_do_not_pass() {
    let config = json!({"branches": ["master", "release/*"]});
    let push = include_str!("../../../tests/fixtures/github/push.master.json");
    let to = |reference: &str| event("push", &push.replacen("refs/heads/master", reference, 1));
    assert!(run(to("refs/heads/release/1.2"), config.clone()).passed());
    assert_eq!(
        run(to("refs/heads/feature/x"), config.clone()).dropped(),
        "branches: \"feature/x\" is not wanted"
    );
    assert_eq!(
        run(github!("push.tag"), config.clone()).dropped(),
        "branches: \"refs/tags/simple-tag\" is not a branch"
    );
    assert_eq!(
        run(github!("issues.opened"), config).dropped(),
        "branches: the event has no branch"
    );
}

#[test]
fn created_and_deleted_branches_count_and_tags_do_not() {
    let config = json!({"branches": ["topic"]});
    let create =
        |kind: &str| testing::event("create").json(&json!({"ref": "topic", "ref_type": kind}));
    assert!(run(create("branch"), config.clone()).passed());
    assert_eq!(
        run(create("tag"), config).dropped(),
        "branches: \"topic\" is not a branch"
    );
}

#[test]
fn repositories_are_matched_in_any_case() {
    assert!(
        run(
            github!("push.master"),
            json!({"repositories": ["codertocat/*"]})
        )
        .passed()
    );
    assert!(
        run(
            github!("workflow_run.completed"),
            json!({"repositories": ["octo-org/octo-repo"]})
        )
        .passed()
    );
    assert_eq!(
        run(
            github!("push.master"),
            json!({"repositories": ["octo-org/*"]})
        )
        .dropped(),
        "repositories: \"Codertocat/Hello-World\" is not wanted"
    );
    assert_eq!(
        run(
            github!("ping.organization"),
            json!({"repositories": ["*/*"]})
        )
        .dropped(),
        "repositories: the event has no repository"
    );
}

#[test]
fn the_rules_of_a_build_server() {
    let config = json!({
        "events": ["push", "pull_request"],
        "actions": ["opened", "reopened", "synchronize"],
        "branches": ["main", "master"],
        "repositories": ["Codertocat/*"],
    });
    let passed = |event| run(event, config.clone()).passed();
    assert!(passed(github!("push.master")));
    assert!(passed(github!("pull_request.opened")));
    assert!(!passed(github!("pull_request.closed")));
    assert!(!passed(github!("push.tag")));
    assert!(!passed(github!("check_run.completed")));
}

#[test]
fn a_misspelt_rule_is_an_error() {
    let run = run(github!("push.master"), json!({"branch": ["main"]}));
    assert!(
        run.error().contains("unknown field `branch`"),
        "{}",
        run.error()
    );
}

#[test]
fn the_cases_hold() {
    testing::run_cases(Plugin, "cases");
}
