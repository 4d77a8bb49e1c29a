//! Event types: the kinds of events that an organization declares.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::OfOrganization;
use super::error::ApiError;
use super::extract::{Json, JsonBody, PathNames};
use super::idempotency::{Answer, Once, Twin};
use super::paging::{Page, Paging};
use super::patch::{Patch, not_null};
use super::query::QueryParams;
use super::state::{ApiState, Shared};
use super::validate::Faults;
use crate::domain::{EventType, OrganizationId, Timestamp, Uid};
use crate::store::{Stored, records};

/// Longest description and group name, in characters. Chosen: what a list can show.
const MAX_DESCRIPTION: usize = 2_000;

/// A new event type, or all of one; the name of one that is named in the path is ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventTypeIn {
    name: Option<Uid>,
    description: String,
    #[serde(default, deserialize_with = "not_null")]
    archived: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    deprecated: Option<bool>,
    feature_flag: Option<Uid>,
    feature_flags: Option<BTreeSet<Uid>>,
    group_name: Option<String>,
    schemas: Option<Map<String, Value>>,
}

/// Some of an event type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventTypePatch {
    #[serde(default, deserialize_with = "not_null")]
    description: Option<String>,
    #[serde(default, deserialize_with = "not_null")]
    archived: Option<bool>,
    #[serde(default, deserialize_with = "not_null")]
    deprecated: Option<bool>,
    #[serde(default)]
    feature_flag: Patch<Uid>,
    #[serde(default)]
    feature_flags: Patch<BTreeSet<Uid>>,
    #[serde(default)]
    group_name: Patch<String>,
    #[serde(default)]
    schemas: Patch<Map<String, Value>>,
}

/// An event type as callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventTypeOut {
    name: Uid,
    description: String,
    archived: bool,
    deprecated: bool,
    feature_flags: Option<Vec<Uid>>,
    feature_flag: Option<Uid>,
    group_name: Option<String>,
    schemas: Option<Value>,
    created_at: String,
    updated_at: String,
}

impl EventTypeOut {
    fn of(event_type: EventType, with_schemas: bool) -> Self {
        Self {
            name: event_type.name,
            description: event_type.description,
            archived: event_type.archived,
            deprecated: event_type.deprecated,
            feature_flags: event_type.feature_flag.clone().map(|flag| vec![flag]),
            feature_flag: event_type.feature_flag,
            group_name: event_type.group_name,
            schemas: event_type.schemas.filter(|_| with_schemas),
            created_at: event_type.created_at.to_string(),
            updated_at: event_type.updated_at.to_string(),
        }
    }
}

impl From<EventType> for EventTypeOut {
    fn from(event_type: EventType) -> Self {
        Self::of(event_type, true)
    }
}

/// What [`EventTypeIn`] says, checked.
struct Checked(EventTypeIn, Option<Uid>);

impl EventTypeIn {
    fn check(mut self) -> Result<Checked, ApiError> {
        let mut faults = Faults::default();
        faults.at_most(&self.description, "description", MAX_DESCRIPTION);
        if let Some(name) = &self.group_name {
            faults.at_most(name, "groupName", MAX_DESCRIPTION);
        }
        let several = self
            .feature_flags
            .take()
            .map(|flags| one_flag(flags, &mut faults));
        let flag = faults.either(
            self.feature_flag.take().map(Some),
            "featureFlag",
            several,
            "featureFlags",
        );
        faults.none()?;
        Ok(Checked(self, flag.flatten()))
    }
}

impl Checked {
    fn build(&self, org: OrganizationId, name: Uid, now: Timestamp) -> EventType {
        let mut event_type = EventType {
            name,
            org,
            description: String::new(),
            archived: false,
            deprecated: false,
            feature_flag: None,
            group_name: None,
            schemas: None,
            created_at: now,
            updated_at: now,
        };
        self.apply(&mut event_type, now);
        event_type
    }

    fn apply(&self, event_type: &mut EventType, now: Timestamp) {
        let Self(update, flag) = self;
        event_type.description.clone_from(&update.description);
        event_type.archived = update.archived.unwrap_or(false);
        event_type.deprecated = update.deprecated.unwrap_or(false);
        event_type.feature_flag.clone_from(flag);
        event_type.group_name.clone_from(&update.group_name);
        event_type.schemas = update.schemas.clone().map(Value::Object);
        event_type.updated_at = now;
    }
}

/// Clients of the second generation write a list; one flag is what an event type has.
fn one_flag(flags: BTreeSet<Uid>, faults: &mut Faults) -> Option<Uid> {
    faults.check(
        flags.len() <= 1,
        "featureFlags",
        "must have at most one entry",
    );
    flags.into_iter().next()
}

/// `GET /event-type`
pub(crate) async fn list(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    mut query: QueryParams,
) -> Result<axum::Json<Page<EventTypeOut>>, ApiError> {
    let paging = Paging::read_ordered(&mut query);
    let archived = query.flag("include_archived", false);
    let with_content = query.flag("with_content", false);
    query.done()?;
    let shown = |row: &Stored<EventType>| archived || !row.value.archived;
    let rows = paging
        .filtered(&*state.store, &org.to_string(), shown)
        .await?;
    let show = |row: Stored<EventType>| EventTypeOut::of(row.value, with_content);
    Ok(axum::Json(paging.page(rows, |row| row.seq, show)))
}

/// `POST /event-type`: one that is archived comes back.
pub(crate) async fn create(
    State(state): State<Shared>,
    OfOrganization { org, caller }: OfOrganization,
    twin: Twin,
    body: JsonBody,
) -> Result<Once<Answer>, ApiError> {
    let mut wanted: EventTypeIn = body.parse()?;
    let missing = || ApiError::invalid(["body", "name"], "is required");
    let name = wanted.name.take().ok_or_else(missing)?;
    let checked = wanted.check()?;
    twin.once(&state, &caller, body.bytes(), async |pending| {
        let now = state.clock.wall();
        let found = state.store.find::<EventType>(org, name.as_str()).await?;
        let (event_type, write) = match found {
            Some(found) if found.value.archived => {
                let mut event_type = found.value.clone();
                checked.apply(&mut event_type, now);
                let write = found.update(&event_type)?;
                (event_type, write)
            }
            Some(_) => {
                return Err(ApiError::Conflict(format!(
                    "event type `{name}` exists already"
                )));
            }
            None => {
                let event_type = checked.build(org, name, now);
                let write = records::insert(&event_type)?;
                (event_type, write)
            }
        };
        let answer = Answer::json(StatusCode::CREATED, &EventTypeOut::from(event_type))?;
        state
            .store
            .commit(vec![write], pending.record(&answer))
            .await?;
        Ok(answer)
    })
    .await
}

/// `GET /event-type/{event_type_name}`
pub(crate) async fn get(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    path: PathNames,
) -> Result<axum::Json<EventTypeOut>, ApiError> {
    Ok(axum::Json(named(&state, org, &path).await?.value.into()))
}

/// `PUT /event-type/{event_type_name}`: replaces or creates.
pub(crate) async fn put(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    path: PathNames,
    Json(wanted): Json<EventTypeIn>,
) -> Result<impl IntoResponse, ApiError> {
    let name = path.name("event_type_name")?;
    let checked = wanted.check()?;
    let now = state.clock.wall();
    let (status, event_type) = match state.store.find::<EventType>(org, name.as_str()).await? {
        Some(found) => {
            let change = |event_type: &mut EventType| {
                checked.apply(event_type, now);
                Ok(())
            };
            (StatusCode::OK, state.edit(found, None, change).await?)
        }
        None => {
            let event_type = checked.build(org, name, now);
            state.store.insert(&event_type, None).await?;
            (StatusCode::CREATED, event_type)
        }
    };
    Ok((status, axum::Json(EventTypeOut::from(event_type))))
}

/// `PATCH /event-type/{event_type_name}`
pub(crate) async fn patch(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    path: PathNames,
    Json(change): Json<EventTypePatch>,
) -> Result<axum::Json<EventTypeOut>, ApiError> {
    let found = named(&state, org, &path).await?;
    let mut faults = Faults::default();
    if let Some(description) = &change.description {
        faults.at_most(description, "description", MAX_DESCRIPTION);
    }
    if let Some(name) = change.group_name.value() {
        faults.at_most(name, "groupName", MAX_DESCRIPTION);
    }
    let several = match change.feature_flags {
        Patch::Absent => None,
        Patch::Null => Some(Patch::Null),
        Patch::Set(flags) => Some(one_flag(flags, &mut faults).map_or(Patch::Null, Patch::Set)),
    };
    let one = change.feature_flag.mentioned();
    let flag = faults
        .either(one, "featureFlag", several, "featureFlags")
        .unwrap_or_default();
    faults.none()?;
    let schemas = change.schemas.map(Value::Object);
    let event_type = state.edit(found, None, |event_type| {
        if let Some(description) = &change.description {
            event_type.description.clone_from(description);
        }
        event_type.archived = change.archived.unwrap_or(event_type.archived);
        event_type.deprecated = change.deprecated.unwrap_or(event_type.deprecated);
        flag.clone().apply(&mut event_type.feature_flag);
        change.group_name.clone().apply(&mut event_type.group_name);
        schemas.clone().apply(&mut event_type.schemas);
        event_type.updated_at = state.clock.wall();
        Ok(())
    });
    Ok(axum::Json(event_type.await?.into()))
}

/// `DELETE /event-type/{event_type_name}`: archives it, or with `expunge` removes it.
pub(crate) async fn delete(
    State(state): State<Shared>,
    OfOrganization { org, .. }: OfOrganization,
    path: PathNames,
    mut query: QueryParams,
) -> Result<StatusCode, ApiError> {
    let expunge = query.flag("expunge", false);
    query.done()?;
    let found = named(&state, org, &path).await?;
    if expunge {
        let id = records::Resource::record_id(&found.value);
        state
            .store
            .commit(vec![records::remove::<EventType>(id)], None)
            .await?;
    } else {
        let archive = |event_type: &mut EventType| {
            event_type.archived = true;
            event_type.updated_at = state.clock.wall();
            Ok(())
        };
        state.edit(found, None, archive).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn named(
    state: &ApiState,
    org: OrganizationId,
    path: &PathNames,
) -> Result<Stored<EventType>, ApiError> {
    let name = path.name("event_type_name")?;
    let found = state.store.find::<EventType>(org, name.as_str()).await?;
    found.ok_or_else(|| ApiError::NotFound("event type".to_owned()))
}
