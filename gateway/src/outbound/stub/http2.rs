//! A receiver that speaks HTTP/2 over TLS and answers or resets each stream.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use parking_lot::Mutex;
use tokio::net::TcpListener;

use super::Identity;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// 200 and the body `h2`.
    Answer,
    /// Its stream is reset.
    Reset(Reason),
}

/// Treats requests by a script, whatever connection they come on.
#[derive(Debug)]
pub(crate) struct Http2Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    requests: usize,
}

impl Http2Receiver {
    pub(crate) async fn start(identity: &Identity, script: Vec<Stream>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = identity.acceptor(&[b"h2", b"http/1.1"]);
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                noted.lock().connections += 1;
                let (noted, script) = (Arc::clone(&noted), script.clone());
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await.unwrap();
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, respond))) = connection.accept().await {
                        let nth = noted.lock().requests;
                        noted.lock().requests += 1;
                        treat(script[nth], respond);
                    }
                });
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}/", self.address)
    }

    /// Connections accepted and requests read so far.
    pub(crate) fn seen(&self) -> (usize, usize) {
        let seen = self.seen.lock();
        (seen.connections, seen.requests)
    }
}

fn treat(stream: Stream, mut respond: h2::server::SendResponse<Bytes>) {
    match stream {
        Stream::Answer => {
            let mut body = respond
                .send_response(http::Response::new(()), false)
                .unwrap();
            body.send_data(Bytes::from_static(b"h2"), true).unwrap();
        }
        Stream::Reset(reason) => respond.send_reset(reason),
    }
}
