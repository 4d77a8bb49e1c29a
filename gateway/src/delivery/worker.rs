//! One attempt, step by step: load, shape, sign, send, settle, record. Whatever a plugin or receiver does ends
//! in an outcome of this one delivery; what is the gateway's own trouble postpones it without using a try.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::HeaderMap;
use tokio::sync::mpsc;

use super::directory::{AppView, Directory, EndpointView};
use super::endpoints::Endpoints;
use super::http::{AttemptLimits, attempt};
use super::outcome::{AttemptReport, Verdict};
use super::payloads::{Event, Load, Loaded, Payloads};
use super::record::{Job, last_attempt};
use super::request;
use super::scheduler::{Feedback, Input, Item, Start, UNKNOWN_BYTES};
use super::settle::{Ended, jitter, settle};
use super::shape::{Shape, ShapeOutcome, Shaper, ToSend};
use super::told::tell;
use crate::domain::{
    ApplicationId, Attempt, AttemptId, AttemptStatus, Clock, DeliveryKey, DeliveryState,
    EndpointId, Message, PluginLimits, PluginReport, RetryPolicy, Seq, Timestamp, Trigger,
    display_duration,
};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::outbound::{ErrorKind, Outbound, TargetUrl};
use crate::store::{Outcome, Store, StoreError};

/// How long a delivery waits that could not be tried for the gateway's own reasons. Chosen: a busy sandbox
/// or a store that reopens is back within a second.
const POSTPONE: Duration = Duration::from_secs(1);

/// The endpoint as it stands can not be delivered to.
const NOT_SENDABLE: Ended = Ended::Asked(Verdict::Retry {
    not_before: None,
    slow_down: false,
});

/// What attempts are made with.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(super) directory: Arc<Directory>,
    pub(super) payloads: Arc<Payloads>,
    pub(super) store: Arc<dyn Store>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) shaper: Shaper,
    pub(super) endpoints: Arc<Endpoints>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
    pub(super) limits: AttemptLimits,
    pub(super) records: mpsc::Sender<Job>,
    pub(super) inputs: mpsc::Sender<Input>,
}

/// The gateway could not make the attempt.
#[derive(Debug, thiserror::Error)]
enum NotMade {
    #[error("the sandbox is busy")]
    SandboxBusy,
    #[error("this machine has nothing left to send with: {0}")]
    OutOfMeans(String),
    /// The payload has so many bytes, and was counted as fewer.
    #[error("its payload is larger than was known")]
    Larger(u32),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an attempt went, before it is settled.
#[derive(Debug)]
struct Tried {
    ended: Ended,
    at: Timestamp,
    duration: Duration,
    response_code: Option<u16>,
    response: String,
    plugins: Vec<PluginReport>,
    /// What was sent, for identical retries.
    sent: Option<ToSend>,
}

/// Everything that an attempt is about.
struct Delivery<'a> {
    item: &'a Item,
    policy: &'a RetryPolicy,
    /// Not tried by schedule from then on.
    deadline: Option<Timestamp>,
    /// What the application's plugins may use.
    plugin_limits: PluginLimits,
    app: Arc<AppView>,
    endpoint: Arc<EndpointView>,
    event: Arc<Event>,
}

impl Worker {
    /// Makes the attempt and hands its outcome to the recorder, then gives the lane its place back.
    ///
    /// Cancel-safe: a dropped attempt leaves the delivery to its outbox entry or row; the receiver may have
    /// got it.
    pub(super) async fn run(&self, start: Start) {
        let Start { lane, app, item } = start;
        let message = item.message;
        // A fault of ours must cost this one delivery its try, not its lane a place for ever.
        let attempt = AssertUnwindSafe(self.deliver(lane, app, &item)).catch_unwind();
        let ended = attempt.await.unwrap_or_else(|_| {
            tracing::error!(endpoint = %lane, message = message.0, "an attempt panicked");
            Ok(self.unsent(lane, &item))
        });
        let input = match ended {
            // The record is not waited for: only a place in the recorder's queue is.
            Ok((job, feedback)) => match self.records.send(job).await {
                Ok(()) => Input::Finished(lane, message, feedback),
                Err(_) => return,
            },
            // To the lane's front, for a place of its size.
            Err(NotMade::Larger(bytes)) => {
                Input::Postponed(lane, Item { bytes, ..item }, Duration::ZERO)
            }
            Err(reason) => {
                tracing::warn!(endpoint = %lane, message = message.0,
                    error = &reason as &dyn std::error::Error, "an attempt is postponed");
                Input::Postponed(lane, item, POSTPONE)
            }
        };
        // The lanes are gone at the end of a shutdown.
        drop(self.inputs.send(input).await);
    }

    async fn deliver(
        &self,
        lane: EndpointId,
        app: ApplicationId,
        item: &Item,
    ) -> Result<(Job, Feedback), NotMade> {
        let app = self.directory.app(app).await?;
        let endpoint = app.as_ref().and_then(|app| app.endpoints.get(&lane));
        let (Some(app), Some(endpoint)) = (&app, endpoint) else {
            return Ok(not_tried(lane, item, DeliveryState::Canceled));
        };
        let loaded = self
            .payloads
            .load((lane, item.message), counted_bytes(item))
            .await?;
        let Loaded { event, permit } = match loaded {
            Load::Loaded(loaded) => loaded,
            Load::Gone => return Ok(not_tried(lane, item, DeliveryState::Canceled)),
            Load::Larger(bytes) => return Err(NotMade::Larger(bytes)),
        };
        if endpoint.endpoint.disabled {
            return Ok(not_tried(lane, item, DeliveryState::Failed));
        }
        let org = self.directory.organization(endpoint.endpoint.org).await?;
        let policy = self.directory.policy(&org, &endpoint.endpoint);
        let delivery = Delivery {
            item,
            policy,
            deadline: deadline(policy, item, &event.message),
            plugin_limits: app.application.plugin_limits.or(&org.plugin_limits),
            app: Arc::clone(app),
            endpoint: Arc::clone(endpoint),
            event,
        };
        let tried = self.attempt(&delivery).await?;
        if tried.ended == Ended::Asked(Verdict::Gone) {
            self.endpoints.gone(&endpoint.endpoint).await;
        }
        let feedback = tried.ended.feedback();
        let outcome = self.settle(&delivery, tried);
        if org.hears {
            let about = (&endpoint.endpoint, &delivery.event.message);
            tell(&self.events, self.store.as_ref(), item, about, &outcome).await;
        }
        let job = Job {
            outcome,
            ticket: item.ticket.clone(),
            reply: None,
            permit: Some(permit),
        };
        Ok((job, feedback))
    }

    /// A try that left nothing to record but that it was made.
    fn unsent(&self, lane: EndpointId, item: &Item) -> (Job, Feedback) {
        let now = self.clock.now();
        // The panic may have come from whatever says what the endpoint's policy is.
        let policy = (self.directory.gateway_policy(), item.expires);
        let settled = settle(item, Ended::Unsent, policy, jitter(lane, item), now);
        let mut row = item.row(lane, settled.state);
        row.tries = settled.tries;
        row.resume_due = None;
        let job = Job::row(row, item.ticket.clone(), None);
        (job, Feedback::NotAsked)
    }

    async fn attempt(&self, delivery: &Delivery<'_>) -> Result<Tried, NotMade> {
        let at = self.clock.wall();
        if delivery.deadline.is_some_and(|end| end <= self.clock.now()) {
            let age = display_duration(delivery.policy.max_age().unwrap_or_default());
            let why = format!("not sent: older than the retry policy's maximum age of {age}");
            return Ok(Tried::unsent(Ended::TooOld, at, why, Vec::new()));
        }
        let Shape { outcome, plugins } = self.shape(delivery).await?;
        let send = match outcome {
            ShapeOutcome::Send(send) => send,
            ShapeOutcome::Drop(why) => return Ok(Tried::unsent(Ended::Dropped, at, why, plugins)),
            ShapeOutcome::Reject(why) => {
                return Ok(Tried::unsent(Ended::Rejected, at, why, plugins));
            }
            ShapeOutcome::Failed(why) => {
                return Ok(Tried::unsent(Ended::Unsent, at, why, plugins));
            }
            ShapeOutcome::Unavailable => return Err(NotMade::SandboxBusy),
        };
        // Signing takes the moment after the plugins, which may have had to wait.
        let at = self.clock.wall();
        let (target, headers) = match self.request(delivery, &send, at) {
            Ok(request) => request,
            // As good as a receiver that does not answer: an endpoint that stays so is disabled one day.
            Err(why) => return Ok(Tried::unsent(NOT_SENDABLE, at, why, plugins)),
        };
        let body = send.payload.clone();
        let clock = self.clock.as_ref();
        let report = attempt(&self.outbound, target, headers, body, self.limits, clock).await;
        if report.error == Some(ErrorKind::OutOfMeans) {
            return Err(NotMade::OutOfMeans(report.response));
        }
        Ok(Tried::sent(report, at, plugins, send))
    }

    /// Retries send what the first attempt sent; first tries and tries by hand run the chains as they stand.
    async fn shape(&self, delivery: &Delivery<'_>) -> Result<Shape, NotMade> {
        let Delivery {
            item,
            app,
            endpoint,
            event,
            plugin_limits,
            ..
        } = delivery;
        if item.tries > 0 && item.trigger != Trigger::Manual {
            let key = delivery.key();
            if let Some(shaped) = self.store.shaped(key).await? {
                return Ok(Shape {
                    outcome: ShapeOutcome::Send(ToSend::again(shaped, event)),
                    plugins: self.shapers(key).await?,
                });
            }
        }
        let with = (app.as_ref(), plugin_limits);
        Ok(self.shaper.shape(with, endpoint, event).await)
    }

    /// The plugins that made what is sent once more, without what they logged then.
    async fn shapers(&self, key: DeliveryKey) -> Result<Vec<PluginReport>, StoreError> {
        let last = last_attempt(self.store.as_ref(), key).await?;
        let plugins = last.into_iter().flat_map(|attempt| attempt.plugins);
        let silent = plugins.map(|report| PluginReport {
            micros: 0,
            logs: Vec::new(),
            ..report
        });
        Ok(silent.collect())
    }

    fn request<'a>(
        &self,
        delivery: &'a Delivery<'_>,
        send: &ToSend,
        at: Timestamp,
    ) -> Result<(&'a TargetUrl, HeaderMap), String> {
        let endpoint = &delivery.endpoint;
        let target = endpoint.target.as_ref().map_err(Clone::clone)?;
        let opened = endpoint.opened.as_ref().map_err(Clone::clone)?;
        let message = delivery.event.message.id;
        let headers = request::headers(send, opened, message, at);
        headers
            .map(|headers| (target, headers))
            .map_err(|error| error.to_string())
    }

    fn settle(&self, delivery: &Delivery<'_>, tried: Tried) -> Outcome {
        let Delivery {
            item,
            endpoint,
            event,
            ..
        } = delivery;
        let status = tried.ended.status();
        self.metrics.attempted(label(status), tried.duration);
        let policy = (delivery.policy, delivery.deadline);
        let now = self.clock.now();
        let lane = endpoint.endpoint.id;
        let settled = settle(item, tried.ended, policy, jitter(lane, item), now);
        let mut row = item.row(lane, settled.state);
        row.tries = settled.tries;
        row.resume_due = None;
        let message = &event.message;
        let attempt = Attempt {
            id: AttemptId::generate(tried.at),
            seq: Seq::default(),
            delivery: row.key,
            message: message.id,
            event_type: message.event_type.clone(),
            channels: message.channels.clone(),
            tags: message.tags.clone(),
            at: tried.at,
            duration_ms: u32::try_from(tried.duration.as_millis()).unwrap_or(u32::MAX),
            status,
            response_code: tried.response_code,
            response: tried.response,
            url: endpoint.endpoint.url.clone(),
            trigger: item.trigger,
            plugins: tried.plugins,
        };
        log(&attempt, row.state);
        // Kept only while more tries may come. What a try by hand sent is no first attempt's.
        let by_schedule = item.trigger != Trigger::Manual;
        let shaped = match (row.state, tried.sent) {
            (DeliveryState::Parked { .. }, Some(sent)) if by_schedule && !sent.kept => {
                Some(sent.to_keep())
            }
            _ => None,
        };
        Outcome {
            row: Some(row),
            attempt: Some(attempt),
            shaped,
            outbox_done: None,
        }
    }
}

impl Delivery<'_> {
    fn key(&self) -> DeliveryKey {
        DeliveryKey {
            endpoint: self.endpoint.endpoint.id,
            message: self.item.message,
        }
    }
}

impl Tried {
    fn unsent(ended: Ended, at: Timestamp, why: String, plugins: Vec<PluginReport>) -> Self {
        Self {
            ended,
            at,
            duration: Duration::ZERO,
            response_code: None,
            response: why,
            plugins,
            sent: None,
        }
    }

    fn sent(
        report: AttemptReport,
        at: Timestamp,
        plugins: Vec<PluginReport>,
        sent: ToSend,
    ) -> Self {
        Self {
            ended: Ended::Asked(report.verdict),
            at,
            duration: report.duration,
            response_code: report.status_code,
            response: report.response,
            plugins,
            sent: Some(sent),
        }
    }
}

/// Who asks for a try of an old delivery knows its age.
fn deadline(policy: &RetryPolicy, item: &Item, message: &Message) -> Option<Timestamp> {
    let by_schedule = item.trigger == Trigger::Scheduled;
    by_schedule
        .then(|| policy.deadline(message.first_due()))
        .flatten()
}

/// As how many bytes the scheduler has counted it. A try by hand goes out at once, whatever its size.
fn counted_bytes(item: &Item) -> u32 {
    match (item.trigger, item.bytes) {
        (Trigger::Manual, _) => u32::MAX,
        (_, 0) => UNKNOWN_BYTES,
        (_, bytes) => bytes,
    }
}

/// The endpoint or the payload was deleted, or the endpoint disabled: nothing to try.
fn not_tried(lane: EndpointId, item: &Item, state: DeliveryState) -> (Job, Feedback) {
    let mut row = item.row(lane, state);
    row.resume_due = None;
    let job = Job::row(row, item.ticket.clone(), None);
    (job, Feedback::NotAsked)
}

/// What went well is there to be asked for; what did not is said.
fn log(attempt: &Attempt, state: DeliveryState) {
    let Attempt {
        id,
        message,
        status,
        response_code,
        ..
    } = attempt;
    let endpoint = attempt.delivery.endpoint;
    if *status == AttemptStatus::Fail {
        tracing::info!(%message, %endpoint, attempt = %id, code = response_code, ?state,
            "attempt failed");
    } else {
        tracing::debug!(%message, %endpoint, attempt = %id, code = response_code, ?state,
            "attempt ended");
    }
}

const fn label(status: AttemptStatus) -> &'static str {
    match status {
        AttemptStatus::Success => "success",
        AttemptStatus::Canceled => "canceled",
        AttemptStatus::Fail | AttemptStatus::Pending | AttemptStatus::Sending => "fail",
    }
}
