//! What delivering changes about an endpoint: disabled when its receiver says so or never answers, and since
//! when it has failed. Each change is read, made and committed again if somebody else was faster.

use std::sync::Arc;

use super::scheduler::HealthChange;
use crate::domain::{Clock, Endpoint, EndpointId};
use crate::events::{Events, What};
use crate::store::{Store, StoreError};

/// Why an endpoint was disabled, as its owner reads it.
const GONE: &str = "the receiver answered 410 Gone";

/// How often a change is made again because somebody else was faster. Chosen: people change an endpoint now
/// and then, so the second try is all but always the last.
const TRIES: u32 = 16;

/// Changes endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: Events,
}

impl Endpoints {
    /// The receiver of `asked` answered 410. Whoever has changed the endpoint since then has not been answered
    /// so: a corrected one stays enabled.
    pub(super) async fn gone(&self, asked: &Endpoint) {
        let same = |now: &Endpoint| now.updated_at == asked.updated_at && now.url == asked.url;
        self.disable(asked.id, GONE.to_owned(), same).await;
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
                let reason = format!("no attempt has succeeded since {since}");
                self.disable(id, reason, |_| true).await;
            }
        }
    }

    async fn disable(
        &self,
        id: EndpointId,
        reason: String,
        concerned: impl Fn(&Endpoint) -> bool + Send + Sync,
    ) {
        let now = self.clock.wall();
        let disabled = self.change(id, |endpoint| {
            if endpoint.disabled || !concerned(endpoint) {
                return false;
            }
            tracing::warn!(endpoint = %id, reason, "the endpoint is disabled");
            endpoint.disabled = true;
            endpoint.disabled_reason = Some(reason.clone());
            endpoint.updated_at = now;
            true
        });
        if let Some(endpoint) = disabled.await {
            let fail_since = endpoint.failing_since.unwrap_or(now);
            let reason = Some(reason.clone());
            self.events
                .tell(&endpoint, What::Disabled { fail_since, reason });
        }
    }

    /// Makes the change unless `change` says that there is nothing to do. The endpoint, if it was changed.
    async fn change(
        &self,
        id: EndpointId,
        change: impl Fn(&mut Endpoint) -> bool + Send,
    ) -> Option<Endpoint> {
        for tries_left in (0..TRIES).rev() {
            match self.try_change(id, &change).await {
                Ok(changed) => return changed,
                Err(StoreError::Stale { .. }) if tries_left > 0 => {}
                // It happens again with the next attempt.
                Err(error) => {
                    tracing::warn!(endpoint = %id, error = &error as &dyn std::error::Error,
                        "the endpoint can not be changed");
                    return None;
                }
            }
        }
        None
    }

    async fn try_change(
        &self,
        id: EndpointId,
        change: &(impl Fn(&mut Endpoint) -> bool + Send),
    ) -> Result<Option<Endpoint>, StoreError> {
        let Some(stored) = self.store.get::<Endpoint>(id).await? else {
            return Ok(None);
        };
        let mut endpoint = stored.value.clone();
        if !change(&mut endpoint) {
            return Ok(None);
        }
        let write = stored.update(&endpoint)?;
        self.store.commit(vec![write], None).await?;
        Ok(Some(endpoint))
    }
}
