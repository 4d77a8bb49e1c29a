//! An egress proxy that speaks CONNECT or SOCKS5, does as it is asked, and notes what it was asked for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What the proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Connect,
    Socks5,
    /// Answers every CONNECT with this status line.
    Status(&'static str),
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
}

/// Not one that the tests' receivers have.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const USER: &str = "gate";
const PASSWORD: &str = "hush:/@1";

impl Proxy {
    /// Wants the credentials of [`Proxy::url`].
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind((ADDRESS, 0)).await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
        };
        let (asked, connections) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *connections.lock() += 1;
                let asked = Arc::clone(&asked);
                tokio::spawn(async move {
                    match speaks {
                        Speaks::Socks5 => serve_socks(stream, &asked).await,
                        Speaks::Connect => serve_connect(stream, None, &asked).await,
                        Speaks::Status(line) => serve_connect(stream, Some(line), &asked).await,
                    }
                });
            }
        });
        proxy
    }

    /// As an operator writes it, the password percent-encoded.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{USER}:hush%3A%2F%401@{}", self.address)
    }

    /// The targets it was asked for, as they were written.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        *self.connections.lock()
    }
}

async fn serve_connect(
    mut client: TcpStream,
    status: Option<&str>,
    asked: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let basic = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let line = match status {
        Some(line) => line,
        None if !head.contains(&format!("proxy-authorization: Basic {basic}\r\n")) => {
            "407 Proxy Authentication Required"
        }
        None => "",
    };
    asked.lock().push(target.clone());
    if !line.is_empty() {
        let answer = format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n");
        return client.write_all(answer.as_bytes()).await.ok();
    }
    match TcpStream::connect(&target).await {
        Ok(mut server) => {
            client.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut client, &mut server).await.ok()?;
        }
        Err(_) => client.write_all(b"HTTP/1.1 502 No\r\n\r\n").await.ok()?,
    }
    Some(())
}

async fn serve_socks(mut client: TcpStream, asked: &Mutex<Vec<String>>) -> Option<()> {
    let [_, methods] = read(&mut client).await?;
    let mut offered = vec![0; usize::from(methods)];
    client.read_exact(&mut offered).await.ok()?;
    if !offered.contains(&2) {
        return client.write_all(&[5, 0xff]).await.ok();
    }
    client.write_all(&[5, 2]).await.ok()?;
    let [_] = read(&mut client).await?;
    let right = [text(&mut client).await?, text(&mut client).await?] == [USER, PASSWORD];
    client.write_all(&[1, u8::from(!right)]).await.ok()?;
    let [_, _, _, kind] = read(&mut client).await?;
    let host = match kind {
        1 => IpAddr::from(read::<4>(&mut client).await?).to_string(),
        4 => format!("[{}]", IpAddr::from(read::<16>(&mut client).await?)),
        _ => text(&mut client).await?,
    };
    let port = client.read_u16().await.ok()?;
    let target = format!("{host}:{port}");
    asked.lock().push(target.clone());
    let server = TcpStream::connect(&target).await;
    let reply = if server.is_ok() { 0 } else { 5 };
    client
        .write_all(&[5, reply, 0, 1, 127, 0, 0, 1, 0, 1])
        .await
        .ok()?;
    copy_bidirectional(&mut client, &mut server.ok()?)
        .await
        .ok()?;
    Some(())
}

async fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

async fn text(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = vec![0; usize::from(stream.read_u8().await.ok()?)];
    stream.read_exact(&mut bytes).await.ok()?;
    String::from_utf8(bytes).ok()
}
