//! The tables of URLs, and what an operator's flags change about them.

use serde::Deserialize;

use super::*;
use crate::outbound::Config;

fn judge_with(config: &Config, url: &str) -> Result<TargetUrl, Refusal> {
    judge(url, &Allow::new(config))
}

fn judged(url: &str) -> Result<TargetUrl, Refusal> {
    judge_with(&Config::default(), url)
}

#[derive(Deserialize)]
struct Row {
    verdict: String,
    url: String,
    reason: String,
}

fn rows() -> Vec<Row> {
    let table = include_str!("../../../../tests/fixtures/ssrf.tsv");
    let cut = |line: &str| {
        let [verdict, url, reason] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        Row {
            verdict: verdict.into(),
            url: url.into(),
            reason: reason.into(),
        }
    };
    let raw = include_str!("../../../../tests/fixtures/ssrf-raw.json");
    let raw: Vec<Row> = serde_json::from_str(raw).unwrap();
    table.lines().skip(1).map(cut).chain(raw).collect()
}

#[test]
fn every_row_is_judged_as_the_tables_say() {
    let rows = rows();
    assert_eq!(rows.len(), 308 + 15);
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let verdict = judged(&row.url);
            let agrees = match row.verdict.as_str() {
                "allow" => verdict.is_ok(),
                "deny" => verdict.is_err(),
                other => panic!("{other}"),
            };
            (!agrees).then(|| format!("{:?} is {verdict:?}: {}", row.url, row.reason))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn whatever_passes_is_read_the_same_once_more() {
    // The tables' URLs with one character changed, left out or put in: nothing panics, and what passes is
    // public and already in the form that is sent.
    let spice = [
        '.', ':', '@', '/', '%', '[', '1', 'x', '-', '#', '?', '。', 'é', '\u{ad}', '0',
    ];
    let mut passed = 0;
    for row in rows().iter().filter(|row| row.url.len() < 100) {
        let chars: Vec<char> = row.url.chars().collect();
        for at in 0..chars.len() {
            let (before, after) = (&chars[..at], &chars[at + 1..]);
            let changed = spice.iter().map(|&c| [before, &[c], after].concat());
            let grown = spice.iter().map(|&c| [before, &[c], &chars[at..]].concat());
            for chars in changed.chain(grown).chain([[before, after].concat()]) {
                let url: String = chars.into_iter().collect();
                let Ok(target) = judged(&url) else { continue };
                assert_eq!(judged(target.as_str()).as_ref(), Ok(&target), "{url:?}");
                let host = target.host();
                let public = match host.parse() {
                    Ok(address) => crate::outbound::address::rule(address).is_none(),
                    Err(_) => crate::outbound::name::rule(&host).is_none(),
                };
                assert!(public, "{url:?} reaches {host}");
                passed += 1;
            }
        }
    }
    assert!(passed > 1000, "{passed}");
}

#[test]
fn what_is_sent_is_normalised() {
    for (given, sent, host) in [
        (
            "HTTPS://EXAMPLE.com/Hook",
            "https://example.com/Hook",
            "example.com",
        ),
        (
            "https://example.com./hook#frag",
            "https://example.com/hook",
            "example.com",
        ),
        (
            "https://example.com:443",
            "https://example.com/",
            "example.com",
        ),
        (
            "https://bücher.de/hook",
            "https://xn--bcher-kva.de/hook",
            "xn--bcher-kva.de",
        ),
        (
            "https://[2606:4700:4700::1111]:8443/",
            "https://[2606:4700:4700::1111]:8443/",
            "2606:4700:4700::1111",
        ),
    ] {
        let target = judged(given).unwrap();
        assert_eq!((target.as_str(), target.host().as_str()), (sent, host));
    }
}

#[test]
fn a_refusal_names_the_rule_and_the_flag() {
    let text = |url: &str| judged(url).unwrap_err().to_string();
    assert_eq!(
        text("http://127.0.0.1/"),
        "the address is blocked (loopback); an operator opens it with --allow-subnet"
    );
    assert_eq!(
        text("http://receiver:8080/"),
        "the host is blocked (a name without a domain); an operator opens it with --allow-host receiver"
    );
    assert_eq!(
        text("http://169.254.169.254/"),
        "the address is blocked (a platform's metadata service); this can not be opened"
    );
}

#[test]
fn flags_open_what_they_name_and_only_in_plain_spelling() {
    let config = Config {
        allow_subnets: vec!["127.0.0.0/8".parse().unwrap()],
        allow_hosts: vec!["receiver".parse().unwrap(), "*.internal".parse().unwrap()],
        ..Config::default()
    };
    for open in [
        "http://127.0.0.1:8080/",
        "http://[::ffff:127.0.0.1]/",
        "http://receiver/",
        "http://db.internal/",
    ] {
        judge_with(&config, open).unwrap();
    }
    for closed in [
        "http://127.1/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "http://other/",
        "http://metadata.google.internal/",
        "http://receiver.lan/",
        "http://127.0.0.1:25/",
    ] {
        judge_with(&config, closed).unwrap_err();
    }
}

#[test]
fn https_only_refuses_http() {
    let config = Config {
        https_only: true,
        ..Config::default()
    };
    assert_eq!(
        judge_with(&config, "http://example.com/"),
        Err(Refusal::HttpsOnly)
    );
    judge_with(&config, "https://example.com/").unwrap();
}

#[test]
fn the_gateways_own_port_is_refused_at_this_machines_addresses() {
    let subnets = vec!["127.0.0.2/32".parse().unwrap()];
    let config = Config {
        own_ports: vec![8080],
        allow_subnets: subnets,
        ..Config::default()
    };
    judge_with(&config, "http://127.0.0.2:8080/").unwrap();
    judge_with(&config, "http://8.8.8.8:8080/").unwrap();
}
