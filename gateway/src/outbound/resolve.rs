//! A name into the addresses that may be dialled. One lookup per connection; the whole answer is judged, and
//! one refused address refuses all of it, so that no fallback can reach what the judge would not allow.
//! May ask the DNS servers and the hosts file; must never return an address that was not judged.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::system_conf::read_system_conf;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::allow::Allow;
use super::config::{DnsConfig, DnsServer, OutboundError};
use super::judge::Refusal;

/// Addresses dialled of one answer. Chosen: all of them have been begun with by half of the connect timeout.
const MAX_DIALLED: usize = 8;
/// Tries within the timeout: one lost datagram must not fail an attempt.
const TRIES: u32 = 2;

/// Why a name has no addresses to dial.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("refused")]
    Refused(#[source] Refusal),
    #[error("the name has no addresses")]
    Empty,
    #[error("the lookup failed")]
    Failed(#[source] NetError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Looks names up and judges the answers.
pub(super) struct NameResolver {
    resolver: TokioResolver,
    allow: Arc<Allow>,
    permits: Semaphore,
    limit: Duration,
}

// === impl NameResolver ===

impl NameResolver {
    pub(super) fn new(config: &DnsConfig, allow: Arc<Allow>) -> Result<Self, OutboundError> {
        let limit = Duration::from_millis(config.timeout_ms);
        let (servers, mut options) = if config.servers.is_empty() {
            let (system, options) =
                read_system_conf().map_err(|error| OutboundError::SystemDns(error.into()))?;
            // Without the search list: names are asked for as they stand.
            (
                ResolverConfig::from_name_servers(system.name_servers().to_vec()),
                options,
            )
        } else {
            let servers = config.servers.iter().map(name_server).collect();
            (
                ResolverConfig::from_name_servers(servers),
                ResolverOpts::default(),
            )
        };
        options.timeout = limit / TRIES;
        options.attempts = TRIES as usize - 1;
        options.cache_size = config.cache_entries;
        // The resolver takes no lower bound above the upper one.
        let min_ttl_s = config.min_ttl_s.min(config.max_ttl_s);
        options.positive_min_ttl = Some(Duration::from_secs(min_ttl_s));
        options.positive_max_ttl = Some(Duration::from_secs(config.max_ttl_s));
        options.negative_max_ttl = Some(Duration::from_secs(config.max_negative_ttl_s));
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // Room for both questions of every lookup that the semaphore admits.
        options.max_active_requests = config.concurrent_lookups.saturating_mul(2).max(2);
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(servers, provider)
            .with_options(options)
            .build()
            .map_err(|error| OutboundError::Resolver(error.into()))?;
        let permits = Semaphore::new(config.concurrent_lookups.max(1));
        Ok(Self {
            resolver,
            allow,
            permits,
            limit,
        })
    }

    /// The addresses of `host`, all of them judged. Cancel-safe.
    pub(super) async fn judged(
        &self,
        host: &str,
        refuse_own: bool,
    ) -> Result<Vec<IpAddr>, LookupError> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(rule) = self.allow.name_rule(&host) {
            return Err(LookupError::Refused(Refusal::Name { host, rule }));
        }
        let mut addresses = timeout(self.limit, self.ask(&host))
            .await
            .unwrap_or(Err(LookupError::Timeout(self.limit)))?;
        let host_is_open = self.allow.opens_host(&host);
        for &address in &addresses {
            if let Some(rule) = self.allow.address_rule(address, host_is_open) {
                return Err(LookupError::Refused(Refusal::Answer { host, rule }));
            }
            if refuse_own && self.allow.is_own_address(address, host_is_open) {
                return Err(LookupError::Refused(Refusal::OwnPort));
            }
        }
        addresses.truncate(MAX_DIALLED);
        Ok(addresses)
    }

    async fn ask(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let _permit = self
            .permits
            .acquire()
            .await
            .expect("the semaphore is never closed");
        // Fully qualified, so that no search list can turn it into another name.
        match self.resolver.lookup_ip(format!("{host}.")).await {
            Ok(found) => {
                let addresses: Vec<_> = found.iter().collect();
                if addresses.is_empty() {
                    Err(LookupError::Empty)
                } else {
                    Ok(addresses)
                }
            }
            Err(NetError::Timeout) => Err(LookupError::Timeout(self.limit)),
            Err(error) if error.is_no_records_found() => Err(LookupError::Empty),
            Err(error) => Err(LookupError::Failed(error)),
        }
    }
}

fn name_server(server: &DnsServer) -> NameServerConfig {
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = server.0.port();
        connection
    };
    // TCP beside UDP: a truncated answer is asked for again there.
    let connections = vec![
        on_port(ConnectionConfig::udp()),
        on_port(ConnectionConfig::tcp()),
    ];
    NameServerConfig::new(server.0.ip(), true, connections)
}

#[cfg(test)]
mod tests;
