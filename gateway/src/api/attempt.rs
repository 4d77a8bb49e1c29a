//! Attempts: what was sent to an endpoint, what came back, and what the plugins did.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;

use super::access::{ReachedEndpoint, ReachedMessage};
use super::error::ApiError;
use super::extract::PathNames;
use super::message::{self, MessageOut};
use super::paging::{Page, Paging};
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use crate::domain::{
    ApplicationId, Attempt, AttemptId, AttemptStatus, Digest, Endpoint, EndpointId, Message,
    PluginReport, Seq, Trigger, Uid,
};
use crate::store::{AttemptFilter, AttemptsOf, Found};

/// An attempt as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttemptOut {
    id: String,
    endpoint_id: String,
    msg_id: String,
    url: String,
    response: String,
    /// 0: no answer came.
    response_status_code: u16,
    response_duration_ms: u32,
    status: u8,
    status_text: &'static str,
    trigger_type: u8,
    timestamp: String,
    plugins: Vec<PluginOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<MessageOut>,
}

/// What one plugin did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PluginOut {
    plugin: String,
    version: Digest,
    outcome: String,
    detail: String,
    duration_us: u64,
    memory_peak_bytes: u64,
    logs: Vec<LogOut>,
}

#[derive(Debug, Serialize)]
struct LogOut {
    level: String,
    text: String,
}

impl From<PluginReport> for PluginOut {
    fn from(report: PluginReport) -> Self {
        let logs = report.logs.into_iter();
        Self {
            plugin: report.plugin,
            version: report.version,
            outcome: report.outcome,
            detail: report.detail,
            duration_us: report.micros,
            memory_peak_bytes: report.memory_peak,
            logs: logs.map(|(level, text)| LogOut { level, text }).collect(),
        }
    }
}

impl AttemptOut {
    fn of(attempt: Attempt, with_content: bool, msg: Option<MessageOut>) -> Self {
        Self {
            id: attempt.id.to_string(),
            endpoint_id: attempt.delivery.endpoint.to_string(),
            msg_id: attempt.message.to_string(),
            url: attempt.url,
            response: if with_content {
                attempt.response
            } else {
                String::new()
            },
            response_status_code: attempt.response_code.unwrap_or(0),
            // Clients of the first generation read 32 bits with a sign.
            response_duration_ms: attempt.duration_ms.min(i32::MAX.unsigned_abs()),
            status: attempt.status.code(),
            status_text: attempt.status.text(),
            trigger_type: match attempt.trigger {
                Trigger::Scheduled | Trigger::Recovered => 0,
                Trigger::Manual => 1,
            },
            timestamp: attempt.at.to_string(),
            plugins: attempt.plugins.into_iter().map(PluginOut::from).collect(),
            msg,
        }
    }
}

/// What a list of attempts is asked for.
struct Asked {
    paging: Paging,
    filter: AttemptFilter,
    with_content: bool,
    with_msg: bool,
}

impl Asked {
    fn read(mut query: QueryParams, endpoint: Option<EndpointId>) -> Result<Self, ApiError> {
        let asked = Self {
            paging: Paging::read(&mut query),
            filter: AttemptFilter {
                before: query.moment("before"),
                after: query.moment("after"),
                status: query.read("status", read_status),
                status_code_class: query.read("status_code_class", |text| match text.parse() {
                    Ok(class @ (0 | 100 | 200 | 300 | 400 | 500)) => Ok(class),
                    _ => Err("must be 0, 100, 200, 300, 400 or 500".to_owned()),
                }),
                endpoint,
                channel: query.name("channel"),
                tag: query.text("tag").map(Arc::from),
                event_types: query.names("event_types"),
            },
            with_content: query.flag("with_content", true),
            with_msg: query.flag("with_msg", false),
        };
        query.done().map(|()| asked)
    }
}

/// A status by its number.
pub(super) fn read_status(text: &str) -> Result<AttemptStatus, String> {
    match text {
        "0" => Ok(AttemptStatus::Success),
        "1" => Ok(AttemptStatus::Pending),
        "2" => Ok(AttemptStatus::Fail),
        "3" => Ok(AttemptStatus::Sending),
        "4" => Ok(AttemptStatus::Canceled),
        _ => Err("must be a number from 0 to 4".to_owned()),
    }
}

/// `GET /app/{app_id}/attempt/endpoint/{endpoint_id}`
pub(crate) async fn by_endpoint(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
    query: QueryParams,
) -> Result<axum::Json<Page<AttemptOut>>, ApiError> {
    let asked = Asked::read(query, None)?;
    list(&state, AttemptsOf::Endpoint(endpoint.value.id), asked).await
}

/// `GET /app/{app_id}/attempt/msg/{msg_id}`
pub(crate) async fn by_message(
    State(state): State<Shared>,
    ReachedMessage { app, message, .. }: ReachedMessage,
    mut query: QueryParams,
) -> Result<axum::Json<Page<AttemptOut>>, ApiError> {
    let endpoint = match query.name("endpoint_id") {
        Some(name) => Some(endpoint_named(&state, app.value.id, &name).await?),
        None => None,
    };
    let asked = Asked::read(query, endpoint)?;
    list(&state, AttemptsOf::Message(message.seq), asked).await
}

/// By identifier it may be a deleted one: its attempts are still there.
async fn endpoint_named(
    state: &ApiState,
    app: ApplicationId,
    name: &Uid,
) -> Result<EndpointId, ApiError> {
    if let Ok(id) = name.as_str().parse() {
        return Ok(id);
    }
    let found = state.store.find::<Endpoint>(app, name.as_str()).await?;
    found
        .map(|found| found.value.id)
        .ok_or_else(|| ApiError::NotFound("endpoint".to_owned()))
}

async fn list(
    state: &ApiState,
    of: AttemptsOf,
    asked: Asked,
) -> Result<axum::Json<Page<AttemptOut>>, ApiError> {
    let Asked {
        paging,
        filter,
        with_content,
        with_msg,
    } = asked;
    let Found { rows, looked_to } = state.store.attempts(of, &filter, paging.request()).await?;
    let mut attempts: Vec<(Attempt, Option<Message>)> = Vec::with_capacity(rows.len());
    for attempt in rows {
        let message = match with_msg {
            true => state.store.message(attempt.delivery.message).await?,
            false => None,
        };
        attempts.push((attempt, message));
    }
    let weight = |(_, message): &(Attempt, Option<Message>)| match message {
        Some(message) if with_content => message::payload_len(message),
        _ => 0,
    };
    let found = Found {
        rows: attempts,
        looked_to,
    };
    let (rows, end) = paging.trim_heavy(found, weight, state.config.page_bytes);
    let mut shown: Vec<(Seq, AttemptOut)> = Vec::with_capacity(rows.len());
    for (attempt, message) in rows {
        let msg = match message {
            Some(message) => Some(message::show(state, message, with_content).await?),
            None => None,
        };
        shown.push((attempt.seq, AttemptOut::of(attempt, with_content, msg)));
    }
    Ok(axum::Json(paging.page_of(
        shown,
        end,
        |(seq, _)| *seq,
        |(_, out)| out,
    )))
}

/// `GET /app/{app_id}/msg/{msg_id}/attempt/{attempt_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedMessage { message, .. }: ReachedMessage,
    path: PathNames,
) -> Result<axum::Json<AttemptOut>, ApiError> {
    let not_found = || ApiError::NotFound("attempt".to_owned());
    let id: AttemptId = path.text("attempt_id").parse().map_err(|_| not_found())?;
    let attempt = state
        .store
        .attempt(message.seq, id)
        .await?
        .ok_or_else(not_found)?;
    Ok(axum::Json(AttemptOut::of(attempt, true, None)))
}
