//! What DNS may answer, and what comes of it, against a real server on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::Hosts;

use super::*;
use crate::outbound::stub::{DnsStub, Question, Record, Reply};
use crate::outbound::{AddressRule, Config, NameRule};

/// A set of answers: A records, AAAA records, or a CNAME before them.
fn records(answers: &'static [&'static str], question: Question) -> Reply {
    let fits = |record: &Record| match record {
        Record::A(_) => question == Question::A,
        Record::Aaaa(_) => question == Question::Aaaa,
        Record::Cname(_) => true,
    };
    let read = |text: &&'static str| match text.parse() {
        Ok(IpAddr::V4(address)) => Record::A(address),
        Ok(IpAddr::V6(address)) => Record::Aaaa(address),
        Err(_) => Record::Cname(text),
    };
    Reply::Records(answers.iter().map(read).filter(fits).collect())
}

fn config(stub: &DnsStub, subnets: &[&str], hosts: &[&str]) -> Config {
    Config {
        allow_subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
        allow_hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(),
        dns: DnsConfig {
            servers: vec![DnsServer(stub.address)],
            timeout_ms: 400,
            ..DnsConfig::default()
        },
        ..Config::default()
    }
}

fn resolver(config: &Config) -> NameResolver {
    NameResolver::new(&config.dns, Arc::new(Allow::new(config))).unwrap()
}

fn refused(result: Result<Vec<IpAddr>, LookupError>) -> AddressRule {
    match result {
        Err(LookupError::Refused(Refusal::Answer { rule, .. })) => rule,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_whole_answer_is_judged() {
    use AddressRule::{
        CarrierNat, LinkLocal, Loopback, Metadata, Private, Reserved, Translated, Unspecified,
    };
    const CASES: &[(&[&str], AddressRule)] = &[
        (&["127.0.0.1"], Loopback),
        (&["8.8.8.8", "127.0.0.1"], Loopback),
        (&["8.8.8.8", "::1"], Loopback),
        (&["8.8.8.8", "fe80::1"], LinkLocal),
        (&["fd00::1"], Private),
        (&["::1"], Loopback),
        (&["::ffff:127.0.0.1"], Loopback),
        (&["64:ff9b::7f00:1"], Translated),
        (&["2002:7f00:1::"], Translated),
        (&["2001:0:4136:e378:8000:63bf:80ff:fffe"], Translated),
        (&["0.0.0.0"], Unspecified),
        (&["169.254.169.254"], Metadata),
        (&["100.100.100.200"], Metadata),
        (&["100.64.0.1"], CarrierNat),
        (&["168.63.129.16"], Metadata),
        (&["255.255.255.255"], Reserved),
        // Only the final addresses count.
        (&["localhost", "127.0.0.1"], Loopback),
        (&["one.example.com", "two.example.com", "10.0.0.1"], Private),
    ];
    for (answers, rule) in CASES {
        let stub = DnsStub::start(|_, question| records(answers, question)).await;
        let names = resolver(&config(&stub, &[], &[]));
        assert_eq!(
            refused(names.judged("hooks.example.com", false).await),
            *rule,
            "{answers:?}"
        );
        // The trailing dot changes nothing.
        assert_eq!(
            refused(names.judged("hooks.example.com.", false).await),
            *rule,
            "{answers:?}"
        );
    }
}

#[tokio::test]
async fn public_answers_are_dialled_as_they_are() {
    const CASES: &[(&[&str], &[&str])] = &[
        (&["8.8.8.8"], &["8.8.8.8"]),
        (&["2606:4700:4700::1111"], &["2606:4700:4700::1111"]),
        (&["::ffff:8.8.8.8"], &["::ffff:8.8.8.8"]),
        (
            &["one.example.com", "two.example.com", "8.8.8.8"],
            &["8.8.8.8"],
        ),
        (
            &["8.8.8.8", "2606:4700:4700::1111"],
            &["8.8.8.8", "2606:4700:4700::1111"],
        ),
    ];
    for (answers, dialled) in CASES {
        let stub = DnsStub::start(|_, question| records(answers, question)).await;
        let names = resolver(&config(&stub, &[], &[]));
        let found = names.judged("hooks.example.com", false).await.unwrap();
        let expected: Vec<IpAddr> = dialled.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(found, expected, "{answers:?}");
        // Asked as it stands, never through a search list (a CNAME's target may be asked for after it).
        assert_eq!(stub.asked(Question::A)[0], "hooks.example.com");
        assert_eq!(stub.asked(Question::Aaaa)[0], "hooks.example.com");
    }
}

#[tokio::test]
async fn every_lookup_is_judged_on_its_own() {
    let turn = AtomicUsize::new(0);
    let stub = DnsStub::start(move |_, question| match question {
        Question::A if turn.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
            records(&["8.8.8.8"], question)
        }
        _ => records(&["10.0.0.1"], question),
    })
    .await;
    let names = resolver(&config(&stub, &[], &[]));
    for _ in 0..3 {
        names.judged("rebind.example.com", false).await.unwrap();
        assert_eq!(
            refused(names.judged("rebind.example.com", false).await),
            AddressRule::Private
        );
    }
}

#[tokio::test]
async fn failures_are_told_apart() {
    let stub = DnsStub::start(|name, question| match name {
        "nxdomain.example.com" => Reply::NxDomain,
        "servfail.example.com" => Reply::ServFail,
        "empty.example.com" => Reply::Records(Vec::new()),
        "silent.example.com" => Reply::Silence,
        "platform.example.com" => records(&["metadata.google.internal"], question),
        "metadata.google.internal" => Reply::NxDomain,
        "loop.example.com" => records(&["pool.example.com"], question),
        "pool.example.com" => records(&["loop.example.com"], question),
        other => panic!("{other}"),
    })
    .await;
    let names = resolver(&config(&stub, &[], &[]));
    let of = async |name| names.judged(name, false).await.unwrap_err();
    assert!(matches!(
        of("nxdomain.example.com").await,
        LookupError::Empty
    ));
    assert!(matches!(
        of("servfail.example.com").await,
        LookupError::Failed(_)
    ));
    assert!(matches!(of("empty.example.com").await, LookupError::Empty));
    assert!(matches!(
        of("platform.example.com").await,
        LookupError::Empty
    ));
    assert!(matches!(
        of("silent.example.com").await,
        LookupError::Timeout(_)
    ));
    assert!(matches!(
        of("loop.example.com").await,
        LookupError::Empty | LookupError::Failed(_)
    ));
}

#[tokio::test]
async fn a_truncated_answer_is_read_in_full_over_tcp() {
    let stub = DnsStub::start(|_, question| {
        match (question, records(&["8.8.8.8", "10.0.0.1"], question)) {
            (Question::A, Reply::Records(records)) => Reply::Truncated(records),
            (_, empty) => empty,
        }
    })
    .await;
    let names = resolver(&config(&stub, &[], &[]));
    assert_eq!(
        refused(names.judged("hooks.example.com", false).await),
        AddressRule::Private
    );
}

#[tokio::test]
async fn a_long_answer_is_judged_to_its_end_before_it_is_cut() {
    let many = |last: &str| {
        let mut all: Vec<_> = (1..=70)
            .map(|host| Record::A([8, 8, 4, host].into()))
            .collect();
        all.push(Record::A(last.parse().unwrap()));
        all
    };
    let stub = DnsStub::start(move |name, question| match (question, name) {
        (Question::A, "private.example.com") => Reply::Truncated(many("10.0.0.1")),
        (Question::A, _) => Reply::Truncated(many("8.8.8.8")),
        (Question::Aaaa, _) => Reply::Records(Vec::new()),
    })
    .await;
    let names = resolver(&config(&stub, &[], &[]));
    assert_eq!(
        refused(names.judged("private.example.com", false).await),
        AddressRule::Private
    );
    assert_eq!(
        names
            .judged("public.example.com", false)
            .await
            .unwrap()
            .len(),
        MAX_DIALLED
    );
}

#[tokio::test]
async fn an_open_subnet_opens_answers_inside_it() {
    let stub = DnsStub::start(|name, question| match name {
        "in.example.com" => records(&["10.1.2.3"], question),
        "mapped.example.com" => records(&["::ffff:10.1.2.3"], question),
        _ => records(&["10.1.3.3"], question),
    })
    .await;
    let names = resolver(&config(&stub, &["10.1.2.0/24"], &[]));
    names.judged("in.example.com", false).await.unwrap();
    names.judged("mapped.example.com", false).await.unwrap();
    assert_eq!(
        refused(names.judged("out.example.com", false).await),
        AddressRule::Private
    );
}

#[tokio::test]
async fn an_open_host_needs_no_subnet_and_never_reaches_metadata() {
    let stub = DnsStub::start(|name, question| match name {
        "receiver" => records(&["172.18.0.5"], question),
        "sly.internal" => records(&["169.254.169.254"], question),
        other => panic!("{other}"),
    })
    .await;
    let names = resolver(&config(&stub, &[], &["receiver", "*.internal"]));
    names.judged("receiver", false).await.unwrap();
    assert_eq!(
        refused(names.judged("sly.internal", false).await),
        AddressRule::Metadata
    );
    let refused = names
        .judged("metadata.google.internal", false)
        .await
        .unwrap_err();
    let rule = NameRule::Metadata;
    assert!(
        matches!(refused, LookupError::Refused(Refusal::Name { rule: found, .. }) if found == rule)
    );
    assert_eq!(
        stub.asked(Question::A).len(),
        2,
        "a refused name is not asked for"
    );
}

#[tokio::test]
async fn the_hosts_file_is_judged_too() {
    let stub = DnsStub::start(|_, _| Reply::NxDomain).await;
    let mut names = resolver(&config(&stub, &[], &[]));
    let mut hosts = Hosts::default();
    hosts
        .read_hosts_conf("10.0.0.5 hooks.example.com\n".as_bytes())
        .unwrap();
    names.resolver.set_hosts(Arc::new(hosts));
    assert_eq!(
        refused(names.judged("hooks.example.com", false).await),
        AddressRule::Private
    );
}

#[tokio::test]
async fn this_machines_own_addresses_are_refused_for_its_own_ports() {
    // 127.0.0.1 is the one own address there is everywhere; opened by name, it counts as opened.
    let stub = DnsStub::start(|_, question| records(&["127.0.0.1"], question)).await;
    let names = resolver(&config(&stub, &[], &["hooks.example.com"]));
    names.judged("hooks.example.com", true).await.unwrap();
    assert_eq!(
        refused(names.judged("other.example.com", true).await),
        AddressRule::Loopback
    );
}

/// For what takes a second or two, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_answer_is_used_for_its_time_to_live_and_judged_each_time() {
    let stub = DnsStub::start_lasting(3600, |name, question| match name {
        "absent.example.com" => Reply::NxDomain,
        "inside.example.com" => records(&["10.0.0.1"], question),
        _ => records(&["8.8.8.8"], question),
    })
    .await;
    let names = resolver(&config(&stub, &[], &[]));
    for _ in 0..3 {
        names.judged("hooks.example.com", false).await.unwrap();
        let inside = names.judged("inside.example.com", false).await;
        assert_eq!(refused(inside), AddressRule::Private);
        let absent = names.judged("absent.example.com", false).await;
        assert!(matches!(absent, Err(LookupError::Empty)), "{absent:?}");
    }
    let mut asked = stub.asked(Question::A);
    asked.sort_unstable();
    let once = [
        "absent.example.com",
        "hooks.example.com",
        "inside.example.com",
    ];
    assert_eq!(asked, once);
}

/// Until the name's second answer is heard, how often the server was asked.
async fn asked_until_it_moved(ttl_s: u32, bounds: impl FnOnce(&mut DnsConfig)) -> usize {
    let turn = AtomicUsize::new(0);
    let stub = DnsStub::start_lasting(ttl_s, move |_, question| match question {
        Question::A if turn.fetch_add(1, Ordering::Relaxed) == 0 => records(&["8.8.8.8"], question),
        _ => records(&["10.0.0.1"], question),
    })
    .await;
    let mut config = config(&stub, &[], &[]);
    bounds(&mut config.dns);
    let names = resolver(&config);
    let moved = async {
        while names.judged("moves.example.com", false).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, moved)
        .await
        .expect("the answer outlived its time");
    stub.asked(Question::A).len()
}

#[tokio::test]
async fn a_name_that_moves_inside_is_refused_after_its_time_to_live() {
    assert_eq!(asked_until_it_moved(1, |_| {}).await, 2);
    // However long the server says it holds.
    assert_eq!(asked_until_it_moved(3600, |dns| dns.max_ttl_s = 1).await, 2);
    // However short: asked twice and not at each of some fifty lookups.
    assert_eq!(asked_until_it_moved(0, |dns| dns.min_ttl_s = 1).await, 2);
    // A contradiction is no panic.
    let contradict = |dns: &mut DnsConfig| (dns.min_ttl_s, dns.max_ttl_s) = (60, 1);
    assert_eq!(asked_until_it_moved(3600, contradict).await, 2);
}

#[tokio::test]
async fn that_there_is_no_such_name_is_forgotten_sooner() {
    let turn = AtomicUsize::new(0);
    let stub = DnsStub::start_lasting(3600, move |_, question| match question {
        Question::A if turn.fetch_add(1, Ordering::Relaxed) == 0 => Reply::NxDomain,
        _ => records(&["8.8.8.8"], question),
    })
    .await;
    let mut config = config(&stub, &[], &[]);
    config.dns.max_negative_ttl_s = 1;
    let names = resolver(&config);
    let mended = async {
        while names.judged("mended.example.com", false).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, mended)
        .await
        .expect("the absence outlived its time");
    assert_eq!(stub.asked(Question::A).len(), 2);
}

#[tokio::test]
async fn a_public_address_that_the_operator_lists_is_refused() {
    let stub = DnsStub::start(|name, question| match name {
        "gateway.example.com" => records(&["8.8.8.8"], question),
        _ => records(&["8.8.4.4"], question),
    })
    .await;
    let mut config = config(&stub, &["8.8.8.8/32"], &["gateway.example.com"]);
    config.deny_subnets = vec!["8.8.8.0/24".parse().unwrap()];
    let names = resolver(&config);
    let own = names.judged("gateway.example.com", false).await;
    assert_eq!(refused(own), AddressRule::Denied);
    names.judged("hooks.example.com", false).await.unwrap();
}
