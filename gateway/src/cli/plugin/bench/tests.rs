use serde_json::json;

use super::*;
use crate::cli::plugin::local::tests::rules;
use crate::sandbox::tests::hostile;

fn measured(mode: &str, size: usize) -> Row {
    block_on(async {
        let local = Local::open(rules()).unwrap();
        let plugin = local.take(hostile()).await.unwrap();
        let subject = Subject {
            event: case::default_event(),
            config: json!({"mode": mode}),
        };
        measure(&local, &plugin, &[subject], size).await.unwrap()
    })
    .unwrap()
}

#[test]
fn payloads_grow_to_the_byte() {
    for size in SIZES {
        for payload in ["{}", r#"{"a":{"b":1}}"#] {
            let grown = grown(payload.as_bytes(), size).unwrap();
            assert_eq!(grown.len(), size);
            let value: Value = serde_json::from_slice(&grown).unwrap();
            assert!(value["padding"].is_array());
            assert_eq!(value["a"]["b"].is_number(), payload != "{}");
        }
    }
    assert_eq!(
        grown(json!({"a": "x".repeat(300)}).to_string().as_bytes(), 300),
        None
    );
}

#[test]
fn ranks_are_the_nearest() {
    let times: Vec<Duration> = (1..=200).map(Duration::from_micros).collect();
    assert_eq!(percentile(&times, 50), Some(Duration::from_micros(100)));
    assert_eq!(percentile(&times, 99), Some(Duration::from_micros(198)));
    assert_eq!(percentile(&times[..1], 99), Some(Duration::from_micros(1)));
    assert_eq!(percentile(&[], 50), None);
}

#[test]
fn calls_are_measured_and_set_beside_the_limits() {
    let row = measured("deliver", 1 << 10);
    assert!(row.failed.is_none() && !row.times.is_empty());
    assert!(row.times.is_sorted() && row.times[0] > Duration::ZERO);
    assert!(row.memory > 0);
    let text = table(&[row], &Limits::default());
    assert!(text.contains("1.0 KiB"), "{text}");
    assert!(text.lines().last().unwrap().contains("50.0 ms"), "{text}");
    assert!(text.lines().last().unwrap().contains("64.0 MiB"), "{text}");
}

#[test]
fn a_call_that_meets_a_limit_is_told() {
    let row = measured("loop", 300);
    assert_eq!(
        row.failed.as_deref(),
        Some("the plugin ran longer than 50 ms")
    );
    assert!(table(&[row], &Limits::default()).contains("  failed\n"));
}

#[test]
fn a_plugin_that_needs_a_config_needs_cases() {
    let error = block_on(async {
        let local = Local::open(rules()).unwrap();
        let plugin = local.take(hostile()).await.unwrap();
        subjects(&plugin, None).unwrap_err().to_string()
    });
    assert!(error.unwrap().contains("--cases"));
}
