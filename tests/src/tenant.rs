//! An application of its own: what almost every test starts with.

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::patience::eventually;
use crate::plugins;

/// One application and a client of its organization.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// A client with the organization's token.
    pub client: Client,
    /// The application's identifier.
    pub app: String,
    /// `/api/v1/app/{app}`.
    pub base: String,
}

impl Tenant {
    /// A new application in the gateway's organization.
    pub async fn new(gateway: &Gateway) -> Self {
        Self::of(gateway.client().await).await
    }

    /// A new application of this client's organization.
    pub async fn of(client: Client) -> Self {
        let app = client
            .post("/api/v1/app", json!({"name": "tenant"}))
            .await
            .expect(201)
            .text("id");
        Self {
            base: format!("/api/v1/app/{app}"),
            client,
            app,
        }
    }

    /// The same tenant at another client: another token, or the gateway after a restart.
    pub fn with_client(&self, client: Client) -> Self {
        Self {
            client,
            ..self.clone()
        }
    }

    /// A path below the application.
    pub fn path(&self, rest: &str) -> String {
        format!("{}{rest}", self.base)
    }

    /// A new endpoint at this URL; its identifier.
    pub async fn endpoint(&self, url: &str) -> String {
        self.endpoint_with(json!({"url": url})).await
    }

    /// A new endpoint; its identifier.
    pub async fn endpoint_with(&self, body: Value) -> String {
        self.client
            .post(&self.path("/endpoint"), body)
            .await
            .expect(201)
            .text("id")
    }

    /// Changes some of an endpoint's settings.
    pub async fn patch_endpoint(&self, endpoint: &str, body: Value) -> Value {
        self.client
            .patch(&self.path(&format!("/endpoint/{endpoint}")), body)
            .await
            .expect(200)
            .json()
    }

    /// The endpoint's signing secret.
    pub async fn secret(&self, endpoint: &str) -> String {
        self.client
            .get(&self.path(&format!("/endpoint/{endpoint}/secret")))
            .await
            .expect(200)
            .text("key")
    }

    /// Posts an event of type `test.event`; its message's identifier.
    pub async fn send(&self, payload: Value) -> String {
        self.send_with(json!({"eventType": "test.event", "payload": payload}))
            .await
    }

    /// Posts an event; its message's identifier.
    pub async fn send_with(&self, body: Value) -> String {
        self.client
            .post(&self.path("/msg"), body)
            .await
            .expect(202)
            .text("id")
    }

    /// Uploads a plugin of the organization under its own name.
    pub async fn upload(&self, plugin: &str) -> Value {
        self.client
            .upload(
                &format!("/api/v1/plugin?name={plugin}"),
                plugins::wasm(plugin),
            )
            .await
            .expect(201)
            .json()
    }

    /// Sets an endpoint's chain to these entries.
    pub async fn chain(&self, endpoint: &str, entries: Value) -> Value {
        self.client
            .put(
                &self.path(&format!("/endpoint/{endpoint}/plugin-chain")),
                json!({"chain": entries}),
            )
            .await
            .expect(200)
            .json()
    }

    /// The attempts of a message, the newest first, as soon as there are `n`.
    pub async fn attempts(&self, message: &str, n: usize) -> Vec<Value> {
        eventually(&format!("{n} attempts of {message}"), async || {
            let got = self.attempts_now(message).await;
            if got.len() >= n {
                Ok(got)
            } else {
                Err(format!("{got:?}"))
            }
        })
        .await
    }

    /// The attempts of a message that are recorded by now, the newest first.
    pub async fn attempts_now(&self, message: &str) -> Vec<Value> {
        self.client
            .get(&self.path(&format!("/attempt/msg/{message}?limit=250")))
            .await
            .expect(200)
            .data()
    }

    /// What became of a message at each of its endpoints.
    pub async fn destinations(&self, message: &str) -> Vec<Value> {
        self.client
            .get(&self.path(&format!("/msg/{message}/endpoint?limit=250")))
            .await
            .expect(200)
            .data()
    }

    /// The message's destination at this endpoint, as soon as it shows this status text.
    pub async fn settled(&self, message: &str, endpoint: &str, status: &str) -> Value {
        self.destination_when(message, endpoint, status, |destination| {
            destination["statusText"] == status
        })
        .await
    }

    /// The message's destination at this endpoint, as soon as `ready` says so.
    pub async fn destination_when(
        &self,
        message: &str,
        endpoint: &str,
        what: &str,
        ready: impl Fn(&Value) -> bool,
    ) -> Value {
        eventually(&format!("{message} at {endpoint}: {what}"), async || {
            let all = self.destinations(message).await;
            all.iter()
                .find(|one| one["id"] == endpoint && ready(one))
                .cloned()
                .ok_or_else(|| format!("{all:?}"))
        })
        .await
    }
}
