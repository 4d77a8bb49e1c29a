//! Organizations as an administrator sees them: what they may do. An organization reads its own limits and
//! changes none of them.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::access::{Administrator, OfOrganization, know_organization};
use super::error::ApiError;
use super::extract::{Json, PathNames};
use super::paging::{Page, Paging};
use super::patch::Patch;
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{Organization, OrganizationId, RetryPolicy};
use crate::store::Stored;

/// The parent of every organization's record.
const EVERYBODY: &str = "";

/// Some of an organization.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrganizationPatch {
    #[serde(default)]
    throttle_rate: Patch<u32>,
    #[serde(default)]
    max_pending: Patch<u64>,
    #[serde(default)]
    retry_policy: Patch<RetryPolicy>,
}

/// An organization as an administrator and itself see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrganizationOut {
    id: String,
    throttle_rate: Option<u32>,
    max_pending: Option<u64>,
    retry_policy: Option<RetryPolicy>,
    /// Deliveries that are neither settled nor canceled.
    pending: u64,
    created_at: String,
    updated_at: String,
}

impl OrganizationOut {
    fn of(org: Organization, state: &ApiState) -> Self {
        Self {
            pending: state.deliveries.pending(org.id),
            id: org.id.to_string(),
            throttle_rate: org.throttle_rate,
            max_pending: org.max_pending,
            retry_policy: org.retry,
            created_at: org.created_at.to_string(),
            // Those from before it was noted were never changed.
            updated_at: org.updated_at.max(org.created_at).to_string(),
        }
    }
}

/// `GET /admin/organization`
pub(crate) async fn list(
    State(state): State<Shared>,
    _: Administrator,
    mut query: QueryParams,
) -> Result<axum::Json<Page<OrganizationOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    query.done()?;
    let rows = state
        .store
        .list::<Organization>(EVERYBODY, paging.request())
        .await?;
    Ok(axum::Json(paging.page(
        rows,
        |row| row.seq,
        |row| OrganizationOut::of(row.value, &state),
    )))
}

/// `GET /admin/organization/{org_id}`
pub(crate) async fn get(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
) -> Result<axum::Json<OrganizationOut>, ApiError> {
    let org = id(&path)?;
    let found = state.store.get::<Organization>(org).await?;
    let found = found.ok_or_else(not_found)?;
    Ok(axum::Json(OrganizationOut::of(found.value, &state)))
}

/// `PATCH /admin/organization/{org_id}`: one that has not sent a request yet may be given its limits before
/// it does.
pub(crate) async fn patch(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
    Json(change): Json<OrganizationPatch>,
) -> Result<axum::Json<OrganizationOut>, ApiError> {
    let org = id(&path)?;
    let mut faults = Faults::default();
    faults.rate(change.throttle_rate.value().copied());
    let some = change.max_pending.value() != Some(&0);
    faults.check(some, "maxPending", "must be at least 1");
    faults.none()?;
    let org = state
        .edit(known(&state, org).await?, None, |org| {
            change.throttle_rate.apply(&mut org.throttle_rate);
            change.max_pending.apply(&mut org.max_pending);
            change.retry_policy.clone().apply(&mut org.retry);
            org.updated_at = state.clock.wall();
            Ok(())
        })
        .await?;
    Ok(axum::Json(OrganizationOut::of(org, &state)))
}

/// `GET /organization`: the caller's own.
pub(crate) async fn own(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
) -> Result<axum::Json<OrganizationOut>, ApiError> {
    let own = known(&state, org).await?;
    Ok(axum::Json(OrganizationOut::of(own.value, &state)))
}

pub(super) async fn known(
    state: &ApiState,
    org: OrganizationId,
) -> Result<Stored<Organization>, ApiError> {
    know_organization(state, org).await?;
    let found = state.store.get::<Organization>(org).await?;
    found.ok_or_else(not_found)
}

/// What is no identifier of an organization names none.
pub(super) fn id(path: &PathNames) -> Result<OrganizationId, ApiError> {
    path.text("org_id").parse().map_err(|_| not_found())
}

fn not_found() -> ApiError {
    ApiError::NotFound("organization".to_owned())
}
