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
    let outbound = Outbound::new(&config(&["127.0.0.0/8"])).unwrap();
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
    let open = Outbound::new(&config(&["127.0.0.0/8"])).unwrap();
    let closed = Outbound::new(&config(&[])).unwrap();
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
    let outbound = Outbound::new(&with_dns(&stub, config(&["127.0.0.1/32"]))).unwrap();
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
    let outbound = Outbound::new(&with_dns(&stub, config(&["127.0.0.1/32"]))).unwrap();
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
    let outbound = Outbound::new(&with_dns(&stub, config(&[]))).unwrap();
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
    let outbound = Outbound::new(&with_dns(&stub, config(&[]))).unwrap();
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
    let closed = Outbound::new(&own(config(&[]))).unwrap();
    assert_eq!(failure(&closed, &url).await, ErrorKind::BlockedAddress);
    let open = Outbound::new(&own(config(&["127.0.0.0/8"]))).unwrap();
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
    let trusting = Outbound::new(&trusting).unwrap();
    let distrusting = Outbound::new(&distrusting).unwrap();
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
    let outbound = Outbound::new(&config(&["127.0.0.0/8"])).unwrap();
    let url = format!("https://{}/", receiver.address);
    assert_eq!(failure(&outbound, &url).await, ErrorKind::Tls);
}

/// A receiver that speaks HTTP/2, and a client that trusts it.
async fn over_http2(script: Vec<Stream>) -> (Http2Receiver, Outbound) {
    let identity = Identity::of("127.0.0.1");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(identity.pem().as_bytes()).unwrap();
    let tls = TlsConfig {
        extra_roots: vec![file.path().to_owned()],
    };
    let outbound = Outbound::new(&Config {
        tls,
        ..config(&["127.0.0.0/8"])
    })
    .unwrap();
    (Http2Receiver::start(&identity, script).await, outbound)
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
    // Bounded by the library: it tries again up to twice.
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
async fn fields_of_the_connection_are_not_the_tenants() {
    let receiver = Receiver::start([answer(OK)]).await;
    let outbound = Outbound::new(&config(&["127.0.0.0/8"])).unwrap();
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
    let error = Outbound::new(&with(empty.path())).unwrap_err();
    assert!(matches!(error, OutboundError::NoRoots(_)), "{error:?}");
    let error = Outbound::new(&with("/does/not/exist.pem".as_ref())).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist.pem"), "{error}");
}

/// Lets the client put its connection back.
async fn settle() {
    for _ in 0..32 {
        tokio::task::yield_now().await;
    }
}
