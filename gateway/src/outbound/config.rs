//! The room's settings and what can be wrong with them at start. Plain data.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::allow::HostPattern;
use super::proxy::ProxyUrl;

/// Settings of outgoing connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Subnets that are reachable although they are private (`--allow-subnet CIDR`). Metadata services
    /// stay closed.
    pub allow_subnets: Vec<IpNet>,
    /// Names that are reachable although they are private, with whatever addresses they answer
    /// (`--allow-host PATTERN`: a name, or `*.` and a domain). Metadata services stay closed. Name only
    /// domains whose DNS you control.
    pub allow_hosts: Vec<HostPattern>,
    /// Subnets that are refused although they are public, such as this network's own public addresses.
    pub deny_subnets: Vec<IpNet>,
    /// Refuse `http://`.
    pub https_only: bool,
    /// Longest wait for a TCP connection and its TLS handshake, in milliseconds, after the lookup.
    pub connect_timeout_ms: u64,
    /// Most bytes kept of an answer's body; the rest is not read.
    pub response_bytes: usize,
    /// The `user-agent` of every request.
    pub user_agent: String,
    /// A proxy through which every delivery goes: `http://HOST:PORT` (CONNECT) or `socks5://HOST:PORT`, with
    /// `USER:PASSWORD@` before the host where it wants them; none: straight to the receiver, whatever proxy
    /// variables say. It is asked for addresses that were judged here, never for names.
    pub proxy: Option<ProxyUrl>,
    /// Name lookups.
    pub dns: DnsConfig,
    /// Idle connections.
    pub pool: PoolConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Ports on which the gateway itself listens, refused at this machine's own addresses. Filled in once
    /// they are bound; not a setting.
    #[serde(skip)]
    pub own_ports: Vec<u16>,
}

/// How names are looked up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Servers to ask, `ADDRESS` or `ADDRESS:PORT`; none: those of the system.
    pub servers: Vec<DnsServer>,
    /// Longest wait for an answer, in milliseconds, all tries and servers together.
    pub timeout_ms: u64,
    /// Answers kept for their time to live, in number of answers. Each is judged again whenever it is used.
    pub cache_entries: u64,
    /// Shortest life of a cached answer, in seconds; above 0 it outlives a shorter time to live.
    pub min_ttl_s: u64,
    /// Longest life of a cached answer, in seconds, whatever its time to live.
    pub max_ttl_s: u64,
    /// Longest life of a cached answer that there is no such name or address, in seconds.
    pub max_negative_ttl_s: u64,
    /// Lookups at a time; others wait inside their own timeout. More than the deliveries in flight, so that
    /// names whose servers are silent keep nobody else's waiting.
    pub concurrent_lookups: usize,
}

/// How idle connections are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Idle connections kept per scheme, host and port; 0 keeps none.
    pub idle_per_host: usize,
    /// Idle connections kept in all, those of HTTP/2 included; beyond it the longest idle one is closed.
    pub idle_total: usize,
    /// Close a connection idle for so many milliseconds.
    pub idle_timeout_ms: u64,
}

/// Which certificates are trusted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM files of root certificates to trust beside the platform's.
    pub extra_roots: Vec<PathBuf>,
}

/// A DNS server: `ADDRESS`, or `ADDRESS:PORT` where it is not port 53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsServer(pub SocketAddr);

/// Why the room can not be opened; an operator reads it at start.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// No usable resolver configuration on this system.
    #[error("the system names no DNS servers; set outbound.dns.servers")]
    SystemDns(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The resolver refused its settings.
    #[error("the resolver can not be set up")]
    Resolver(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of extra roots is not PEM, or not readable.
    #[error("no root certificates can be read from {}", path.display())]
    ExtraRoots {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of extra roots holds no certificate.
    #[error("{} holds no certificate", .0.display())]
    NoRoots(PathBuf),
    /// The TLS library refused its settings.
    #[error("TLS can not be set up")]
    Tls(#[source] rustls::Error),
    /// A user agent that no header can hold.
    #[error("outbound.user_agent holds characters that no header may hold")]
    UserAgent(#[source] http::header::InvalidHeaderValue),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow_subnets: Vec::new(),
            allow_hosts: Vec::new(),
            deny_subnets: Vec::new(),
            https_only: false,
            // Chosen: a third of an attempt's 15 s; who has not answered a SYN by then is down.
            connect_timeout_ms: 5_000,
            // Chosen: enough to read an error page's cause; others keep 20 to 128 KiB.
            response_bytes: 16 * 1024,
            user_agent: concat!("hookmill/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
            dns: DnsConfig::default(),
            pool: PoolConfig::default(),
            tls: TlsConfig::default(),
            own_ports: Vec::new(),
        }
    }
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            // Chosen: what stub resolvers wait for one server.
            timeout_ms: 5_000,
            // Chosen: an answer takes about 1 KiB.
            cache_entries: 4_096,
            // Specified: a time to live of 0 means not to cache, RFC 1035 section 3.2.1.
            min_ttl_s: 0,
            // Chosen: a receiver that moves, or a name that is mended, is found again within one step of the
            // retry schedule.
            max_ttl_s: 300,
            max_negative_ttl_s: 30,
            // Chosen: each takes up to two sockets for a moment (A and AAAA), well below common limits.
            concurrent_lookups: 512,
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            // Chosen: above what one endpoint has in flight, so that a busy lane never dials anew.
            idle_per_host: 256,
            // Chosen: half of the smallest limit of open files that is common (4,096).
            idle_total: 2_048,
            // Chosen: below the 60 s after which common proxies close their side.
            idle_timeout_ms: 30_000,
        }
    }
}

impl FromStr for DnsServer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const DNS_PORT: u16 = 53;
        text.parse::<IpAddr>()
            .map(|address| SocketAddr::new(address, DNS_PORT))
            .or_else(|_| text.parse())
            .map(Self)
    }
}

impl TryFrom<String> for DnsServer {
    type Error = std::net::AddrParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DnsServer> for String {
    fn from(server: DnsServer) -> String {
        server.to_string()
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
