//! The way to the writer: bounded by items, refused when full, answered when on disk.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use tokio::sync::oneshot;

use super::group::Group;
use super::shared::Shared;
use super::writer::{Alone, Job};
use crate::store::StoreError;

/// One caller's end of it.
#[derive(Clone)]
pub(super) struct Queue {
    /// None once it is closed from this end.
    jobs: Option<SyncSender<Job>>,
    pub(super) shared: Arc<Shared>,
}

impl Queue {
    pub(super) fn new(jobs: SyncSender<Job>, shared: Arc<Shared>) -> Self {
        Self {
            jobs: Some(jobs),
            shared,
        }
    }

    pub(super) fn send(&self, job: Job) -> Result<(), StoreError> {
        self.shared.check_open()?;
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        let bound = match job {
            Job::Accept(..) | Job::Commit(..) => self.shared.config.queue,
            Job::Record(..) | Job::Alone(..) | Job::Close(_) => 2 * self.shared.config.queue,
        };
        let items = job.items();
        self.shared.enqueue(items, bound)?;
        jobs.try_send(job).map_err(|refused| {
            self.shared.dequeue(items);
            match refused {
                TrySendError::Full(_) => StoreError::Busy,
                TrySendError::Disconnected(_) => self.shared.unanswered(),
            }
        })
    }

    /// Sends a job and waits until its group is on disk.
    pub(super) async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Job,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(job(answer))?;
        answered
            .await
            .unwrap_or_else(|_| Err(self.shared.unanswered()))
    }

    /// Has the writer do something in a group of its own.
    pub(super) async fn between_groups<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Group<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (give, given) = oneshot::channel();
        let act = move |group: &mut Group<'_>| {
            // The caller may have gone away.
            let _ = give.send(act(group)?);
            Ok(0)
        };
        self.ask(|answer| Job::Alone(Box::new(act), answer)).await?;
        given.await.map_err(|_| self.shared.unanswered())
    }

    /// The same on a thread that may block.
    pub(super) fn between_groups_blocking(&self, act: Alone) -> Result<usize, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Alone(act, answer))?;
        answered
            .blocking_recv()
            .unwrap_or_else(|_| Err(self.shared.unanswered()))
    }

    /// Tells the writer to end; not left to the channel's end, since an export may have another way into it.
    pub(super) fn close(&mut self) {
        if let Some(jobs) = self.jobs.take() {
            let (answer, _) = oneshot::channel();
            // It has ended already.
            let _ = jobs.send(Job::Close(answer));
        }
    }
}
