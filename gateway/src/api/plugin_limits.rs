//! What the plugins of an organization or application may use: set by an administrator within what the gateway
//! allows, shown to those whom it concerns.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};

use super::access::{Administrator, OfOrganization, ReachedApp};
use super::error::ApiError;
use super::extract::{Json, PathNames};
use super::organization;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{
    Application, ApplicationId, Organization, OrganizationId, PluginLimit, PluginLimits,
};
use crate::store::Stored;

/// Some limits; null leaves one to the next wider.
type LimitsPatch = BTreeMap<PluginLimit, Option<NonZeroU64>>;

/// Limits as an administrator and those concerned see them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LimitsOut {
    /// What was set for just this organization or application.
    own: Map<String, Value>,
    /// What counts.
    in_force: Map<String, Value>,
}

impl LimitsOut {
    fn of(state: &ApiState, own: &PluginLimits, wider: &PluginLimits) -> Self {
        Self {
            own: fields(own),
            in_force: fields(&state.plugin_limits(&own.or(wider))),
        }
    }
}

fn fields(limits: &PluginLimits) -> Map<String, Value> {
    let figures = limits.iter();
    figures
        .map(|(limit, figure)| (limit.field().to_owned(), figure.into()))
        .collect()
}

impl ApiState {
    /// Every limit as it counts for who was given these.
    fn plugin_limits(&self, given: &PluginLimits) -> PluginLimits {
        let most = self.most_of_plugins();
        given
            .or(&self.sandbox.usual_limits())
            .or(&most)
            .within(&most)
    }

    /// What nobody may have more of.
    fn most_of_plugins(&self) -> PluginLimits {
        let counts = [
            (PluginLimit::Plugins, self.config.plugins_per_owner),
            (PluginLimit::Versions, self.config.versions_per_plugin),
        ];
        let counts = counts.map(|(limit, most)| (limit, most as u64));
        PluginLimits::from_iter(counts).or(self.sandbox.most_limits())
    }

    /// What counts for the plugins of an organization, or of one of its applications.
    pub(super) async fn plugin_limits_of(
        &self,
        org: OrganizationId,
        app: Option<ApplicationId>,
    ) -> Result<PluginLimits, ApiError> {
        let wider = of_organization(self, org).await?;
        let own = match app {
            Some(app) => self.store.get::<Application>(app).await?,
            None => None,
        };
        let own = own.map(|app| app.value.plugin_limits).unwrap_or_default();
        Ok(self.plugin_limits(&own.or(&wider)))
    }
}

async fn of_organization(state: &ApiState, org: OrganizationId) -> Result<PluginLimits, ApiError> {
    let org = state.store.get::<Organization>(org).await?;
    Ok(org.map(|org| org.value.plugin_limits).unwrap_or_default())
}

/// `GET /plugin-limits`: those of the caller's organization.
pub(crate) async fn own(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    let own = of_organization(&state, org).await?;
    Ok(organizations(&state, &own))
}

/// `GET /app/{app_id}/plugin-limits`
pub(crate) async fn own_application(
    State(state): State<Shared>,
    ReachedApp { app, .. }: ReachedApp,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    of_application(&state, &app.value).await
}

/// `GET /admin/organization/{org_id}/plugin-limits`
pub(crate) async fn get(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    let own = of_organization(&state, organization::id(&path)?).await?;
    Ok(organizations(&state, &own))
}

/// `PATCH /admin/organization/{org_id}/plugin-limits`: one that has not sent a request yet may be given its limits
/// before it does. They are those of each of its applications that has none of its own.
pub(crate) async fn patch(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
    Json(change): Json<LimitsPatch>,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    check(&state, &change)?;
    let known = organization::known(&state, organization::id(&path)?).await?;
    let edit = |org: &mut Organization| {
        apply(&change, &mut org.plugin_limits);
        org.updated_at = state.clock.wall();
        Ok(())
    };
    let org = state.edit(known, None, edit).await?;
    Ok(organizations(&state, &org.plugin_limits))
}

/// `GET /admin/organization/{org_id}/app/{app_id}/plugin-limits`
pub(crate) async fn get_application(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    let app = application(&state, &path).await?;
    of_application(&state, &app.value).await
}

/// `PATCH /admin/organization/{org_id}/app/{app_id}/plugin-limits`
pub(crate) async fn patch_application(
    State(state): State<Shared>,
    _: Administrator,
    path: PathNames,
    Json(change): Json<LimitsPatch>,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    check(&state, &change)?;
    let app = application(&state, &path).await?;
    let edit = |app: &mut Application| {
        apply(&change, &mut app.plugin_limits);
        app.updated_at = state.clock.wall();
        Ok(())
    };
    let app = state.edit(app, None, edit).await?;
    of_application(&state, &app).await
}

/// Those of an organization, which has nothing wider but the gateway.
fn organizations(state: &ApiState, own: &PluginLimits) -> axum::Json<LimitsOut> {
    axum::Json(LimitsOut::of(state, own, &PluginLimits::default()))
}

async fn of_application(
    state: &ApiState,
    app: &Application,
) -> Result<axum::Json<LimitsOut>, ApiError> {
    let wider = of_organization(state, app.org).await?;
    Ok(axum::Json(LimitsOut::of(state, &app.plugin_limits, &wider)))
}

async fn application(state: &ApiState, path: &PathNames) -> Result<Stored<Application>, ApiError> {
    let (org, name) = (organization::id(path)?, path.name("app_id")?);
    let found = state.store.find::<Application>(org, name.as_str()).await?;
    found.ok_or_else(|| ApiError::NotFound("application".to_owned()))
}

fn apply(change: &LimitsPatch, limits: &mut PluginLimits) {
    for (limit, figure) in change {
        limits.set(*limit, *figure);
    }
}

fn check(state: &ApiState, change: &LimitsPatch) -> Result<(), ApiError> {
    let most = state.most_of_plugins();
    let mut faults = Faults::default();
    for (limit, figure) in change {
        if let (Some(figure), Some(most)) = (figure, most.get(*limit)) {
            let msg = format!("must be at most {most}, which is what the gateway allows");
            faults.check(figure.get() <= most, limit.field(), msg);
        }
    }
    faults.none()
}
