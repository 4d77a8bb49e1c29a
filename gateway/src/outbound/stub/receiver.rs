//! A receiver that plays a script of exact bytes on each connection.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Identity;

/// One step of a connection's script. After the last one the connection is closed.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Read one whole request and note it.
    Read,
    /// Read a request's head and leave its body.
    ReadHead,
    /// Write these bytes.
    Send(Vec<u8>),
    /// Write these bytes one at a time, each a moment after the other.
    Trickle(Vec<u8>),
    /// Write this byte until the client has gone.
    Flood(u8),
    /// Keep the connection open until the client has gone.
    Hold,
    /// Close with a reset.
    Reset,
}

/// A script of reads and one answer.
pub(crate) fn answer(bytes: impl Into<Vec<u8>>) -> Vec<Act> {
    vec![Act::Read, Act::Send(bytes.into())]
}

/// Plays one script per connection, in their order; then listens no more.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    pub(crate) async fn start(scripts: impl IntoIterator<Item = Vec<Act>>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, None, scripts.into_iter().collect()).await
    }

    /// Speaks TLS with the certificate.
    pub(crate) async fn start_tls(identity: &Identity, scripts: Vec<Vec<Act>>) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, Some(identity.acceptor(&[])), scripts).await
    }

    pub(crate) async fn start_at(
        at: Ipv4Addr,
        tls: Option<TlsAcceptor>,
        scripts: Vec<Vec<Act>>,
    ) -> Self {
        let listener = TcpListener::bind((at, 0)).await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
        };
        let (requests, connections) = (
            Arc::clone(&receiver.requests),
            Arc::clone(&receiver.connections),
        );
        tokio::spawn(async move {
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                *connections.lock() += 1;
                let requests = Arc::clone(&requests);
                let tls = tls.clone();
                tokio::spawn(async move {
                    if script.iter().any(|act| matches!(act, Act::Reset)) {
                        stream.set_zero_linger().unwrap();
                    }
                    match tls {
                        None => play(stream, script, &requests).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => play(stream, script, &requests).await,
                            Err(_) => Some(()),
                        },
                    }
                });
            }
        });
        receiver
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?x=1", self.address)
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }

    /// The requests read so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().clone()
    }
}

/// Plays to the end of the script, or until the client has gone.
async fn play<S>(mut stream: S, script: Vec<Act>, requests: &Mutex<Vec<String>>) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for act in script {
        match act {
            Act::Read => {
                let request = read_request(&mut stream).await?;
                requests.lock().push(request);
            }
            Act::ReadHead => {
                read_head(&mut stream).await?;
            }
            Act::Send(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                stream.flush().await.ok()?;
            }
            Act::Trickle(bytes) => {
                let mut pace = tokio::time::interval(Duration::from_millis(10));
                for byte in bytes {
                    pace.tick().await;
                    stream.write_all(&[byte]).await.ok()?;
                }
            }
            Act::Flood(byte) => loop {
                stream.write_all(&[byte; 4096]).await.ok()?;
            },
            Act::Hold => while stream.read_u8().await.is_ok() {},
            Act::Reset => return Some(()),
        }
    }
    // Cleanly, so that what was sent last arrives: FIN or close_notify, then whatever still comes.
    stream.shutdown().await.ok()?;
    while stream.read_u8().await.is_ok() {}
    Some(())
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = read_head(stream).await?;
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |digits| digits.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    request.extend(body);
    Some(String::from_utf8_lossy(&request).into_owned())
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(head)
}
