//! Configuration records with their types: what kinds there are, whose they are, how they are found.
//!
//! A backend sees a [`Record`]: kind, identifier, parent, optional uid and a JSON body. The rest of the
//! crate sees `store.get::<Endpoint>(…)`. Adding a resource is one `impl Resource`.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{IdempotencyRecord, PageRequest, Store, StoreError};
use crate::domain::{
    Application, ApplicationId, Chain, Endpoint, EndpointId, EventType, Organization, Plugin,
    PluginVersion, RecoverTask, Seq, Suspension, Transformation,
};

/// Kinds of records. The number is part of the store's layout and never changes its meaning.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize,
)]
#[repr(u8)]
pub enum Kind {
    /// Who runs events through the gateway.
    Organization = 1,
    /// A tenant.
    Application = 2,
    /// A subscription.
    Endpoint = 3,
    /// A declared kind of event.
    EventType = 4,
    /// A named plugin.
    Plugin = 5,
    /// An uploaded version of a plugin.
    PluginVersion = 6,
    /// The chain of an application or endpoint.
    Chain = 7,
    /// A token that is refused.
    DeniedToken = 8,
    /// SHA-256 of a compiled plugin on this machine.
    Artifact = 9,
    /// Failed deliveries that are made due again.
    RecoverTask = 10,
    /// What is suspended in a chain. (11 to 13 and 15 name nothing.)
    Suspension = 14,
    /// The JavaScript of an endpoint.
    Transformation = 16,
}

impl Kind {
    /// Kinds of records that have the application as parent and go with an endpoint all the same: their identifier
    /// is the endpoint's.
    pub(crate) const OF_ENDPOINT: [Kind; 3] = [Kind::Chain, Kind::Suspension, Kind::Transformation];

    /// Kinds whose records go when a record of this kind, their parent, is removed.
    pub(crate) fn children(self) -> &'static [Kind] {
        match self {
            Kind::Organization => &[Kind::Application, Kind::EventType, Kind::Plugin],
            Kind::Application => &[
                Kind::Endpoint,
                Kind::Chain,
                Kind::Suspension,
                Kind::Transformation,
                Kind::Plugin,
            ],
            Kind::Plugin => &[Kind::PluginVersion],
            Kind::Endpoint
            | Kind::EventType
            | Kind::PluginVersion
            | Kind::Chain
            | Kind::DeniedToken
            | Kind::Artifact
            | Kind::RecoverTask
            | Kind::Suspension
            | Kind::Transformation => &[],
        }
    }

    /// The same of the record with this identifier, each with the parent that they have.
    pub(crate) fn children_of(self, id: &str) -> impl Iterator<Item = (Kind, String)> {
        let management = (self == Kind::Organization).then(|| management_of(id));
        let management = management.map(|parent| (Kind::Application, parent));
        let children = self.children().iter();
        children
            .map(|kind| (*kind, id.to_owned()))
            .chain(management)
    }

    /// Whether something is left to sweep after a record of this kind is removed.
    pub(crate) fn owns(self) -> bool {
        self == Kind::Endpoint || !self.children().is_empty()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Organization => "organization",
            Kind::Application => "application",
            Kind::Endpoint => "endpoint",
            Kind::EventType => "event type",
            Kind::Plugin => "plugin",
            Kind::PluginVersion => "plugin version",
            Kind::Chain => "plugin chain",
            Kind::DeniedToken => "denied token",
            Kind::Artifact => "compiled plugin",
            Kind::RecoverTask => "recovery",
            Kind::Suspension => "suspension",
            Kind::Transformation => "transformation",
        })
    }
}

/// A record as a backend keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Record {
    /// Its kind.
    pub kind: Kind,
    /// Unique within its kind.
    pub id: String,
    /// Whose it is: an identifier, or empty. Lists and uids are per parent.
    pub parent: String,
    /// Unique within kind and parent.
    pub uid: Option<String>,
    /// Order of insertion, of the same sequence as messages; zero until the store has assigned it.
    pub seq: Seq,
    /// 1 when inserted, raised by each change; zero until the store has assigned it.
    pub revision: u64,
    /// JSON.
    pub body: Bytes,
}

/// One write of a commit.
#[derive(Debug, Clone)]
pub enum Write {
    /// [`StoreError::Exists`] if identifier or uid is taken. The store assigns `seq` and revision 1.
    Insert(Record),
    /// Replaces uid and body. [`StoreError::NoSuchRecord`] if there is none, [`StoreError::Stale`] if its
    /// revision is not `record.revision`, [`StoreError::Exists`] if the uid is another's.
    Update(Record),
    /// [`StoreError::NoSuchRecord`] if there is none. What belongs to it (an application's endpoints and
    /// messages, an endpoint's chain, parked deliveries and attempts) is swept later.
    Remove {
        /// Of which kind.
        kind: Kind,
        /// Its identifier.
        id: String,
    },
}

/// A committed change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Of which kind.
    pub kind: Kind,
    /// Its identifier.
    pub id: String,
    /// Its parent.
    pub parent: String,
    /// Whether it is gone.
    pub removed: bool,
}

/// A noun that is kept as a record.
pub trait Resource: Serialize + DeserializeOwned + Send + Sync {
    /// Its kind.
    const KIND: Kind;
    /// Its identifier, unique within the kind.
    fn record_id(&self) -> String;
    /// Whose it is.
    fn record_parent(&self) -> String;
    /// Its uid: a second name, unique within the parent. Most have none.
    fn record_uid(&self) -> Option<String> {
        None
    }
}

/// A resource with what the store knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<T> {
    /// The resource.
    pub value: T,
    /// Order of insertion.
    pub seq: Seq,
    /// For the check at the next update.
    pub revision: u64,
}

impl<T: Resource> Stored<T> {
    fn decode(record: &Record) -> Result<Self, StoreError> {
        let value = serde_json::from_slice(&record.body).map_err(|source| StoreError::Damaged {
            what: format!("{} `{}` does not decode: {source}", record.kind, record.id),
        })?;
        Ok(Self {
            value,
            seq: record.seq,
            revision: record.revision,
        })
    }

    /// The write that replaces what was read by `value`, unless somebody else was faster.
    pub fn update(&self, value: &T) -> Result<Write, StoreError> {
        Ok(Write::Update(Record {
            revision: self.revision,
            ..encode(value)?
        }))
    }
}

/// The write that inserts this resource.
pub fn insert<T: Resource>(value: &T) -> Result<Write, StoreError> {
    Ok(Write::Insert(encode(value)?))
}

/// The write that removes the resource with this identifier.
pub fn remove<T: Resource>(id: impl fmt::Display) -> Write {
    Write::Remove {
        kind: T::KIND,
        id: id.to_string(),
    }
}

fn encode<T: Resource>(value: &T) -> Result<Record, StoreError> {
    let body = serde_json::to_vec(value).map_err(|source| StoreError::Backend(source.into()))?;
    Ok(Record {
        kind: T::KIND,
        id: value.record_id(),
        parent: value.record_parent(),
        uid: value.record_uid(),
        seq: Seq::default(),
        revision: 0,
        body: body.into(),
    })
}

impl dyn Store {
    /// The resource with this identifier.
    pub async fn get<T: Resource>(
        &self,
        id: impl fmt::Display,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let record = self.record_by_id(T::KIND, &id.to_string()).await?;
        record.as_ref().map(Stored::decode).transpose()
    }

    /// The resource of this parent with this identifier or uid. An identifier wins over an equal uid.
    pub async fn find<T: Resource>(
        &self,
        parent: impl fmt::Display,
        id_or_uid: &str,
    ) -> Result<Option<Stored<T>>, StoreError> {
        let parent = parent.to_string();
        let record = match self.record_by_id(T::KIND, id_or_uid).await? {
            Some(record) if record.parent == parent => Some(record),
            _ => self.record_by_uid(T::KIND, &parent, id_or_uid).await?,
        };
        record.as_ref().map(Stored::decode).transpose()
    }

    /// The resources of this parent.
    pub async fn list<T: Resource>(
        &self,
        parent: impl fmt::Display,
        page: PageRequest,
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let records = self.records_of(T::KIND, &parent.to_string(), page).await?;
        records.iter().map(Stored::decode).collect()
    }

    /// Inserts one resource.
    pub async fn insert<T: Resource>(
        &self,
        value: &T,
        idempotency: Option<IdempotencyRecord>,
    ) -> Result<(), StoreError> {
        self.commit(vec![insert(value)?], idempotency)
            .await
            .map(drop)
    }
}

impl Resource for Organization {
    const KIND: Kind = Kind::Organization;

    fn record_id(&self) -> String {
        self.id.to_string()
    }

    fn record_parent(&self) -> String {
        String::new()
    }
}

/// The parent of an organization's management application.
fn management_of(org: impl fmt::Display) -> String {
    format!("{org}:management")
}

/// The management application has a parent of its own, so that it is neither listed nor found among the tenants.
impl Resource for Application {
    const KIND: Kind = Kind::Application;

    fn record_id(&self) -> String {
        self.id.to_string()
    }

    fn record_parent(&self) -> String {
        if self.management {
            management_of(self.org)
        } else {
            self.org.to_string()
        }
    }

    fn record_uid(&self) -> Option<String> {
        self.uid.as_ref().map(ToString::to_string)
    }
}

impl Resource for Endpoint {
    const KIND: Kind = Kind::Endpoint;

    fn record_id(&self) -> String {
        self.id.to_string()
    }

    fn record_parent(&self) -> String {
        self.app.to_string()
    }

    fn record_uid(&self) -> Option<String> {
        self.uid.as_ref().map(ToString::to_string)
    }
}

/// Two organizations may declare the same name, so the identifier carries the organization.
impl Resource for EventType {
    const KIND: Kind = Kind::EventType;

    fn record_id(&self) -> String {
        format!("{}:{}", self.org, self.name)
    }

    fn record_parent(&self) -> String {
        self.org.to_string()
    }

    fn record_uid(&self) -> Option<String> {
        Some(self.name.to_string())
    }
}

/// Its parent is the application it belongs to, else the organization.
impl Resource for Plugin {
    const KIND: Kind = Kind::Plugin;

    fn record_id(&self) -> String {
        self.id.to_string()
    }

    fn record_parent(&self) -> String {
        self.app
            .map_or_else(|| self.org.to_string(), |app| app.to_string())
    }

    fn record_uid(&self) -> Option<String> {
        Some(self.name.to_string())
    }
}

/// Two plugins may be the same bytes, so the identifier carries the plugin.
impl Resource for PluginVersion {
    const KIND: Kind = Kind::PluginVersion;

    fn record_id(&self) -> String {
        format!("{}:{}", self.plugin, self.digest)
    }

    fn record_parent(&self) -> String {
        self.plugin.to_string()
    }

    fn record_uid(&self) -> Option<String> {
        Some(self.digest.to_string())
    }
}

/// All have one parent, so that they are found after a start; the endpoint is the uid, for one task each.
impl Resource for RecoverTask {
    const KIND: Kind = Kind::RecoverTask;

    fn record_id(&self) -> String {
        self.id.to_string()
    }

    fn record_parent(&self) -> String {
        String::new()
    }

    fn record_uid(&self) -> Option<String> {
        Some(self.endpoint.to_string())
    }
}

/// Its identifier is the endpoint's.
impl Resource for Transformation {
    const KIND: Kind = Kind::Transformation;

    fn record_id(&self) -> String {
        self.endpoint.to_string()
    }

    fn record_parent(&self) -> String {
        self.app.to_string()
    }
}

/// A chain with its owner; the owner's identifier is the chain's.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub struct ChainRecord {
    /// Who runs it.
    pub owner: ChainOwner,
    /// The application that the owner is or belongs to.
    pub app: ApplicationId,
    /// The chain.
    pub chain: Chain,
}

/// Who runs a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum ChainOwner {
    /// Once per message of the application.
    Application(ApplicationId),
    /// Once per delivery to the endpoint.
    Endpoint(EndpointId),
}

impl fmt::Display for ChainOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainOwner::Application(id) => id.fmt(f),
            ChainOwner::Endpoint(id) => id.fmt(f),
        }
    }
}

/// Its parent is the application, for the application's own chain too.
impl Resource for ChainRecord {
    const KIND: Kind = Kind::Chain;

    fn record_id(&self) -> String {
        self.owner.to_string()
    }

    fn record_parent(&self) -> String {
        self.app.to_string()
    }
}

/// What is suspended in a chain, that of an earlier revision included until the next is suspended; the owner's
/// identifier is the record's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct SuspensionRecord {
    /// Whose chain it is.
    pub owner: ChainOwner,
    /// The application that the owner is or belongs to.
    pub app: ApplicationId,
    /// In the order in which they were suspended.
    pub suspended: Vec<Suspension>,
}

/// Its parent is the application, as the chain's is.
impl Resource for SuspensionRecord {
    const KIND: Kind = Kind::Suspension;

    fn record_id(&self) -> String {
        self.owner.to_string()
    }

    fn record_parent(&self) -> String {
        self.app.to_string()
    }
}
