//! The plugin as a chain runs it.

use hookmill_plugin::testing::{event, run, run_cases};
use serde_json::json;

use super::*;

fn passes(id: usize, config: &Value) -> bool {
    run(Plugin, event("a").id(format!("msg_{id}")), config).passed()
}

#[test]
fn the_cases_hold() {
    run_cases(Plugin, "cases");
}

#[test]
fn nothing_and_everything() {
    for id in 0..1000 {
        assert!(!passes(id, &json!({"percent": 0})), "{id}");
        assert!(passes(id, &json!({"percent": 100})), "{id}");
    }
}

#[test]
fn the_share_is_what_was_asked_for() {
    for percent in [1.0, 12.5, 50.0] {
        let config = json!({"percent": percent});
        let passed = (0..20_000).filter(|id| passes(*id, &config)).count();
        let expected: f64 = 20_000.0 * percent / 100.0;
        // Five standard deviations; the ids are fixed, so this does not change from run to run.
        let allowed = 5.0 * (expected * (1.0 - percent / 100.0)).sqrt();
        assert!(
            (passed as f64 - expected).abs() < allowed,
            "{percent}: {passed}"
        );
    }
}

#[test]
fn a_larger_share_holds_the_smaller_one_and_another_seed_another_sample() {
    let [small, large] = [json!({"percent": 10}), json!({"percent": 20})];
    let other = json!({"percent": 10, "seed": "other"});
    let sampled = |config| {
        (0..1000)
            .filter(|id| passes(*id, config))
            .collect::<Vec<_>>()
    };
    let [small, large, other] = [&small, &large, &other].map(sampled);
    assert!(small.iter().all(|id| large.contains(id)));
    assert_ne!(small, other);
}

#[test]
fn a_field_keeps_together_what_has_the_same_value() {
    let config = json!({"percent": 50, "by": "user.id"});
    for user in 0..50 {
        let of = |id: &str| {
            let event = event("a").id(id).json(&json!({"user": {"id": user}}));
            run(Plugin, event, &config).passed()
        };
        assert_eq!(of("msg_1"), of("msg_2"), "{user}");
    }
}

#[test]
fn a_share_beyond_the_whole_is_refused() {
    for percent in [-1.0, 100.1] {
        assert!(
            run(Plugin, event("a"), json!({"percent": percent}))
                .error()
                .starts_with("percent:")
        );
    }
}
