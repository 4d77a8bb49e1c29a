//! Why no answer came, read out of the client's chain of causes. Pure.

use std::error::Error;
use std::io;

use rustix::io::Errno;

use super::judge::Refusal;
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

    /// Whether a connection ended that may have been dead before the request was written to it. Not so for
    /// an HTTP/2 stream that the receiver reset: that was an answer.
    pub(super) fn is_stale_connection(&self) -> bool {
        let SendError::Reset(cause) = self else {
            return false;
        };
        let mut next: Option<&(dyn Error + 'static)> = Some(cause.as_ref());
        while let Some(error) = next {
            let ended = error.downcast_ref::<hyper::Error>().is_some_and(|error| {
                error.is_incomplete_message() || error.is_closed() || error.is_canceled()
            });
            if ended || error.is::<io::Error>() {
                return true;
            }
            next = error.source();
        }
        false
    }

    pub(super) fn of_client(error: reqwest::Error) -> Self {
        // A URL may carry a token; it is recorded where it belongs and nowhere else.
        let error = error.without_url();
        match find(&error) {
            Some(Found::Refused(refusal)) => SendError::BlockedAddress(refusal),
            Some(Found::OutOfMeans) => SendError::OutOfMeans(error.into()),
            Some(Found::DnsTimeout) => SendError::DnsTimeout,
            Some(Found::Dns) => SendError::Dns(error.into()),
            Some(Found::Tls) => SendError::Tls(error.into()),
            _ if error.is_connect() => SendError::Connect(error.into()),
            Some(Found::NotHttp) => SendError::InvalidResponse(error.into()),
            None if error.is_timeout() => SendError::Timeout,
            None => SendError::Reset(error.into()),
        }
    }
}

enum Found {
    Refused(Refusal),
    OutOfMeans,
    Dns,
    DnsTimeout,
    Tls,
    NotHttp,
}

/// The first cause that tells the kind.
fn find(error: &(dyn Error + 'static)) -> Option<Found> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = read(error) {
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

fn read(error: &(dyn Error + 'static)) -> Option<Found> {
    if let Some(lookup) = error.downcast_ref::<LookupError>() {
        return Some(match lookup {
            LookupError::Refused(refusal) => Found::Refused(refusal.clone()),
            LookupError::Timeout(_) => Found::DnsTimeout,
            LookupError::Empty | LookupError::Failed(_) => Found::Dns,
        });
    }
    if error.downcast_ref::<io::Error>().is_some_and(out_of_means) {
        return Some(Found::OutOfMeans);
    }
    if error.is::<rustls::Error>() {
        return Some(Found::Tls);
    }
    let http = error.downcast_ref::<hyper::Error>()?;
    http.is_parse().then_some(Found::NotHttp)
}

/// What a machine says that has nothing left to open a connection with.
fn out_of_means(error: &io::Error) -> bool {
    const SAID: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|said| SAID.contains(&said))
}
