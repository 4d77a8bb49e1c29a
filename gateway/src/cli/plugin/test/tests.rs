use serde_json::json;

use super::*;
use crate::cli::plugin::local::tests::rules;
use crate::sandbox::tests::hostile;

/// Runs one case of the guest `hostile`, whose config names what it does.
fn verdict(mode: &str, expect: &serde_json::Value) -> (Case, Verdict) {
    let dir = tempfile::tempdir().unwrap();
    let case = json!({"name": "one", "config": {"mode": mode}, "expect": expect});
    std::fs::write(dir.path().join("one.json"), case.to_string()).unwrap();
    let mut cases = case::read_folder(dir.path()).unwrap();
    let verdict = block_on(async {
        let local = Local::open(rules()).unwrap();
        let plugin = local.take(hostile()).await.unwrap();
        fit(&plugin, &cases).unwrap();
        judge(&local, &plugin, &cases[0]).await.unwrap()
    });
    (cases.remove(0), verdict.unwrap())
}

#[test]
fn each_way_to_end_can_be_expected() {
    for (mode, expect) in [
        ("pass", json!({"outcome": "pass"})),
        (
            "loop",
            json!({"outcome": "error", "reason": "the plugin ran longer than 50 ms"}),
        ),
        (
            "panic",
            json!({"outcome": "error", "reason": "the plugin panicked or aborted"}),
        ),
    ] {
        let (case, verdict) = verdict(mode, &expect);
        assert_eq!(verdict.diff, None, "{mode}");
        let line = shown(&case, &verdict, Paint::new(false));
        assert!(
            line.starts_with("ok    one (") && line.ends_with(")\n"),
            "{line}"
        );
    }
}

#[test]
fn a_case_that_fails_shows_the_difference_in_colour() {
    let (case, verdict) = verdict("pass", &json!({"outcome": "drop", "reason": "no"}));
    let text = shown(&case, &verdict, Paint::new(true));
    let first = format!("\x1b[31mFAIL\x1b[0m  one in {}\n", case.path.display());
    assert!(text.starts_with(&first), "{text}");
    assert!(text.contains("\x1b[31m-outcome: drop\x1b[0m\n"), "{text}");
    assert!(text.contains("\x1b[32m+outcome: pass\x1b[0m\n"), "{text}");
}

#[test]
fn a_config_that_no_gateway_takes_is_a_broken_case() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("one.json");
    std::fs::write(
        &file,
        r#"{"name": "one", "config": {"mode": 7}, "expect": {"outcome": "error"}}"#,
    )
    .unwrap();
    let cases = case::read_folder(dir.path()).unwrap();
    let error = block_on(async {
        let local = Local::open(rules()).unwrap();
        let plugin = local.take(hostile()).await.unwrap();
        fit(&plugin, &cases).unwrap_err().to_string()
    });
    let error = error.unwrap();
    assert!(
        error.contains("one.json is not usable at /config/mode: "),
        "{error}"
    );
}

#[test]
fn the_cases_lie_with_the_project_unless_told_otherwise() {
    let places = |paths: &[&str], cases: Option<&str>| {
        let args = TestArgs {
            paths: paths.iter().map(PathBuf::from).collect(),
            cases: cases.map(PathBuf::from),
            rules: Rules::default(),
        };
        args.places()
            .map(|(file, cases)| (file.to_owned(), cases))
            .ok()
    };
    let found = |file: &str, cases: &str| Some((PathBuf::from(file), PathBuf::from(cases)));
    assert_eq!(places(&["a.wasm"], None), found("a.wasm", "cases"));
    assert_eq!(
        places(&["dir", "a.wasm"], None),
        found("a.wasm", "dir/cases")
    );
    assert_eq!(places(&["a.wasm"], Some("x")), found("a.wasm", "x"));
    assert_eq!(places(&["dir", "a.wasm"], Some("x")), None);
}
