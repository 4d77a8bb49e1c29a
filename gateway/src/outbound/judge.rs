//! Judges a URL's text: one reading of it that no other parser can differ from, a host that belongs to the
//! public Internet, a port that speaks HTTP. No I/O; a name's addresses are judged when they are known.
//!
//! The text is cut here by the grammar of RFC 3986 and then by the WHATWG parser. What
//! the two read differently is refused, and so is everything that either would have to repair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderValue, Uri};
use url::{Host, Url};

use super::address::AddressRule;
use super::allow::Allow;
use super::name::NameRule;

/// Longest URL in bytes. Chosen: what every receiver's server accepts.
const MAX_URL: usize = 2048;
/// Longest name and label in bytes, RFC 1035 section 2.3.4.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Ports of other protocols, which a POST could be made to talk to: the bad ports of the Fetch standard.
const BLOCKED_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101,
    102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427,
    465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990,
    993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667,
    6668, 6669, 6679, 6697, 10080,
];

/// A URL that has been judged, with what every request to it repeats. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TargetUrl(Arc<Target>);

#[derive(Debug)]
struct Target {
    url: Url,
    origin: Arc<Origin>,
    /// The whole URL, as HTTP/2 is told it.
    uri: Uri,
    /// Path and query, as HTTP/1.1 is told them.
    path: Uri,
    /// Host, and port where it is not the scheme's.
    authority: HeaderValue,
    /// The receiver chose HTTP/1.1 when it was dialled last.
    speaks_http1: AtomicBool,
}

/// Where a URL leads: requests to the same origin may share connections.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) is_secure: bool,
    pub(super) host: Host<String>,
    pub(super) port: u16,
}

/// Why a URL is not delivered to. Its text is for whoever registered the URL: it names the rule, and the
/// flag with which an operator opens it, and never an address that a name answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Refusal {
    #[error("the URL is empty")]
    Empty,
    #[error("the URL is longer than {MAX_URL} bytes")]
    TooLong,
    #[error("the URL holds a space or a control character; percent-encode it")]
    Whitespace,
    #[error("the URL holds a backslash; percent-encode it")]
    Backslash,
    #[error("the URL must start with https:// or http://")]
    Scheme,
    #[error("the URL must start with https://; an operator allows http:// by unsetting https_only")]
    HttpsOnly,
    #[error("the URL names no host")]
    MissingHost,
    #[error("the URL holds credentials before the host; use custom headers")]
    Credentials,
    #[error("the URL's host is not a plain host name or address")]
    Host,
    #[error("the URL's host is a number that is not a dotted IPv4 address")]
    NumericHost,
    #[error("the URL's host has non-ASCII letters that stand for ASCII ones; write the ASCII ones")]
    DisguisedHost,
    #[error("the URL's path or query holds characters that must be percent-encoded")]
    Path,
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
    #[error("port {0} belongs to another protocol and is not delivered to")]
    BlockedPort(u16),
    #[error("the host is blocked ({rule}){}", opener(.rule, .host))]
    Name { host: String, rule: NameRule },
    #[error("the address is blocked ({rule}){}", subnet_opener(.rule))]
    Address { rule: AddressRule },
    #[error("the host is blocked, since it answers an address that is {rule}{}", answer_opener(.rule, .host))]
    Answer { host: String, rule: AddressRule },
    #[error("the target is this gateway's own port; an operator opens it with --allow-subnet")]
    OwnPort,
}

fn opener(rule: &NameRule, host: &str) -> String {
    match rule {
        NameRule::Metadata => "; this can not be opened".to_owned(),
        _ => format!("; an operator opens it with --allow-host {host}"),
    }
}

fn subnet_opener(rule: &AddressRule) -> &'static str {
    if rule.can_be_opened() {
        "; an operator opens it with --allow-subnet"
    } else {
        "; this can not be opened"
    }
}

fn answer_opener(rule: &AddressRule, host: &str) -> String {
    if rule.can_be_opened() {
        format!("; an operator opens it with --allow-subnet, or --allow-host {host}")
    } else {
        "; this can not be opened".to_owned()
    }
}

// === impl TargetUrl ===

impl TargetUrl {
    /// The URL as it is sent: normalised, without fragment and without the host's trailing dot.
    pub fn as_str(&self) -> &str {
        self.0.url.as_str()
    }

    /// The host as it is sent: a lower-case name in ASCII, or an address without brackets.
    pub fn host(&self) -> String {
        match &self.0.origin.host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        }
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.0.origin
    }

    pub(super) fn uri(&self) -> &Uri {
        &self.0.uri
    }

    pub(super) fn path(&self) -> &Uri {
        &self.0.path
    }

    pub(super) fn authority(&self) -> &HeaderValue {
        &self.0.authority
    }

    /// Whether the next connection may turn out to serve many requests at once.
    pub(super) fn may_speak_http2(&self) -> bool {
        self.0.origin.is_secure && !self.0.speaks_http1.load(Ordering::Relaxed)
    }

    pub(super) fn note_http1(&self, speaks_http1: bool) {
        self.0.speaks_http1.store(speaks_http1, Ordering::Relaxed);
    }

    fn new(url: Url, host: Host<String>, port: u16) -> Result<Self, Refusal> {
        // Read once more by RFC 3986, as it is sent: what fails here would fail every attempt.
        let uri: Uri = url.as_str().parse().map_err(|_| Refusal::Path)?;
        let path = uri.path_and_query().cloned().ok_or(Refusal::Path)?;
        let authority = uri.authority().ok_or(Refusal::MissingHost)?.as_str();
        let authority = HeaderValue::from_str(authority).map_err(|_| Refusal::Host)?;
        let is_secure = url.scheme() == "https";
        Ok(Self(Arc::new(Target {
            url,
            origin: Arc::new(Origin {
                is_secure,
                host,
                port,
            }),
            uri,
            path: path.into(),
            authority,
            speaks_http1: AtomicBool::new(false),
        })))
    }
}

impl PartialEq for TargetUrl {
    fn eq(&self, other: &Self) -> bool {
        // Everything else follows from it.
        self.0.url == other.0.url
    }
}

impl Eq for TargetUrl {}

// === impl Origin ===

impl Origin {
    /// The name to look up; none where the host is an address.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

/// Judges a URL's text. What it returns may be dialled if it is an address, and looked up if it is a name.
pub(super) fn judge(text: &str, allow: &Allow) -> Result<TargetUrl, Refusal> {
    let (host, port) = split_port(authority(text, allow)?)?;
    let mut url = Url::parse(text).map_err(|_| Refusal::Host)?;
    let host = judge_host(host, &url)?;
    let port = judge_port(port, &url)?;
    url.set_fragment(None);
    if let Host::Domain(name) = &host {
        // Without the trailing dot: that is the name in certificates and in virtual hosts.
        url.set_host(Some(name)).map_err(|_| Refusal::Host)?;
    }
    let target = TargetUrl::new(url, host, port)?;
    judge_place(&target, allow)?;
    Ok(target)
}

/// Judges where a target lies: its name, or its address where it has no name. Also run before every send,
/// because nobody is asked about an address.
pub(super) fn judge_place(target: &TargetUrl, allow: &Allow) -> Result<(), Refusal> {
    let origin = &target.0.origin;
    let address = match &origin.host {
        Host::Domain(name) => {
            return match allow.name_rule(name) {
                Some(rule) => Err(Refusal::Name {
                    host: name.clone(),
                    rule,
                }),
                None => Ok(()),
            };
        }
        Host::Ipv4(address) => IpAddr::V4(*address),
        Host::Ipv6(address) => IpAddr::V6(*address),
    };
    if let Some(rule) = allow.address_rule(address, false) {
        return Err(Refusal::Address { rule });
    }
    if allow.is_own_port(origin.port) && allow.is_own_address(address, false) {
        return Err(Refusal::OwnPort);
    }
    Ok(())
}

/// What stands between `//` and the first `/`, `?` or `#`, where the text needs no repair up to there.
fn authority<'a>(text: &'a str, allow: &Allow) -> Result<&'a str, Refusal> {
    if text.is_empty() {
        return Err(Refusal::Empty);
    }
    if text.len() > MAX_URL {
        return Err(Refusal::TooLong);
    }
    // Parsers strip, trim or stop at these, each in its own way.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::Whitespace);
    }
    if text.contains('\\') {
        return Err(Refusal::Backslash);
    }
    let (scheme, rest) = text.split_once("://").ok_or(Refusal::Scheme)?;
    let secure = scheme.eq_ignore_ascii_case("https");
    if !secure && !scheme.eq_ignore_ascii_case("http") {
        return Err(Refusal::Scheme);
    }
    if !secure && allow.https_only {
        return Err(Refusal::HttpsOnly);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    if authority.contains('@') {
        return Err(Refusal::Credentials);
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err(Refusal::MissingHost);
    }
    Ok(authority)
}

/// Host and port; an empty port means the default (RFC 3986 section 3.2.3).
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Refusal> {
    let (host, rest) = if authority.starts_with('[') {
        let end = authority.find(']').ok_or(Refusal::Host)?;
        authority.split_at(end + 1)
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    let digits = match rest.strip_prefix(':') {
        Some("") => return Ok((host, None)),
        Some(digits) => digits,
        None if rest.is_empty() => return Ok((host, None)),
        None => return Err(Refusal::Host),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Port);
    }
    let port = digits.parse().map_err(|_| Refusal::Port)?;
    if port == 0 {
        Err(Refusal::Port)
    } else {
        Ok((host, Some(port)))
    }
}

fn judge_port(given: Option<u16>, url: &Url) -> Result<u16, Refusal> {
    let read = url.port_or_known_default().ok_or(Refusal::Port)?;
    if given.is_some_and(|port| port != read) {
        return Err(Refusal::Port);
    }
    if BLOCKED_PORTS.contains(&read) {
        Err(Refusal::BlockedPort(read))
    } else {
        Ok(read)
    }
}

/// The host by its text, where the other parser reads the same.
fn judge_host(text: &str, url: &Url) -> Result<Host<String>, Refusal> {
    let read = url.host().ok_or(Refusal::MissingHost)?;
    if let Some(inner) = text.strip_prefix('[') {
        // Neither zones nor IPvFuture nor IPv4 in brackets.
        let address: Option<Ipv6Addr> = inner.strip_suffix(']').and_then(|text| text.parse().ok());
        return match (address, read) {
            (Some(address), Host::Ipv6(same)) if address == same => Ok(Host::Ipv6(address)),
            _ => Err(Refusal::Host),
        };
    }
    let last_label = text
        .strip_suffix('.')
        .unwrap_or(text)
        .rsplit('.')
        .next()
        .unwrap_or(text);
    if is_number(last_label) || matches!(read, Host::Ipv4(_)) {
        // Only dotted quads in decimal without leading zeros, which every parser reads alike.
        return match (text.parse::<Ipv4Addr>(), read) {
            (Ok(address), Host::Ipv4(same)) if address == same => Ok(Host::Ipv4(address)),
            _ => Err(Refusal::NumericHost),
        };
    }
    match read {
        Host::Domain(name) => judge_name(text, name).map(Host::Domain),
        Host::Ipv4(_) | Host::Ipv6(_) => Err(Refusal::Host),
    }
}

/// The WHATWG test for "ends in a number": such a host must be IPv4.
fn is_number(label: &str) -> bool {
    let hex = label
        .strip_prefix("0x")
        .or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The name in lower case ASCII without its trailing dot. `mapped` is what IDNA made of `text`.
fn judge_name(text: &str, mapped: &str) -> Result<String, Refusal> {
    let (text, mapped) = match (text.strip_suffix('.'), mapped.strip_suffix('.')) {
        (Some(text), Some(mapped)) => (text, mapped),
        (None, None) => (text, mapped),
        _ => return Err(Refusal::DisguisedHost),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label_fits =
        |label: &str| !label.is_empty() && label.len() <= MAX_LABEL && label.bytes().all(plain);
    if mapped.len() > MAX_NAME || !mapped.split('.').all(label_fits) {
        return Err(Refusal::Host);
    }
    // Label by label: ASCII stays what it is, anything else must need punycode. Otherwise a name that is
    // shown as one thing and dialled as another would pass (full-width letters, soft hyphens, other dots).
    if text.split('.').count() != mapped.split('.').count() {
        return Err(Refusal::DisguisedHost);
    }
    let honest = text
        .split('.')
        .zip(mapped.split('.'))
        .all(|(given, mapped)| {
            if given.is_ascii() {
                given.eq_ignore_ascii_case(mapped)
            } else {
                mapped.starts_with("xn--")
            }
        });
    if honest {
        Ok(mapped.to_owned())
    } else {
        Err(Refusal::DisguisedHost)
    }
}

#[cfg(test)]
mod tests;
