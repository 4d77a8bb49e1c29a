//! Operational events: what an organization hears of its own endpoints. Whoever notices something says so here
//! and goes on: the queue is bounded, and what does not fit is dropped and counted. `ingest` makes messages of
//! the organization's management application of them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::domain::{
    Application, ApplicationId, Attempt, Endpoint, EndpointId, Message, OrganizationId, Suspension,
    Timestamp, Uid,
};
use crate::metrics::Metrics;

/// Where events are told. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Event>,
    metrics: Arc<Metrics>,
}

/// Something that happened to an endpoint or application.
#[derive(Debug, Clone)]
pub struct Event {
    pub(crate) org: OrganizationId,
    pub(crate) app: ApplicationId,
    /// None: it is about the application.
    pub(crate) endpoint: Option<EndpointId>,
    endpoint_uid: Option<Uid>,
    pub(crate) what: What,
}

/// What happened. The names and fields are those of the Svix v1 contract; `count`, `trigger`, `reason` and
/// `plugin.suspended` are ours.
#[derive(Debug, Clone)]
pub(crate) enum What {
    Created,
    Updated,
    Deleted,
    Enabled,
    Disabled {
        fail_since: Timestamp,
        /// Why, if the gateway did it; none: its owner did.
        reason: Option<String>,
    },
    /// A delivery has failed several times and is tried again.
    Failing(Tried),
    /// A delivery has failed for good.
    Exhausted(Tried),
    /// A delivery arrived of which one of the above was told.
    Recovered(Tried),
    /// A plugin version is not run any more in the chain of the endpoint, or of the application.
    PluginSuspended(Suspension),
}

/// The attempt that made it happen.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    message: String,
    event_id: Option<Uid>,
    attempt: Value,
}

/// A queue of this many events.
pub(crate) fn queue(places: usize, metrics: Arc<Metrics>) -> (Events, mpsc::Receiver<Event>) {
    let (queue, events) = mpsc::channel(places.max(1));
    (Events { queue, metrics }, events)
}

impl Events {
    /// Tells it. Never waits.
    pub(crate) fn tell(&self, endpoint: &Endpoint, what: What) {
        self.send(Event {
            org: endpoint.org,
            app: endpoint.app,
            endpoint: Some(endpoint.id),
            endpoint_uid: endpoint.uid.clone(),
            what,
        });
    }

    /// Tells what happened in an application, at one of its endpoints or in all of it. Never waits.
    pub(crate) fn tell_in(&self, app: &Application, endpoint: Option<&Endpoint>, what: What) {
        self.send(Event {
            org: app.org,
            app: app.id,
            endpoint: endpoint.map(|endpoint| endpoint.id),
            endpoint_uid: endpoint.and_then(|endpoint| endpoint.uid.clone()),
            what,
        });
    }

    fn send(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.metrics.operational_event("dropped");
        }
    }
}

impl Tried {
    pub(crate) fn of(message: &Message, attempt: &Attempt) -> Self {
        Self {
            message: message.id.to_string(),
            event_id: message.event_id.clone(),
            attempt: json!({
                "id": attempt.id,
                "responseStatusCode": attempt.response_code.unwrap_or(0),
                "timestamp": attempt.at.to_string(),
            }),
        }
    }
}

impl Event {
    /// Its event type.
    pub(crate) fn name(&self) -> &'static str {
        match self.what {
            What::Created => "endpoint.created",
            What::Updated => "endpoint.updated",
            What::Deleted => "endpoint.deleted",
            What::Enabled => "endpoint.enabled",
            What::Disabled { .. } => "endpoint.disabled",
            What::Failing(_) => "message.attempt.failing",
            What::Exhausted(_) => "message.attempt.exhausted",
            What::Recovered(_) => "message.attempt.recovered",
            What::PluginSuspended(_) => "plugin.suspended",
        }
    }

    /// The message's payload. `count`: how many deliveries it stands for.
    pub(crate) fn payload(&self, app_uid: Option<&Uid>, count: u64) -> Value {
        let mut data = json!({
            "appId": self.app,
            "appUid": app_uid,
            "endpointId": self.endpoint,
        });
        let more = match &self.what {
            What::Created | What::Updated | What::Deleted | What::Enabled => {
                json!({"endpointUid": self.endpoint_uid})
            }
            What::Disabled { fail_since, reason } => json!({
                "endpointUid": self.endpoint_uid,
                "failSince": fail_since.to_string(),
                "trigger": if reason.is_some() { "automatic" } else { "manual" },
                "reason": reason,
            }),
            What::PluginSuspended(suspension) => json!({
                "endpointUid": self.endpoint_uid,
                "plugin": suspension.name,
                "pluginId": suspension.plugin,
                "version": suspension.version,
                "failures": suspension.failures,
                "reason": suspension.reason,
            }),
            What::Failing(tried) | What::Recovered(tried) => tried.data(),
            What::Exhausted(tried) => {
                let mut data = tried.data();
                data["count"] = json!(count);
                data
            }
        };
        if let (Value::Object(data), Value::Object(more)) = (&mut data, more) {
            data.extend(more);
        }
        json!({"type": self.name(), "data": data})
    }
}

impl Tried {
    fn data(&self) -> Value {
        json!({
            "msgId": self.message,
            "msgEventId": self.event_id,
            "lastAttempt": self.attempt,
        })
    }
}
