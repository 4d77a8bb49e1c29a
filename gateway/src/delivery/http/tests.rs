//! The table of receiver outcomes against a receiver that writes exact bytes.

use std::sync::Arc;

use super::*;
use crate::delivery::Verdict;
use crate::domain::{ManualClock, Timestamp};
use crate::outbound::stub::{Act, Receiver, answer};
use crate::outbound::{Config, ErrorKind};

/// 1994-11-06 08:49:37 UTC.
const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);
const FLOOR: Duration = Duration::from_secs(60);
/// Long enough for a loaded machine; rows that do not wait for it end at once.
const PATIENT: Duration = Duration::from_secs(20);
/// Rows that wait for the deadline wait this long.
const HASTY: Duration = Duration::from_millis(300);

fn outbound() -> Outbound {
    let allow_subnets = vec!["127.0.0.0/8".parse().unwrap()];
    Outbound::new(
        &Config {
            allow_subnets,
            ..Config::default()
        },
        Arc::default(),
    )
    .unwrap()
}

async fn attempt_within(
    outbound: &Outbound,
    url: &str,
    body: Bytes,
    deadline: Duration,
) -> AttemptReport {
    let target = outbound.judge(url).unwrap();
    let limits = AttemptLimits {
        deadline,
        slow_down_floor: FLOOR,
    };
    attempt(
        outbound,
        &target,
        HeaderMap::new(),
        body,
        limits,
        &ManualClock::at(NOW),
    )
    .await
}

async fn try_once(outbound: &Outbound, receiver: &Receiver) -> AttemptReport {
    attempt_within(
        outbound,
        &receiver.url(),
        Bytes::from_static(b"{}"),
        PATIENT,
    )
    .await
}

/// One attempt against one script on a fresh receiver.
async fn against(script: Vec<Act>) -> AttemptReport {
    try_once(&outbound(), &Receiver::start([script]).await).await
}

/// One attempt answered with these bytes.
async fn answered(bytes: impl Into<Vec<u8>>) -> AttemptReport {
    against(answer(bytes)).await
}

const RETRY: Verdict = Verdict::Retry {
    not_before: None,
    slow_down: false,
};

fn later(seconds: u64) -> Verdict {
    Verdict::Retry {
        not_before: Some(Duration::from_secs(seconds)),
        slow_down: true,
    }
}

#[track_caller]
fn assert_failed(report: &AttemptReport, kind: ErrorKind) {
    assert_eq!(
        (report.status_code, report.error),
        (None, Some(kind)),
        "{report:?}"
    );
}

#[track_caller]
fn assert_answered(report: &AttemptReport, status: u16, verdict: Verdict, response: &str) {
    assert_eq!(
        (
            report.status_code,
            report.error,
            report.verdict,
            report.response.as_str()
        ),
        (Some(status), None, verdict, response)
    );
}

#[tokio::test]
async fn each_class_of_status() {
    let outbound = outbound();
    for (status, verdict) in [
        (200, Verdict::Success),
        (201, Verdict::Success),
        (202, Verdict::Success),
        (204, Verdict::Success),
        (299, Verdict::Success),
        (300, RETRY),
        (304, RETRY),
        (400, RETRY),
        (401, RETRY),
        (403, RETRY),
        (404, RETRY),
        (408, RETRY),
        (409, RETRY),
        (410, Verdict::Gone),
        (413, RETRY),
        (425, RETRY),
        (429, later(60)),
        (500, RETRY),
        (501, RETRY),
        (
            502,
            Verdict::Retry {
                not_before: None,
                slow_down: true,
            },
        ),
        (503, RETRY),
        (
            504,
            Verdict::Retry {
                not_before: None,
                slow_down: true,
            },
        ),
        (505, RETRY),
        (599, RETRY),
    ] {
        let head = format!("HTTP/1.1 {status} Reason\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::start([answer(head)]).await;
        assert_answered(&try_once(&outbound, &receiver).await, status, verdict, "");
    }
}

#[tokio::test]
async fn statuses_outside_http_are_invalid() {
    let report = answered("HTTP/1.1 600 What\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(
        (report.status_code, report.error),
        (Some(600), Some(ErrorKind::InvalidResponse))
    );
    assert_eq!(report.verdict, RETRY);
    for line in [
        "HTTP/1.1 099 Low",
        "HTTP/1.1 2000 Long",
        "HTTP/1.1 abc Word",
        "HTTP/1.1 -200 Sign",
    ] {
        let report = answered(format!("{line}\r\ncontent-length: 0\r\n\r\n")).await;
        assert_failed(&report, ErrorKind::InvalidResponse);
        assert_eq!(report.verdict, RETRY);
    }
}

#[tokio::test]
async fn interim_statuses_are_skipped() {
    // Bounded by the library: it counts no interim heads, so the deadline is what ends an endless row.
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
                   HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n";
    let report = answered(format!(
        "{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    ))
    .await;
    assert_answered(&report, 200, Verdict::Success, "ok");

    let only_interim = vec![Act::Read, Act::Send(interim.into()), Act::Hold];
    let receiver = Receiver::start([only_interim]).await;
    let report = attempt_within(&outbound(), &receiver.url(), Bytes::new(), HASTY).await;
    assert_failed(&report, ErrorKind::Timeout);
}

#[tokio::test]
async fn an_upgrade_is_a_failure() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n";
    let report = answered(upgrade).await;
    assert_eq!(report.verdict, RETRY);
    assert_ne!(report.status_code, Some(200));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let outbound = outbound();
    let elsewhere = Receiver::start([answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]).await;
    for status in [301, 302, 303, 307, 308] {
        for location in [
            elsewhere.url(),
            "/other".into(),
            "file:///etc/passwd".into(),
        ] {
            let head = format!(
                "HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\nbody"
            );
            let receiver = Receiver::start([answer(head)]).await;
            let report = try_once(&outbound, &receiver).await;
            let shown = format!("redirect to {location} not followed\nbody");
            assert_answered(&report, status, RETRY, &shown);
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_endless_location_is_cut() {
    let location = "/".to_owned() + &"a".repeat(50_000);
    let head = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let report = answered(head).await;
    assert_eq!(report.status_code, Some(302));
    assert!(
        (2048..2200).contains(&report.response.len()),
        "{}",
        report.response.len()
    );
}

#[tokio::test]
async fn hints_to_other_hosts_are_ignored() {
    let head = "HTTP/1.1 200 OK\r\nrefresh: 0; url=http://10.0.0.1/\r\n\
                alt-svc: h2=\"10.0.0.1:443\"\r\nretry-after: 900\r\ncontent-length: 0\r\n\r\n";
    assert_answered(&answered(head).await, 200, Verdict::Success, "");
}

#[tokio::test]
async fn retry_after_is_honoured_in_each_form() {
    for (field, seconds) in [
        ("retry-after: 120\r\n", 120),
        ("retry-after: Sun, 06 Nov 1994 08:51:37 GMT\r\n", 120),
        ("retry-after: 120.5\r\n", 121),
        ("retry-after: 99999999\r\n", 86_400),
        (
            "retry-after: soon\r\nretry-after: 90\r\nretry-after: 30\r\n",
            90,
        ),
        // Nothing to go by: the floor.
        ("", 60),
        ("retry-after: 0\r\n", 60),
        ("retry-after: -5\r\n", 60),
        ("retry-after: Sun, 06 Nov 1994 08:00:00 GMT\r\n", 60),
        ("retry-after: soon\r\n", 60),
        ("retry-after:\r\n", 60),
    ] {
        let head = format!("HTTP/1.1 429 Slow Down\r\n{field}content-length: 0\r\n\r\n");
        assert_answered(&answered(head).await, 429, later(seconds), "");
    }
    for (status, slow_down) in [(413, false), (502, true), (503, false), (504, true)] {
        let head = format!("HTTP/1.1 {status} No\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n");
        let not_before = Some(Duration::from_secs(120));
        assert_answered(
            &answered(head).await,
            status,
            Verdict::Retry {
                not_before,
                slow_down,
            },
            "",
        );
    }
}

#[tokio::test]
async fn a_receiver_may_stop_a_message() {
    let head = "HTTP/1.1 500 No\r\nwebhook-delivery: abort-message\r\ncontent-length: 0\r\n\r\n";
    assert_answered(&answered(head).await, 500, Verdict::Abort, "");
}

#[tokio::test]
async fn nobody_listens() {
    let outbound = outbound();
    let url = {
        let receiver = Receiver::start([]).await;
        settle().await;
        receiver.url()
    };
    let report = attempt_within(&outbound, &url, Bytes::new(), PATIENT).await;
    assert_failed(&report, ErrorKind::Connect);
    assert_eq!(report.verdict, RETRY);
    assert!(
        report.response.starts_with("no connection: "),
        "{}",
        report.response
    );
}

#[tokio::test]
async fn a_new_connection_that_ends_without_a_byte_is_one_failure() {
    for script in [vec![Act::Read, Act::Reset], vec![Act::Read]] {
        let spare = answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        let receiver = Receiver::start([script, spare]).await;
        let report = try_once(&outbound(), &receiver).await;
        assert_failed(&report, ErrorKind::Reset);
        assert_eq!((report.verdict, receiver.connections()), (RETRY, 1));
    }
}

#[tokio::test]
async fn a_reused_connection_that_ends_without_a_byte_is_tried_once_more() {
    // Bounded by the library: it does not tell whether a head had begun, so on a reused connection one that
    // breaks off in the middle is tried again as well.
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    for ending in [vec![Act::Reset], vec![]] {
        let first = [answer(ok), vec![Act::Read], ending].concat();
        let receiver = Receiver::start([first, answer(ok)]).await;
        let outbound = outbound();
        assert_answered(
            &try_once(&outbound, &receiver).await,
            200,
            Verdict::Success,
            "ok",
        );
        settle().await;
        assert_answered(
            &try_once(&outbound, &receiver).await,
            200,
            Verdict::Success,
            "ok",
        );
        assert_eq!((receiver.connections(), receiver.requests().len()), (2, 3));
    }
}

#[tokio::test]
async fn the_second_try_is_the_last() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let dead = vec![Act::Read, Act::Reset];
    let first = [answer(ok), dead.clone()].concat();
    let receiver = Receiver::start([first, dead, answer(ok)]).await;
    let outbound = outbound();
    try_once(&outbound, &receiver).await;
    settle().await;
    assert_failed(&try_once(&outbound, &receiver).await, ErrorKind::Reset);
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn a_head_that_breaks_off_is_a_reset() {
    for ending in [vec![Act::Reset], vec![]] {
        let part = Act::Send("HTTP/1.1 200 OK\r\ncontent-le".into());
        let report = against([vec![Act::Read, part], ending].concat()).await;
        assert_failed(&report, ErrorKind::Reset);
        assert_eq!(report.verdict, RETRY);
    }
}

#[tokio::test]
async fn a_head_has_one_deadline_however_it_trickles() {
    let head = "HTTP/1.1 200 OK\r\nx-slow: ".to_owned() + &"a".repeat(10_000);
    for slow in [vec![Act::Hold], vec![Act::Trickle(head.into_bytes())]] {
        let receiver = Receiver::start([[vec![Act::Read], slow].concat()]).await;
        let report = attempt_within(&outbound(), &receiver.url(), Bytes::new(), HASTY).await;
        assert_failed(&report, ErrorKind::Timeout);
        assert_eq!(report.verdict, later(60));
        assert!(report.duration >= HASTY, "{report:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_read_is_a_timeout() {
    let receiver = Receiver::start([vec![Act::Hold]]).await;
    // Hold reads a byte at a time, far slower than 64 MiB in the deadline.
    let body = Bytes::from(vec![b' '; 64 << 20]);
    let report = attempt_within(&outbound(), &receiver.url(), body, HASTY).await;
    assert_failed(&report, ErrorKind::Timeout);
}

#[tokio::test]
async fn after_a_full_head_the_status_decides() {
    let slow = |status: u16| {
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 100\r\n\r\npart");
        vec![Act::Read, Act::Send(head.into()), Act::Hold]
    };
    for (status, verdict) in [(200, Verdict::Success), (500, RETRY)] {
        let receiver = Receiver::start([slow(status)]).await;
        let report = attempt_within(&outbound(), &receiver.url(), Bytes::new(), HASTY).await;
        assert_answered(&report, status, verdict, "part");
        assert!(
            report.response_cut && report.duration >= HASTY,
            "{report:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_keeps_the_status() {
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart";
    let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n";
    let broken_chunks = [chunks, "zz\r\n"].concat();
    for bytes in [short, chunks, &broken_chunks] {
        let report = answered(bytes).await;
        assert_answered(&report, 200, Verdict::Success, "part");
        assert!(report.response_cut, "{report:?}");
    }
    // A reset may overtake what was sent just before it, but not the status.
    let head = Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".into());
    let receiver = Receiver::start([vec![Act::Read, head, Act::Hold]]).await;
    let report = attempt_within(&outbound(), &receiver.url(), Bytes::new(), HASTY).await;
    assert_answered(&report, 200, Verdict::Success, "");
}

#[tokio::test]
async fn an_oversized_body_is_cut_and_its_connection_closed() {
    let limit = 16 * 1024;
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let exact = answered(head(limit) + &"x".repeat(limit)).await;
    assert_eq!((exact.response.len(), exact.response_cut), (limit, false));
    let longer = answered(head(limit + 1) + &"x".repeat(limit + 1)).await;
    assert_eq!((longer.response.len(), longer.response_cut), (limit, true));

    let endless = vec![
        Act::Read,
        Act::Send(head(usize::MAX >> 1).into()),
        Act::Flood(b'x'),
    ];
    let receiver = Receiver::start([endless, answer(head(0))]).await;
    let outbound = outbound();
    let report = try_once(&outbound, &receiver).await;
    assert_eq!(
        (report.verdict, report.response.len()),
        (Verdict::Success, limit)
    );
    settle().await;
    assert_answered(
        &try_once(&outbound, &receiver).await,
        200,
        Verdict::Success,
        "",
    );
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn bodies_are_kept_as_they_come() {
    let gzip =
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08";
    let report = answered(*gzip).await;
    assert_answered(&report, 200, Verdict::Success, "\u{1f}\u{fffd}\u{8}");
}

#[tokio::test]
async fn a_body_without_length_ends_at_the_close() {
    for version in ["1.0", "1.1"] {
        let report = answered(format!("HTTP/{version} 200 OK\r\n\r\nall of it")).await;
        assert_answered(&report, 200, Verdict::Success, "all of it");
        assert!(!report.response_cut);
    }
}

#[tokio::test]
async fn two_framings_at_once_are_bounded_by_the_library() {
    // The library takes the chunks and drops the length, or refuses the head; both are in the table.
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let report = answered(both).await;
    assert_answered(&report, 200, Verdict::Success, "ok");
    let two_lengths = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 2\r\n\r\nabc";
    assert_failed(&answered(two_lengths).await, ErrorKind::InvalidResponse);
}

#[tokio::test]
async fn what_is_not_http_is_invalid() {
    // The number of fields is bounded by the library, to 100.
    let fields = "x-field: value\r\n".repeat(101);
    let too_many = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
    let too_large = format!(
        "HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n",
        "a".repeat(64 * 1024)
    );
    for bytes in [
        "hello\r\n\r\n",
        "<html>HTTP/0.9</html>\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/3.0 200 OK\r\n\r\n",
        "\0\0\0\0\0\0\0\0\r\n\r\n",
        &too_many,
        &too_large,
    ] {
        let report = answered(bytes).await;
        assert_failed(&report, ErrorKind::InvalidResponse);
        assert_eq!(report.verdict, RETRY);
    }
}

#[tokio::test]
async fn a_blocked_target_is_a_failure_that_may_heal() {
    let receiver = Receiver::start([answer("")]).await;
    let open = outbound();
    let closed = Outbound::new(&Config::default(), Arc::default()).unwrap();
    let target = open.judge(&receiver.url()).unwrap();
    let limits = crate::delivery::Config::default().attempt_limits();
    let clock = ManualClock::at(NOW);
    let report = attempt(
        &closed,
        &target,
        HeaderMap::new(),
        Bytes::new(),
        limits,
        &clock,
    )
    .await;
    assert_failed(&report, ErrorKind::BlockedAddress);
    assert_eq!((report.verdict, receiver.connections()), (RETRY, 0));
}

/// Lets the client put its connection back, and the receiver end its listening.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
