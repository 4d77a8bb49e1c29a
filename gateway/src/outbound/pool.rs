//! Connections that wait for their next request: a bounded number, each for a bounded time. Newest first, so
//! that a quiet lane's spare ones grow old. Opens nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::config::PoolConfig;
use super::connection::{Connection, Http1, Http2};
use super::judge::Origin;

/// The idle connections of HTTP/1.1 and the shared ones of HTTP/2.
#[derive(Debug)]
pub(super) struct Pool {
    idle_timeout: Duration,
    idle_per_host: usize,
    idle_total: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    kept: HashMap<Arc<Origin>, Kept>,
    /// Where each kept connection is, by its serial number: the longest kept first.
    by_age: BTreeMap<u64, Arc<Origin>>,
    next_serial: u64,
    /// Origins whose first connection is being made.
    dialling: HashMap<Arc<Origin>, CancellationToken>,
    /// A task looks after what grows old.
    is_swept: bool,
}

/// What is kept for one origin.
#[derive(Debug, Default)]
struct Kept {
    /// The longest kept first.
    idle: VecDeque<Idle>,
    shared: Option<Shared>,
}

#[derive(Debug)]
struct Idle {
    serial: u64,
    since: Instant,
    connection: Http1,
}

#[derive(Debug)]
struct Shared {
    serial: u64,
    since: Instant,
    /// Taken since `since`.
    was_used: bool,
    connection: Http2,
}

/// The right to make the first connection to an origin, on which others wait.
#[derive(Debug)]
pub(super) struct Lead {
    pool: Arc<Pool>,
    origin: Arc<Origin>,
    ended: CancellationToken,
}

impl Pool {
    pub(super) fn new(config: &PoolConfig) -> Arc<Self> {
        Arc::new(Self {
            idle_timeout: Duration::from_millis(config.idle_timeout_ms),
            idle_per_host: config.idle_per_host,
            idle_total: config.idle_total,
            state: Mutex::default(),
        })
    }

    /// A connection to this origin that can be used now.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        loop {
            // Each lock is released before a connection is looked at or closed.
            match self.candidate(origin)? {
                Connection::Http1(mut connection) => {
                    if connection.is_idle() {
                        return Some(Connection::Http1(connection));
                    }
                }
                shared @ Connection::Http2(_) => return Some(shared),
            }
        }
    }

    fn candidate(&self, origin: &Origin) -> Option<Connection> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let kept = state.kept.get_mut(origin)?;
        if let Some(shared) = &mut kept.shared {
            if shared.connection.is_open() {
                shared.was_used = true;
                return Some(Connection::Http2(shared.connection.clone()));
            }
            state.by_age.remove(&shared.serial);
            kept.shared = None;
        }
        let newest = kept.idle.pop_back();
        if kept.idle.is_empty() && kept.shared.is_none() {
            state.kept.remove(origin);
        }
        let newest = newest?;
        state.by_age.remove(&newest.serial);
        Some(Connection::Http1(newest.connection))
    }

    /// Keeps a connection whose exchange is over, if it can be used again.
    pub(super) fn put(self: &Arc<Self>, origin: &Arc<Origin>, mut connection: Http1) {
        if self.idle_per_host == 0 || !connection.is_idle() {
            return;
        }
        let mut closed = Vec::new();
        let mut state = self.state.lock();
        let (serial, since) = (state.serial(origin), Instant::now());
        let idle = &mut state.kept.entry(Arc::clone(origin)).or_default().idle;
        idle.push_back(Idle {
            serial,
            since,
            connection,
        });
        if idle.len() > self.idle_per_host
            && let Some(oldest) = idle.pop_front()
        {
            state.by_age.remove(&oldest.serial);
            closed.push(Connection::Http1(oldest.connection));
        }
        self.keep(state, &mut closed);
    }

    /// Lets others send over a connection that takes many requests at once.
    pub(super) fn share(self: &Arc<Self>, origin: &Arc<Origin>, connection: Http2) {
        let mut closed = Vec::new();
        let mut state = self.state.lock();
        let shared = Shared {
            serial: state.serial(origin),
            since: Instant::now(),
            was_used: false,
            connection,
        };
        let kept = state.kept.entry(Arc::clone(origin)).or_default();
        if let Some(older) = kept.shared.replace(shared) {
            state.by_age.remove(&older.serial);
            closed.push(Connection::Http2(older.connection));
        }
        self.keep(state, &mut closed);
    }

    /// After something was put in: holds the overall bound and sees to it that it is taken out again.
    fn keep(
        self: &Arc<Self>,
        mut state: parking_lot::MutexGuard<'_, State>,
        closed: &mut Vec<Connection>,
    ) {
        while state.by_age.len() > self.idle_total
            && let Some((&oldest, _)) = state.by_age.first_key_value()
        {
            closed.extend(state.remove(oldest, |shared| shared.was_used));
        }
        if !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.idle_timeout));
        }
        // Before `closed` is dropped by the caller, since closing takes system calls.
        drop(state);
    }

    /// Asks to make the first connection to an origin that may speak HTTP/2. Whoever does not get to makes
    /// it waits for the token, and may then share what was made.
    pub(super) fn lead(self: &Arc<Self>, origin: &Arc<Origin>) -> Result<Lead, CancellationToken> {
        let mut state = self.state.lock();
        if let Some(ended) = state.dialling.get(origin) {
            return Err(ended.clone());
        }
        let ended = CancellationToken::new();
        state.dialling.insert(Arc::clone(origin), ended.clone());
        Ok(Lead {
            pool: Arc::clone(self),
            origin: Arc::clone(origin),
            ended,
        })
    }

    /// Closes what has been kept for too long. Says when to come again; never, where nothing is left.
    fn close_expired(&self) -> Option<Instant> {
        let mut closed = Vec::new();
        let now = Instant::now();
        let mut state = self.state.lock();
        let next = loop {
            let Some((&oldest, _)) = state.by_age.first_key_value() else {
                state.is_swept = false;
                break None;
            };
            match state.since(oldest) {
                Some(since) if now < since + self.idle_timeout => {
                    break Some(since + self.idle_timeout);
                }
                _ => closed.extend(state.remove(oldest, |shared| {
                    shared.was_used || shared.connection.is_busy()
                })),
            }
        };
        drop(state);
        next
    }
}

impl State {
    fn serial(&mut self, origin: &Arc<Origin>) -> u64 {
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_age.insert(serial, Arc::clone(origin));
        serial
    }

    fn since(&self, serial: u64) -> Option<Instant> {
        let kept = self.kept.get(self.by_age.get(&serial)?)?;
        match (kept.idle.front(), &kept.shared) {
            (Some(idle), _) if idle.serial == serial => Some(idle.since),
            (_, Some(shared)) if shared.serial == serial => Some(shared.since),
            _ => None,
        }
    }

    /// Takes the oldest out. A shared connection that is worth it grows young again instead; an origin's idle
    /// ones stand in the order of their age.
    fn remove(&mut self, oldest: u64, is_worth: impl Fn(&Shared) -> bool) -> Option<Connection> {
        let origin = self.by_age.remove(&oldest)?;
        let kept = self.kept.get_mut(&origin)?;
        let removed = match (kept.idle.front(), &mut kept.shared) {
            (Some(idle), _) if idle.serial == oldest => kept
                .idle
                .pop_front()
                .map(|idle| Connection::Http1(idle.connection)),
            (_, Some(shared)) if is_worth(shared) => {
                (shared.since, shared.was_used) = (Instant::now(), false);
                shared.serial = self.next_serial;
                self.next_serial += 1;
                self.by_age.insert(shared.serial, origin);
                return None;
            }
            (_, shared) => shared
                .take()
                .map(|shared| Connection::Http2(shared.connection)),
        };
        if kept.idle.is_empty() && kept.shared.is_none() {
            self.kept.remove(&origin);
        }
        removed
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.pool.state.lock().dialling.remove(&self.origin);
        self.ended.cancel();
    }
}

/// Closes connections as they expire, until none is kept or the pool is gone.
async fn sweep(pool: Weak<Pool>, idle_timeout: Duration) {
    let mut next = Instant::now() + idle_timeout;
    loop {
        sleep_until(next).await;
        match pool.upgrade().and_then(|pool| pool.close_expired()) {
            Some(then) => next = then,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests;
