//! A receiver below HTTP: it does what its script says with the bytes of a connection, right or wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::patience::PATIENCE;

/// Receive buffer of a receiver that is to stall its sender; the kernel doubles and rounds it.
const SMALL_BUFFER: u32 = 4096;

/// What a raw receiver does next with a connection.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read one whole request (head, then as many bytes as its `Content-Length` says).
    ReadRequest,
    /// Write these bytes.
    Write(Bytes),
    /// Write these bytes one by one, this far apart.
    Drip(Bytes, Duration),
    /// Write this byte for ever, as fast as the peer takes it.
    Flood(u8),
    /// Do nothing for so long.
    Pause(Duration),
    /// Close the sending half; the other stays open.
    HalfClose,
    /// Send a reset.
    Reset,
    /// Keep the connection open, reading nothing, until the peer is gone.
    Hold,
}

impl Step {
    /// Write this text.
    pub fn write(text: &str) -> Self {
        Step::Write(Bytes::copy_from_slice(text.as_bytes()))
    }
}

/// A running raw receiver; stops when dropped.
#[derive(Debug)]
pub struct Raw {
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// What came in over one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// When it was accepted.
    pub at: Instant,
    /// The bytes read.
    pub bytes: Vec<u8>,
    /// Whether its script has come to its end.
    pub done: bool,
}

#[derive(Debug)]
struct Shared {
    connections: Mutex<Vec<Connection>>,
    changed: watch::Sender<()>,
}

impl Raw {
    /// Plays the same script on every connection.
    pub async fn start(script: &[Step]) -> Self {
        Self::start_with(vec![script.to_vec()]).await
    }

    /// Plays the nth script on the nth connection, the last on all that follow.
    ///
    /// # Panics
    /// When there is no script or no port.
    pub async fn start_with(scripts: Vec<Vec<Step>>) -> Self {
        assert!(!scripts.is_empty(), "a raw receiver needs a script");
        let socket = TcpSocket::new_v4().expect("a socket");
        // Set before listening, so that accepted connections inherit it.
        socket
            .set_recv_buffer_size(SMALL_BUFFER)
            .expect("a buffer size");
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a free port");
        let listener = socket.listen(1024).expect("a listening socket");
        let addr = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            connections: Mutex::new(Vec::new()),
            changed: watch::Sender::new(()),
        });
        let server = tokio::spawn(serve(listener, scripts, Arc::clone(&shared)));
        Self {
            addr,
            shared,
            server,
        }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/raw", self.addr)
    }

    /// What came in so far, one entry a connection.
    pub fn connections(&self) -> Vec<Connection> {
        self.shared.lock().clone()
    }

    /// The first `n` connections, as soon as there are so many.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait_for(&self, n: usize) -> Vec<Connection> {
        let mut changed = self.shared.changed.subscribe();
        let search = async {
            loop {
                changed.borrow_and_update();
                let connections = self.connections();
                if connections.len() >= n {
                    return connections[..n].to_vec();
                }
                changed.changed().await.expect("the receiver runs");
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(connections) => connections,
            Err(_) => panic!(
                "{}: waited {PATIENCE:?} in vain for {n} connections; got {}",
                self.addr,
                self.connections().len()
            ),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An address at which connections are refused, for as long as this lives: bound, so that nobody else gets
/// it, and not listening.
#[derive(Debug)]
pub struct Refusing {
    addr: SocketAddr,
    _socket: TcpSocket,
}

impl Refusing {
    /// Takes a free port.
    ///
    /// # Panics
    /// When there is none.
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .expect("a free port");
        Self {
            addr: socket.local_addr().expect("a bound socket has an address"),
            _socket: socket,
        }
    }

    /// Where nobody answers.
    pub fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.connections
            .lock()
            .expect("no test panics while it holds this")
    }

    fn update(&self, index: usize, change: impl FnOnce(&mut Connection)) {
        change(&mut self.lock()[index]);
        self.changed.send_replace(());
    }
}

async fn serve(listener: TcpListener, scripts: Vec<Vec<Step>>, shared: Arc<Shared>) {
    // Dropped with this future, and the connections with it.
    let mut running = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let index = {
            let mut connections = shared.lock();
            connections.push(Connection {
                at: Instant::now(),
                bytes: Vec::new(),
                done: false,
            });
            connections.len() - 1
        };
        shared.changed.send_replace(());
        let script = scripts[index.min(scripts.len() - 1)].clone();
        let shared = Arc::clone(&shared);
        running.spawn(async move {
            // A script that ends early does so because the peer went away, which tests look at elsewhere.
            let _ = play(stream, script, &shared, index).await;
            shared.update(index, |connection| connection.done = true);
        });
    }
}

async fn play(
    mut stream: TcpStream,
    script: Vec<Step>,
    shared: &Shared,
    index: usize,
) -> std::io::Result<()> {
    for step in script {
        match step {
            Step::ReadRequest => {
                let bytes = read_request(&mut stream).await?;
                shared.update(index, |connection| {
                    connection.bytes.extend_from_slice(&bytes)
                });
            }
            Step::Write(bytes) => stream.write_all(&bytes).await?,
            Step::Drip(bytes, apart) => {
                for byte in bytes {
                    stream.write_all(&[byte]).await?;
                    tokio::time::sleep(apart).await;
                }
            }
            Step::Flood(byte) => loop {
                stream.write_all(&[byte; 16 * 1024]).await?;
            },
            Step::Pause(time) => tokio::time::sleep(time).await,
            Step::HalfClose => stream.shutdown().await?,
            Step::Reset => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            // No reading: the peer's going away shows as an error or a hang-up all the same.
            Step::Hold => {
                stream.ready(tokio::io::Interest::ERROR).await?;
            }
        }
    }
    Ok(())
}

async fn read_request(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = content_length(&bytes[..end]);
            if bytes.len() >= end + 4 + body {
                return Ok(bytes);
            }
        }
        match stream.read(&mut piece).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plays_its_scripts_in_order() {
        let raw = Raw::start_with(vec![
            vec![Step::ReadRequest, Step::Reset],
            vec![
                Step::ReadRequest,
                Step::write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            ],
        ])
        .await;
        // Without a pool, so that each request is a connection.
        let client = reqwest::Client::builder()
            .pool_max_idle_per_host(0)
            .retry(reqwest::retry::never())
            .build()
            .unwrap();
        let post = || client.post(raw.url()).body("hello").send();
        assert!(post().await.is_err());
        assert_eq!(post().await.unwrap().status().as_u16(), 200);
        let connections = raw.wait_for(2).await;
        assert!(connections.iter().all(|one| one.bytes.ends_with(b"hello")));
    }

    #[tokio::test]
    async fn refuses() {
        let refusing = Refusing::start();
        let error = reqwest::get(refusing.url()).await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
    }
}
