//! At a start: the engine of transformations, compiled before the first delivery asks for it, where any endpoint has one.
//! That takes a second after an upgrade, and else nothing.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Application, Organization, Transformation};
use crate::sandbox::Sandbox;
use crate::store::{PageRequest, Resource, Store, StoreError, Stored};

/// Records read at once. Chosen: a page.
const AT_ONCE: usize = 250;

/// Gets the engine ready, until the shutdown. On a fault it is compiled when it is called.
pub(crate) async fn prepare(
    store: Arc<dyn Store>,
    sandbox: Arc<Sandbox>,
    shutdown: CancellationToken,
) {
    let preparing = async {
        match any_transformation(&store).await {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = sandbox.prepare_javascript().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "no JavaScript yet"
                    );
                }
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether there is JavaScript can not be read"
            ),
        }
    };
    shutdown.run_until_cancelled(preparing).await;
}

/// Whether any endpoint has one: the first that is found will do.
async fn any_transformation(store: &Arc<dyn Store>) -> Result<bool, StoreError> {
    let mut orgs = PageRequest::first(AT_ONCE);
    while let Some(page) = next::<Organization>(store, "", &mut orgs).await? {
        for org in page {
            let org = org.value.record_id();
            let mut apps = PageRequest::first(AT_ONCE);
            while let Some(page) = next::<Application>(store, &org, &mut apps).await? {
                for app in page {
                    let one = PageRequest::first(1);
                    let found = store.list::<Transformation>(app.value.id, one).await?;
                    if !found.is_empty() {
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

/// The next page; none behind the last.
async fn next<T: Resource>(
    store: &Arc<dyn Store>,
    parent: &str,
    request: &mut PageRequest,
) -> Result<Option<Vec<Stored<T>>>, StoreError> {
    let page = store.list::<T>(parent, *request).await?;
    request.cursor = page.last().map(|last| last.seq).or(request.cursor);
    Ok((!page.is_empty()).then_some(page))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::domain::{ApplicationId, EndpointId, ManualClock, OrganizationId, Timestamp};
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_transformation_is_found_wherever_it_is() {
        let now = Timestamp::from_millis(1);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(now))));
        let mut last = None;
        for _ in 0..2 {
            let org = Organization::new(OrganizationId::generate(now), now);
            store.insert(&org, None).await.unwrap();
            for _ in 0..AT_ONCE + 1 {
                let app = Application {
                    management: false,
                    ..Application::management(org.id, now)
                };
                let app = Application {
                    id: ApplicationId::generate(now),
                    ..app
                };
                store.insert(&app, None).await.unwrap();
                last = Some(app.id);
            }
        }
        assert!(!any_transformation(&store).await.unwrap());
        let transformation = Transformation {
            endpoint: EndpointId::generate(now),
            app: last.unwrap(),
            code: None,
            enabled: false,
            variables: Some(BTreeMap::new()),
            revision: 1,
            updated_at: now,
        };
        store.insert(&transformation, None).await.unwrap();
        assert!(any_transformation(&store).await.unwrap());
    }
}
