//! The other side for tests: a receiver that writes exactly the bytes it is told, over TCP or TLS, and a DNS
//! server that answers what it is told. Real sockets on loopback; only compiled for tests.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::TlsAcceptor;

/// One step of a connection's script. After the last one the connection is closed.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Read one whole request and note it.
    Read,
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
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |digits| digits.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    request.extend(body);
    Some(String::from_utf8_lossy(&request).into_owned())
}

/// A self-signed certificate and its key.
pub(crate) struct Identity {
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Identity {
    pub(crate) fn of(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        Self {
            certificate: made.cert.der().clone(),
            key: made.signing_key.serialize_der(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        let text = STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
    }

    pub(crate) fn acceptor(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivatePkcs8KeyDer::from(self.key.clone()).into();
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// What the DNS server answers to one question.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// These records; a CNAME's target owns what follows it. None: an empty answer.
    Records(Vec<Record>),
    NxDomain,
    ServFail,
    /// Nothing at all.
    Silence,
    /// Over UDP that it does not fit, over TCP these.
    Truncated(Vec<Record>),
}

#[derive(Debug, Clone)]
pub(crate) enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(&'static str),
}

/// The two questions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    A,
    Aaaa,
}

type Zone = dyn Fn(&str, Question) -> Reply + Send + Sync;

/// Answers with no time to live, so that nothing is cached.
pub(crate) struct DnsStub {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Question)>>>,
}

impl DnsStub {
    pub(crate) async fn start(
        zone: impl Fn(&str, Question) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let zone: Arc<Zone> = Arc::new(zone);
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let (udp_zone, noted) = (Arc::clone(&zone), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            loop {
                let (length, from) = udp.recv_from(&mut packet).await.unwrap();
                let query = &packet[..length];
                let (name, question) = read_question(query);
                noted.lock().push((name.clone(), question));
                if let Some(reply) = write_reply(query, &name, udp_zone(&name, question), false) {
                    udp.send_to(&reply, from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (stream, _) = tcp.accept().await.unwrap();
                tokio::spawn(serve_tcp(stream, Arc::clone(&zone)));
            }
        });
        Self { address, asked }
    }

    /// The names asked for over UDP, in their order.
    pub(crate) fn asked(&self, question: Question) -> Vec<String> {
        let asked = self.asked.lock();
        asked
            .iter()
            .filter(|(_, kind)| *kind == question)
            .map(|(name, _)| name.clone())
            .collect()
    }
}

async fn serve_tcp(mut stream: TcpStream, zone: Arc<Zone>) -> Option<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut query).await.ok()?;
        let (name, question) = read_question(&query);
        let reply = write_reply(&query, &name, zone(&name, question), true)?;
        stream
            .write_u16(u16::try_from(reply.len()).unwrap())
            .await
            .ok()?;
        stream.write_all(&reply).await.ok()?;
    }
}

/// Length of a DNS header.
const HEADER: usize = 12;

fn read_question(query: &[u8]) -> (String, Question) {
    let mut labels = Vec::new();
    let mut at = HEADER;
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let question = match query[at + 2] {
        1 => Question::A,
        28 => Question::Aaaa,
        other => panic!("question of type {other}"),
    };
    (labels.join("."), question)
}

fn write_reply(query: &[u8], name: &str, reply: Reply, tcp: bool) -> Option<Vec<u8>> {
    let (flags, records) = match reply {
        Reply::Records(records) => (0x8180, records),
        Reply::NxDomain => (0x8183, Vec::new()),
        Reply::ServFail => (0x8182, Vec::new()),
        Reply::Truncated(records) if tcp => (0x8180, records),
        Reply::Truncated(_) => (0x8380, Vec::new()),
        Reply::Silence => return None,
    };
    let question_end = HEADER + name.len() + 2 + 4;
    let mut out = query[..2].to_vec();
    out.extend(u16::to_be_bytes(flags));
    out.extend([0, 1]);
    out.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    out.extend([0; 4]);
    out.extend(&query[HEADER..question_end]);
    let mut owner = encode(name);
    for record in records {
        let (kind, data) = match &record {
            Record::A(address) => (1_u16, address.octets().to_vec()),
            Record::Aaaa(address) => (28, address.octets().to_vec()),
            Record::Cname(target) => (5, encode(target)),
        };
        out.extend(&owner);
        out.extend(kind.to_be_bytes());
        // Class IN, time to live 0.
        out.extend([0, 1, 0, 0, 0, 0]);
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(&data);
        if let Record::Cname(target) = record {
            owner = encode(target);
        }
    }
    Some(out)
}

fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}
