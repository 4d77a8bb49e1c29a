//! Why no answer came, read out of an error's chain of causes, and whether a second
//! try may follow. Pure.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::judge::Refusal;
use super::proxy::ProxyError;
use super::resolve::LookupError;

/// Longest detail in characters. A certificate can list names by the thousand.
const MAX_DETAIL: usize = 500;

/// The kinds of failure without an answer; what attempts, logs and metrics call them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The guard refused the target.
    BlockedAddress,
    /// The name has no addresses, or its servers failed.
    Dns,
    /// The name's servers did not answer in time.
    DnsTimeout,
    /// Refused, unreachable, or not connected in time.
    Connect,
    /// The operator's egress proxy failed, which is no fault of the receiver's.
    Proxy,
    /// The TLS handshake failed.
    Tls,
    /// No full response head by the deadline.
    Timeout,
    /// The connection ended before a full response head.
    Reset,
    /// What came back is not an HTTP response.
    InvalidResponse,
    /// This machine has no descriptor, port or memory left: the receiver was not asked.
    OutOfMeans,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection was made.
    #[error("blocked")]
    BlockedAddress(#[source] Refusal),
    /// NXDOMAIN, SERVFAIL, no addresses.
    #[error("the host has no usable DNS answer")]
    Dns(#[source] Box<dyn Error + Send + Sync>),
    /// No DNS answer in time.
    #[error("the DNS lookup of the host timed out")]
    DnsTimeout,
    /// Refused, unreachable, or not connected in time.
    #[error("no connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// The operator's egress proxy is down, or does not do what it was asked.
    #[error("no way through the egress proxy")]
    Proxy(#[source] Box<dyn Error + Send + Sync>),
    /// Certificate or protocol; never tried again without verification.
    #[error("TLS failed")]
    Tls(#[source] Box<dyn Error + Send + Sync>),
    /// No full response head by the deadline.
    #[error("no response in time")]
    Timeout,
    /// The connection ended before a full response head.
    #[error("the connection ended before a response")]
    Reset(#[source] Box<dyn Error + Send + Sync>),
    /// Not an HTTP response.
    #[error("the response is not valid HTTP")]
    InvalidResponse(#[source] Box<dyn Error + Send + Sync>),
    /// No descriptor, port or memory left on this machine.
    #[error("out of means")]
    OutOfMeans(#[source] Box<dyn Error + Send + Sync>),
}

// === impl ErrorKind ===

impl ErrorKind {
    /// Its name in attempts, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorKind::BlockedAddress => "blocked_address",
            ErrorKind::Dns => "dns",
            ErrorKind::DnsTimeout => "dns_timeout",
            ErrorKind::Connect => "connect",
            ErrorKind::Proxy => "proxy",
            ErrorKind::Tls => "tls",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Reset => "reset",
            ErrorKind::InvalidResponse => "invalid_response",
            ErrorKind::OutOfMeans => "out_of_means",
        }
    }
}

// === impl SendError ===

impl SendError {
    /// Which kind it is.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            SendError::BlockedAddress(_) => ErrorKind::BlockedAddress,
            SendError::Dns(_) => ErrorKind::Dns,
            SendError::DnsTimeout => ErrorKind::DnsTimeout,
            SendError::Connect(_) => ErrorKind::Connect,
            SendError::Proxy(_) => ErrorKind::Proxy,
            SendError::Tls(_) => ErrorKind::Tls,
            SendError::Timeout => ErrorKind::Timeout,
            SendError::Reset(_) => ErrorKind::Reset,
            SendError::InvalidResponse(_) => ErrorKind::InvalidResponse,
            SendError::OutOfMeans(_) => ErrorKind::OutOfMeans,
        }
    }

    /// One line for the tenant: what failed and the innermost cause. Holds no address that the tenant did
    /// not write itself, because what was refused is never dialled and the causes name no peer.
    pub fn detail(&self) -> String {
        let mut innermost = None;
        let mut next = self.source();
        while let Some(cause) = next {
            innermost = Some(cause);
            next = cause.source();
        }
        let detail = match innermost {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        };
        match detail.char_indices().nth(MAX_DETAIL) {
            Some((end, _)) => format!("{}…", &detail[..end]),
            None => detail,
        }
    }

    /// Of a lookup.
    pub(super) fn of_lookup(error: LookupError) -> Self {
        match error {
            LookupError::Refused(refusal) => SendError::BlockedAddress(refusal),
            LookupError::Timeout(_) => SendError::DnsTimeout,
            _ if find::<io::Error>(&error).is_some_and(out_of_means) => {
                SendError::OutOfMeans(error.into())
            }
            LookupError::Empty | LookupError::Failed(_) => SendError::Dns(error.into()),
        }
    }

    /// Of a dial that no connection came of.
    pub(super) fn of_dial(error: io::Error) -> Self {
        if out_of_means(&error) {
            SendError::OutOfMeans(error.into())
        } else {
            SendError::Connect(error.into())
        }
    }

    /// Of the way through the egress proxy.
    pub(super) fn of_proxy(error: ProxyError) -> Self {
        match error {
            ProxyError::Target(_) => SendError::Connect(error.into()),
            ProxyError::NotReached(io) if out_of_means(&io) => SendError::OutOfMeans(io.into()),
            _ => SendError::Proxy(error.into()),
        }
    }

    /// Of a TLS handshake. A connection that merely ended in it never was one.
    pub(super) fn of_handshake(error: io::Error) -> Self {
        if find::<rustls::Error>(&error).is_some() {
            SendError::Tls(error.into())
        } else {
            SendError::Connect(error.into())
        }
    }

    /// Of an open connection.
    pub(super) fn of_http(error: hyper::Error) -> Self {
        if find::<rustls::Error>(&error).is_some() {
            // A server may refuse a handshake after its end.
            SendError::Tls(error.into())
        } else if error.is_parse() {
            SendError::InvalidResponse(error.into())
        } else {
            SendError::Reset(error.into())
        }
    }
}

/// What may follow a request that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecondTry {
    /// Nothing: the receiver had it, or may have had it.
    None,
    /// The receiver did not look at it and says so.
    AnyConnection,
    /// The connection is of no more use, and the receiver did not look at the request, or is not likely to
    /// have: a second try does no harm, since the message's id makes it known.
    FreshConnection,
}

impl SecondTry {
    /// By the table of transport outcomes. `was_reused`: the connection had been open before, and may have
    /// been dead before the request was written to it.
    pub(super) fn after(error: &hyper::Error, was_reused: bool) -> Self {
        match find::<h2::Error>(error) {
            Some(stream) if stream.is_remote() && stream.is_go_away() => Self::FreshConnection,
            Some(stream)
                if stream.is_remote() && stream.reason() == Some(h2::Reason::REFUSED_STREAM) =>
            {
                Self::AnyConnection
            }
            // Reset for another reason: that was an answer.
            Some(_) => Self::None,
            None if !was_reused => Self::None,
            None if error.is_incomplete_message()
                || error.is_closed()
                || error.is_canceled()
                || find::<io::Error>(error).is_some() =>
            {
                Self::FreshConnection
            }
            None => Self::None,
        }
    }
}

/// The first cause of this type.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error names as its source what is below the error that it wraps, not that error.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|inner| find(inner)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What a machine says that has nothing left to open a connection with.
fn out_of_means(error: &io::Error) -> bool {
    const SAID: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|said| SAID.contains(&said))
}
