//! How much each tenant may have accepted: messages per second by application and by organization, and no
//! more while too many deliveries of the organization are unfinished. What an organization may do is read once
//! and dropped the moment the store commits a change. Nothing of this is durable: after a start everybody begins
//! with a full burst.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use super::accept::IngestError;
use crate::delivery::{OneMore, Pending};
use crate::domain::{
    Application, ApplicationId, Clock, Organization, OrganizationId, Rate, Timestamp,
};
use crate::store::{Change, Kind, Store, StoreError};

/// Organizations whose limits are kept in memory. Chosen: under 1 MB.
const ORGANIZATIONS: usize = 10_000;

/// When to come back while too many deliveries are unfinished. Chosen: receivers that work take thousands
/// within it, and those that do not are not mended sooner.
const BACKLOG: Duration = Duration::from_secs(5);

/// Rates looked at before idle ones are forgotten for the first time. Chosen: some 100 KB.
const RATES: usize = 1_024;

/// What tenants may have accepted.
#[derive(Debug)]
pub(super) struct Limits {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pending: Arc<Pending>,
    burst: Duration,
    organizations: Cache<OrganizationId, Bounds>,
    /// Raised by each change of an organization, so that what was read before it is not kept after it.
    changes: AtomicU64,
    rates: Mutex<Rates>,
}

/// What an organization may do.
#[derive(Debug, Clone, Copy, Default)]
struct Bounds {
    throttle_rate: Option<u32>,
    max_pending: Option<u64>,
}

/// Whose messages are counted together: an organization's, or those of one application of it.
type Counted = (OrganizationId, Option<ApplicationId>);

/// Those who sent lately. One who did not for as long as a burst lasts is as good as new and forgotten, so
/// there are never many more than tenants with messages within that time.
#[derive(Debug)]
struct Rates {
    of: HashMap<Counted, Rate>,
    /// As many as there may be before the idle ones are looked for.
    most: usize,
}

/// The right to have one message accepted. Dropped unused, it is given back.
#[derive(Debug)]
pub(super) struct Admission {
    limits: Arc<Limits>,
    counted: [Option<Counted>; 2],
    /// The message as a delivery that is unfinished; taken out when it is used.
    unfinished: Option<OneMore>,
}

impl Limits {
    /// Sees every change of the store from now on.
    pub(super) fn new(
        (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
        pending: Arc<Pending>,
        burst: Duration,
    ) -> Arc<Self> {
        let limits = Arc::new(Self {
            store: Arc::clone(&store),
            clock,
            pending,
            burst,
            organizations: Cache::new(ORGANIZATIONS),
            changes: AtomicU64::new(0),
            rates: Mutex::new(Rates {
                of: HashMap::new(),
                most: RATES,
            }),
        });
        // Weak: the store outlives nobody who holds it.
        let watched = Arc::downgrade(&limits);
        store.observe(Box::new(move |change| forget(&watched, change)));
        limits
    }

    /// Whether a message would be refused at present; nothing is taken.
    pub(super) async fn check(
        &self,
        org: OrganizationId,
        app: Option<ApplicationId>,
    ) -> Result<(), IngestError> {
        let bounds = self.bounds(org).await?;
        // Counted and dropped: only whether it can be is of interest.
        self.one_more(org, bounds)?;
        let now = self.clock.now();
        let rates = self.rates.lock();
        if bounds.throttle_rate.is_some() {
            rates.check((org, None), now)?;
        }
        match app {
            // An application that has sent nothing lately is not known here, and free.
            Some(app) => rates.check((org, Some(app)), now),
            None => Ok(()),
        }
    }

    /// The right to one message of this application, or when there will be one.
    pub(super) async fn admit(
        self: &Arc<Self>,
        app: &Application,
    ) -> Result<Admission, IngestError> {
        let bounds = self.bounds(app.org).await?;
        let unfinished = Some(self.one_more(app.org, bounds)?);
        let limited = |counted: Counted, rate: Option<u32>| rate.map(|rate| (counted, rate));
        let wanted = [
            limited((app.org, None), bounds.throttle_rate),
            limited((app.org, Some(app.id)), app.throttle_rate.map(u32::from)),
        ];
        if wanted.iter().any(Option::is_some) {
            let now = self.clock.now();
            let mut rates = self.rates.lock();
            rates.forget_idle(now);
            for (counted, rate) in wanted.iter().flatten() {
                let known = rates.of.entry(*counted).or_default();
                known.set_with_burst(Some(*rate), self.burst);
                rates.check(*counted, now)?;
            }
            for (counted, _) in wanted.iter().flatten() {
                rates.of.entry(*counted).or_default().take(now);
            }
        }
        Ok(Admission {
            limits: Arc::clone(self),
            counted: wanted.map(|wanted| wanted.map(|(counted, _)| counted)),
            unfinished,
        })
    }

    fn one_more(&self, org: OrganizationId, bounds: Bounds) -> Result<OneMore, IngestError> {
        let one_more = self.pending.of(org).one_more(bounds.max_pending);
        one_more.ok_or_else(|| IngestError::TooManyPending {
            limit: bounds.max_pending.unwrap_or(u64::MAX),
            retry_after: BACKLOG,
        })
    }

    async fn bounds(&self, org: OrganizationId) -> Result<Bounds, StoreError> {
        if let Some(bounds) = self.organizations.get(&org) {
            return Ok(bounds);
        }
        let changes = self.changes.load(Ordering::SeqCst);
        let read = self.store.get::<Organization>(org).await?;
        let bounds = read.map_or_else(Bounds::default, |read| Bounds {
            throttle_rate: read.value.throttle_rate,
            max_pending: read.value.max_pending,
        });
        self.organizations.insert(org, bounds);
        if self.changes.load(Ordering::SeqCst) != changes {
            // A change came between: what was read may lack it.
            self.organizations.remove(&org);
        }
        Ok(bounds)
    }
}

/// Drops what a change touches.
fn forget(limits: &Weak<Limits>, change: &Change) {
    let Some(limits) = limits.upgrade() else {
        return;
    };
    match change.kind {
        Kind::Organization => {
            limits.changes.fetch_add(1, Ordering::SeqCst);
            if let Ok(org) = change.id.parse::<OrganizationId>() {
                limits.organizations.remove(&org);
            }
        }
        // Its next message brings the rate that it has now.
        Kind::Application => {
            if let (Ok(org), Ok(app)) = (change.parent.parse(), change.id.parse()) {
                limits.rates.lock().of.remove(&(org, Some(app)));
            }
        }
        _ => {}
    }
}

impl Rates {
    fn check(&self, counted: Counted, now: Timestamp) -> Result<(), IngestError> {
        let wait = self.of.get(&counted).and_then(|rate| rate.wait(now));
        wait.map_or(Ok(()), |at| {
            Err(IngestError::Throttled {
                whose: match counted.1 {
                    None => "organization",
                    Some(_) => "application",
                },
                retry_after: at.since(now),
            })
        })
    }

    fn forget_idle(&mut self, now: Timestamp) {
        if self.of.len() >= self.most {
            self.of.retain(|_, rate| !rate.is_idle(now));
            self.most = RATES.max(2 * self.of.len());
        }
    }
}

impl Admission {
    /// The message was accepted. It is unfinished until what this gives is dropped.
    pub(super) fn used(mut self) -> Option<OneMore> {
        self.counted = [None, None];
        self.unfinished.take()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.counted == [None, None] {
            return;
        }
        let mut rates = self.limits.rates.lock();
        for counted in self.counted.iter().flatten() {
            if let Some(rate) = rates.of.get_mut(counted) {
                rate.refund();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_that_send_no_more_are_forgotten() {
        let mut rates = Rates {
            of: HashMap::new(),
            most: RATES,
        };
        let at = |second: usize| Timestamp::from_millis(1_000_000 + 1_000 * second as u64);
        for second in 0..10 * RATES {
            let now = at(second);
            rates.forget_idle(now);
            let rate = rates
                .of
                .entry((OrganizationId::generate(now), None))
                .or_default();
            rate.set_with_burst(Some(1), Duration::from_secs(1));
            rate.take(now);
        }
        assert!(rates.of.len() <= RATES);
    }
}
