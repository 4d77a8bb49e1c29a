//! From a judged URL to a connection that speaks HTTP: resolve, judge every address, dial exactly those, or
//! have the egress proxy dial them, then TLS to the name. Obeys no proxy variable.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use url::Host;

use super::allow::Allow;
use super::config::{Config, OutboundError};
use super::connection::Connection;
use super::failure::SendError;
use super::judge::Origin;
use super::proxy::ProxyUrl;
use super::resolve::NameResolver;
use super::tls;

/// How long one address may be tried before the next is beside it. Specified: RFC 8305 section 5.
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes connections. All of them share one resolver, one TLS configuration and its cache of sessions.
pub(super) struct Dialer {
    names: Arc<NameResolver>,
    allow: Arc<Allow>,
    tls: TlsConnector,
    proxy: Option<ProxyUrl>,
    /// For connection and handshake, after the lookup.
    limit: Duration,
}

impl Dialer {
    pub(super) fn new(
        config: &Config,
        names: Arc<NameResolver>,
        allow: Arc<Allow>,
    ) -> Result<Self, OutboundError> {
        Ok(Self {
            names,
            allow,
            tls: TlsConnector::from(Arc::new(tls::client_config(&config.tls)?)),
            proxy: config.proxy.clone(),
            limit: Duration::from_millis(config.connect_timeout_ms),
        })
    }

    /// Makes a connection. An address in the URL itself has been judged with it. Cancel-safe.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Connection, SendError> {
        let addresses = match &origin.host {
            Host::Domain(name) => {
                let refuse_own = self.allow.is_own_port(origin.port);
                self.names
                    .judged(name, refuse_own)
                    .await
                    .map_err(SendError::of_lookup)?
            }
            Host::Ipv4(address) => vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        };
        let addresses = in_turn(&addresses, origin.port);
        timeout(self.limit, self.open(origin, &addresses))
            .await
            .unwrap_or_else(|_| Err(SendError::Connect(Box::new(NotInTime(self.limit)))))
    }

    async fn open(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
    ) -> Result<Connection, SendError> {
        let stream = match &self.proxy {
            None => race(addresses).await.map_err(SendError::of_dial)?,
            Some(proxy) => proxy
                .reach(addresses, self.limit / 2)
                .await
                .map_err(SendError::of_proxy)?,
        };
        if !origin.is_secure {
            return speak(stream, None).await;
        }
        let name = match &origin.host {
            Host::Domain(name) => {
                ServerName::try_from(name.clone()).map_err(|error| SendError::Tls(error.into()))?
            }
            Host::Ipv4(address) => ServerName::from(IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::V6(*address)),
        };
        speak(stream, Some((&self.tls, name))).await
    }
}

/// Begins to speak HTTP over an open stream, through TLS to the name where one is given. HTTP/2 only where
/// TLS has agreed on it.
pub(super) async fn speak(
    stream: TcpStream,
    secured: Option<(&TlsConnector, ServerName<'static>)>,
) -> Result<Connection, SendError> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection is slower than it could be");
    }
    speak_over(stream, secured).await
}

/// The same over a stream of any kind.
pub(super) async fn speak_over<S>(
    stream: S,
    secured: Option<(&TlsConnector, ServerName<'static>)>,
) -> Result<Connection, SendError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let opened = match secured {
        None => Connection::over(stream, false).await,
        Some((tls, name)) => {
            let shaken = tls.connect(name, stream).await;
            let stream = shaken.map_err(SendError::of_handshake)?;
            let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
            Connection::over(stream, speaks_http2).await
        }
    };
    opened.map_err(SendError::of_http)
}

#[derive(Debug, thiserror::Error)]
#[error("not connected within {0:?}")]
struct NotInTime(Duration);

/// The addresses with their families in turn (RFC 8305 section 4), so that one that leads nowhere costs a
/// head start and not one for each of its addresses.
fn in_turn(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let first_is_ipv4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let family = |is_first: bool| {
        addresses
            .iter()
            .filter(move |address| (address.is_ipv4() == first_is_ipv4) == is_first)
    };
    let (mut first, mut second) = (family(true), family(false));
    let mut ordered = Vec::with_capacity(addresses.len());
    while ordered.len() < addresses.len() {
        let pair = first.next().into_iter().chain(second.next());
        ordered.extend(pair.map(|&address| SocketAddr::new(address, port)));
    }
    ordered
}

/// Dials until one answers: the next as soon as one fails, or beside it after a head start.
async fn race(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut dialling = FuturesUnordered::new();
    let mut failure = None;
    loop {
        if let Some(&address) = waiting.next() {
            dialling.push(TcpStream::connect(address));
        }
        tokio::select! {
            dialled = dialling.next() => match dialled {
                Some(Ok(stream)) => return Ok(stream),
                // The first one's says most.
                Some(Err(error)) => {
                    failure.get_or_insert(error);
                }
                None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_from_the_first_ones() {
        let ordered = |texts: &[&str]| {
            let addresses: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
            let ordered = in_turn(&addresses, 1);
            ordered
                .iter()
                .map(|address| address.ip().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            ordered(&["8.8.8.8", "8.8.4.4", "1.1.1.1", "2001::1", "2001::2"]),
            ["8.8.8.8", "2001::1", "8.8.4.4", "2001::2", "1.1.1.1"]
        );
        assert_eq!(ordered(&["2001::1", "8.8.8.8"]), ["2001::1", "8.8.8.8"]);
        assert!(ordered(&[]).is_empty());
    }
}
