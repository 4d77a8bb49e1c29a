//! Everything that failed at an endpoint, once more.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::access::ReachedEndpoint;
use super::error::ApiError;
use super::extract::JsonBody;
use super::idempotency::{Answer, Once, Twin};
use super::query::{MOMENT, parse_moment};
use super::state::Shared;
use super::validate::Faults;
use crate::domain::{RecoverTask, TaskId, Timestamp};
use crate::store::StoreError;

#[derive(Debug, Deserialize)]
struct RecoverIn {
    since: String,
    #[serde(default)]
    until: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RecoverOut {
    id: String,
    status: &'static str,
    task: &'static str,
    updated_at: String,
}

/// `POST /app/{app_id}/endpoint/{endpoint_id}/recover`: what failed of the messages accepted since then is due
/// again with a fresh schedule. It happens in the background; an endpoint has one such task at a time.
pub(crate) async fn create(
    State(state): State<Shared>,
    ReachedEndpoint {
        app,
        endpoint,
        caller,
    }: ReachedEndpoint,
    twin: Twin,
    body: JsonBody,
) -> Result<Once<Answer>, ApiError> {
    let wanted: RecoverIn = body.parse()?;
    twin.once(&state, &caller, body.bytes(), async |pending| {
        let now = state.clock.wall();
        let (since, until) = wanted.span(now)?;
        if endpoint.value.disabled {
            return Err(ApiError::Conflict("the endpoint is disabled".to_owned()));
        }
        let task = RecoverTask {
            id: TaskId::generate(now),
            app: app.value.id,
            endpoint: endpoint.value.id,
            since,
            until,
            before: None,
            updated_at: now,
        };
        let answer = Answer::json(StatusCode::ACCEPTED, &RecoverOut::of(&task))?;
        let started = state.deliveries.recover(&task, pending.record(&answer));
        started.await.map_err(|error| match error {
            StoreError::Exists { .. } => ApiError::Conflict(
                "failed deliveries of the endpoint are being recovered".to_owned(),
            ),
            error => error.into(),
        })?;
        Ok(answer)
    })
    .await
}

impl RecoverIn {
    /// From when to when.
    fn span(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
        let mut faults = Faults::default();
        let since = parse_moment(&self.since);
        let until = self.until.as_deref().map(parse_moment);
        faults.check(since.is_some(), "since", MOMENT);
        faults.check(until != Some(None), "until", MOMENT);
        let until = until.flatten().unwrap_or(now).min(now);
        if let Some(since) = since {
            faults.check(since < now, "since", "must lie in the past");
            faults.check(
                since >= now || until > since,
                "until",
                "must lie after `since`",
            );
        }
        faults.none()?;
        Ok((since.unwrap_or_default(), until))
    }
}

impl RecoverOut {
    fn of(task: &RecoverTask) -> Self {
        Self {
            id: task.id.to_string(),
            status: "running",
            task: "endpoint.recover",
            updated_at: task.updated_at.to_string(),
        }
    }
}
