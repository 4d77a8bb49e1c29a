//! Sends through a real proxy on loopback that notes what it was asked for.

use std::io::Write as _;
use std::net::Ipv4Addr;

use http::HeaderMap;

use super::*;
use crate::outbound::stub::{
    DnsStub, Identity, Proxy, Question, Receiver, Record, Reply, Speaks, answer,
};
use crate::outbound::{
    Config, DnsConfig, DnsServer, ErrorKind, Outbound, Response, SendError, TlsConfig,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const NAME: &str = "hooks.example.com";

async fn dns() -> DnsStub {
    DnsStub::start(|name, question| match (question, name) {
        (Question::A, "inside.example.com") => {
            Reply::Records(vec![Record::A(Ipv4Addr::new(10, 0, 0, 1))])
        }
        (Question::A, _) => Reply::Records(vec![Record::A(Ipv4Addr::LOCALHOST)]),
        (Question::Aaaa, _) => Reply::Records(Vec::new()),
    })
    .await
}

fn config(dns: &DnsStub, proxy: &str) -> Config {
    Config {
        allow_subnets: vec!["127.0.0.1/32".parse().unwrap()],
        proxy: Some(proxy.parse().unwrap()),
        dns: DnsConfig {
            servers: vec![DnsServer(dns.address)],
            ..DnsConfig::default()
        },
        ..Config::default()
    }
}

async fn post(outbound: &Outbound, url: &str) -> Result<Response, SendError> {
    let target = outbound.judge(url).unwrap();
    let deadline = Duration::from_secs(20);
    outbound
        .post(
            &target,
            HeaderMap::new(),
            Bytes::from_static(b"{}"),
            deadline,
        )
        .await
}

/// What either kind of proxy speaks, and its scheme.
const KINDS: [(Speaks, &str); 2] = [(Speaks::Connect, "http"), (Speaks::Socks5, "socks5")];

#[tokio::test]
async fn the_proxy_is_asked_for_the_address_and_the_receiver_for_the_name() {
    let identity = Identity::of(NAME);
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(identity.pem().as_bytes()).unwrap();
    for (speaks, scheme) in KINDS {
        let (dns, proxy) = (dns().await, Proxy::start(speaks).await);
        let config = Config {
            tls: TlsConfig {
                extra_roots: vec![roots.path().to_owned()],
            },
            ..config(&dns, &proxy.url(scheme))
        };
        let outbound = Outbound::new(&config, Arc::default()).unwrap();
        let plain = Receiver::start([[answer(OK), answer(OK)].concat()]).await;
        // Verified by the name, or there would be no answer.
        let secured = Receiver::start_tls(&identity, vec![answer(OK)]).await;
        let at = |scheme: &str, receiver: &Receiver| {
            format!("{scheme}://{NAME}:{}/", receiver.address.port())
        };
        for url in [
            at("http", &plain),
            at("http", &plain),
            at("https", &secured),
        ] {
            assert_eq!(&post(&outbound, &url).await.unwrap().body.bytes[..], b"ok");
        }
        let asked = [plain.address, secured.address].map(|address| address.to_string());
        assert_eq!(proxy.asked(), asked, "{scheme}: one tunnel a connection");
        for receiver in [&plain, &secured] {
            let request = receiver.requests().remove(0);
            assert!(request.starts_with("POST / HTTP/1.1\r\n"), "{request}");
            let host = format!("host: {NAME}:{}\r\n", receiver.address.port());
            assert!(request.contains(&host), "{request}");
            assert!(!request.contains("proxy-"), "{request}");
        }
    }
}

#[tokio::test]
async fn a_refused_target_never_reaches_the_proxy() {
    for (speaks, scheme) in KINDS {
        let (dns, proxy) = (dns().await, Proxy::start(speaks).await);
        let config = config(&dns, &proxy.url(scheme));
        let outbound = Outbound::new(&config, Arc::default()).unwrap();
        let error = post(&outbound, "http://inside.example.com/")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BlockedAddress);
        outbound.judge("http://10.0.0.1/").unwrap_err();
        // The proxy's own address is open to the proxy only.
        outbound
            .judge(&format!("http://{}/", proxy.address))
            .unwrap_err();
        assert_eq!(proxy.connections(), 0);
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_is_told_from_a_proxy_that_is() {
    let dns = dns().await;
    let gone = {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        listener.local_addr().unwrap()
    };
    let url = format!("http://{NAME}:{}/", gone.port());
    for (speaks, scheme) in KINDS {
        let proxy = Proxy::start(speaks).await;
        let through = |proxy: &str| Outbound::new(&config(&dns, proxy), Arc::default()).unwrap();
        let error = post(&through(&proxy.url(scheme)), &url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        let detail = error.detail();
        assert!(
            detail.contains("egress proxy does not reach the receiver"),
            "{detail}"
        );

        let error = post(&through(&format!("{scheme}://{gone}")), &url)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Proxy);
        let detail = error.detail();
        assert!(
            detail.starts_with("no way through the egress proxy: "),
            "{detail}"
        );

        // Other credentials, and none.
        for wrong in ["gate:hush-hush@", ""] {
            let proxy = format!("{scheme}://{wrong}{}", proxy.address);
            let error = post(&through(&proxy), &url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy, "{error:?}");
            assert_eq!(
                error.detail(),
                "no way through the egress proxy: it does not take the credentials"
            );
            assert!(!format!("{error:?}").contains("hush"));
        }
    }
}

#[tokio::test]
async fn a_proxys_own_refusal_is_shown() {
    let (dns, proxy) = (
        dns().await,
        Proxy::start(Speaks::Status("403 Forbidden")).await,
    );
    let config = config(&dns, &proxy.url("http"));
    let outbound = Outbound::new(&config, Arc::default()).unwrap();
    let error = post(&outbound, "http://hooks.example.com/")
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.detail().as_str()),
        (
            ErrorKind::Proxy,
            "no way through the egress proxy: it refused: 403 Forbidden"
        )
    );
}

#[test]
fn what_an_operator_writes_is_read_and_shown_without_its_secret() {
    for (written, shown) in [
        ("http://proxy:8080", "http://proxy:8080"),
        ("http://proxy:80/", "http://proxy:80"),
        ("http://proxy.internal", "http://proxy.internal:3128"),
        ("http://u:hush@10.0.0.1:1", "http://[redacted]@10.0.0.1:1"),
        ("socks5://u:hush@[::1]", "socks5://[redacted]@[::1]:1080"),
        ("socks5://10.0.0.1:9", "socks5://10.0.0.1:9"),
    ] {
        let proxy: ProxyUrl = written.parse().unwrap();
        let json = serde_json::to_string(&proxy).unwrap();
        assert_eq!(
            (proxy.to_string(), format!("{proxy:?}"), json),
            (shown.to_owned(), shown.to_owned(), format!("{shown:?}"))
        );
    }
    let long = format!("socks5://u:{}@proxy", "hush".repeat(64));
    for wrong in [
        "proxy:3128",
        "https://proxy:3128",
        "socks4://proxy",
        "http://u:hush@",
        "http://u:hush@proxy/path",
        "http://u@proxy",
        "http://u%3A:hush@proxy",
        "http://u:hush@proxy?x=1",
        &long,
        "",
    ] {
        let error = serde_json::from_value::<ProxyUrl>(wrong.into())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("egress proxy") && !error.contains("hush"),
            "{error}"
        );
    }
}
