//! A DNS server over UDP and TCP that answers what a function says.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

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

pub(crate) struct DnsStub {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, Question)>>>,
}

impl DnsStub {
    /// Answers with no time to live, so that nothing is cached.
    pub(crate) async fn start(
        zone: impl Fn(&str, Question) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_lasting(0, zone).await
    }

    /// Answers that live for so many seconds.
    pub(crate) async fn start_lasting(
        ttl_s: u32,
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
                let reply = udp_zone(&name, question);
                if let Some(reply) = write_reply(query, &name, reply, ttl_s, false) {
                    udp.send_to(&reply, from).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (stream, _) = tcp.accept().await.unwrap();
                tokio::spawn(serve_tcp(stream, Arc::clone(&zone), ttl_s));
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

async fn serve_tcp(mut stream: TcpStream, zone: Arc<Zone>, ttl_s: u32) -> Option<()> {
    loop {
        let mut query = vec![0; usize::from(stream.read_u16().await.ok()?)];
        stream.read_exact(&mut query).await.ok()?;
        let (name, question) = read_question(&query);
        let reply = write_reply(&query, &name, zone(&name, question), ttl_s, true)?;
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

fn write_reply(query: &[u8], name: &str, reply: Reply, ttl_s: u32, tcp: bool) -> Option<Vec<u8>> {
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
    // Who has the say: how long there is nothing.
    let is_negative = records.is_empty() && ttl_s > 0;
    out.extend([0, u8::from(is_negative), 0, 0]);
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
        // Class IN.
        out.extend([0, 1]);
        out.extend(ttl_s.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(&data);
        if let Record::Cname(target) = record {
            owner = encode(target);
        }
    }
    if is_negative {
        out.extend(encode("example.com"));
        // SOA, class IN.
        out.extend([0, 6, 0, 1]);
        out.extend(ttl_s.to_be_bytes());
        let data = [encode("ns.example.com"), encode("admin.example.com")].concat();
        let numbers = [1, 1, 1, 1, ttl_s].map(u32::to_be_bytes).concat();
        out.extend(
            u16::try_from(data.len() + numbers.len())
                .unwrap()
                .to_be_bytes(),
        );
        out.extend([data, numbers].concat());
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
