//! The transformation of an endpoint (Svix v1 contract): JavaScript that its deliveries go through after its chain.
//!
//! Code is tried when it is set, in the sandbox, with an example of an event: what is no JavaScript, has no handler, or
//! changes where the webhook goes is refused then. What it throws for the example tells nothing about real events.

use std::collections::BTreeMap;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::access::ReachedEndpoint;
use super::error::ApiError;
use super::extract::Json;
use super::patch::Patch;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{Application, Endpoint, Transformation};
use crate::sandbox::{ChainOutcome, ChainRun, Event, SandboxError, Script, StepOutcome};
use crate::store::{COMMIT_TRIES, records};

/// The event type of the example where the endpoint wants all.
const EXAMPLE_TYPE: &str = "example.event";

/// Some of a transformation.
#[derive(Debug, Deserialize)]
pub(crate) struct TransformationPatch {
    #[serde(default)]
    code: Patch<String>,
    #[serde(default)]
    enabled: Patch<bool>,
    #[serde(default)]
    variables: Patch<BTreeMap<String, String>>,
}

/// A transformation as callers see it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TransformationOut {
    code: Option<String>,
    enabled: bool,
    variables: Option<BTreeMap<String, String>>,
    updated_at: Option<String>,
}

impl From<Transformation> for TransformationOut {
    fn from(transformation: Transformation) -> Self {
        Self {
            code: transformation.code,
            enabled: transformation.enabled,
            variables: transformation.variables,
            updated_at: Some(transformation.updated_at.to_string()),
        }
    }
}

/// `GET /app/{app_id}/endpoint/{endpoint_id}/transformation`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedEndpoint { endpoint, .. }: ReachedEndpoint,
) -> Result<axum::Json<TransformationOut>, ApiError> {
    let found = state.store.get::<Transformation>(endpoint.value.id).await?;
    Ok(axum::Json(
        found.map_or_else(TransformationOut::default, |found| found.value.into()),
    ))
}

/// `PATCH /app/{app_id}/endpoint/{endpoint_id}/transformation`
pub(crate) async fn patch(
    State(state): State<Shared>,
    ReachedEndpoint { app, endpoint, .. }: ReachedEndpoint,
    Json(wanted): Json<TransformationPatch>,
) -> Result<StatusCode, ApiError> {
    check_sizes(&wanted)?;
    let mut tried = None;
    let mut tries = 0;
    loop {
        tries += 1;
        let found = state.store.get::<Transformation>(endpoint.value.id).await?;
        let before = found.as_ref().map(|found| found.value.clone());
        let after = changed(&state, &endpoint.value, before.clone(), &wanted);
        if before.as_ref() == Some(&after) {
            return Ok(StatusCode::NO_CONTENT);
        }
        if let Some(code) = &after.code
            && tried.as_ref() != Some(&(code.clone(), after.variables.clone()))
        {
            try_out(&state, &app.value, &endpoint.value, &after, code).await?;
            tried = Some((code.clone(), after.variables.clone()));
        }
        let write = match found {
            Some(found) => found.update(&after)?,
            None => records::insert(&after)?,
        };
        match state.store.commit(vec![write], None).await {
            Ok(_) => return Ok(StatusCode::NO_CONTENT),
            // Somebody else changed it: look again.
            Err(error) if error.is_conflict() && tries < COMMIT_TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn check_sizes(wanted: &TransformationPatch) -> Result<(), ApiError> {
    let mut faults = Faults::default();
    let most = Transformation::MAX_CODE_BYTES;
    let code = wanted.code.value().map_or(0, String::len);
    faults.check(
        code <= most,
        "code",
        format!("must have at most {most} bytes"),
    );
    let most = Transformation::MAX_VARIABLES_BYTES;
    let variables: usize = wanted.variables.value().map_or(0, |variables| {
        variables
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    });
    faults.check(
        variables <= most,
        "variables",
        format!("must have at most {most} bytes"),
    );
    faults.none()
}

/// The transformation with the change in it; the same as before if nothing changes.
fn changed(
    state: &ApiState,
    endpoint: &Endpoint,
    before: Option<Transformation>,
    wanted: &TransformationPatch,
) -> Transformation {
    let now = state.clock.wall();
    let before = before.unwrap_or(Transformation {
        endpoint: endpoint.id,
        app: endpoint.app,
        code: None,
        enabled: false,
        variables: None,
        revision: 0,
        updated_at: now,
    });
    let mut after = before.clone();
    wanted.code.clone().apply(&mut after.code);
    wanted.variables.clone().apply(&mut after.variables);
    let mut enabled = Some(after.enabled);
    wanted.enabled.apply(&mut enabled);
    after.enabled = enabled.unwrap_or(false);
    if after != before || before.revision == 0 {
        after.revision += 1;
        after.updated_at = now;
    }
    after
}

/// Runs the code over an example, for what it may not be or do.
async fn try_out(
    state: &ApiState,
    app: &Application,
    endpoint: &Endpoint,
    transformation: &Transformation,
    code: &str,
) -> Result<(), ApiError> {
    // From here on it is compiled, so that no delivery waits for that.
    let prepared = state.sandbox.prepare_javascript().await;
    prepared.map_err(not_ready)?;
    let script = Script {
        code,
        variables: transformation.variables.as_ref(),
        url: &endpoint.url,
        dry_run: true,
    };
    let run = ChainRun {
        tenant: app.id.to_string().into(),
        memo_key: None,
        steps: [script.step()].into(),
        event: example(state, app, endpoint),
    };
    let result = state.sandbox.run_chain(run).await;
    let report = result.steps.first();
    match result.outcome {
        ChainOutcome::Unavailable => Err(not_ready(SandboxError::Busy)),
        ChainOutcome::Failed { error, .. }
            if report.is_some_and(|report| report.outcome == StepOutcome::Error) =>
        {
            Err(ApiError::invalid(["body", "code"], error))
        }
        // Running into a limit is seen with real events, and may be an accident of this one run.
        _ => Ok(()),
    }
}

fn not_ready(error: SandboxError) -> ApiError {
    match error {
        SandboxError::Busy | SandboxError::CompileQueueFull => ApiError::Unavailable {
            detail: "the sandbox is busy",
            retry_after: 1,
        },
        error => ApiError::internal(error),
    }
}

fn example(state: &ApiState, app: &Application, endpoint: &Endpoint) -> Event {
    let wanted = endpoint
        .event_types
        .as_ref()
        .and_then(|types| types.first());
    let event_type = wanted.map_or_else(|| EXAMPLE_TYPE.to_owned(), ToString::to_string);
    let payload = json!({ "type": event_type, "id": "example", "data": {} });
    Event {
        id: "msg_example".to_owned(),
        event_type,
        timestamp_ms: state.clock.wall().millis(),
        channels: Vec::new(),
        application_id: app.id.to_string(),
        application_uid: app.uid.as_ref().map(ToString::to_string),
        endpoint_id: Some(endpoint.id.to_string()),
        headers: Vec::new(),
        content_type: "application/json".to_owned(),
        payload: payload.to_string().into(),
    }
}
