//! What delivering needs to know about organizations: kept up to a number of them, dropped the moment the store
//! commits a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use crate::domain::{Endpoint, Organization, OrganizationId, PluginLimits, RetryPolicy};
use crate::store::{Store, StoreError};

/// Organizations that are kept. Chosen: 2 MB.
const KEPT: usize = 10_000;

/// An organization as delivering needs it.
#[derive(Debug, Default)]
pub(crate) struct OrgView {
    retry: Option<RetryPolicy>,
    /// It wants to hear of its endpoints.
    pub(crate) hears: bool,
    /// What the plugins of its applications may use.
    pub(super) plugin_limits: PluginLimits,
}

#[derive(Debug)]
pub(super) struct Organizations {
    store: Arc<dyn Store>,
    known: Cache<OrganizationId, Arc<OrgView>>,
    /// Raised by each change, so that what was read before it is not kept after it.
    generation: AtomicU64,
}

impl Organizations {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            known: Cache::new(KEPT),
            generation: AtomicU64::new(0),
        }
    }

    /// The organization as it stands; one that has no record yet has no wishes.
    pub(super) async fn get(&self, id: OrganizationId) -> Result<Arc<OrgView>, StoreError> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known);
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let stored = self.store.get::<Organization>(id).await?;
        let view = Arc::new(stored.map_or_else(OrgView::default, |stored| OrgView {
            retry: stored.value.retry,
            plugin_limits: stored.value.plugin_limits,
            hears: stored.value.management_app.is_some(),
        }));
        self.known.insert(id, Arc::clone(&view));
        if self.generation.load(Ordering::SeqCst) != generation {
            // A change came between; whoever comes next reads again.
            self.known.remove(&id);
        }
        Ok(view)
    }

    /// The organization was changed. Called by the store inside its commit.
    pub(super) fn forget(&self, id: OrganizationId) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.known.remove(&id);
    }
}

impl OrgView {
    /// The endpoint's own policy, else the organization's, else the gateway's.
    pub(super) fn policy<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        gateway: &'a RetryPolicy,
    ) -> &'a RetryPolicy {
        let own = endpoint.retry.as_ref();
        own.or(self.retry.as_ref()).unwrap_or(gateway)
    }
}
