//! The one thread that writes: takes what waits, up to a group, applies it at once, syncs it and only then
//! answers. It also drops and reopens the database after an I/O error, since sled's handle never heals.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::codec::{NewKey, NewOutcome, NewRow, damaged};
use super::group::Group;
use super::marker::Marker;
use super::open::{self, Handle};
use super::shared::{Health, Shared};
use super::tally::Tally;
use crate::domain::{Message, Seq};
use crate::store::{AcceptRefusal, Change, Lease, Record, Shard, StoreError, Write};

/// Waits between tries to reopen. Chosen: soon enough to be a short outage, seldom enough not to spin.
const REOPEN_EVERY: Duration = Duration::from_millis(250);

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;
/// One result per message.
pub(super) type Accepted = Vec<Result<Message, AcceptRefusal>>;
/// Work that gets a group to itself.
pub(super) type Alone = Box<dyn FnOnce(&mut Group<'_>) -> Result<usize, StoreError> + Send>;

/// What waits for the writer. A dropped answer reads as [`StoreError::Closed`] or what the store has become.
pub(super) enum Job {
    Accept(Vec<NewRow>, Answer<Accepted>),
    Record(Lease, Vec<NewOutcome>, Answer<()>),
    Commit(Vec<Write>, Option<NewKey>, Answer<Vec<Record>>),
    Alone(Alone, Answer<usize>),
    Close(Answer<()>),
}

impl Job {
    /// Items it counts as, in queue and group.
    pub(super) fn items(&self) -> usize {
        match self {
            Job::Accept(rows, _) => rows.len(),
            Job::Record(_, outcomes, _) => outcomes.len(),
            Job::Commit(writes, ..) => writes.len(),
            Job::Alone(..) | Job::Close(_) => 1,
        }
    }
}

/// An answer that waits for the group to be on disk.
enum Ready {
    Accepted(Answer<Accepted>, Accepted),
    Recorded(Answer<()>, Result<(), StoreError>),
    Committed(Answer<Vec<Record>>, Result<Vec<Record>, StoreError>),
    Alone(Answer<usize>, usize),
}

impl Ready {
    /// The caller may have gone away; that changes nothing.
    fn send(self) {
        match self {
            Ready::Accepted(answer, accepted) => drop(answer.send(Ok(accepted))),
            Ready::Recorded(answer, result) => drop(answer.send(result)),
            Ready::Committed(answer, result) => drop(answer.send(result)),
            Ready::Alone(answer, count) => drop(answer.send(Ok(count))),
        }
    }
}

/// Owns the writing side of an open store.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) jobs: Receiver<Job>,
    pub(super) marker: Marker,
    pub(super) seq: u64,
    /// Of all rows that are on disk.
    pub(super) tally: Tally,
    /// Numbers from the first group that failed to the last one.
    pub(super) doubtful: Option<(Seq, Seq)>,
    /// Released when the thread ends.
    pub(super) lock: std::fs::File,
}

/// What a group left behind besides rows.
#[derive(Default)]
struct Outcomes {
    ready: Vec<Ready>,
    /// What observers are told.
    changes: Vec<Change>,
    seq: u64,
    /// None unless the group was applied.
    tally: Option<Tally>,
}

impl Writer {
    /// Until the store is closed or dropped.
    pub(super) fn run(mut self) {
        let mut stashed = None;
        let closing = loop {
            let job = match stashed.take() {
                Some(job) => job,
                None => match self.jobs.recv() {
                    Ok(job) => self.taken(job),
                    Err(_) => break None,
                },
            };
            let jobs = match job {
                Job::Close(answer) => break Some(answer),
                Job::Alone(..) => vec![job],
                first => {
                    let (jobs, next) = self.gather(first);
                    stashed = next;
                    jobs
                }
            };
            if let Err(fault) = self.commit(jobs)
                && let Some(closing) = self.recover(&fault)
            {
                break closing;
            }
        };
        let Self {
            shared, jobs, lock, ..
        } = self;
        shared.shut();
        drop(lock);
        drop(jobs);
        if let Some(answer) = closing {
            // Whoever asked may have gone away.
            let _ = answer.send(Ok(()));
        }
    }

    fn taken(&self, job: Job) -> Job {
        self.shared
            .waiting
            .fetch_sub(job.items(), std::sync::atomic::Ordering::Relaxed);
        job
    }

    /// What waits, up to a group; and the job that has to come after it, if one was met.
    fn gather(&self, first: Job) -> (Vec<Job>, Option<Job>) {
        let mut items = first.items();
        let mut jobs = vec![first];
        while items < self.shared.config.group_max {
            let Ok(job) = self.jobs.try_recv() else { break };
            let job = self.taken(job);
            if matches!(job, Job::Alone(..) | Job::Close(_)) {
                return (jobs, Some(job));
            }
            items += job.items();
            jobs.push(job);
        }
        (jobs, None)
    }

    /// Carries out a group and answers it; an error is a fault of the store, and nobody was answered.
    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let started = Instant::now();
        let items = jobs.iter().map(Job::items).sum();
        let jobs = self.refuse_when_full(jobs);
        let shared = self.shared.clone();
        let handle = shared.handle.read();
        if shared.check_open().is_err() {
            return Ok(());
        }
        let Some(handle) = handle.as_ref() else {
            return Ok(());
        };
        let mut outcomes = Outcomes::default();
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| {
            self.carry_out(handle, jobs, &mut outcomes)
        }));
        // Numbers of a failed group may be on disk, so they are not given again.
        self.seq = self.seq.max(outcomes.seq);
        done.unwrap_or_else(|_| Err(damaged("sled panicked in a commit")))?;
        self.tally = outcomes.tally.unwrap_or(self.tally);
        shared.is_committed(self.seq);
        // Not before: an observer reads again at once, and lists end at what is committed.
        let observers = shared.observers.read();
        for change in &outcomes.changes {
            observers.iter().for_each(|observer| observer(change));
        }
        drop(observers);
        if let Err(error) = self.marker.advance(self.seq) {
            tracing::warn!(%error, "the marker could not be written");
        }
        self.shared.metrics.committed(items, started.elapsed());
        outcomes.ready.into_iter().for_each(Ready::send);
        Ok(())
    }

    /// New messages wait for space; everything else may free some.
    fn refuse_when_full(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        let is_accept = |job: &Job| matches!(job, Job::Accept(..));
        if !jobs.iter().any(is_accept) {
            return jobs;
        }
        let Err(refusal) = self.shared.space.check() else {
            return jobs;
        };
        for job in jobs.extract_if(.., |job| is_accept(job)) {
            let refusal = match refusal {
                StoreError::DiskFull { free, reserve } => StoreError::DiskFull { free, reserve },
                // The free space could not be read.
                _ => StoreError::Closed,
            };
            if let Job::Accept(_, answer) = job {
                let _ = answer.send(Err(refusal));
            }
        }
        jobs
    }

    fn carry_out(
        &self,
        handle: &Handle,
        jobs: Vec<Job>,
        outcomes: &mut Outcomes,
    ) -> Result<(), StoreError> {
        let mut group = Group::over(&handle.db, self.seq, self.tally);
        group.doubtful = self.doubtful;
        let staged: Result<Vec<Ready>, StoreError> = jobs
            .into_iter()
            .map(|job| self.stage(job, &mut group))
            .collect();
        outcomes.seq = group.seq;
        outcomes.ready = staged?;
        let changes = std::mem::take(&mut group.changes);
        let staged = group.finish()?;
        outcomes.seq = staged.seq;
        self.apply(handle, staged.rows)?;
        outcomes.tally = Some(staged.tally);
        outcomes.changes = changes;
        Ok(())
    }

    fn apply(&self, handle: &Handle, rows: super::group::StagedRows) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut batch = sled::Batch::default();
        for (key, value) in &rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        {
            let _unsynced = self.shared.unsynced.write();
            handle.apply(batch)?;
            self.shared.known.replaced(&rows);
        }
        if self.shared.is_exporting() {
            self.shared.tell_exports(&rows);
        }
        Ok(())
    }

    /// Stages one job. A refusal is its answer; an error is a fault of the store.
    fn stage(&self, job: Job, group: &mut Group<'_>) -> Result<Ready, StoreError> {
        match job {
            Job::Accept(rows, answer) => {
                let now = self.shared.clock.now();
                let mut results = Vec::with_capacity(rows.len());
                for row in rows {
                    results.push(group.accept(row, now)?);
                }
                Ok(Ready::Accepted(answer, results))
            }
            Job::Record(lease, outcomes, answer) => {
                let result = self.check_lease(&lease, &outcomes);
                if result.is_ok() {
                    for outcome in outcomes {
                        group.record(outcome)?;
                    }
                }
                Ok(Ready::Recorded(answer, result))
            }
            Job::Commit(writes, key, answer) => {
                let now = self.shared.clock.now();
                match group.commit(writes, key, now) {
                    Err(fault) if is_fault(&fault) => Err(fault),
                    result => Ok(Ready::Committed(answer, result)),
                }
            }
            Job::Alone(act, answer) => Ok(Ready::Alone(answer, act(group)?)),
            // `run` takes it out before.
            Job::Close(answer) => Ok(Ready::Recorded(answer, Err(StoreError::Closed))),
        }
    }

    fn check_lease(&self, lease: &Lease, outcomes: &[NewOutcome]) -> Result<(), StoreError> {
        let leases = self.shared.leases.lock();
        for outcome in outcomes {
            let row = outcome.row.as_ref().map(|row| row.key);
            match row.or(outcome.attempt.as_ref().map(|(key, ..)| *key)) {
                Some(key) => leases.check(lease, Shard::of(key.endpoint))?,
                None => drop(leases.still_held(lease)?),
            }
        }
        Ok(())
    }

    /// Drops the database and opens it again, answering what comes meanwhile with closed. Gives the answer
    /// to send if the store was closed meanwhile, or a bare close if it was dropped.
    fn recover(&mut self, fault: &StoreError) -> Option<Option<Answer<()>>> {
        tracing::error!(error = %fault, source = ?std::error::Error::source(fault), "a commit failed");
        if let StoreError::Damaged { what } = fault {
            self.shared.damage(what);
            return None;
        }
        self.shared.drop_handle(Health::Reopening);
        loop {
            self.shared.space.give_up_reserve();
            match open::reopen(&self.shared.config) {
                Ok((handle, tally)) => {
                    tracing::info!("the store is open again");
                    self.tally = tally;
                    self.come_back(handle);
                    return None;
                }
                Err(StoreError::Damaged { what }) => {
                    self.shared.damage(&what);
                    return None;
                }
                Err(error) => tracing::error!(%error, "the store does not open yet"),
            }
            let until = Instant::now() + REOPEN_EVERY;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                match self.jobs.recv_timeout(left) {
                    Ok(Job::Close(answer)) => return Some(Some(answer)),
                    // Dropping the job answers it.
                    Ok(job) => drop(self.taken(job)),
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Some(None),
                }
            }
        }
    }

    /// Whether the failed group is there or not is decided now, and what is there is shown.
    fn come_back(&mut self, handle: Handle) {
        let numbers = (self.shared.after_committed(), Seq(self.seq));
        let (first, last) = numbers;
        // Before there is a handle: who reads from it finds the group or knows that it never comes.
        self.shared.is_committed(self.seq);
        self.shared.install(handle);
        if first <= last {
            let (earliest, _) = *self.doubtful.get_or_insert(numbers);
            self.doubtful = Some((earliest, last));
            self.shared.surfaced.put(first..=last);
        }
    }
}

/// Whether the store failed, rather than the caller.
fn is_fault(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Backend(_) | StoreError::Damaged { .. } | StoreError::Closed
    )
}
