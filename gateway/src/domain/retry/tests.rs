use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy(text: &str) -> RetryPolicy {
    RetryPolicy::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Any policy that can be.
fn any(random: &mut StdRng) -> RetryPolicy {
    let longest = millis(RetryPolicy::MAX_STEP);
    let schedule = if random.random() {
        let steps = random.random_range(0..=RetryPolicy::MAX_STEPS);
        let step = |_| Duration::from_millis(random.random_range(0..=longest));
        Schedule::List((0..steps).map(step).collect())
    } else {
        let cap = random.random_range(1..=longest);
        Schedule::Exponential(Exponential {
            first: Duration::from_millis(random.random_range(1..=cap)),
            factor_thousandths: random.random_range(1_000..=1_000 * RetryPolicy::MAX_FACTOR),
            cap: Duration::from_millis(cap),
            retries: random.random_range(0..=RetryPolicy::MAX_RETRIES),
        })
    };
    let age = random
        .random_bool(0.5)
        .then(|| random.random_range(1..=u64::from(u32::MAX)));
    RetryPolicy::try_new(schedule)
        .and_then(|policy| policy.with_max_age(age.map(Duration::from_millis)))
        .unwrap()
}

/// Calls with five hundred of them; a failure names its seed.
fn for_any(check: impl Fn(&RetryPolicy, &mut StdRng)) {
    for seed in 0..500 {
        let mut random = StdRng::seed_from_u64(seed);
        let policy = any(&mut random);
        let checking = std::panic::AssertUnwindSafe(|| check(&policy, &mut random));
        if std::panic::catch_unwind(checking).is_err() {
            panic!("seed {seed}: {policy}");
        }
    }
}

#[test]
fn reads_lists_and_names_what_it_cannot_read() {
    let list = policy("5s, 5m,2h");
    assert_eq!(list.delay_after(1, 0.5), Some(Duration::from_secs(5)));
    assert_eq!(list.delay_after(3, 0.5), Some(Duration::from_secs(7200)));
    assert_eq!(list.delay_after(4, 0.5), None);
    assert_eq!(policy("").delay_after(1, 0.5), None);
    assert_eq!(list.to_string(), "5s,5m,2h");
    assert_eq!(policy("90s,1ms,0s").to_string(), "90s,1ms,0ms");
    for bad in [
        "5",
        "s",
        "5x",
        "-5s",
        "5s,1.5h",
        "99999999999999999999s",
        "18446744073709551615h",
        "5s;",
        "5s;3d",
        "5s;max-age=0s",
        "svixx",
        "svix,5s",
        "exponential:",
        "exponential:first=5s,factor=2,cap=1h",
        "exponential:first=5s,factor=2,cap=1h,retries=3,retries=3",
        "exponential:first=5s,factor=two,cap=1h,retries=3",
        "exponential:first=5s,factor=NaN,cap=1h,retries=3",
        "exponential:first=5s,factor=0.5,cap=1h,retries=3",
        "exponential:first=5s,factor=11,cap=1h,retries=3",
        "exponential:first=0s,factor=2,cap=1h,retries=3",
        "exponential:first=2h,factor=2,cap=1h,retries=3",
        "exponential:first=5s,factor=2,cap=8d,retries=3",
        "exponential:first=5s,factor=2,cap=1h,retries=1001",
    ] {
        assert!(RetryPolicy::parse(bad).is_err(), "{bad}");
    }
    assert!(matches!(
        RetryPolicy::parse("8d"),
        Err(RetryPolicyError::StepTooLong { .. })
    ));
    assert!(matches!(
        RetryPolicy::parse("svyx"),
        Err(RetryPolicyError::UnknownForm(_))
    ));
}

#[test]
fn presets_have_names() {
    assert_eq!(
        policy("standard-webhooks"),
        RetryPolicy::standard_webhooks()
    );
    assert_eq!(policy("svix").to_string(), "5s,5m,30m,2h,5h,10h,10h");
    assert_eq!(
        policy("svix; max-age=1d").max_age(),
        Some(24 * 3600 * SECOND)
    );
}

#[test]
fn an_exponential_schedule_grows_to_its_cap() {
    let rule = policy("exponential:first=1s,factor=2.5,cap=10s,retries=5");
    let delays: Vec<_> = (1..=6).map(|tries| rule.delay_after(tries, 0.5)).collect();
    let ms = |millis| Some(Duration::from_millis(millis));
    // The fourth and fifth lie between 80 % of the cap and the cap.
    let expected = [ms(1_000), ms(2_500), ms(6_250), ms(9_000), ms(9_000), None];
    assert_eq!(delays, expected);
}

#[test]
fn text_and_records_round_trip() {
    for_any(|policy, _| {
        assert_eq!(RetryPolicy::parse(&policy.to_string()).as_ref(), Ok(policy));
        let json = serde_json::to_string(policy).unwrap();
        assert_eq!(&serde_json::from_str::<RetryPolicy>(&json).unwrap(), policy);
        let again = RetryPolicy::try_new(policy.schedule()).unwrap();
        assert_eq!(&again.with_max_age(policy.max_age()).unwrap(), policy);
    });
    // As records held it before there was anything but lists.
    let old: RetryPolicy = serde_json::from_str(r#""5s,5m,2h""#).unwrap();
    assert_eq!(old, policy("5s,5m,2h"));
}

#[test]
fn no_delay_leaves_its_bounds() {
    for_any(|policy, random| {
        let retries = match policy.schedule() {
            Schedule::List(steps) => u16::try_from(steps.len()).unwrap(),
            Schedule::Exponential(rule) => rule.retries,
        };
        for tries in 1..=retries {
            let low = policy.delay_after(tries, 0.0).unwrap();
            let high = policy.delay_after(tries, 1.0).unwrap();
            let delay = policy.delay_after(tries, random.random()).unwrap();
            assert!(low <= delay && delay <= high, "try {tries}: {delay:?}");
            // A fifth either way, to the millisecond.
            assert!(high <= low.mul_f64(1.5) + Duration::from_millis(1));
            assert!(delay <= policy.longest_step());
            if let Schedule::Exponential(rule) = policy.schedule() {
                assert!(delay <= rule.cap);
                assert!(low >= rule.first.mul_f64(0.8) - Duration::from_millis(1));
            }
        }
        assert_eq!(policy.delay_after(0, 0.5), None);
        assert_eq!(policy.delay_after(retries + 1, 0.5), None);
    });
}

#[test]
fn jitter_spreads_over_a_fifth_either_way() {
    let policy = RetryPolicy::standard_webhooks();
    for tries in 1..=9 {
        let middle = policy.delay_after(tries, 0.5).unwrap();
        let ends = [(0.0, 0.8), (1.0, 1.2), (-3.0, 0.8), (7.0, 1.2)];
        for (random, of_middle) in ends {
            let delay = policy.delay_after(tries, random).unwrap();
            assert!((delay.as_secs_f64() / middle.as_secs_f64() - of_middle).abs() < 0.001);
        }
    }
}

#[test]
fn a_deadline_is_the_age_after_the_start() {
    let start = Timestamp::from_millis(1_000);
    assert_eq!(policy("5s").deadline(start), None);
    let end = policy("5s;max-age=1m").deadline(start);
    assert_eq!(end, Some(Timestamp::from_millis(61_000)));
}
