//! What delivering changes about an endpoint: disabled when its receiver says so or never answers, and since
//! when it has failed. Each change is read, made and committed again if somebody else was faster.

use std::sync::Arc;

use super::scheduler::HealthChange;
use crate::domain::{Clock, Endpoint, EndpointId};
use crate::store::{Store, StoreError};

/// Why an endpoint was disabled, as its owner reads it.
const GONE: &str = "the receiver answered 410 Gone";

/// Changes endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Endpoints {
    /// The receiver answered 410.
    pub(super) async fn gone(&self, id: EndpointId) {
        self.disable(id, GONE.to_owned()).await;
    }

    /// A lane's view of its receiver has changed.
    pub(super) async fn health(&self, id: EndpointId, change: HealthChange) {
        match change {
            HealthChange::Failing(since) => {
                self.change(id, |endpoint| {
                    let known = endpoint.failing_since.is_some();
                    endpoint.failing_since.get_or_insert(since);
                    !known
                })
                .await;
            }
            HealthChange::Healthy => {
                self.change(id, |endpoint| endpoint.failing_since.take().is_some())
                    .await;
            }
            HealthChange::Silent(since) => {
                self.disable(id, format!("no attempt has succeeded since {since}"))
                    .await;
            }
        }
    }

    async fn disable(&self, id: EndpointId, reason: String) {
        tracing::warn!(endpoint = %id, reason, "the endpoint is disabled");
        let now = self.clock.wall();
        self.change(id, |endpoint| {
            if endpoint.disabled {
                return false;
            }
            endpoint.disabled = true;
            endpoint.disabled_reason = Some(reason.clone());
            endpoint.updated_at = now;
            true
        })
        .await;
    }

    /// Makes the change unless `change` says that there is nothing to do.
    async fn change(&self, id: EndpointId, change: impl Fn(&mut Endpoint) -> bool + Send) {
        loop {
            match self.try_change(id, &change).await {
                Ok(()) => return,
                Err(StoreError::Stale { .. }) => {}
                // It happens again with the next attempt.
                Err(error) => {
                    tracing::warn!(endpoint = %id, error = &error as &dyn std::error::Error,
                        "the endpoint can not be changed");
                    return;
                }
            }
        }
    }

    async fn try_change(
        &self,
        id: EndpointId,
        change: &(impl Fn(&mut Endpoint) -> bool + Send),
    ) -> Result<(), StoreError> {
        let Some(stored) = self.store.get::<Endpoint>(id).await? else {
            return Ok(());
        };
        let mut endpoint = stored.value.clone();
        if !change(&mut endpoint) {
            return Ok(());
        }
        let write = stored.update(&endpoint)?;
        self.store.commit(vec![write], None).await.map(drop)
    }
}
