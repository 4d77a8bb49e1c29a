//! The tenant of the demo: three endpoints, each with another plugin chain, at three receivers of this process. One of
//! them fails twice before it accepts.

use hookmill_tests::{Gateway, Receiver, Tenant};
use http::Method;
use serde_json::{Value, json};

use crate::events::Event;
use crate::paint::Paint;

#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) tenant: Tenant,
    places: [Place; 3],
}

/// An endpoint and who stands behind it.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) endpoint: String,
    pub(crate) receiver: Receiver,
    /// What the chain is for, in a few words.
    purpose: &'static str,
}

impl Scene {
    /// Uploads the plugins and makes the endpoints.
    pub(crate) async fn set(gateway: &Gateway) -> Self {
        let tenant = Tenant::of(gateway.client().await).await;
        for plugin in ["github-filter", "redact", "slack-message"] {
            tenant.upload(plugin).await;
        }
        let places = [
            Place::set(
                &tenant,
                "ci",
                "what a build is for: pushes, pull requests and runs on the main branch",
                Receiver::start().await,
                json!([{
                    "plugin": "github-filter",
                    "config": {
                        "events": ["push", "pull_request", "workflow_*"],
                        "actions": ["opened", "synchronize", "completed"],
                        "branches": ["master", "main"],
                    },
                }]),
            )
            .await,
            Place::set(
                &tenant,
                "chat",
                "a Slack message, the sender's name masked before it is written",
                Receiver::start().await,
                json!([
                    { "plugin": "redact", "config": { "mask": ["/sender/login"], "maskWith": "someone" } },
                    {
                        "plugin": "slack-message",
                        "config": { "template": "*{{@type}}* in {{repository.full_name}} by {{sender.login}}" },
                    },
                ]),
            )
            .await,
            Place::set(
                &tenant,
                "archive",
                "everything, without mail addresses; it fails twice at first",
                Receiver::start().answer(503).times(2).then(200).await,
                json!([{
                    "plugin": "redact",
                    "config": {
                        "remove": ["/installation", "/repository/owner/email"],
                        "mask": ["/commits/*/author/email", "/commits/*/committer/email", "/head_commit/*/email"],
                        "hash": ["/pusher/email"],
                        "salt": "demo",
                    },
                }]),
            )
            .await,
        ];
        Self { tenant, places }
    }

    pub(crate) fn places(&self) -> &[Place; 3] {
        &self.places
    }

    /// Posts an event, its payload as the bytes that GitHub sent; its message's identifier.
    pub(crate) async fn send(&self, event: &Event) -> String {
        // Written by hand: a JSON library would write the payload anew.
        let body = format!(
            r#"{{"eventType":"github.{}","payload":{}}}"#,
            event.kind, event.payload
        );
        let headers = [("content-type", "application/json")];
        let path = self.tenant.path("/msg");
        let reply = self
            .tenant
            .client
            .raw(Method::POST, &path, &headers, Some(body.into()))
            .await;
        reply.expect(202).text("id")
    }

    pub(crate) fn describe(&self, paint: Paint) -> String {
        let lines = self.places.iter().map(|place| {
            format!(
                "{} {} {}",
                paint.bold(&format!("{:<8}", place.name)),
                place.purpose,
                paint.faint(&place.receiver.url())
            )
        });
        lines.collect::<Vec<_>>().join("\n") + "\n"
    }

    /// How to go on by hand.
    pub(crate) async fn invitation(&self, gateway: &Gateway) -> String {
        let (url, app, ci) = (gateway.url(), &self.tenant.app, &self.places[0].endpoint);
        let token = gateway.token(gateway.org()).await;
        format!(
            r#"Everything is still running, and what arrives is shown here. Ctrl-C ends it.

export URL={url}
export TOKEN={token}

# send an event
curl -s $URL/api/v1/app/{app}/msg -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
  -d '{{"eventType":"github.push","payload":{{"ref":"refs/heads/master","repository":{{"full_name":"me/mine"}},"sender":{{"login":"me"}}}}}}'
# what became of everything at the endpoint ci
curl -s $URL/api/v1/app/{app}/attempt/endpoint/{ci} -H "authorization: Bearer $TOKEN"
# its plugin chain
curl -s $URL/api/v1/app/{app}/endpoint/{ci}/plugin-chain -H "authorization: Bearer $TOKEN"
# let every branch through
curl -s -X PUT $URL/api/v1/app/{app}/endpoint/{ci}/plugin-chain -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \
  -d '{{"chain":[{{"plugin":"github-filter","version":"latest","config":{{"events":["push"]}}}}]}}'
"#
        )
    }
}

impl Place {
    async fn set(
        tenant: &Tenant,
        name: &'static str,
        purpose: &'static str,
        receiver: Receiver,
        chain: Value,
    ) -> Self {
        let endpoint = tenant
            .endpoint_with(json!({ "url": receiver.url(), "description": name }))
            .await;
        tenant.chain(&endpoint, chain).await;
        Self {
            name,
            endpoint,
            receiver,
            purpose,
        }
    }
}
