//! The running gateway that a client command talks to. This is the operator's own process talking to an
//! address that the operator gave, so it does not pass the guard that tenants' URLs pass.

use bytes::Bytes;
use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request};

use super::Failure;
use crate::outbound::operator::{self, Answer};

#[derive(Debug, Args)]
pub(super) struct Peer {
    /// Base URL of the gateway.
    #[arg(
        long,
        value_name = "URL",
        env = "HOOKMILL_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// Token of the API; better given as HOOKMILL_TOKEN, where other users cannot see it.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HOOKMILL_TOKEN",
        hide_env_values = true
    )]
    token: String,
}

impl Peer {
    /// Posts and gives the answer's body; a refusal is an error with what the gateway said.
    pub(super) fn post(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<String, Failure> {
        self.upload(path, headers, body.into(), |_| ())
    }

    /// The same; `written` hears how many bytes more were sent.
    pub(super) fn upload(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
        written: impl FnMut(usize) + Send + Unpin + 'static,
    ) -> Result<String, Failure> {
        let mut request = self.request(Method::POST, path, body)?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(Failure::other)?;
            request.headers_mut().insert(*name, value);
        }
        block_on(async {
            let answer = operator::send_watched(request, written).await;
            let answer = answer.map_err(Failure::other)?;
            accepted(answer).await?.text().await.map_err(Failure::other)
        })?
    }

    /// Gets an answer whose body is then read piece by piece.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        accepted(operator::send(request).await.map_err(Failure::other)?).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, Failure> {
        let mut token =
            HeaderValue::from_str(&format!("Bearer {}", self.token)).map_err(Failure::other)?;
        token.set_sensitive(true);
        Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url.trim_end_matches('/')))
            .header(AUTHORIZATION, token)
            .body(body)
            .map_err(Failure::other)
    }
}

async fn accepted(answer: Answer) -> Result<Answer, Failure> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    let said = answer.text().await.unwrap_or_default();
    Err(Failure::Refused(format!(
        "the gateway answered {status}: {said}"
    )))
}

/// Runs a client command's future on a small runtime of its own.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Ok(runtime.map_err(Failure::other)?.block_on(future))
}
