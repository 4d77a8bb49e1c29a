//! The egress proxy, where the operator names one: it is asked for an address that has been judged, never for
//! a name, so that nothing is reached through it that would not be dialled without it. The proxy itself is the
//! operator's and is not judged.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::future::try_join;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};
use zeroize::Zeroizing;

/// `http://HOST:PORT` (CONNECT) or `socks5://HOST:PORT`, with `USER:PASSWORD@` before the host where the proxy
/// wants them. Shows without them.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyUrl {
    protocol: Protocol,
    host: Host,
    port: u16,
    credentials: Option<Arc<Credentials>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Connect,
    Socks5,
}

struct Credentials {
    user: String,
    password: Zeroizing<String>,
}

/// Why a text names no proxy; never shows it, since it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the egress proxy is not of the form http://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before the host where it wants them (percent-encoded, up to 255 bytes each)"
)]
pub struct ProxyUrlError;

/// Why there is no way through the proxy.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    /// It works, and can not connect to the receiver.
    #[error("the egress proxy does not reach the receiver: {0}")]
    Target(String),
    #[error("it can not be reached")]
    NotReached(#[source] io::Error),
    #[error("it does not answer")]
    Silent,
    #[error("it ended the connection")]
    Ended(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("it does not take the credentials")]
    Credentials,
    #[error("it refused: {0}")]
    Refused(String),
}

/// Longest user and password in bytes. Specified: RFC 1929.
const MAX_CREDENTIAL: usize = 255;
/// Port of a proxy that names none: 3128 is common for CONNECT, 1080 is assigned to SOCKS.
const CONNECT_PORT: u16 = 3128;
const SOCKS_PORT: u16 = 1080;

impl ProxyUrl {
    /// A stream to the first of these addresses that the proxy reaches. Waits up to `limit` for the proxy
    /// itself.
    pub(super) async fn reach(
        &self,
        addresses: &[SocketAddr],
        limit: Duration,
    ) -> Result<TcpStream, ProxyError> {
        let mut failure = None;
        for &address in addresses {
            let stream = timeout(limit, self.connect())
                .await
                .map_err(|_| ProxyError::Silent)?
                .map_err(ProxyError::NotReached)?;
            let asked = match self.protocol {
                Protocol::Connect => self.ask_http(stream, address).await,
                Protocol::Socks5 => self.ask_socks(stream, address).await,
            };
            match asked {
                // The first one's says most.
                Err(error @ ProxyError::Target(_)) => {
                    failure.get_or_insert(error);
                }
                other => return other,
            }
        }
        Err(failure.unwrap_or_else(|| ProxyError::Target("no address".to_owned())))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = match &self.host {
            // As the operator's own system knows it, search list and all.
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await?,
            Host::Ipv4(address) => TcpStream::connect((*address, self.port)).await?,
            Host::Ipv6(address) => TcpStream::connect((*address, self.port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// CONNECT, RFC 9110 section 9.3.6.
    async fn ask_http(
        &self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> Result<TcpStream, ProxyError> {
        let request = self.connect_request(address)?;
        let ended = |error: hyper::Error| ProxyError::Ended(error.into());
        let (mut sender, wire) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(ended)?;
        // Without its sender a connection that became no tunnel ends.
        let answer = async move {
            let answer = sender.send_request(request).await;
            answer.map(|answer| answer.status())
        };
        let (status, parts) = try_join(answer, wire.without_shutdown())
            .await
            .map_err(ended)?;
        match status {
            // Whoever is behind it must not speak first.
            _ if status.is_success() && parts.read_buf.is_empty() => Ok(parts.io.into_inner()),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Err(ProxyError::Credentials),
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(ProxyError::Target(status.to_string())),
            _ => Err(ProxyError::Refused(status.to_string())),
        }
    }

    fn connect_request(&self, address: SocketAddr) -> Result<Request<Empty<Bytes>>, ProxyError> {
        let unfit = |error: http::Error| ProxyError::Refused(error.to_string());
        let authority = address.to_string();
        let uri = Uri::builder()
            .authority(authority.as_str())
            .build()
            .map_err(unfit)?;
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(uri)
            .header(HOST, authority)
            .body(Empty::new())
            .map_err(unfit)?;
        if let Some(Credentials { user, password }) = self.credentials.as_deref() {
            let pair = Zeroizing::new(format!("{user}:{}", password.as_str()));
            let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
            let mut value = HeaderValue::from_str(&basic).map_err(|_| ProxyError::Credentials)?;
            value.set_sensitive(true);
            request.headers_mut().insert(PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// SOCKS5, RFC 1928, with user and password of RFC 1929.
    async fn ask_socks(
        &self,
        mut stream: TcpStream,
        address: SocketAddr,
    ) -> Result<TcpStream, ProxyError> {
        let replied = match self.greet(&mut stream).await.map_err(ended)? {
            true => request_socks(&mut stream, address).await.map_err(ended)?,
            false => return Err(ProxyError::Credentials),
        };
        match replied {
            0 => Ok(stream),
            2 => Err(ProxyError::Refused("its rules forbid it".to_owned())),
            3 => Err(ProxyError::Target("network unreachable".to_owned())),
            4 => Err(ProxyError::Target("host unreachable".to_owned())),
            5 => Err(ProxyError::Target("connection refused".to_owned())),
            6 => Err(ProxyError::Target("too many hops".to_owned())),
            other => Err(ProxyError::Refused(format!("SOCKS reply {other}"))),
        }
    }

    /// Offers one method and goes through it; false where the proxy does not accept it.
    async fn greet(&self, stream: &mut TcpStream) -> io::Result<bool> {
        const NONE: u8 = 0;
        const PASSWORD: u8 = 2;
        let method = if self.credentials.is_some() {
            PASSWORD
        } else {
            NONE
        };
        stream.write_all(&[SOCKS_VERSION, 1, method]).await?;
        match read_socks::<2>(stream).await? {
            [SOCKS_VERSION, accepted] if accepted == method => {}
            [SOCKS_VERSION, _] => return Ok(false),
            [..] => return Err(not_socks()),
        }
        let Some(Credentials { user, password }) = self.credentials.as_deref() else {
            return Ok(true);
        };
        // Their lengths were held to a byte when they were read.
        let mut message = Zeroizing::new(vec![1]);
        for text in [user.as_str(), password.as_str()] {
            message.push(u8::try_from(text.len()).map_err(io::Error::other)?);
            message.extend_from_slice(text.as_bytes());
        }
        stream.write_all(&message).await?;
        Ok(read_socks::<2>(stream).await?[1] == 0)
    }
}

const SOCKS_VERSION: u8 = 5;
const SOCKS_IPV4: u8 = 1;
const SOCKS_NAME: u8 = 3;
const SOCKS_IPV6: u8 = 4;

/// Asks for a connection and gives the reply's code.
async fn request_socks(stream: &mut TcpStream, address: SocketAddr) -> io::Result<u8> {
    const CONNECT: u8 = 1;
    let mut message = vec![SOCKS_VERSION, CONNECT, 0];
    match address {
        SocketAddr::V4(address) => {
            message.push(SOCKS_IPV4);
            message.extend_from_slice(&address.ip().octets());
        }
        SocketAddr::V6(address) => {
            message.push(SOCKS_IPV6);
            message.extend_from_slice(&address.ip().octets());
        }
    }
    message.extend_from_slice(&address.port().to_be_bytes());
    stream.write_all(&message).await?;
    let [_, reply, _, kind] = read_socks::<4>(stream).await?;
    // The address that the proxy connects from is of no interest, but stands before what follows.
    let from = match kind {
        SOCKS_IPV4 => 4,
        SOCKS_IPV6 => 16,
        SOCKS_NAME => usize::from(stream.read_u8().await?),
        _ => return Err(not_socks()),
    };
    let mut rest = vec![0; from + size_of::<u16>()];
    stream.read_exact(&mut rest).await?;
    Ok(reply)
}

async fn read_socks<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut message = [0; N];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

fn not_socks() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not speak SOCKS5")
}

fn ended(error: io::Error) -> ProxyError {
    ProxyError::Ended(error.into())
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let url = Url::parse(text).map_err(|_| ProxyUrlError)?;
        let (protocol, port) = match url.scheme() {
            "http" => (Protocol::Connect, CONNECT_PORT),
            "socks5" => (Protocol::Socks5, SOCKS_PORT),
            _ => return Err(ProxyUrlError),
        };
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if !is_bare || url.fragment().is_some() {
            return Err(ProxyUrlError);
        }
        let host = match url.host().ok_or(ProxyUrlError)? {
            // Of schemes that it does not know, the parser reads no addresses.
            Host::Domain(name) => Host::parse(name).map_err(|_| ProxyUrlError)?,
            address => address.to_owned(),
        };
        Ok(Self {
            protocol,
            host,
            port: explicit_port(text, &url).unwrap_or(port),
            credentials: credentials(&url)?.map(Arc::new),
        })
    }
}

/// The parser drops a port that is the scheme's own: `http://proxy:80` names port 80 nevertheless.
fn explicit_port(text: &str, url: &Url) -> Option<u16> {
    const HTTP_PORT: u16 = 80;
    let names_http_port = || text.trim_end_matches('/').ends_with(":80");
    url.port()
        .or_else(|| names_http_port().then_some(HTTP_PORT))
}

fn credentials(url: &Url) -> Result<Option<Credentials>, ProxyUrlError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text: &str| match percent_decode_str(text).decode_utf8() {
        Ok(text) if (1..=MAX_CREDENTIAL).contains(&text.len()) => Ok(text.into_owned()),
        _ => Err(ProxyUrlError),
    };
    let user = decode(url.username())?;
    let password = Zeroizing::new(decode(url.password().unwrap_or_default())?);
    // RFC 7617 ends the user at the first colon.
    if user.contains(':') {
        return Err(ProxyUrlError);
    }
    Ok(Some(Credentials { user, password }))
}

impl TryFrom<String> for ProxyUrl {
    type Error = ProxyUrlError;

    fn try_from(text: String) -> Result<Self, ProxyUrlError> {
        Zeroizing::new(text).parse()
    }
}

impl From<ProxyUrl> for String {
    fn from(url: ProxyUrl) -> String {
        url.to_string()
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Connect => "http",
            Protocol::Socks5 => "socks5",
        };
        let hidden = if self.credentials.is_some() {
            "[redacted]@"
        } else {
            ""
        };
        write!(f, "{scheme}://{hidden}{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
