//! Makes messages of operational events: they are accepted for the organization's management application like
//! any other message, so they are signed, delivered, retried and listed like any other. An organization without
//! one hears nothing; what happens to its management application's own endpoints is told to nobody. An event that
//! can not be accepted at present is dropped and counted: nothing waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::accept::{Ingest, IngestError, Submission};
use crate::domain::{Application, Clock, EndpointId, Organization, Timestamp, Uid};
use crate::events::{Event, What};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// Exhausted deliveries of one endpoint are told so often at most, with their number. Chosen: often enough to
/// act upon, however many fail.
const WINDOW: Duration = Duration::from_secs(60);

/// Endpoints whose exhausted deliveries are counted at a time. Chosen: some MB.
const WINDOWS: usize = 10_000;

/// Turns events into messages.
#[derive(Debug)]
pub struct Operational {
    events: mpsc::Receiver<Event>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    ingest: Ingest,
    exhausted: Exhausted,
}

/// The exhausted deliveries that are told together.
#[derive(Debug, Default)]
struct Exhausted {
    windows: HashMap<EndpointId, Counted>,
    /// When windows end; all are of one length.
    ends: VecDeque<(Timestamp, EndpointId)>,
}

/// What came in a window after its first event, which was told at once.
#[derive(Debug, Default)]
struct Counted {
    last: Option<Event>,
    count: u64,
}

/// What is to be told now, and for how many deliveries it stands.
type Told = (Event, u64);

#[derive(Debug, thiserror::Error)]
enum TellError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl Operational {
    pub(super) fn new(
        events: mpsc::Receiver<Event>,
        (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
        metrics: Arc<Metrics>,
        ingest: Ingest,
    ) -> Self {
        Self {
            events,
            store,
            clock,
            metrics,
            ingest,
            exhausted: Exhausted::default(),
        }
    }

    /// Runs until `shutdown`. What is counted for later then is not told.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let wait = self.exhausted.next_end();
            let wait = wait.map(|end| end.since(self.clock.now()));
            let told = tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => {
                    self.exhausted.end(self.clock.now())
                }
                () = shutdown.cancelled() => return,
            };
            if let Some((event, count)) = told {
                let outcome = match self.tell(&event, count).await {
                    Ok(true) => "sent",
                    // Nobody wants to hear it.
                    Ok(false) => continue,
                    Err(error) => {
                        tracing::debug!(app = %event.app, endpoint = ?event.endpoint, event = event.name(),
                            error = &error as &dyn std::error::Error, "an operational event is dropped");
                        "dropped"
                    }
                };
                self.metrics.operational_event(outcome);
            }
        }
    }

    fn take(&mut self, event: Event) -> Option<Told> {
        if !matches!(event.what, What::Exhausted(_)) {
            return Some((event, 1));
        }
        let now = self.clock.now();
        let (told, outcome) = self.exhausted.take(event, now);
        if let Some(outcome) = outcome {
            self.metrics.operational_event(outcome);
        }
        told
    }

    /// False: the organization does not want to hear it.
    async fn tell(&self, event: &Event, count: u64) -> Result<bool, TellError> {
        let org = self.store.get::<Organization>(event.org).await?;
        let Some(to) = org.and_then(|org| org.value.management_app) else {
            return Ok(false);
        };
        if to == event.app {
            return Ok(false);
        }
        let Some(to) = self.store.get::<Application>(to).await? else {
            return Ok(false);
        };
        let about = self.store.get::<Application>(event.app).await?;
        let app_uid = about.and_then(|app| app.value.uid);
        let payload = event.payload(app_uid.as_ref(), count);
        let submission = Submission {
            app: to.value,
            event_type: Uid::parse(event.name()).expect("an event's name is one"),
            channels: Vec::new(),
            tags: Vec::new(),
            event_id: None,
            payload: payload.to_string().into(),
            content_type: "application/json".to_owned(),
            deliver_at: None,
            retention: None,
        };
        self.ingest.submit(submission, |_| None).await?;
        Ok(true)
    }
}

impl Exhausted {
    fn next_end(&self) -> Option<Timestamp> {
        self.ends.front().map(|(end, _)| *end)
    }

    /// The first of a window is told at once, the others are counted. Also what becomes of one that is not told.
    fn take(&mut self, event: Event, now: Timestamp) -> (Option<Told>, Option<&'static str>) {
        let Some(endpoint) = event.endpoint else {
            return (Some((event, 1)), None);
        };
        if let Some(counted) = self.windows.get_mut(&endpoint) {
            counted.last = Some(event);
            counted.count += 1;
            return (None, Some("counted"));
        }
        if self.windows.len() >= WINDOWS {
            return (None, Some("dropped"));
        }
        self.begin(endpoint, now);
        (Some((event, 1)), None)
    }

    fn begin(&mut self, endpoint: EndpointId, now: Timestamp) {
        self.windows.insert(endpoint, Counted::default());
        self.ends.push_back((now.after(WINDOW), endpoint));
    }

    /// Ends the first window if it is time, and tells what was counted in it.
    fn end(&mut self, now: Timestamp) -> Option<Told> {
        let (_, endpoint) = self.ends.pop_front_if(|(end, _)| *end <= now)?;
        let Counted { last, count } = self.windows.remove(&endpoint)?;
        let last = last?;
        self.begin(endpoint, now);
        Some((last, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::tests::rig::Rig;

    #[tokio::test]
    async fn what_is_exhausted_is_told_once_a_minute_with_its_number() {
        let rig = Rig::start().await;
        let (one, other) = (
            rig.endpoint("https://a.example/", |_| {}).await,
            rig.endpoint("https://b.example/", |_| {}).await,
        );
        let (events, mut told) = crate::events::queue(100, Arc::clone(&rig.metrics));
        let mut event = |endpoint| {
            events.tell(endpoint, What::Updated);
            told.try_recv().unwrap()
        };
        let at = |seconds: u64| Timestamp::from_millis(1_000 * seconds);
        let mut exhausted = Exhausted::default();
        let count =
            |told: Option<Told>| told.map(|(event, count)| (event.endpoint.unwrap(), count));
        let mut take = |exhausted: &mut Exhausted, endpoint, now| {
            count(exhausted.take(event(endpoint), at(now)).0)
        };
        assert_eq!(take(&mut exhausted, &one, 0), Some((one.id, 1)));
        for now in 1..50 {
            assert_eq!(take(&mut exhausted, &one, now), None);
        }
        assert_eq!(take(&mut exhausted, &other, 50), Some((other.id, 1)));
        assert_eq!(exhausted.next_end(), Some(at(60)));
        assert!(exhausted.end(at(59)).is_none());
        assert_eq!(count(exhausted.end(at(60))), Some((one.id, 49)));
        assert_eq!(take(&mut exhausted, &one, 61), None);
        assert_eq!(
            count(exhausted.end(at(110))),
            None,
            "nothing more of the other"
        );
        assert_eq!(count(exhausted.end(at(120))), Some((one.id, 1)));
        assert_eq!(count(exhausted.end(at(180))), None);
        assert!(exhausted.windows.is_empty() && exhausted.ends.is_empty());
        assert_eq!(take(&mut exhausted, &one, 200), Some((one.id, 1)));
        rig.stop().await;
    }
}
