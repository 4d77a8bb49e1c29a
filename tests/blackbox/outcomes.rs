//! What each thing that a receiver can do means for the delivery: a table, played by raw sockets, as the API shows
//! it afterwards. Delays count from the end of the try.

use std::time::Duration;

use hookmill_tests::raw::Refusing;
use hookmill_tests::{Gateway, Raw, Step, Tenant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use case::{Case, Next, answer, case, next_is, plain, play, play_all};

mod case;

/// The schedule of these tests, far enough away that nothing is tried twice, and below the 60 s floor.
const SCHEDULE: &str = "30s";

#[tokio::test]
async fn status_codes() {
    let gateway = Gateway::builder().retry_schedule(SCHEDULE).start().await;
    let mut cases = Vec::new();
    for code in [200, 201, 202, 299] {
        cases.push(case(
            "2xx",
            plain(code, ""),
            "success",
            code.into(),
            Next::Never,
        ));
    }
    let empty = answer("HTTP/1.1 204 No Content\r\n\r\n");
    cases.push(case("204", empty, "success", 204, Next::Never));
    for code in [301, 302, 303, 307, 308] {
        let headers = "Location: http://127.0.0.1:1/elsewhere\r\n";
        cases.push(Case {
            response: "http://127.0.0.1:1/elsewhere",
            ..case(
                "a redirect",
                plain(code, headers),
                "fail",
                code.into(),
                Next::Schedule,
            )
        });
    }
    for code in [
        300, 304, 400, 401, 403, 404, 408, 409, 413, 418, 425, 500, 501, 502, 503, 504, 505, 599,
    ] {
        let next = Next::Schedule;
        // 304 has no body, whatever its length says.
        let script = if code == 304 {
            answer("HTTP/1.1 304 Not Modified\r\n\r\n")
        } else {
            plain(code, "")
        };
        cases.push(case("another status", script, "fail", code.into(), next));
    }
    for code in [600, 999] {
        cases.push(case(
            "no status of HTTP",
            plain(code, ""),
            "fail",
            code.into(),
            Next::Schedule,
        ));
    }
    cases.push(case("410", plain(410, ""), "fail", 410, Next::Never));
    cases.push(case("429", plain(429, ""), "fail", 429, Next::After(60)));
    let upgrade =
        answer("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    cases.push(case("101", upgrade, "fail", 101, Next::Schedule));
    let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    cases.push(Case {
        response: "ok",
        ..case("1xx before 200", answer(early), "success", 200, Next::Never)
    });
    let abort = plain(500, "webhook-delivery: abort-message\r\n");
    cases.push(case("abort-message", abort, "fail", 500, Next::Never));
    play_all(&gateway, cases).await;
}

#[tokio::test]
async fn retry_after() {
    let gateway = Gateway::builder().retry_schedule(SCHEDULE).start().await;
    let date = |at: Timestamp| {
        jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(&at)
            .unwrap()
    };
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let later = now + SignedDuration::from_mins(10);
    let (future, past) = (date(later), date(now - SignedDuration::from_mins(10)));
    let (year_9999, day) = ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400);
    let one = |value: &str| format!("Retry-After: {value}\r\n");
    let mut cases = Vec::new();
    for code in [503, 429, 502, 504, 413] {
        let name = "seconds";
        cases.push(case(
            name,
            plain(code, &one("120")),
            "fail",
            code.into(),
            Next::After(120),
        ));
    }
    for (name, headers, next) in [
        ("sooner than the schedule", one("1"), Next::Schedule),
        ("a date ahead", one(&future), Next::At(later)),
        ("a date in the past", one(&past), Next::Schedule),
        ("zero", one("0"), Next::Schedule),
        ("negative", one("-5"), Next::Schedule),
        ("huge", one("99999999"), Next::After(day)),
        (
            "more than 64 bits",
            one("99999999999999999999999"),
            Next::After(day),
        ),
        ("the year 9999", one(year_9999), Next::After(day)),
        ("a fraction", one("120.5"), Next::After(121)),
        ("text", one("soon"), Next::Schedule),
        ("empty", one(""), Next::Schedule),
        (
            "two that differ",
            one("120") + &one("300"),
            Next::After(120),
        ),
        (
            "the second one valid",
            one("soon") + &one("300"),
            Next::After(300),
        ),
    ] {
        cases.push(case(name, plain(503, &headers), "fail", 503, next));
        if !matches!(next, Next::Schedule) {
            cases.push(case(name, plain(429, &headers), "fail", 429, next));
        }
    }
    cases.push(case(
        "429, unreadable",
        plain(429, &one("soon")),
        "fail",
        429,
        Next::After(60),
    ));
    cases.push(case(
        "on a 2xx",
        plain(200, &one("120")),
        "success",
        200,
        Next::Never,
    ));
    cases.push(case(
        "on a 3xx",
        plain(302, &one("120")),
        "fail",
        302,
        Next::Schedule,
    ));
    cases.push(case(
        "on a 500",
        plain(500, &one("120")),
        "fail",
        500,
        Next::Schedule,
    ));
    play_all(&gateway, cases).await;
}

#[tokio::test]
async fn broken_answers() {
    let gateway = Gateway::builder().retry_schedule(SCHEDULE).start().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let text = |text: &str| vec![Step::ReadRequest, Step::write(text)];
    let and = |mut script: Vec<Step>, steps: &[Step]| {
        script.extend_from_slice(steps);
        script
    };
    let fields: String = (0..120).map(|n| format!("x-{n}: y\r\n")).collect();
    // The HTTP library draws the line, somewhere above the table's 64 KiB; what matters is that there is one.
    let large = format!("HTTP/1.1 200 OK\r\nx-a: {}\r\n\r\n", "a".repeat(1 << 20));
    let reset = &[Step::Reset][..];
    let failures = [
        (
            "a reset before the head",
            vec![Step::ReadRequest, Step::Reset],
        ),
        ("a reset at once", vec![Step::Reset]),
        ("an end before the head", vec![Step::ReadRequest]),
        (
            "a reset in the head",
            and(text("HTTP/1.1 200 OK\r\nContent-"), reset),
        ),
        ("an end in the head", text("HTTP/1.1 200 OK\r\nContent-")),
        ("garbage", text("SSH-2.0-OpenSSH_9.9\r\n\r\n")),
        ("binary garbage", text("\u{0}\u{1}\u{2}\r\n\r\n\u{3}")),
        ("HTTP/0.9", text("<html>hi</html>")),
        (
            "another protocol's version",
            text("HTTP/9.1 200 OK\r\n\r\n"),
        ),
        ("a status in letters", text("HTTP/1.1 two OK\r\n\r\n")),
        ("a status of two digits", text("HTTP/1.1 20 OK\r\n\r\n")),
        ("a head too large", text(&large)),
        (
            "a head of too many fields",
            text(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")),
        ),
    ];
    let mut cases: Vec<_> = failures
        .into_iter()
        .map(|(name, script)| case(name, script, "fail", 0, Next::Schedule))
        .collect();

    // The receiver has decided with its head; what becomes of the body is a note.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nnot a chunk";
    let flood = "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nstart";
    let endless = "HTTP/1.1 200 OK\r\n\r\nstart";
    let closed = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    for (name, script, response) in [
        (
            "a reset in the body",
            and(
                text(&format!("{head}half")),
                &[Step::Pause(Duration::from_millis(50)), Step::Reset],
            ),
            "",
        ),
        ("an end in the body", text(&format!("{head}half")), "half"),
        ("bad chunks", text(chunked), ""),
        (
            "a body of 100 MB",
            and(text(flood), &[Step::Flood(b'x')]),
            "startxxx",
        ),
        (
            "a body without end",
            and(text(endless), &[Step::Flood(b'x')]),
            "startxxx",
        ),
        ("HTTP/1.0", text(closed), "until the end"),
    ] {
        cases.push(Case {
            response,
            ..case(name, script, "success", 200, Next::Never)
        });
    }
    play_all(&gateway, cases).await;
}

#[tokio::test]
async fn what_takes_too_long() {
    // Long enough for a loaded machine to connect, short enough to wait for.
    let gateway = Gateway::builder()
        .config("[delivery]\ntimeout_ms = 2000")
        .retry_schedule(SCHEDULE)
        .start()
        .await;
    let apart = Duration::from_millis(200);
    let drip = |text: &'static str| Step::Drip(text.as_bytes().into(), apart);
    let loris = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let continues = Step::Drip(
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000).into(),
        Duration::from_millis(5),
    );
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let floor = Next::After(60);
    let cases = vec![
        case(
            "no answer",
            vec![Step::ReadRequest, Step::Hold],
            "fail",
            0,
            floor,
        ),
        case(
            "a head byte by byte",
            vec![Step::ReadRequest, drip(loris)],
            "fail",
            0,
            floor,
        ),
        case(
            "nothing but 100s",
            vec![Step::ReadRequest, continues],
            "fail",
            0,
            floor,
        ),
        Case {
            response: "tick",
            ..case(
                "a body byte by byte",
                vec![
                    Step::ReadRequest,
                    Step::write(head),
                    drip("tick tick tick tick tick tick"),
                ],
                "success",
                200,
                Next::Never,
            )
        },
        case(
            "a body that does not come",
            vec![Step::ReadRequest, Step::write(head), Step::Hold],
            "success",
            200,
            Next::Never,
        ),
    ];
    let deaf = case(
        "a receiver that does not read",
        vec![Step::Hold],
        "fail",
        0,
        floor,
    );
    let deaf = play(&gateway, deaf, json!({"a": "a".repeat(900_000)})).await;
    play_all(&gateway, cases).await;
    deaf.check().await.unwrap();
}

#[tokio::test]
async fn nobody_listens() {
    let gateway = Gateway::builder().retry_schedule(SCHEDULE).start().await;
    let tenant = Tenant::new(&gateway).await;
    let refusing = Refusing::start();
    let endpoint = tenant.endpoint(&refusing.url()).await;
    let message = tenant.send(json!({})).await;
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    assert_eq!(attempt["statusText"], "fail");
    assert_eq!(attempt["responseStatusCode"], 0);
    assert!(
        attempt["response"].to_string().contains("connection"),
        "{attempt}"
    );
    let place = tenant.settled(&message, &endpoint, "pending").await;
    assert!(
        next_is(Next::Schedule, &attempt, &place["nextAttempt"]),
        "{attempt} {place}"
    );
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let gateway = Gateway::builder()
        // A server that nobody runs: the answer is a refusal, at once.
        .config("[outbound.dns]\nservers = [\"127.0.0.1:9\"]\ntimeout_ms = 1000")
        .retry_schedule(SCHEDULE)
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let endpoint = tenant.endpoint("http://hook.example.com/").await;
    let message = tenant.send(json!({})).await;
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    assert_eq!(
        (&attempt["statusText"], &attempt["responseStatusCode"]),
        (&json!("fail"), &json!(0))
    );
    assert!(attempt["response"].to_string().contains("DNS"), "{attempt}");
    let place = tenant.settled(&message, &endpoint, "pending").await;
    assert!(
        next_is(Next::Schedule, &attempt, &place["nextAttempt"]),
        "{attempt} {place}"
    );
}

#[tokio::test]
async fn no_tls_where_tls_is_asked_for() {
    let gateway = Gateway::builder().retry_schedule(SCHEDULE).start().await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = hookmill_tests::Receiver::start().await;
    let url = receiver.url().replace("http://", "https://");
    let endpoint = tenant.endpoint(&url).await;
    let message = tenant.send(json!({})).await;
    let attempt = tenant.attempts(&message, 1).await.remove(0);
    let status = (&attempt["statusText"], &attempt["responseStatusCode"]);
    assert_eq!(status, (&json!("fail"), &json!(0)));
    assert!(attempt["response"].to_string().contains("TLS"), "{attempt}");
    let place = tenant.settled(&message, &endpoint, "pending").await;
    assert!(
        next_is(Next::Schedule, &attempt, &place["nextAttempt"]),
        "{attempt} {place}"
    );
    assert_eq!(receiver.count(), 0, "never without it");
}

#[tokio::test]
async fn a_dead_connection_from_the_pool_is_replaced_within_the_attempt() {
    let gateway = Gateway::builder().retry_schedule("").start().await;
    let tenant = Tenant::new(&gateway).await;
    let ok = Step::write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let receiver = Raw::start_with(vec![
        // Kept alive, then reset under the next request.
        vec![
            Step::ReadRequest,
            ok.clone(),
            Step::ReadRequest,
            Step::Reset,
        ],
        vec![Step::ReadRequest, ok, Step::Hold],
    ])
    .await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    for n in 0..2 {
        let message = tenant.send(json!({"n": n})).await;
        tenant.settled(&message, &endpoint, "success").await;
        assert_eq!(tenant.attempts(&message, 1).await.len(), 1, "one attempt");
    }
    assert_eq!(receiver.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn what_a_request_looks_like() {
    let gateway = Gateway::start().await;
    let played = play(
        &gateway,
        case("", plain(200, ""), "success", 200, Next::Never),
        json!({"a": 1}),
    )
    .await;
    played.check().await.unwrap();
    let bytes = played.receiver.connections()[0].bytes.clone();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /raw HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, r#"{"a":1}"#);
    let head = head.to_ascii_lowercase();
    for present in [
        "host: 127.0.0.1:",
        "content-type: application/json",
        "content-length: 7",
        "user-agent: hookmill/",
        "webhook-id: msg_",
        "webhook-timestamp: ",
        "webhook-signature: v1,",
    ] {
        assert!(
            head.contains(&format!("\r\n{present}")),
            "{present}: {head}"
        );
    }
    for absent in [
        "accept-encoding",
        "expect",
        "cookie",
        "transfer-encoding",
        "authorization",
    ] {
        assert!(
            !head.contains(&format!("\r\n{absent}:")),
            "{absent}: {head}"
        );
    }
}

#[tokio::test]
async fn a_schedule_that_is_used_up_fails_for_good_and_a_resend_tries_once() {
    let gateway = Gateway::builder()
        .retry_schedule("20ms,40ms,20ms")
        .start()
        .await;
    let tenant = Tenant::new(&gateway).await;
    let receiver = hookmill_tests::Receiver::start().answer(500).await;
    let endpoint = tenant.endpoint(&receiver.url()).await;
    let message = tenant.send(json!({})).await;
    let place = tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(place["nextAttempt"], Value::Null);
    assert_eq!(tenant.attempts(&message, 4).await.len(), 4);
    let gaps: Vec<_> = receiver
        .requests()
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    for (gap, least) in gaps.iter().zip([16, 32, 16]) {
        assert!(
            *gap >= Duration::from_millis(least),
            "never before its time: {gaps:?}"
        );
    }
    let path = tenant.path(&format!("/msg/{message}/endpoint/{endpoint}/resend"));
    tenant.client.post(&path, json!({})).await.expect(202);
    let attempts = tenant.attempts(&message, 5).await;
    assert_eq!(
        attempts[0]["triggerType"], 1,
        "the newest is the manual one"
    );
    let place = tenant.settled(&message, &endpoint, "fail").await;
    assert_eq!(
        place["nextAttempt"],
        Value::Null,
        "a failed manual try schedules nothing"
    );
    assert_eq!(receiver.count(), 5);
}
