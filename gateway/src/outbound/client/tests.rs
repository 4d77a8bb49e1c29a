//! Whole sends: real sockets, real DNS, real TLS.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use h2::Reason;

use super::*;
use crate::outbound::stub::{
    Act, DnsStub, Http2Receiver, Identity, Question, Receiver, Record, Reply, Stream, answer,
};
use crate::outbound::{DnsConfig, DnsServer, ErrorKind, TlsConfig};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const DEADLINE: Duration = Duration::from_secs(10);

fn config(subnets: &[&str]) -> Config {
    Config {
        allow_subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
        ..Config::default()
    }
}

fn with_dns(stub: &DnsStub, config: Config) -> Config {
    let dns = DnsConfig {
        servers: vec![DnsServer(stub.address)],
        timeout_ms: 300,
        ..DnsConfig::default()
    };
    Config { dns, ..config }
}

async fn post(outbound: &Outbound, url: &str) -> Result<Response, SendError> {
    let target = outbound.judge(url).unwrap();
    let headers = HeaderMap::from_iter([(
        http::header::CONTENT_TYPE,
        "application/json".parse().unwrap(),
    )]);
    outbound
        .post(&target, headers, Bytes::from_static(b"{}"), DEADLINE)
        .await
}

async fn failure(outbound: &Outbound, url: &str) -> ErrorKind {
    post(outbound, url).await.unwrap_err().kind()
}

/// A DNS server with one address for every name, changing with every lookup.
async fn answering(addresses: Vec<Ipv4Addr>) -> DnsStub {
    let turn = AtomicUsize::new(0);
    DnsStub::start(move |_, question| match question {
        Question::A => {
            let nth = turn
                .fetch_add(1, Ordering::Relaxed)
                .min(addresses.len() - 1);
            Reply::Records(vec![Record::A(addresses[nth])])
        }
        Question::Aaaa => Reply::Records(Vec::new()),
    })
    .await
}

#[tokio::test]
async fn a_request_carries_what_it_was_given_and_nothing_of_the_environment() {
    let receiver = Receiver::start([answer(OK)]).await;
    let outbound = Outbound::new(&config(&["127.0.0.0/8"]), Arc::default()).unwrap();
    let response = post(&outbound, &receiver.url()).await.unwrap();
    assert_eq!(
        (response.status, &response.body.bytes[..]),
        (StatusCode::OK, &b"ok"[..])
    );
    assert_eq!(response.headers["content-length"], "2");

    let request = receiver.requests().remove(0).to_ascii_lowercase();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut fields: Vec<_> = head.lines().collect();
    fields.sort_unstable();
    let agent = format!("user-agent: hookmill/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", receiver.address);
    let expected = [
        "accept: */*",
        "content-length: 2",
        "content-type: application/json",
        &host,
        "post /hook?x=1 http/1.1",
        &agent,
    ];
    assert_eq!((fields.as_slice(), body), (expected.as_slice(), "{}"));
}

#[tokio::test]
async fn an_address_is_judged_again_before_it_is_dialled() {
    let receiver = Receiver::start([answer(OK)]).await;
    let open = Outbound::new(&config(&["127.0.0.0/8"]), Arc::default()).unwrap();
    let closed = Outbound::new(&config(&[]), Arc::default()).unwrap();
    let target = open.judge(&receiver.url()).unwrap();
    let error = closed
        .post(&target, HeaderMap::new(), Bytes::new(), DEADLINE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BlockedAddress);
    assert_eq!(receiver.connections(), 0);
}

#[tokio::test]
async fn a_rebound_name_is_dialled_where_it_was_judged_and_not_reached_later() {
    let public = Ipv4Addr::new(127, 0, 0, 1);
    let private = Ipv4Addr::new(127, 0, 0, 2);
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let receiver = Receiver::start_at(public, None, vec![answer(closing)]).await;
    let inside = tokio::net::TcpListener::bind((private, receiver.address.port()))
        .await
        .unwrap();
    let stub = answering(vec![public, private]).await;
    let outbound =
        Outbound::new(&with_dns(&stub, config(&["127.0.0.1/32"])), Arc::default()).unwrap();
    let url = format!("http://rebind.example.com:{}/", receiver.address.port());

    post(&outbound, &url).await.unwrap();
    assert_eq!(
        stub.asked(Question::A).len(),
        1,
        "one lookup per connection"
    );
    let error = post(&outbound, &url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BlockedAddress);
    assert!(!error.detail().contains("127."), "{}", error.detail());
    assert!(error.detail().contains("blocked"), "{}", error.detail());
    // Not even a SYN: nothing waits to be accepted.
    let waiting = tokio::time::timeout(Duration::from_millis(50), inside.accept()).await;
    assert!(waiting.is_err(), "{waiting:?}");
}

#[tokio::test]
async fn an_open_connection_is_reused_whatever_dns_answers_by_then() {
    let script = [answer(OK), answer(OK)].concat();
    let receiver = Receiver::start([script]).await;
    let stub = answering(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 1)]).await;
    let outbound =
        Outbound::new(&with_dns(&stub, config(&["127.0.0.1/32"])), Arc::default()).unwrap();
    let url = format!("http://hooks.example.com:{}/", receiver.address.port());
    post(&outbound, &url).await.unwrap();
    settle().await;
    post(&outbound, &url).await.unwrap();
    assert_eq!(
        (receiver.connections(), stub.asked(Question::A).len()),
        (1, 1)
    );
}

#[tokio::test]
async fn dns_failures_are_told_apart() {
    let stub = DnsStub::start(|name, _| match name {
        "silent.example.com" => Reply::Silence,
        "servfail.example.com" => Reply::ServFail,
        "empty.example.com" => Reply::Records(Vec::new()),
        _ => Reply::NxDomain,
    })
    .await;
    let outbound = Outbound::new(&with_dns(&stub, config(&[])), Arc::default()).unwrap();
    assert_eq!(
        failure(&outbound, "http://nxdomain.example.com/").await,
        ErrorKind::Dns
    );
    assert_eq!(
        failure(&outbound, "http://servfail.example.com/").await,
        ErrorKind::Dns
    );
    assert_eq!(
        failure(&outbound, "http://empty.example.com/").await,
        ErrorKind::Dns
    );
    assert_eq!(
        failure(&outbound, "http://silent.example.com/").await,
        ErrorKind::DnsTimeout
    );
    for absent in ["nxdomain", "silent"] {
        outbound
            .judge_registration(&format!("https://{absent}.example.com/"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn registration_names_the_rule_and_hides_the_address() {
    let stub = answering(vec![Ipv4Addr::new(10, 9, 8, 7), Ipv4Addr::new(8, 8, 8, 8)]).await;
    let outbound = Outbound::new(&with_dns(&stub, config(&[])), Arc::default()).unwrap();
    let refusal = outbound
        .judge_registration("https://hooks.example.com/")
        .await
        .unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "the host is blocked, since it answers an address that is private; an operator opens it \
         with --allow-subnet, or --allow-host hooks.example.com"
    );
    outbound
        .judge_registration("https://hooks.example.com/")
        .await
        .unwrap();
    outbound
        .judge_registration("https://localhost/")
        .await
        .unwrap_err();
}

#[tokio::test]
async fn the_gateways_own_port_is_dialled_only_where_it_is_opened() {
    let receiver = Receiver::start([answer(OK)]).await;
    let port = receiver.address.port();
    let stub = answering(vec![Ipv4Addr::LOCALHOST]).await;
    let own = |config| Config {
        own_ports: vec![port],
        ..with_dns(&stub, config)
    };
    let url = format!("http://hooks.example.com:{port}/");
    let closed = Outbound::new(&own(config(&[])), Arc::default()).unwrap();
    assert_eq!(failure(&closed, &url).await, ErrorKind::BlockedAddress);
    let open = Outbound::new(&own(config(&["127.0.0.0/8"])), Arc::default()).unwrap();
    post(&open, &url).await.unwrap();
}

#[tokio::test]
async fn tls_is_verified_by_the_registered_name() {
    let name = "hooks.example.com";
    let identity = Identity::of(name);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(identity.pem().as_bytes()).unwrap();
    let stub = answering(vec![Ipv4Addr::LOCALHOST]).await;
    let trusting = Config {
        tls: TlsConfig {
            extra_roots: vec![file.path().to_owned()],
        },
        ..with_dns(&stub, config(&["127.0.0.0/8"]))
    };
    let distrusting = Config {
        tls: TlsConfig::default(),
        ..trusting.clone()
    };
    let trusting = Outbound::new(&trusting, Arc::default()).unwrap();
    let distrusting = Outbound::new(&distrusting, Arc::default()).unwrap();
    let receiver = Receiver::start_tls(&identity, vec![answer(OK); 5]).await;
    let url = |host: &str| format!("https://{host}:{}/", receiver.address.port());

    post(&trusting, &url(name)).await.unwrap();
    assert!(
        receiver.requests()[0]
            .to_ascii_lowercase()
            .contains("host: hooks.example.com:")
    );
    post(&trusting, &url("hooks.example.com.")).await.unwrap();
    let error = post(&distrusting, &url(name)).await.unwrap_err();
    assert_eq!(
        error.detail(),
        "TLS failed: invalid peer certificate: UnknownIssuer"
    );
    assert_eq!(
        failure(&trusting, &url("other.example.com")).await,
        ErrorKind::Tls
    );
    assert_eq!(failure(&trusting, &url("127.0.0.1")).await, ErrorKind::Tls);
    assert_eq!(
        receiver.requests().len(),
        2,
        "nothing is sent before the certificate is verified"
    );
}

#[tokio::test]
async fn a_plain_server_behind_https_is_a_tls_failure() {
    let receiver = Receiver::start([vec![Act::Send(OK.into()), Act::Hold]]).await;
    let outbound = Outbound::new(&config(&["127.0.0.0/8"]), Arc::default()).unwrap();
    let url = format!("https://{}/", receiver.address);
    assert_eq!(failure(&outbound, &url).await, ErrorKind::Tls);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_name() {
    let identity = Identity::expired("127.0.0.1");
    let receiver = Receiver::start_tls(&identity, vec![answer(OK)]).await;
    let (outbound, _) = trusting(&identity);
    let url = format!("https://{}/", receiver.address);
    let error = post(&outbound, &url).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls);
    let detail = error.detail();
    assert!(detail.contains("certificate expired"), "{detail}");
    assert_eq!(receiver.requests().len(), 0);
}

/// A client that trusts this certificate, and what it counts.
fn trusting(identity: &Identity) -> (Outbound, Arc<Metrics>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(identity.pem().as_bytes()).unwrap();
    let metrics = Arc::new(Metrics::new());
    let config = Config {
        tls: TlsConfig {
            extra_roots: vec![file.path().to_owned()],
        },
        ..config(&["127.0.0.0/8"])
    };
    let outbound = Outbound::new(&config, Arc::clone(&metrics)).unwrap();
    (outbound, metrics)
}

/// A receiver that speaks HTTP/2, and a client that trusts it.
async fn over_http2(script: Vec<Stream>) -> (Http2Receiver, Outbound) {
    let identity = Identity::of("127.0.0.1");
    let receiver = Http2Receiver::start(&identity, script).await;
    (receiver, trusting(&identity).0)
}

#[tokio::test]
async fn http2_is_spoken_where_the_receiver_offers_it() {
    let (receiver, outbound) = over_http2(vec![Stream::Answer; 3]).await;
    for _ in 0..3 {
        let response = post(&outbound, &receiver.url()).await.unwrap();
        assert_eq!(&response.body.bytes[..], b"h2");
    }
    assert_eq!(receiver.seen(), (1, 3));
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_at_once() {
    let refused = Stream::Reset(Reason::REFUSED_STREAM);
    let (receiver, outbound) = over_http2(vec![refused, Stream::Answer]).await;
    post(&outbound, &receiver.url()).await.unwrap();
    assert_eq!(receiver.seen(), (1, 2));
}

#[tokio::test]
async fn a_stream_reset_for_another_reason_is_an_answer_even_on_a_reused_connection() {
    let failed = Stream::Reset(Reason::INTERNAL_ERROR);
    let (receiver, outbound) = over_http2(vec![Stream::Answer, failed, Stream::Answer]).await;
    post(&outbound, &receiver.url()).await.unwrap();
    assert_eq!(failure(&outbound, &receiver.url()).await, ErrorKind::Reset);
    assert_eq!(receiver.seen(), (1, 2));
}

#[tokio::test]
async fn a_stream_refused_twice_is_a_failure() {
    let refused = Stream::Reset(Reason::REFUSED_STREAM);
    let (receiver, outbound) = over_http2(vec![refused, refused, Stream::Answer]).await;
    assert_eq!(failure(&outbound, &receiver.url()).await, ErrorKind::Reset);
    assert_eq!(receiver.seen(), (1, 2));
}

#[tokio::test]
async fn a_request_that_meets_a_goaway_is_tried_again_on_a_fresh_connection() {
    // Bounded by the library: it does not tell which side of the last stream the request was on.
    for reason in [Reason::NO_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let script = vec![Stream::Answer, Stream::GoAway(reason), Stream::Answer];
        let (receiver, outbound) = over_http2(script).await;
        post(&outbound, &receiver.url()).await.unwrap();
        post(&outbound, &receiver.url()).await.unwrap();
        assert_eq!(receiver.seen(), (2, 3));
    }
}

#[tokio::test]
async fn a_receiver_that_retires_its_connections_loses_nothing() {
    let (receiver, outbound) = over_http2(vec![Stream::AnswerLast; 20]).await;
    for _ in 0..20 {
        post(&outbound, &receiver.url()).await.unwrap();
    }
    assert_eq!(receiver.seen().1, 20);
}

#[tokio::test]
async fn no_more_streams_are_opened_than_the_receiver_takes() {
    // Answers only two at a time: fewer at once would never be answered.
    let identity = Identity::of("127.0.0.1");
    let script = vec![Stream::AnswerTogether; 10];
    let receiver = Http2Receiver::start_narrow(&identity, script, 2).await;
    let (outbound, metrics) = trusting(&identity);
    let (outbound, url) = (&outbound, &receiver.url());
    let posts = (0..10).map(|_| async move { post(outbound, url).await.unwrap() });
    futures_util::future::join_all(posts).await;
    assert_eq!((receiver.seen(), receiver.most_open()), ((1, 10), 2));
    assert_eq!(counted(&metrics, "http/2"), (1, 9), "none was refused");
}

/// Connections opened and reused, as an operator reads them.
fn counted(metrics: &Metrics, protocol: &str) -> (usize, usize) {
    let text = metrics.encode().unwrap();
    let read = |name: &str| {
        let line = format!("hookmill_connections_{name}_total{{protocol=\"{protocol}\"}} ");
        text.lines()
            .find_map(|found| found.strip_prefix(&line))
            .map_or(0, |number| number.parse().unwrap())
    };
    (read("opened"), read("reused"))
}

/// 1,000 deliveries, so many at a time.
async fn deliver_1000(outbound: &Outbound, url: &str, at_once: usize) {
    let left = Arc::new(AtomicUsize::new(1000));
    let senders = (0..at_once).map(|_| {
        let (outbound, url, left) = (outbound.clone(), url.to_owned(), Arc::clone(&left));
        tokio::spawn(async move {
            let take = |left: usize| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                post(&outbound, &url).await.unwrap();
            }
        })
    });
    for sent in futures_util::future::join_all(senders).await {
        sent.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_http1_sees_no_more_connections_than_requests_at_once() {
    let at_once = 16;
    let identity = Identity::of("127.0.0.1");
    // One connection more would find nobody to accept it.
    let scripts = vec![vec![answer(OK); 1000].concat(); at_once];
    let plain = Receiver::start(scripts.clone()).await;
    let secured = Receiver::start_tls(&identity, scripts).await;
    let secured_url = format!("https://{}/", secured.address);
    for (receiver, url) in [(&plain, plain.url()), (&secured, secured_url)] {
        let (outbound, metrics) = trusting(&identity);
        deliver_1000(&outbound, &url, at_once).await;
        assert_eq!(receiver.requests().len(), 1000);
        assert!(
            receiver.connections() <= at_once,
            "{}",
            receiver.connections()
        );
        let opened = receiver.connections();
        assert_eq!(counted(&metrics, "http/1.1"), (opened, 1000 - opened));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_of_http2_sees_one_connection() {
    let identity = Identity::of("127.0.0.1");
    let receiver = Http2Receiver::start(&identity, vec![Stream::Answer; 1000]).await;
    let (outbound, metrics) = trusting(&identity);
    deliver_1000(&outbound, &receiver.url(), 16).await;
    assert_eq!(receiver.seen(), (1, 1000));
    assert_eq!(counted(&metrics, "http/2"), (1, 999));
}

#[tokio::test]
async fn a_receiver_that_answers_before_it_has_read_gets_a_fresh_connection() {
    let early = vec![Act::ReadHead, Act::Send(OK.into()), Act::Hold];
    let receiver = Receiver::start([early, answer(OK)]).await;
    let outbound = Outbound::new(&config(&["127.0.0.0/8"]), Arc::default()).unwrap();
    let target = outbound.judge(&receiver.url()).unwrap();
    let large = Bytes::from(vec![b' '; 64 << 20]);
    for body in [large, Bytes::new()] {
        let sent = outbound
            .post(&target, HeaderMap::new(), body, DEADLINE)
            .await;
        assert_eq!(sent.unwrap().status, StatusCode::OK);
    }
    assert_eq!(receiver.connections(), 2);
}

#[tokio::test]
async fn fields_of_the_connection_are_not_the_tenants() {
    let receiver = Receiver::start([answer(OK)]).await;
    let outbound = Outbound::new(&config(&["127.0.0.0/8"]), Arc::default()).unwrap();
    let target = outbound.judge(&receiver.url()).unwrap();
    let given = [
        ("host", "metadata.google.internal"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("expect", "100-continue"),
        ("user-agent", "own"),
        ("x-own", "kept"),
    ];
    let given = given.map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    let headers = HeaderMap::from_iter(given);
    outbound
        .post(&target, headers, Bytes::from_static(b"{}"), DEADLINE)
        .await
        .unwrap();
    let request = receiver.requests().remove(0).to_ascii_lowercase();
    let mut fields: Vec<_> = request
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .collect();
    fields.sort_unstable();
    let host = format!("host: {}", receiver.address);
    assert_eq!(
        fields,
        [
            "accept: */*",
            "content-length: 2",
            &host,
            "user-agent: own",
            "x-own: kept"
        ]
    );
}

#[test]
fn wrong_settings_are_named() {
    let mut empty = tempfile::NamedTempFile::new().unwrap();
    empty.write_all(b"not a certificate").unwrap();
    let with = |path: &std::path::Path| Config {
        tls: TlsConfig {
            extra_roots: vec![path.to_owned()],
        },
        dns: DnsConfig {
            servers: vec!["127.0.0.1".parse().unwrap()],
            ..DnsConfig::default()
        },
        ..Config::default()
    };
    let error = Outbound::new(&with(empty.path()), Arc::default()).unwrap_err();
    assert!(matches!(error, OutboundError::NoRoots(_)), "{error:?}");
    let error = Outbound::new(&with("/does/not/exist.pem".as_ref()), Arc::default()).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist.pem"), "{error}");
}

/// Lets the client put its connection back.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
