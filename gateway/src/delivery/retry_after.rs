//! Reads `Retry-After` (RFC 9110 section 10.2.3). Pure: the moment comes from the caller. Whatever a receiver
//! sends, the result is bounded and nothing panics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::RETRY_AFTER;

use crate::domain::Timestamp;

/// Longest wait a receiver can ask for. Chosen: one day, the longest step of the default schedule.
const CAP: Duration = Duration::from_secs(24 * 3600);

/// How long the receiver wants to be left alone, at most a day; none where it names no moment ahead. Of
/// several fields the first that can be read counts.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let wait = headers
        .get_all(RETRY_AFTER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .find_map(|text| parse(text.trim(), now))?;
    (!wait.is_zero()).then_some(wait.min(CAP))
}

/// The wait that one value asks for, zero where its moment has passed; none if it can not be read.
fn parse(text: &str, now: Timestamp) -> Option<Duration> {
    if let Some(negative) = text.strip_prefix('-') {
        return seconds(negative).map(|_| Duration::ZERO);
    }
    seconds(text).or_else(|| {
        let date = httpdate::parse_http_date(text).ok()?;
        let now: SystemTime = UNIX_EPOCH + Duration::from_millis(now.millis());
        let ahead = date.duration_since(now).unwrap_or(Duration::ZERO);
        Some(round_up(ahead.as_secs(), ahead.subsec_nanos() > 0))
    })
}

/// Seconds in digits; a fraction, which no standard allows and some receivers send, rounds up.
fn seconds(text: &str) -> Option<Duration> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Digits only, so the one way to fail is to be too large.
    let whole = whole.parse().unwrap_or(u64::MAX);
    Some(round_up(whole, fraction.bytes().any(|digit| digit != b'0')))
}

fn round_up(seconds: u64, more: bool) -> Duration {
    Duration::from_secs(seconds.saturating_add(u64::from(more)))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 1994-11-06 08:49:37 UTC.
    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    fn of(values: &[&[u8]]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(RETRY_AFTER, HeaderValue::from_bytes(value).unwrap());
        }
        retry_after(&headers, NOW).map(|wait| wait.as_secs())
    }

    #[test]
    fn every_form_is_read_as_the_table_says() {
        let day = 86_400;
        for (value, expected) in [
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("0120", Some(120)),
            ("1", Some(1)),
            // A date ahead, in the three forms of RFC 9110.
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:51:37 GMT", Some(120)),
            ("Sun Nov  6 08:51:37 1994", Some(120)),
            // Passed, nothing, negative: by schedule.
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("0", None),
            ("0.0", None),
            ("-1", None),
            ("-0.5", None),
            // Huge: a day.
            ("86400", Some(day)),
            ("86401", Some(day)),
            ("99999999", Some(day)),
            ("18446744073709551615", Some(day)),
            ("18446744073709551615.9", Some(day)),
            ("99999999999999999999999999999999", Some(day)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(day)),
            // A fraction: up.
            ("120.5", Some(121)),
            ("120.0", Some(120)),
            ("0.1", Some(1)),
            // Not readable: by schedule.
            ("", None),
            ("soon", None),
            ("+5", None),
            ("1e3", None),
            ("0x10", None),
            ("5 s", None),
            ("5,6", None),
            ("5.", None),
            (".5", None),
            ("--5", None),
            ("1.2.3", None),
            ("Sun, 06 Nov 1994 08:51:37", None),
            ("Sun, 99 Nov 1994 08:51:37 GMT", None),
            ("1994-11-06T08:51:37Z", None),
        ] {
            assert_eq!(of(&[value.as_bytes()]), expected, "{value:?}");
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["\u{0661}".as_bytes()]), None);
    }

    #[test]
    fn of_several_the_first_readable_counts() {
        assert_eq!(of(&[b"soon", b"60", b"120"]), Some(60));
        assert_eq!(of(&[b"120", b"60"]), Some(120));
        assert_eq!(
            of(&[b"", b"\xff", b"Sun, 06 Nov 1994 08:51:37 GMT"]),
            Some(120)
        );
        assert_eq!(of(&[b"0", b"60"]), None);
    }

    #[test]
    fn no_value_panics_or_exceeds_the_cap() {
        // Every two-byte value, and every readable one cut short or with one byte changed.
        let forms = [
            "120.5",
            "-120",
            "Sun, 06 Nov 1994 08:51:37 GMT",
            "99999999999999999999",
        ];
        let bytes = (0x20..=0xff).filter(|byte| *byte != 0x7f);
        let pairs = bytes
            .clone()
            .flat_map(|a| bytes.clone().map(move |b| vec![a, b]));
        let cut = forms
            .iter()
            .flat_map(|form| (0..form.len()).map(|end| form.as_bytes()[..end].to_vec()));
        let changed = forms.iter().flat_map(|form| {
            let bytes = bytes.clone();
            (0..form.len()).flat_map(move |at| {
                bytes.clone().map(move |byte| {
                    let mut value = form.as_bytes().to_vec();
                    value[at] = byte;
                    value
                })
            })
        });
        for value in pairs.chain(cut).chain(changed) {
            assert!(of(&[&value]).is_none_or(|seconds| (1..=86_400).contains(&seconds)));
        }
    }
}
