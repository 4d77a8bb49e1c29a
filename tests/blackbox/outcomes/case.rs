//! One row of the table: what a receiver does, and what the API must show of it afterwards.

use hookmill_tests::{Gateway, Raw, Step, Tenant};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// What may pass between the end of a try and the moment the schedule counts from.
const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// When the next try is due.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Never.
    Never,
    /// 30 s, a fifth more or less.
    Schedule,
    /// This many seconds later.
    After(i64),
    /// At this moment.
    At(Timestamp),
}

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) script: Vec<Step>,
    /// The attempt's status text.
    pub(crate) status: &'static str,
    /// The receiver's status; 0 if none came.
    pub(crate) code: i64,
    pub(crate) next: Next,
    /// Part of the attempt's response text.
    pub(crate) response: &'static str,
}

/// Reads the request and answers these bytes.
pub(crate) fn answer(text: &str) -> Vec<Step> {
    vec![
        Step::ReadRequest,
        Step::write(text),
        Step::HalfClose,
        Step::Hold,
    ]
}

pub(crate) fn plain(status: u16, headers: &str) -> Vec<Step> {
    answer(&format!(
        "HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: 2\r\n\r\nhi"
    ))
}

pub(crate) fn case(
    name: &'static str,
    script: Vec<Step>,
    status: &'static str,
    code: i64,
    next: Next,
) -> Case {
    Case {
        name,
        script,
        status,
        code,
        next,
        response: "",
    }
}

/// A case under way.
pub(crate) struct Played {
    pub(crate) case: Case,
    pub(crate) tenant: Tenant,
    pub(crate) endpoint: String,
    pub(crate) message: String,
    pub(crate) receiver: Raw,
}

pub(crate) async fn play(gateway: &Gateway, case: Case, payload: Value) -> Played {
    let receiver = Raw::start(&case.script).await;
    let tenant = Tenant::new(gateway).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(payload).await;
    Played {
        case,
        tenant,
        endpoint,
        message,
        receiver,
    }
}

impl Played {
    pub(crate) async fn check(&self) -> Result<(), String> {
        let attempt = self.tenant.attempts(&self.message, 1).await.remove(0);
        let place = self.tenant.destinations(&self.message).await.remove(0);
        let case = &self.case;
        let seen = format!(
            "{}: expected {} {} {:?} {:?}; got {attempt} and {place}",
            case.name, case.status, case.code, case.next, case.response
        );
        let text = attempt["response"].as_str().unwrap_or("");
        let good = attempt["statusText"] == case.status
            && attempt["responseStatusCode"] == case.code
            && text.contains(case.response)
            && text.len() <= 17 * 1024
            && place["id"] == *self.endpoint
            && next_is(case.next, &attempt, &place["nextAttempt"]);
        if good {
            Ok(())
        } else {
            Err(seen.chars().take(1500).collect())
        }
    }
}

fn moment(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|text| text.parse().unwrap())
}

pub(crate) fn next_is(expected: Next, attempt: &Value, next: &Value) -> bool {
    let duration = attempt["responseDurationMs"].as_i64().unwrap();
    let end = moment(&attempt["timestamp"]).unwrap() + SignedDuration::from_millis(duration);
    let Some(next) = moment(next) else {
        return matches!(expected, Next::Never);
    };
    // The API's moments are whole milliseconds.
    let wait = next.duration_since(end) + SignedDuration::from_millis(2);
    let between = |least: i64, most: i64| {
        wait >= SignedDuration::from_secs(least) && wait <= SignedDuration::from_secs(most) + SLACK
    };
    match expected {
        Next::Never => false,
        Next::Schedule => between(24, 36),
        Next::After(seconds) => between(seconds, seconds),
        // A date is in whole seconds, and is waited for in whole seconds.
        Next::At(at) => {
            next >= at && next.duration_since(at) <= SignedDuration::from_secs(1) + SLACK
        }
    }
}

pub(crate) async fn play_all(gateway: &Gateway, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    // In small groups: all at once would be one burst of connections, one by one would add up the slow ones.
    let mut cases = cases.into_iter();
    loop {
        let mut group = Vec::new();
        for case in cases.by_ref().take(8) {
            group.push(play(gateway, case, json!({"n": 1})).await);
        }
        if group.is_empty() {
            break;
        }
        for played in group {
            wrong.extend(played.check().await.err());
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
