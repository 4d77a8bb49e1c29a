//! A DNS server whose answers a test switches while the gateway asks: right ones, failures, or none at all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Length of a DNS header (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// Query type A (RFC 1035, 3.2.2).
const TYPE_A: u16 = 1;

/// Seconds for which an answer may be kept. Chosen: longer than any test.
const TIME_TO_LIVE: u32 = 3_600;

/// What the server does with questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Every name is at 127.0.0.1.
    Answers,
    /// SERVFAIL to everything.
    Fails,
    /// Nothing is answered.
    Silent,
}

/// A DNS server over UDP; stops when dropped.
#[derive(Debug)]
pub struct Dns {
    addr: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    mood: Mood,
    asked: Vec<String>,
}

impl Dns {
    /// A server on a free port, in this mood.
    ///
    /// # Panics
    /// When there is no port.
    pub async fn start(mood: Mood) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let addr = socket.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Mutex::new(Shared {
            mood,
            asked: Vec::new(),
        }));
        let server = tokio::spawn(serve(socket, Arc::clone(&shared)));
        Self {
            addr,
            shared,
            server,
        }
    }

    /// The setting with which a gateway asks this server and gives up soon.
    pub fn config(&self) -> String {
        format!(
            "[outbound.dns]\nservers = [\"{}\"]\ntimeout_ms = 400",
            self.addr
        )
    }

    /// From now on.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    pub fn now(&self, mood: Mood) {
        self.shared.lock().expect("never poisoned").mood = mood;
    }

    /// How often this name was asked for, whatever came of it.
    ///
    /// # Panics
    /// Never: no test panics while it holds the lock.
    pub fn asked(&self, name: &str) -> usize {
        let shared = self.shared.lock().expect("never poisoned");
        shared.asked.iter().filter(|asked| *asked == name).count()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: UdpSocket, shared: Arc<Mutex<Shared>>) {
    let mut packet = [0; 1500];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        let query = &packet[..length];
        let Some(name) = name(query) else { continue };
        let mood = {
            let mut shared = shared.lock().expect("never poisoned");
            shared.asked.push(name);
            shared.mood
        };
        if let Some(answer) = answer(query, mood) {
            // Who asked may be gone.
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The name in the first question, without the dot at its end.
fn name(query: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            return Some(labels.join(".").to_lowercase());
        }
        let label = query.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + length;
    }
}

fn answer(query: &[u8], mood: Mood) -> Option<Vec<u8>> {
    // Response, recursion desired and available; the last digit is the code.
    let flags: u16 = match mood {
        Mood::Answers => 0x8180,
        Mood::Fails => 0x8182,
        Mood::Silent => return None,
    };
    let zero = HEADER + query.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let question = query.get(HEADER..zero + 5)?;
    let kind = u16::from_be_bytes([query[zero + 1], query[zero + 2]]);
    let found = mood == Mood::Answers && kind == TYPE_A;
    let mut out = query[..2].to_vec();
    out.extend(flags.to_be_bytes());
    out.extend([0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    out.extend(question);
    if found {
        // The owner is the question's name, class IN.
        out.extend([0xc0, 12, 0, 1, 0, 1]);
        out.extend(TIME_TO_LIVE.to_be_bytes());
        out.extend([0, 4, 127, 0, 0, 1]);
    }
    Some(out)
}
