//! Messages: taken in, listed, shown. A payload is kept as the bytes that arrived and shown as they are.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::access::{OfOrganization, ReachedApp, ReachedMessage};
use super::application::{self, ApplicationIn};
use super::error::ApiError;
use super::extract::{JsonBody, PathNames};
use super::idempotency::{Answer, Once, Pending, Twin};
use super::paging::{Page, Paging};
use super::query::{MOMENT, QueryParams, parse_moment};
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{Application, Message, Timestamp, Uid};
use crate::ingest::{IngestError, Submission};
use crate::store::MessageFilter;

/// Most channels of a message (Svix v1 contract), and most tags. Chosen: the same.
const MAX_CHANNELS: usize = 5;
const MAX_TAGS: usize = 5;

/// Days that a payload may be kept (Svix v1 contract).
const RETENTION_DAYS: std::ops::RangeInclusive<u64> = 5..=90;

/// Deepest nesting of a payload: what serde_json, in clients and plugins, reads.
const MAX_DEPTH: usize = 127;

const DAY: u64 = 24 * 3600;

/// A new message.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageIn<'a> {
    event_type: Uid,
    event_id: Option<Uid>,
    #[serde(borrow)]
    payload: &'a RawValue,
    channels: Option<BTreeSet<Uid>>,
    tags: Option<BTreeSet<String>>,
    application: Option<ApplicationIn>,
    deliver_at: Option<String>,
    payload_retention_period: Option<u64>,
    payload_retention_hours: Option<u64>,
}

/// A message as callers see it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageOut {
    id: String,
    event_id: Option<Uid>,
    event_type: Uid,
    channels: Option<Vec<Uid>>,
    tags: Option<Vec<String>>,
    deliver_at: Option<String>,
    timestamp: String,
    payload: Box<RawValue>,
}

/// What is shown in place of a payload.
pub(super) enum Shown {
    /// The bytes that arrived.
    Payload(Bytes),
    /// It was not asked for.
    Nothing,
    /// It is not kept any more.
    Expired,
}

impl Shown {
    fn into_raw(self) -> Result<Box<RawValue>, ApiError> {
        let text = match self {
            Shown::Payload(bytes) => match serde_json::from_slice::<&RawValue>(&bytes) {
                Ok(raw) => return Ok(raw.to_owned()),
                // From a source that is not JSON.
                Err(_) => serde_json::to_string(&String::from_utf8_lossy(&bytes))
                    .map_err(ApiError::internal)?,
            },
            Shown::Nothing => "{}".to_owned(),
            Shown::Expired => r#"{"expired":true}"#.to_owned(),
        };
        RawValue::from_string(text).map_err(ApiError::internal)
    }
}

impl MessageOut {
    pub(super) fn of(message: Message, shown: Shown) -> Result<Self, ApiError> {
        Ok(Self {
            id: message.id.to_string(),
            event_id: message.event_id,
            event_type: message.event_type,
            channels: Some(message.channels).filter(|channels| !channels.is_empty()),
            tags: Some(message.tags).filter(|tags| !tags.is_empty()),
            deliver_at: message.deliver_at.map(|at| at.to_string()),
            timestamp: message.created_at.to_string(),
            payload: shown.into_raw()?,
        })
    }
}

/// What a [`MessageIn`] says, checked.
struct Checked {
    event_type: Uid,
    event_id: Option<Uid>,
    payload: Bytes,
    channels: Vec<Uid>,
    tags: Vec<String>,
    deliver_at: Option<Timestamp>,
    retention: Option<Duration>,
}

impl MessageIn<'_> {
    /// `body` is what it was read from: the payload stays a part of it.
    fn check(self, body: &Bytes, state: &ApiState) -> Result<Checked, ApiError> {
        let limit = state.ingest.payload_limit();
        let payload = self.payload.get();
        if payload.len() > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        let mut faults = Faults::default();
        faults.check(payload.starts_with('{'), "payload", "must be a JSON object");
        let fits = is_within(payload, MAX_DEPTH);
        faults.check(
            fits,
            "payload",
            format_args!("is nested more than {MAX_DEPTH} levels deep"),
        );
        faults.channels(self.channels.as_ref(), MAX_CHANNELS);
        faults.tags(self.tags.as_ref(), MAX_TAGS);
        let deliver_at = self.deliver_at.as_deref().map(parse_moment);
        faults.check(deliver_at != Some(None), "deliverAt", MOMENT);
        let days = self.payload_retention_period;
        faults.check(
            days.is_none_or(|days| RETENTION_DAYS.contains(&days)),
            "payloadRetentionPeriod",
            format_args!(
                "must be from {} to {}",
                RETENTION_DAYS.start(),
                RETENTION_DAYS.end()
            ),
        );
        let hours = self.payload_retention_hours;
        let most = RETENTION_DAYS.end() * 24;
        faults.check(
            hours.is_none_or(|hours| (1..=most).contains(&hours)),
            "payloadRetentionHours",
            format_args!("must be from 1 to {most}"),
        );
        let kept = hours
            .map(|hours| hours.saturating_mul(3600))
            .or(days.map(|days| days.saturating_mul(DAY)))
            .map(Duration::from_secs);
        let longest = kept.unwrap_or(state.ingest.retention());
        let latest = state.clock.wall().after(longest);
        faults.check(
            deliver_at.flatten().is_none_or(|at| at <= latest),
            "deliverAt",
            format_args!(
                "must lie within the {} that the message is kept",
                span(longest)
            ),
        );
        faults.none()?;
        Ok(Checked {
            event_type: self.event_type,
            event_id: self.event_id,
            payload: body.slice_ref(payload.as_bytes()),
            channels: self.channels.into_iter().flatten().collect(),
            tags: self.tags.into_iter().flatten().collect(),
            deliver_at: deliver_at.flatten(),
            retention: kept,
        })
    }
}

/// A retention for people.
fn span(kept: Duration) -> String {
    match kept.as_secs() {
        seconds if seconds.is_multiple_of(DAY) => format!("{} days", seconds / DAY),
        seconds if seconds.is_multiple_of(3600) => format!("{} hours", seconds / 3600),
        seconds => format!("{seconds} seconds"),
    }
}

/// Whether a valid JSON text is nested no deeper than that.
fn is_within(json: &str, deepest: usize) -> bool {
    // Few have that many brackets, and to count them takes a tenth of the time.
    let opens = json.bytes().filter(|byte| matches!(byte, b'{' | b'['));
    opens.count() <= deepest || depth(json) <= deepest
}

fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_text, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// `POST /app/{app_id}/msg`: answers once it is on disk.
pub(crate) async fn create(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    path: PathNames,
    mut query: QueryParams,
    twin: Twin,
    request: Request,
) -> Result<Response, ApiError> {
    let with_content = query.flag("with_content", true);
    query.done()?;
    let name = path.name("app_id")?;
    // Before the body is read, unless it may be a twin's, which costs its sender nothing.
    if !twin.has_key() {
        let app = name.as_str().parse().ok();
        state.ingest.may_submit(org, app).await?;
    }
    let limit = state.ingest.payload_limit();
    let most = limit.saturating_add(state.config.json_bytes);
    let body = JsonBody::receive(&state, request, most).await?;
    let mut wanted: MessageIn<'_> = body.parse_borrowed()?;
    let payload = wanted.payload;
    let application = wanted.application.take();
    let checked = wanted.check(body.bytes(), &state)?;
    let once = twin
        .once(&state, &caller, body.bytes(), async |pending| {
            let app = application::get_or_create(&state, org, &name, application).await?;
            tracing::Span::current().record("app", tracing::field::display(app.id));
            accept(&state, app, checked, pending).await
        })
        .await?;
    let (status, mut out) = match once {
        Once::Done(message) => (
            StatusCode::ACCEPTED,
            MessageOut::of(message, Shown::Nothing)?,
        ),
        Once::Replayed(answer) => {
            let out = serde_json::from_slice(answer.body()).map_err(ApiError::internal)?;
            (answer.status(), out)
        }
    };
    // What is kept for a twin has no payload: the twin has brought it again.
    if with_content {
        out.payload = payload.to_owned();
    }
    Ok((status, axum::Json(out)).into_response())
}

/// Hands the message over. The answer that is kept for a twin has no payload.
async fn accept(
    state: &ApiState,
    app: Application,
    checked: Checked,
    pending: Pending,
) -> Result<Message, ApiError> {
    let submission = Submission {
        app,
        event_type: checked.event_type,
        channels: checked.channels,
        tags: checked.tags,
        event_id: checked.event_id,
        payload: checked.payload,
        content_type: "application/json".to_owned(),
        deliver_at: checked.deliver_at,
        retention: checked.retention,
    };
    let record = |message: &Message| {
        let has_twin = pending.is_kept();
        let answer = has_twin.then(|| answer(message).ok()).flatten();
        answer.and_then(|answer| pending.record(&answer))
    };
    let accepted = state.ingest.submit(submission, record).await?;
    Ok(accepted.message)
}

fn answer(message: &Message) -> Result<Answer, ApiError> {
    let out = MessageOut::of(message.clone(), Shown::Nothing)?;
    Answer::json(StatusCode::ACCEPTED, &out)
}

/// As `Retry-After` says it: rounded up, so that who comes back then is not too early.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::TooLarge { limit, .. } => Self::BodyTooLarge { limit },
            IngestError::Overloaded { retry_after } => Self::Unavailable {
                detail: "too many messages are being accepted",
                retry_after: whole_seconds(retry_after),
            },
            IngestError::Throttled { whose, retry_after } => Self::TooMany {
                detail: format!("the {whose} sends more messages than its throttle rate allows"),
                retry_after: whole_seconds(retry_after),
            },
            IngestError::TooManyPending { limit, retry_after } => Self::TooMany {
                detail: format!("the organization has its {limit} unfinished deliveries"),
                retry_after: whole_seconds(retry_after),
            },
            IngestError::Unavailable {
                retry_after,
                source,
            } => {
                tracing::warn!(
                    error = &source as &dyn std::error::Error,
                    "a message was refused"
                );
                Self::Unavailable {
                    detail: "no message can be stored at present",
                    retry_after: whole_seconds(retry_after),
                }
            }
            IngestError::EventIdTaken { existing } => {
                Self::Conflict(format!("message {existing} has this event id"))
            }
            IngestError::IdempotencyKeyTaken(record) => Self::Answered(record),
            IngestError::Store(error) => error.into(),
        }
    }
}

/// `GET /app/{app_id}/msg`
pub(crate) async fn list(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
    mut query: QueryParams,
) -> Result<axum::Json<Page<MessageOut>>, ApiError> {
    let paging = Paging::read(&mut query);
    let with_content = query.flag("with_content", true);
    let filter = MessageFilter {
        before: query.moment("before"),
        after: query.moment("after"),
        channel: query.name("channel"),
        tag: query.text("tag").map(str::to_owned),
        event_types: query.names("event_types"),
    };
    query.done()?;
    let found = state
        .store
        .messages(app.value.id, &filter, paging.request())
        .await?;
    let (rows, end) = paging.trim_heavy(
        found,
        |message| {
            if with_content {
                payload_len(message)
            } else {
                0
            }
        },
        state.config.page_bytes,
    );
    let mut shown = Vec::with_capacity(rows.len());
    for message in rows {
        let seq = message.seq;
        shown.push((seq, show(&state, message, with_content).await?));
    }
    Ok(axum::Json(paging.page_of(
        shown,
        end,
        |(seq, _)| *seq,
        |(_, out)| out,
    )))
}

/// `GET /app/{app_id}/msg/{msg_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    ReachedMessage { message, .. }: ReachedMessage,
    mut query: QueryParams,
) -> Result<axum::Json<MessageOut>, ApiError> {
    let with_content = query.flag("with_content", true);
    query.done()?;
    show(&state, message, with_content).await.map(axum::Json)
}

/// The message with its payload, if that is wanted and still kept.
pub(super) async fn show(
    state: &ApiState,
    message: Message,
    with_content: bool,
) -> Result<MessageOut, ApiError> {
    let shown = if with_content {
        state
            .store
            .payload(message.seq)
            .await?
            .map_or(Shown::Expired, Shown::Payload)
    } else {
        Shown::Nothing
    };
    MessageOut::of(message, shown)
}

/// What its payload weighs in a page.
pub(super) fn payload_len(message: &Message) -> usize {
    usize::try_from(message.payload_len).unwrap_or(usize::MAX)
}
