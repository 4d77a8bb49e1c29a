//! One request to an address that the operator gave on his own command line. It is not judged, because nobody
//! else chose it; never for a URL that a tenant registered.

use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, StatusCode, Uri};
use hyper::body::Incoming;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::io::InspectWriter;

use super::config::TlsConfig;
use super::connection::{Body, Connection};
use super::dial;
use super::failure::SendError;
use super::tls;

/// An answer whose head is there.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: StatusCode,
    body: Incoming,
    connection: Connection,
}

/// Sends a request with a whole URL over a connection of its own. No deadline: whoever waits can interrupt.
pub(crate) async fn send(request: Request<Bytes>) -> Result<Answer, SendError> {
    send_watched(request, |_| ()).await
}

/// The same; `written` hears how many bytes more the connection has taken, those of heads and of TLS among them.
pub(crate) async fn send_watched(
    mut request: Request<Bytes>,
    written: impl FnMut(usize) + Send + Unpin + 'static,
) -> Result<Answer, SendError> {
    let uri = request.uri().clone();
    let mut connection = dial(&uri, written).await?;
    if let Connection::Http1(_) = connection {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(authority).map_err(|error| unusable(error.into()))?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = uri
            .path_and_query()
            .cloned()
            .map(Uri::from)
            .unwrap_or_default();
    }
    let answer = connection
        .send(request.map(Body::new))
        .await
        .map_err(SendError::of_http)?;
    Ok(Answer {
        status: answer.status(),
        body: answer.into_body(),
        connection,
    })
}

async fn dial(
    uri: &Uri,
    mut written: impl FnMut(usize) + Send + Unpin + 'static,
) -> Result<Connection, SendError> {
    let host = uri
        .host()
        .ok_or_else(|| unusable("the URL names no host".into()))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| unusable(error.into()))?;
    stream
        .set_nodelay(true)
        .map_err(|error| unusable(error.into()))?;
    let stream = InspectWriter::new(stream, move |bytes: &[u8]| written(bytes.len()));
    if !is_secure {
        return dial::speak_over(stream, None).await;
    }
    let tls = tls::client_config(&TlsConfig::default()).map_err(|error| unusable(error.into()))?;
    let tls = TlsConnector::from(Arc::new(tls));
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| SendError::Tls(error.into()))?;
    dial::speak_over(stream, Some((&tls, name))).await
}

fn unusable(cause: Box<dyn std::error::Error + Send + Sync>) -> SendError {
    SendError::Connect(cause)
}

impl Answer {
    /// The next piece of its body; none at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, SendError> {
        while let Some(frame) = self.connection.frame(&mut self.body).await {
            if let Ok(data) = frame.map_err(SendError::of_http)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// All of its body, as text.
    pub(crate) async fn text(mut self) -> Result<String, SendError> {
        let mut whole = Vec::new();
        while let Some(piece) = self.chunk().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(String::from_utf8_lossy(&whole).into_owned())
    }
}
