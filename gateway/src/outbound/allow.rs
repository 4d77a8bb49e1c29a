//! What the operator opens and closes: subnets, host names, the gateway's own ports. Pure but for one
//! question to the kernel, whether an address is this machine's own. Metadata services stay closed.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::address::{self, AddressRule};
use super::config::Config;
use super::name::{self, NameRule};

/// A host name, or `*.` and a domain for every name below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern {
    /// Lower case, without a trailing dot.
    domain: String,
    below: bool,
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host name, nor `*.` and a domain such as `*.internal`")]
pub struct HostPatternError(String);

/// The operator's choices as the judges read them.
#[derive(Debug)]
pub(super) struct Allow {
    subnets: Vec<IpNet>,
    denied: Vec<IpNet>,
    hosts: Vec<HostPattern>,
    own_ports: Vec<u16>,
    pub(super) https_only: bool,
}

// === impl HostPattern ===

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match host.strip_suffix(self.domain.as_str()) {
            Some("") => !self.below,
            Some(rest) => self.below && rest.ends_with('.'),
            None => false,
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        let (below, domain) = match text.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, text),
        };
        let domain = domain
            .strip_suffix('.')
            .unwrap_or(domain)
            .to_ascii_lowercase();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let label_fits = |label: &str| !label.is_empty() && label.bytes().all(fits);
        if !domain.split('.').all(label_fits) || domain.parse::<IpAddr>().is_ok() {
            return Err(HostPatternError(text.to_owned()));
        }
        Ok(Self { domain, below })
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostPatternError;

    fn try_from(text: String) -> Result<Self, HostPatternError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.domain)
    }
}

// === impl Allow ===

impl Allow {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            subnets: config
                .allow_subnets
                .iter()
                .copied()
                .map(canonical_net)
                .collect(),
            denied: config
                .deny_subnets
                .iter()
                .copied()
                .map(canonical_net)
                .collect(),
            hosts: config.allow_hosts.clone(),
            own_ports: config.own_ports.clone(),
            https_only: config.https_only,
        }
    }

    /// Whether the operator names this host (lower case, no trailing dot).
    pub(super) fn opens_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }

    /// The rule against a name that no `--allow-host` opens.
    pub(super) fn name_rule(&self, host: &str) -> Option<NameRule> {
        match name::rule(host)? {
            NameRule::Metadata => Some(NameRule::Metadata),
            _ if self.opens_host(host) => None,
            rule => Some(rule),
        }
    }

    /// The rule against an address. `host_is_open`: it is the answer for a name that `--allow-host` opens,
    /// which opens what the name answers as well, so that one flag is enough for a container's name.
    pub(super) fn address_rule(&self, address: IpAddr, host_is_open: bool) -> Option<AddressRule> {
        let address = address::canonical(address);
        let holds = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        if holds(&self.denied) {
            return Some(AddressRule::Denied);
        }
        let rule = address::rule(address)?;
        if !rule.can_be_opened() || !(host_is_open || holds(&self.subnets)) {
            return Some(rule);
        }
        // An open translation prefix must not open what lies behind it.
        let inner = address::embedded(address)?;
        self.address_rule(IpAddr::V4(inner), false)
    }

    /// Whether this is a port that the gateway itself listens on.
    pub(super) fn is_own_port(&self, port: u16) -> bool {
        self.own_ports.contains(&port)
    }

    /// Whether `address` is this machine's own, and not one that the operator opened: a delivery to the
    /// gateway's own port there would be a loop, or a tenant talking to the gateway from inside.
    pub(super) fn is_own_address(&self, address: IpAddr, host_is_open: bool) -> bool {
        let address = address::canonical(address);
        let opened = host_is_open || self.subnets.iter().any(|net| net.contains(&address));
        // The kernel binds only what is its own, which needs no list of interfaces kept up to date.
        !opened && UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
    }
}

/// `::ffff:10.0.0.0/104` means 10.0.0.0/8, because mapped addresses are judged as IPv4.
fn canonical_net(net: IpNet) -> IpNet {
    if let IpNet::V6(v6) = net
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Some(length) = v6.prefix_len().checked_sub(96)
        && let Ok(v4) = Ipv4Net::new(v4, length)
    {
        return IpNet::V4(v4);
    }
    net
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(subnets: &[&str], hosts: &[&str]) -> Allow {
        Allow::new(&Config {
            allow_subnets: subnets.iter().map(|text| text.parse().unwrap()).collect(),
            allow_hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Config::default()
        })
    }

    #[test]
    fn patterns_match_on_label_boundaries() {
        let below: HostPattern = "*.Internal.".parse().unwrap();
        assert!(below.matches("db.internal") && below.matches("a.db.internal"));
        assert!(!below.matches("internal") && !below.matches("myinternal"));
        let exact: HostPattern = "receiver".parse().unwrap();
        assert!(exact.matches("receiver") && !exact.matches("a.receiver"));
        for wrong in ["", "*", "*.", "a..b", "a*.b", "10.0.0.1", "http://a", "a b"] {
            wrong.parse::<HostPattern>().unwrap_err();
        }
        assert_eq!(below.to_string(), "*.internal");
    }

    #[test]
    fn an_open_subnet_holds_mapped_addresses_and_nothing_beside_it() {
        let allow = allow(&["10.1.2.0/24", "::ffff:10.9.0.0/112"], &[]);
        let rule = |text: &str| allow.address_rule(text.parse().unwrap(), false);
        assert_eq!(rule("10.1.2.3"), None);
        assert_eq!(rule("::ffff:10.1.2.3"), None);
        assert_eq!(rule("10.9.1.1"), None);
        assert_eq!(rule("10.1.3.3"), Some(AddressRule::Private));
    }

    #[test]
    fn metadata_stays_closed() {
        let allow = allow(
            &["0.0.0.0/0", "::/0"],
            &["*.internal", "metadata", "*.goog"],
        );
        for address in [
            "169.254.169.254",
            "fd00:ec2::254",
            "168.63.129.16",
            "64:ff9b::a9fe:a9fe",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(
                allow.address_rule(address, true),
                Some(AddressRule::Metadata),
                "{address}"
            );
        }
        for name in ["metadata", "metadata.google.internal", "metadata.goog"] {
            assert_eq!(allow.name_rule(name), Some(NameRule::Metadata), "{name}");
        }
        assert_eq!(allow.name_rule("db.internal"), None);
        assert_eq!(allow.address_rule("10.0.0.1".parse().unwrap(), false), None);
    }

    #[test]
    fn an_open_translation_prefix_opens_only_public_addresses_behind_it() {
        let allow = allow(&["64:ff9b::/96"], &[]);
        let rule = |text: &str| allow.address_rule(text.parse().unwrap(), false);
        assert_eq!(rule("64:ff9b::8.8.8.8"), None);
        assert_eq!(rule("64:ff9b::10.0.0.1"), Some(AddressRule::Private));
    }

    #[test]
    fn this_machines_addresses_are_known() {
        let closed = allow(&[], &[]);
        assert!(closed.is_own_address("127.0.0.1".parse().unwrap(), false));
        assert!(!closed.is_own_address("192.0.2.1".parse().unwrap(), false));
        let open = allow(&["127.0.0.0/8"], &[]);
        assert!(!open.is_own_address("127.0.0.1".parse().unwrap(), false));
    }
}
