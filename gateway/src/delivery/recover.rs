//! Makes failed deliveries of an endpoint due again, with a fresh schedule: page by page in the background, through
//! the lane, so that what is under way is left alone. How far a task came is on disk, so a restart goes on there;
//! of a page that a crash cut short, what has failed again meanwhile is made due once more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::changes::reschedule;
use super::directory::Directory;
use super::scheduler::Input;
use crate::domain::{
    Clock, DeliveryKey, DeliveryRow, DeliveryState, Message, RecoverTask, Seq, Timestamp, Trigger,
};
use crate::store::{
    Direction, MessageFilter, Order, PageRequest, Store, StoreError, Stored, records,
};

/// Messages looked at before the lane has to have written what came of it. Chosen: one group of the store.
const PAGE: usize = 256;

/// Between two tries while the store can not be read. Chosen: it reopens within a second.
const RETRY: Duration = Duration::from_millis(250);

/// Carries out what was asked for.
#[derive(Debug)]
pub(super) struct Recoverer {
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) inputs: mpsc::Sender<Input>,
    /// There is a new task.
    pub(super) wake: Arc<Notify>,
}

/// The gateway is shutting down.
struct Stopped;

impl Recoverer {
    /// Runs until it is dropped or the lanes are gone. Cancel-safe: see the room's words on a restart.
    pub(super) async fn run(self) {
        loop {
            match self.round().await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => self.wake.notified().await,
                Ok(Err(Stopped)) => return,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "failed deliveries are not made due at present"
                    );
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// One page of every task, so that none waits for another's end. Whether there were any.
    async fn round(&self) -> Result<Result<bool, Stopped>, StoreError> {
        let mut any = false;
        let mut page = PageRequest::first(PAGE);
        loop {
            let tasks = self.store.list::<RecoverTask>("", page).await?;
            let full = tasks.len() == PAGE;
            page.cursor = tasks.last().map(|task| task.seq);
            for task in tasks {
                any = true;
                if self.step(task).await?.is_err() {
                    return Ok(Err(Stopped));
                }
            }
            if !full {
                return Ok(Ok(any));
            }
        }
    }

    async fn step(&self, stored: Stored<RecoverTask>) -> Result<Result<(), Stopped>, StoreError> {
        let task = &stored.value;
        let view = self.directory.endpoint(task.app, task.endpoint).await?;
        // Deleted, or disabled again: nothing would come of it.
        let Some(view) = view.filter(|view| !view.endpoint.disabled) else {
            return self.end(task).await.map(Ok);
        };
        let filter = MessageFilter {
            after: Some(Timestamp::from_millis(
                task.since.millis().saturating_sub(1),
            )),
            ..MessageFilter::default()
        };
        let page = PageRequest {
            cursor: task.before,
            direction: Direction::Forward,
            limit: PAGE,
            order: Order::Descending,
        };
        let found = self.store.messages(task.app, &filter, page).await?;
        let due = self.clock.now();
        let mut rows = Vec::new();
        for message in &found.rows {
            rows.extend(self.failed(task, message, due).await?);
        }
        if !rows.is_empty() && !reschedule(&self.inputs, &view.spec, rows).await {
            return Ok(Err(Stopped));
        }
        // A page without one message that is young enough: nor are those behind it.
        let before = found
            .looked_to
            .or(found.rows.last().map(|message| message.seq));
        let more = found.looked_to.is_some() || found.rows.len() == PAGE;
        match before.filter(|_| more && !found.rows.is_empty()) {
            Some(before) => self.note(&stored, before).await,
            None => self.end(task).await,
        }
        .map(Ok)
    }

    /// The message's delivery, due now, if it has failed.
    async fn failed(
        &self,
        task: &RecoverTask,
        message: &Message,
        due: Timestamp,
    ) -> Result<Option<DeliveryRow>, StoreError> {
        if message.created_at >= task.until {
            return Ok(None);
        }
        let key = DeliveryKey {
            endpoint: task.endpoint,
            message: message.seq,
        };
        let row = self.store.delivery(key).await?;
        let failed = row.is_some_and(|row| row.state == DeliveryState::Failed);
        Ok(failed.then_some(DeliveryRow {
            key,
            state: DeliveryState::Parked {
                due,
                trigger: Trigger::Recovered,
            },
            tries: 0,
            resume_due: None,
        }))
    }

    async fn note(&self, stored: &Stored<RecoverTask>, before: Seq) -> Result<(), StoreError> {
        let further = RecoverTask {
            before: Some(before),
            updated_at: self.clock.wall(),
            ..stored.value.clone()
        };
        let write = stored.update(&further)?;
        self.store.commit(vec![write], None).await.map(drop)
    }

    async fn end(&self, task: &RecoverTask) -> Result<(), StoreError> {
        let write = records::remove::<RecoverTask>(task.id);
        self.store.commit(vec![write], None).await.map(drop)
    }
}
