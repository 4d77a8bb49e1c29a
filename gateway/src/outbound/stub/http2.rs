//! A receiver that speaks HTTP/2 over TLS and answers or resets each stream.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

use super::Identity;

/// What becomes of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stream {
    /// 200 and the body `h2`.
    Answer,
    /// The same, and the connection takes no more requests.
    AnswerLast,
    /// The same, once as many streams are open as the receiver takes.
    AnswerTogether,
    /// Its stream is reset.
    Reset(Reason),
    /// The connection ends with a GOAWAY.
    GoAway(Reason),
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
    open: usize,
    most_open: usize,
}

/// What all connections share.
#[derive(Clone)]
struct Play {
    acceptor: TlsAcceptor,
    script: Arc<[Stream]>,
    max_streams: u32,
    together: Arc<Barrier>,
    seen: Arc<Mutex<Seen>>,
}

impl Http2Receiver {
    pub(crate) async fn start(identity: &Identity, script: Vec<Stream>) -> Self {
        Self::start_narrow(identity, script, 100).await
    }

    /// Takes so many streams at once and says so.
    pub(crate) async fn start_narrow(
        identity: &Identity,
        script: Vec<Stream>,
        max_streams: u32,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let play = Play {
            acceptor: identity.acceptor(&[b"h2", b"http/1.1"]),
            script: script.into(),
            max_streams,
            together: Arc::new(Barrier::new(usize::try_from(max_streams).unwrap())),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&play.seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                play.seen.lock().connections += 1;
                tokio::spawn(play.clone().serve(stream));
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

    /// The most streams that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.seen.lock().most_open
    }
}

impl Play {
    /// None: the client has gone.
    async fn serve(self, stream: TcpStream) -> Option<()> {
        let stream = self.acceptor.accept(stream).await.ok()?;
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(self.max_streams)
            .handshake(stream)
            .await
            .ok()?;
        // Kept, since one that is dropped resets its stream.
        let mut unanswered = Vec::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            match self.next() {
                Stream::Answer => self.answer(respond),
                Stream::AnswerLast => {
                    self.answer(respond);
                    connection.graceful_shutdown();
                }
                Stream::AnswerTogether => {
                    let play = self.clone();
                    tokio::spawn(async move {
                        play.together.wait().await;
                        play.answer(respond);
                    });
                }
                Stream::Reset(reason) => {
                    self.seen.lock().open -= 1;
                    respond.send_reset(reason);
                }
                Stream::GoAway(reason) => {
                    unanswered.push(respond);
                    connection.abrupt_shutdown(reason);
                }
            }
        }
        Some(())
    }

    fn next(&self) -> Stream {
        let mut seen = self.seen.lock();
        let nth = seen.requests;
        seen.requests += 1;
        seen.open += 1;
        seen.most_open = seen.most_open.max(seen.open);
        self.script[nth]
    }

    fn answer(&self, mut respond: h2::server::SendResponse<Bytes>) {
        self.seen.lock().open -= 1;
        let head = http::Response::new(());
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from_static(b"h2"), true).unwrap();
    }
}
