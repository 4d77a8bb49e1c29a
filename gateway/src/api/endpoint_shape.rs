//! What requests and answers say of an endpoint, and whether it can be so.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::endpoint_headers::{check_headers, seal_headers};
use super::endpoint_secret::new_secret;
use super::error::ApiError;
use super::patch::{Patch, not_null};
use super::retry_policy::{RetryPolicyIn, RetryPolicyOut};
use super::state::ApiState;
use super::validate::Faults;
use crate::delivery::OpenCircuit;
use crate::domain::{
    Application, DeliveryOrder, Endpoint, EndpointId, EndpointSecret, PauseState, RetryPolicy, Uid,
};

/// Longest description, in characters. Chosen: what a list can show.
const MAX_DESCRIPTION: usize = 2_000;

/// Most channels of an endpoint (Svix v1 contract).
const MAX_CHANNELS: usize = 10;

/// Most event types of an endpoint. Chosen: they are compared with each message's.
const MAX_EVENT_TYPES: usize = 1_000;

/// Most failed tries before one is overtaken. Chosen: beyond any retry schedule.
const MAX_SKIP_AFTER: u16 = 100;

/// A new endpoint, or all of one; of one that exists, secret and headers stay, and so does the order where it
/// is left out: clients of the contract do not know it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointIn {
    url: String,
    #[serde(default)]
    pub(super) uid: Patch<Uid>,
    #[serde(default, deserialize_with = "not_null")]
    description: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    disabled: Option<bool>,
    event_types: Option<BTreeSet<Uid>>,
    filter_types: Option<BTreeSet<Uid>>,
    channels: Option<BTreeSet<Uid>>,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    #[serde(default, deserialize_with = "not_null")]
    order: Option<DeliveryOrder>,
    #[serde(default, deserialize_with = "not_null")]
    metadata: Option<BTreeMap<String, String>>,
    retry_policy: Option<RetryPolicyIn>,
    secret: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

/// Some of an endpoint.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointPatch {
    #[serde(default, deserialize_with = "not_null")]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) uid: Patch<Uid>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) disabled: Option<bool>,
    #[serde(default)]
    event_types: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    filter_types: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    pub(super) channels: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    throttle_rate: Patch<u16>,
    #[serde(default)]
    rate_limit: Patch<u16>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) order: Option<DeliveryOrder>,
    #[serde(default, deserialize_with = "not_null")]
    pub(super) metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) retry_policy: Patch<RetryPolicyIn>,
}

/// An endpoint as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointOut {
    id: String,
    uid: Option<Uid>,
    url: String,
    /// Clients of the first generation require it.
    version: u8,
    description: String,
    event_types: Option<Vec<Uid>>,
    filter_types: Option<Vec<Uid>>,
    channels: Option<Vec<Uid>>,
    disabled: bool,
    disabled_reason: Option<String>,
    paused: bool,
    throttle_rate: Option<u16>,
    rate_limit: Option<u16>,
    order: DeliveryOrder,
    metadata: BTreeMap<String, String>,
    /// Its own; none: the organization's, else the gateway's.
    retry_policy: Option<RetryPolicyOut>,
    circuit: CircuitOut,
    created_at: String,
    updated_at: String,
}

/// Whether an endpoint fails over and over, so that it is only probed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CircuitOut {
    /// `closed`, `open` or, while a probe is under way, `halfOpen`.
    state: &'static str,
    since: Option<String>,
    next_probe: Option<String>,
}

impl From<Option<OpenCircuit>> for CircuitOut {
    fn from(circuit: Option<OpenCircuit>) -> Self {
        Self {
            state: match circuit {
                None => "closed",
                Some(OpenCircuit { probing: false, .. }) => "open",
                Some(OpenCircuit { probing: true, .. }) => "halfOpen",
            },
            since: circuit.map(|open| open.since.to_string()),
            // One that is due since the beginning of time is due now.
            next_probe: circuit
                .filter(|open| !open.probing)
                .map(|open| open.next_probe.max(open.since).to_string()),
        }
    }
}

impl EndpointOut {
    /// The endpoint with what delivering says of it.
    pub(super) fn of(state: &ApiState, endpoint: Endpoint) -> Self {
        Self {
            circuit: state.deliveries.circuit(endpoint.id).into(),
            retry_policy: endpoint.retry.as_ref().map(RetryPolicyOut::from),
            id: endpoint.id.to_string(),
            uid: endpoint.uid,
            url: endpoint.url,
            version: 1,
            description: endpoint.description,
            filter_types: endpoint.event_types.clone(),
            event_types: endpoint.event_types,
            channels: endpoint.channels,
            disabled: endpoint.disabled,
            disabled_reason: endpoint.disabled_reason,
            paused: endpoint.pause == PauseState::Paused,
            throttle_rate: endpoint.throttle_rate,
            rate_limit: endpoint.throttle_rate,
            order: endpoint.order,
            metadata: endpoint.metadata,
            created_at: endpoint.created_at.to_string(),
            updated_at: endpoint.updated_at.to_string(),
        }
    }
}

/// What [`EndpointIn`] says of an endpoint, new or not, checked.
pub(super) struct Checked {
    pub(super) url: String,
    pub(super) uid: Patch<Uid>,
    pub(super) description: String,
    pub(super) disabled: bool,
    pub(super) event_types: Option<Vec<Uid>>,
    pub(super) channels: Option<Vec<Uid>>,
    pub(super) throttle_rate: Option<u16>,
    /// None: left out.
    pub(super) order: Option<DeliveryOrder>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) retry: Option<RetryPolicy>,
}

impl EndpointIn {
    pub(super) async fn check(&mut self, state: &ApiState) -> Result<Checked, ApiError> {
        let mut faults = Faults::default();
        let description = self.description.take().unwrap_or_default();
        faults.at_most(&description, "description", MAX_DESCRIPTION);
        let (types, others) = (self.event_types.take(), self.filter_types.take());
        let event_types = faults.either(types, "eventTypes", others, "filterTypes");
        faults.names(event_types.as_ref(), "eventTypes", MAX_EVENT_TYPES);
        faults.channels(self.channels.as_ref(), MAX_CHANNELS);
        let throttle_rate = faults.either(
            self.throttle_rate,
            "throttleRate",
            self.rate_limit,
            "rateLimit",
        );
        faults.rate(throttle_rate);
        check_order(&mut faults, self.order);
        let metadata = self.metadata.take().unwrap_or_default();
        faults.metadata(&metadata, state.config.metadata_bytes);
        faults.none()?;
        judge(state, &self.url).await?;
        Ok(Checked {
            url: self.url.clone(),
            uid: self.uid.clone(),
            description,
            disabled: self.disabled.unwrap_or(false),
            event_types: event_types.map(Vec::from_iter),
            channels: self.channels.take().map(Vec::from_iter),
            throttle_rate,
            order: self.order,
            metadata,
            retry: self.retry_policy.take().map(|policy| policy.0),
        })
    }

    pub(super) async fn build(
        mut self,
        state: &ApiState,
        app: &Application,
    ) -> Result<Endpoint, ApiError> {
        let headers = self.headers.take().unwrap_or_default();
        check_headers(&headers, &state.config)?;
        let sealed = new_secret(state, self.secret.take().as_deref(), "secret")?.sealed;
        let checked = self.check(state).await?;
        let now = state.clock.wall();
        Ok(Endpoint {
            id: EndpointId::generate(now),
            app: app.id,
            org: app.org,
            uid: checked.uid.value().cloned(),
            url: checked.url,
            description: checked.description,
            event_types: checked.event_types,
            channels: checked.channels,
            disabled: checked.disabled,
            disabled_reason: None,
            pause: PauseState::Running,
            throttle_rate: checked.throttle_rate,
            order: checked.order.unwrap_or_default(),
            metadata: checked.metadata,
            secrets: vec![EndpointSecret {
                sealed,
                expires_at: None,
            }],
            headers: seal_headers(state, &headers)?,
            retry: checked.retry,
            created_at: now,
            updated_at: now,
            failing_since: None,
        })
    }
}

impl EndpointPatch {
    /// Event types and rate by whichever name they were given.
    pub(super) fn check(
        &mut self,
        state: &ApiState,
    ) -> Result<(Patch<BTreeSet<Uid>>, Patch<u16>), ApiError> {
        let mut faults = Faults::default();
        if let Some(description) = &self.description {
            faults.at_most(description, "description", MAX_DESCRIPTION);
        }
        let types = std::mem::take(&mut self.event_types).mentioned();
        let others = std::mem::take(&mut self.filter_types).mentioned();
        let types = faults
            .either(types, "eventTypes", others, "filterTypes")
            .unwrap_or_default();
        faults.names(types.value(), "eventTypes", MAX_EVENT_TYPES);
        faults.channels(self.channels.value(), MAX_CHANNELS);
        let (rate, other) = (self.throttle_rate.mentioned(), self.rate_limit.mentioned());
        let rate = faults
            .either(rate, "throttleRate", other, "rateLimit")
            .unwrap_or_default();
        faults.rate(rate.value().copied());
        check_order(&mut faults, self.order);
        if let Some(metadata) = &self.metadata {
            faults.metadata(metadata, state.config.metadata_bytes);
        }
        faults.none().map(|()| (types, rate))
    }
}

fn check_order(faults: &mut Faults, order: Option<DeliveryOrder>) {
    if let Some(DeliveryOrder::Fifo {
        skip_after: Some(tries),
    }) = order
        && !(1..=MAX_SKIP_AFTER).contains(&tries)
    {
        let msg = format!("must be between 1 and {MAX_SKIP_AFTER}");
        faults.add(["body", "order", "skipAfter"], msg);
    }
}

pub(super) async fn judge(state: &ApiState, url: &str) -> Result<(), ApiError> {
    match state.outbound.judge_registration(url).await {
        Ok(_) => Ok(()),
        Err(refusal) => Err(ApiError::invalid(["body", "url"], refusal.to_string())),
    }
}
