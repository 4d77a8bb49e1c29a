//! What an attempt's outcome means: done, again, never again. Pure; the table of the receiver outcomes in
//! one place. The scheduler turns a verdict into a moment, the recorder turns a report into an attempt.

use std::time::Duration;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, StatusCode};

use super::retry_after::retry_after;
use crate::domain::Timestamp;
use crate::outbound::{ErrorKind, Response, SendError};

/// A receiver's way to stop the retries of one message (Svix).
const WEBHOOK_DELIVERY: HeaderName = HeaderName::from_static("webhook-delivery");
const ABORT_MESSAGE: &str = "abort-message";
/// Bytes shown of a redirect's target, as many as a registered URL may have.
const MAX_LOCATION: usize = 2048;

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Success,
    /// Try again by the schedule.
    Retry {
        /// Not sooner than this after the attempt; never makes a retry earlier than its schedule.
        not_before: Option<Duration>,
        /// The receiver is overloaded: slow the whole lane, not only this message.
        slow_down: bool,
    },
    /// 410: disable the endpoint at once, no more retries.
    Gone,
    /// The receiver wants no more retries of this message; it has failed for good.
    Abort,
}

/// One attempt as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// What follows.
    pub verdict: Verdict,
    /// The receiver's status code; none if no answer came.
    pub status_code: Option<u16>,
    /// What went wrong below HTTP; none if there was a valid answer.
    pub error: Option<ErrorKind>,
    /// The first bytes of the answer's body as text, or what went wrong instead.
    pub response: String,
    /// There was more body than is kept, or it broke off.
    pub response_cut: bool,
    /// From connect to verdict.
    pub duration: Duration,
}

impl AttemptReport {
    /// Of an answer.
    pub(super) fn of_response(
        response: &Response,
        floor: Duration,
        now: impl FnOnce() -> Timestamp,
        duration: Duration,
    ) -> Self {
        let status = response.status;
        let (verdict, error) = match judge_status(status) {
            Some(class) => (class.verdict(&response.headers, floor, now), None),
            None => (Verdict::RETRY, Some(ErrorKind::InvalidResponse)),
        };
        Self {
            verdict,
            status_code: Some(status.as_u16()),
            error,
            response: text(response),
            response_cut: response.body.truncated || response.body.incomplete,
            duration,
        }
    }

    /// Of a failure without an answer.
    pub(super) fn of_error(error: &SendError, floor: Duration, duration: Duration) -> Self {
        let verdict = match error.kind() {
            ErrorKind::Timeout => Verdict::Retry {
                not_before: Some(floor),
                slow_down: true,
            },
            ErrorKind::BlockedAddress
            | ErrorKind::Dns
            | ErrorKind::DnsTimeout
            | ErrorKind::Connect
            | ErrorKind::Proxy
            | ErrorKind::OutOfMeans
            | ErrorKind::Tls
            | ErrorKind::Reset
            | ErrorKind::InvalidResponse => Verdict::RETRY,
        };
        Self {
            verdict,
            status_code: None,
            error: Some(error.kind()),
            response: error.detail(),
            response_cut: false,
            duration,
        }
    }
}

impl Verdict {
    /// By the schedule, nothing more.
    const RETRY: Self = Verdict::Retry {
        not_before: None,
        slow_down: false,
    };
}

/// What a status asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Success,
    Gone,
    Failure,
    /// Failure where `Retry-After` counts.
    Busy,
    /// The same, and the lane slows down.
    Overloaded,
    /// The same, and without `Retry-After` the floor counts.
    RateLimited,
}

/// None: not a status of HTTP.
fn judge_status(status: StatusCode) -> Option<Class> {
    match status.as_u16() {
        200..=299 => Some(Class::Success),
        410 => Some(Class::Gone),
        413 | 503 => Some(Class::Busy),
        429 => Some(Class::RateLimited),
        502 | 504 => Some(Class::Overloaded),
        100..=599 => Some(Class::Failure),
        _ => None,
    }
}

impl Class {
    fn verdict(
        self,
        headers: &HeaderMap,
        floor: Duration,
        now: impl FnOnce() -> Timestamp,
    ) -> Verdict {
        let aborts = || {
            headers
                .get(WEBHOOK_DELIVERY)
                .is_some_and(|value| value == ABORT_MESSAGE)
        };
        match self {
            Class::Success => Verdict::Success,
            Class::Gone => Verdict::Gone,
            _ if aborts() => Verdict::Abort,
            Class::Failure => Verdict::RETRY,
            Class::Busy => Verdict::Retry {
                not_before: retry_after(headers, now()),
                slow_down: false,
            },
            Class::Overloaded => Verdict::Retry {
                not_before: retry_after(headers, now()),
                slow_down: true,
            },
            Class::RateLimited => {
                let not_before = retry_after(headers, now()).unwrap_or(floor);
                Verdict::Retry {
                    not_before: Some(not_before),
                    slow_down: true,
                }
            }
        }
    }
}

/// The body as text; before it, where a redirect would have led.
fn text(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body.bytes);
    if response.status.is_redirection()
        && let Some(location) = response.headers.get(LOCATION)
    {
        let location = location.as_bytes();
        let location = String::from_utf8_lossy(&location[..location.len().min(MAX_LOCATION)]);
        return format!("redirect to {location} not followed\n{body}");
    }
    body.into_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const FLOOR: Duration = Duration::from_secs(60);

    fn verdict(status: u16, headers: &[(&'static str, &str)]) -> Option<Verdict> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let class = judge_status(StatusCode::from_u16(status).unwrap())?;
        Some(class.verdict(&headers, FLOOR, || Timestamp::from_millis(0)))
    }

    fn retry(seconds: Option<u64>, slow_down: bool) -> Option<Verdict> {
        Some(Verdict::Retry {
            not_before: seconds.map(Duration::from_secs),
            slow_down,
        })
    }

    #[test]
    fn every_status_has_the_verdict_of_the_table() {
        for status in 100..=999 {
            let expected = match status {
                200..=299 => Some(Verdict::Success),
                410 => Some(Verdict::Gone),
                429 => retry(Some(60), true),
                502 | 504 => retry(None, true),
                100..=599 => retry(None, false),
                _ => None,
            };
            assert_eq!(verdict(status, &[]), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_counts_where_the_table_says() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => Some(Verdict::Success),
                410 => Some(Verdict::Gone),
                413 | 503 => retry(Some(120), false),
                429 | 502 | 504 => retry(Some(120), true),
                _ => retry(None, false),
            };
            assert_eq!(
                verdict(status, &[("retry-after", "120")]),
                expected,
                "{status}"
            );
        }
        // It may ask for less than the floor, but not for nothing.
        assert_eq!(verdict(429, &[("retry-after", "5")]), retry(Some(5), true));
        assert_eq!(verdict(429, &[("retry-after", "0")]), retry(Some(60), true));
        assert_eq!(
            verdict(429, &[("retry-after", "soon")]),
            retry(Some(60), true)
        );
    }

    #[test]
    fn a_receiver_may_abort_a_failed_message() {
        let abort = [("webhook-delivery", "abort-message")];
        for status in 100..=599 {
            let expected = match status {
                200..=299 => Verdict::Success,
                410 => Verdict::Gone,
                _ => Verdict::Abort,
            };
            assert_eq!(verdict(status, &abort), Some(expected), "{status}");
        }
        assert_eq!(
            verdict(500, &[("webhook-delivery", "go-on")]),
            retry(None, false)
        );
    }
}
