//! An application to measure with.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::Method;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use crate::client::{Connection, Target};
use crate::error::Failure;
use crate::payload;

const JSON: &str = "application/json";

#[derive(Debug)]
pub(crate) struct Tenant {
    addr: SocketAddr,
    authorization: HeaderValue,
    id: String,
}

/// What an endpoint is like, beside where it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoint<'a> {
    /// The plugin `redact`, to be in its chain.
    pub(crate) redact: Option<&'a Bytes>,
    /// The one channel that it listens to.
    pub(crate) channel: Option<String>,
    /// Deliveries wait.
    pub(crate) paused: bool,
}

impl Tenant {
    /// A new application, without endpoints.
    pub(crate) async fn create(
        addr: SocketAddr,
        authorization: HeaderValue,
    ) -> Result<Self, Failure> {
        let mut tenant = Self {
            addr,
            authorization,
            id: String::new(),
        };
        let mut connection = tenant.connect().await?;
        let body = json!({ "name": "bench" });
        let created = tenant
            .call(&mut connection, Method::POST, "/api/v1/app", body)
            .await?;
        tenant.id = text(&created, "id")?;
        Ok(tenant)
    }

    /// Where its messages are posted.
    pub(crate) fn messages(&self) -> Target {
        self.target(format!("/api/v1/app/{}/msg", self.id))
    }

    /// New endpoints at these receivers.
    pub(crate) async fn endpoints(
        &self,
        wanted: impl IntoIterator<Item = (SocketAddr, Endpoint<'_>)>,
    ) -> Result<(), Failure> {
        let mut connection = self.connect().await?;
        for (receiver, endpoint) in wanted {
            self.endpoint(&mut connection, receiver, endpoint).await?;
        }
        Ok(())
    }

    async fn endpoint(
        &self,
        connection: &mut Connection,
        receiver: SocketAddr,
        endpoint: Endpoint<'_>,
    ) -> Result<(), Failure> {
        let endpoints = format!("/api/v1/app/{}/endpoint", self.id);
        let mut wanted = json!({ "url": format!("http://{receiver}/") });
        if let Some(channel) = endpoint.channel {
            wanted["channels"] = json!([channel]);
        }
        let created = self
            .call(connection, Method::POST, &endpoints, wanted)
            .await?;
        let id = text(&created, "id")?;
        if endpoint.paused {
            let path = format!("{endpoints}/{id}/pause");
            let target = self.target(path);
            connection
                .send(Method::POST, &target, JSON, Bytes::new())
                .await?;
        }
        let Some(wasm) = endpoint.redact else {
            return Ok(());
        };
        let upload = self.target("/api/v1/plugin?name=redact".to_owned());
        connection
            .send(Method::POST, &upload, "application/wasm", wasm.clone())
            .await?;
        let config: Value =
            serde_json::from_str(payload::REDACT_CONFIG).expect("a constant of ours is JSON");
        let chain =
            json!({ "chain": [{ "plugin": "redact", "version": "latest", "config": config }] });
        let path = format!("{endpoints}/{id}/plugin-chain");
        self.call(connection, Method::PUT, &path, chain)
            .await
            .map(drop)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        Connection::open(self.addr).await
    }

    async fn call(
        &self,
        connection: &mut Connection,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<(String, Value), Failure> {
        let asked = format!("{method} {path}");
        let target = self.target(path.to_owned());
        let answer = connection
            .send(method, &target, JSON, Bytes::from(body.to_string()))
            .await?;
        match serde_json::from_slice(&answer) {
            Ok(json) => Ok((asked, json)),
            Err(_) => Err(Failure::Unexpected {
                asked,
                missing: "JSON",
                body: String::from_utf8_lossy(&answer).into_owned(),
            }),
        }
    }

    fn target(&self, path: String) -> Target {
        Target {
            addr: self.addr,
            path,
            authorization: Some(self.authorization.clone()),
        }
    }
}

/// A text field of an answer.
fn text((asked, json): &(String, Value), field: &'static str) -> Result<String, Failure> {
    json[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::Unexpected {
            asked: asked.clone(),
            missing: field,
            body: json.to_string(),
        })
}
