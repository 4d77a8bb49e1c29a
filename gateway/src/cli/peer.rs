//! The running gateway that a client command talks to. This is the operator's own process talking to an
//! address that the operator gave, so it does not pass the guard that tenants' URLs pass.

use clap::Args;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response};

use super::Failure;

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
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(Failure::other)?;
            map.insert(HeaderName::from_static(name), value);
        }
        block_on(async {
            let request = self.client()?.post(self.at(path)).bearer_auth(&self.token);
            let answer = request
                .headers(map)
                .body(body)
                .send()
                .await
                .map_err(Failure::other)?;
            accepted(answer).await?.text().await.map_err(Failure::other)
        })?
    }

    /// Gets an answer whose body is then read piece by piece.
    pub(super) async fn get(&self, path: &str) -> Result<Response, Failure> {
        let request = self.client()?.get(self.at(path)).bearer_auth(&self.token);
        accepted(request.send().await.map_err(Failure::other)?).await
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::builder().no_proxy().build().map_err(Failure::other)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url.trim_end_matches('/'))
    }
}

async fn accepted(answer: Response) -> Result<Response, Failure> {
    let status = answer.status();
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
