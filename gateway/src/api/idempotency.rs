//! Requests that may be sent twice. The answer to a request with an `Idempotency-Key` is committed together
//! with what the request did, and given again to its twin. Twins in flight wait for each other; if the first
//! does not commit, one of them goes on in its place.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use parking_lot::Mutex;
use serde::Serialize;

use super::auth::Caller;
use super::error::ApiError;
use super::state::ApiState;
use crate::domain::Digest;
use crate::store::IdempotencyRecord;

/// Longest key, in bytes. Chosen: four times a UUID's text, and short enough to be a key of the store.
const MAX_KEY: usize = 256;

const HEADER: &str = "idempotency-key";

/// The parameter that a twin may give another value: it is applied to what is replayed.
const OF_EACH: &str = "with_content";

/// What a request's twin would share with it, the body excepted.
#[derive(Debug)]
pub(crate) struct Twin {
    key: Option<String>,
    method: Method,
    /// Path and query.
    target: String,
}

/// A status and a body that can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: StatusCode,
    body: Bytes,
}

/// What came of a request that may have a twin.
#[derive(Debug)]
pub(crate) enum Once<T> {
    /// It was carried out now.
    Done(T),
    /// Its twin was; this is what that one was answered.
    Replayed(Answer),
}

/// Makes the record to commit along with the request's work.
#[derive(Debug)]
pub(crate) struct Pending {
    record: Option<IdempotencyRecord>,
}

/// Twins in flight. As many entries as there are requests with a key under way.
#[derive(Debug, Default)]
pub(crate) struct InFlight(Mutex<HashMap<FullKey, Arc<tokio::sync::Mutex<()>>>>);

type FullKey = (String, String);

impl<S: Sync> FromRequestParts<S> for Twin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let key = match parts.headers.get(HEADER) {
            None => None,
            Some(value) => match value.to_str() {
                Ok(text) if (1..=MAX_KEY).contains(&text.len()) => Some(text.to_owned()),
                _ => {
                    let msg = format!("must have 1 to {MAX_KEY} visible ASCII characters");
                    return Err(ApiError::invalid(["header", HEADER], msg));
                }
            },
        };
        Ok(Self {
            key,
            method: parts.method.clone(),
            target: target(parts.uri.path(), parts.uri.query().unwrap_or_default()),
        })
    }
}

impl Twin {
    /// Whether it may have been sent before.
    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Carries the request out, unless its twin was: `work` commits the record that [`Pending`] makes. Only
    /// what is committed is replayed, so a request that failed can be sent again.
    pub(crate) async fn once<T>(
        self,
        state: &ApiState,
        caller: &Caller,
        body: &[u8],
        work: impl AsyncFnOnce(Pending) -> Result<T, ApiError>,
    ) -> Result<Once<T>, ApiError> {
        let Some(key) = self.key else {
            return work(Pending { record: None }).await.map(Once::Done);
        };
        let request = digest(&self.method, &self.target, body);
        let full_key = (caller.key_scope(), key);
        let turn = state.twins.enter(&full_key);
        let _turn = turn.wait().await;
        let now = state.clock.now();
        let (scope, key) = full_key.clone();
        if let Some(record) = state.store.idempotency(&scope, &key, now).await? {
            return replay(&record, request).map(Once::Replayed);
        }
        let kept = Duration::from_secs(state.config.idempotency_hours.saturating_mul(3600));
        let pending = Pending {
            record: Some(IdempotencyRecord {
                scope,
                key,
                request,
                status: 0,
                body: Bytes::new(),
                expires_at: now.after(kept),
            }),
        };
        match work(pending).await {
            // Committed by another gateway meanwhile.
            Err(ApiError::Answered(record)) => replay(&record, request).map(Once::Replayed),
            other => other.map(Once::Done),
        }
    }
}

impl Pending {
    /// Whether the answer is kept for a twin.
    pub(crate) fn is_kept(&self) -> bool {
        self.record.is_some()
    }

    /// The record of this answer; none if the request has no key.
    pub(crate) fn record(self, answer: &Answer) -> Option<IdempotencyRecord> {
        self.record.map(|record| IdempotencyRecord {
            status: answer.status.as_u16(),
            body: answer.body.clone(),
            ..record
        })
    }
}

impl Answer {
    /// An answer in JSON.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, ApiError> {
        let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
        Ok(Self {
            status,
            body: body.into(),
        })
    }

    /// An answer whose body is JSON already.
    pub(crate) fn of_json_bytes(status: StatusCode, body: Bytes) -> Self {
        Self { status, body }
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Its body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )];
        (self.status, json, self.body).into_response()
    }
}

impl IntoResponse for Once<Answer> {
    fn into_response(self) -> Response {
        match self {
            Once::Done(answer) | Once::Replayed(answer) => answer.into_response(),
        }
    }
}

fn replay(record: &IdempotencyRecord, request: Digest) -> Result<Answer, ApiError> {
    if record.request != request {
        let msg = "this key was used for another request";
        return Err(ApiError::invalid(["header", HEADER], msg));
    }
    let status = StatusCode::from_u16(record.status).map_err(ApiError::internal)?;
    Ok(Answer {
        status,
        body: record.body.clone(),
    })
}

/// A path with the parameters that change what is done.
fn target(path: &str, query: &str) -> String {
    let path = path.strip_suffix('/').unwrap_or(path);
    let pairs = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name != OF_EACH);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    }
}

/// Of fixed-size parts and the target between them, so that no two requests read alike.
fn digest(method: &Method, target: &str, body: &[u8]) -> Digest {
    let body = Digest::of(body).to_hex();
    Digest::of(format!("{method} {target} {body}").as_bytes())
}

/// A request's place among its twins.
struct Turn<'a> {
    twins: &'a InFlight,
    key: FullKey,
    gate: Arc<tokio::sync::Mutex<()>>,
}

impl InFlight {
    fn enter(&self, key: &FullKey) -> Turn<'_> {
        let gate = self.0.lock().entry(key.clone()).or_default().clone();
        Turn {
            twins: self,
            key: key.clone(),
            gate,
        }
    }
}

impl Turn<'_> {
    async fn wait(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.gate.lock().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut gates = self.twins.0.lock();
        // This one and the map's: nobody else waits, and nobody can enter while the map is locked.
        if Arc::strong_count(&self.gate) == 2 {
            gates.remove(&self.key);
        }
    }
}
