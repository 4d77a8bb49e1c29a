//! How many deliveries of each organization are neither settled nor canceled. Counted where they are, so that
//! asking costs nothing: a message as one from its acceptance until fan-out knows its endpoints, then each
//! delivery as one, first on its way to its lane and from there on by the lane, which knows what it holds and
//! what it has parked in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::domain::OrganizationId;

/// Counts looked at before those that nobody needs are forgotten for the first time. Chosen: some 100 KB.
const COUNTS: usize = 1_024;

/// The counts of all organizations that have something waiting.
#[derive(Debug)]
pub(crate) struct Pending(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    of: HashMap<OrganizationId, Count>,
    /// As many as there may be before the unneeded ones are looked for.
    most: usize,
}

/// The count of one organization. Those who add to it are relied on to take it off again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Count(Arc<AtomicI64>);

/// One that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct OneMore(Count);

impl Default for Pending {
    fn default() -> Self {
        Self(Mutex::new(Counts {
            of: HashMap::new(),
            most: COUNTS,
        }))
    }
}

impl Pending {
    /// The count of this organization.
    pub(crate) fn of(&self, org: OrganizationId) -> Count {
        let mut counts = self.0.lock();
        if let Some(count) = counts.of.get(&org) {
            return count.clone();
        }
        if counts.of.len() >= counts.most {
            counts
                .of
                .retain(|_, count| count.get() != 0 || Arc::strong_count(&count.0) > 1);
            counts.most = COUNTS.max(2 * counts.of.len());
        }
        counts.of.entry(org).or_default().clone()
    }
}

impl Count {
    /// How many there are now; zero or less: none.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: i64) {
        if more != 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// One more, unless there are so many already.
    pub(crate) fn one_more(self, most: Option<u64>) -> Option<OneMore> {
        let most = most.map_or(i64::MAX, |most| i64::try_from(most).unwrap_or(i64::MAX));
        let one_more = |count: i64| (count < most).then_some(count + 1);
        let order = Ordering::Relaxed;
        let added = self.0.fetch_update(order, order, one_more);
        added.is_ok().then(|| OneMore(self))
    }
}

impl Drop for OneMore {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn org() -> OrganizationId {
        OrganizationId::generate(Timestamp::from_millis(1))
    }

    #[test]
    fn a_count_is_kept_while_it_matters_and_no_longer() {
        let pending = Pending::default();
        let (waiting, held) = (org(), org());
        pending.of(waiting).add(3);
        let handle = pending.of(held);
        for _ in 0..10 * COUNTS {
            pending.of(org());
        }
        assert!(pending.0.lock().of.len() <= COUNTS);
        assert_eq!(pending.of(waiting).get(), 3);
        handle.add(1);
        assert_eq!(pending.of(held).get(), 1);
    }

    #[test]
    fn there_is_never_one_more_than_the_limit() {
        let count = Count::default();
        let one_more = |_| count.clone().one_more(Some(4));
        let mut added: Vec<_> = (0..10).filter_map(one_more).collect();
        assert_eq!((added.len(), count.get()), (4, 4));
        added.pop();
        added.extend((0..10).filter_map(one_more));
        assert_eq!((added.len(), count.get()), (4, 4));
        drop(added);
        assert_eq!(count.get(), 0);
    }
}
