//! The endpoints of each application as delivering needs them: secrets opened, headers read, chains resolved.
//! Loaded when an application's first message comes, kept up to a number of endpoints, dropped the moment the
//! store commits a change. Opened secrets live here and nowhere else.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use http::{HeaderMap, HeaderName, HeaderValue};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::changes::Changes;
use super::organizations::{OrgView, Organizations};
use super::plan::Plan;
use super::plugin_stats::{PluginStats, VersionFigures};
use super::scheduler::LaneSpec;
use crate::domain::{
    Application, ApplicationId, Chain, Digest, Endpoint, EndpointId, EndpointSecret,
    OrganizationId, PluginId, RetryPolicy, Sealed, Seq, Suspension, Timestamp, Transformation,
};
use crate::outbound::{Outbound, TargetUrl};
use crate::sandbox::{Script, Step};
use crate::signing::SigningKey;
use crate::store::records::{ChainOwner, ChainRecord, SuspensionRecord};
use crate::store::vault::Vault;
use crate::store::{Change, Kind, PageRequest, Resource, Store, StoreError, Stored};

/// Endpoints read from the store at a time. Chosen: most applications have fewer.
const PAGE: usize = 256;

/// Loads that a stream of changes overtakes before the last one is used as it is, uncached. Chosen: every
/// load takes under a millisecond, so three in a row mean a storm.
const LOADS: usize = 3;

/// Applications whose changes are told apart; others share a counter, which costs a load too many.
const COUNTERS: usize = 256;

/// An application with its endpoints.
#[derive(Debug)]
pub(crate) struct AppView {
    pub(crate) application: Application,
    /// Its identifier as text, for the sandbox.
    pub(crate) tenant: Arc<str>,
    pub(crate) chain: Option<ChainView>,
    /// In one order always, so that a simulation can repeat a run.
    pub(crate) endpoints: BTreeMap<EndpointId, Arc<EndpointView>>,
}

/// An endpoint, ready to be delivered to.
#[derive(Debug)]
pub(crate) struct EndpointView {
    pub(crate) endpoint: Endpoint,
    /// Its place in the order of acceptance: it gets messages that came after it.
    pub(crate) seq: Seq,
    pub(crate) spec: LaneSpec,
    /// Where to send, or why not.
    pub(crate) target: Result<TargetUrl, String>,
    /// With what to sign and which headers to send along, or why that is not known.
    pub(crate) opened: Result<Opened, String>,
    pub(crate) chain: Option<ChainView>,
}

/// What is sealed in an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The newest first, each with what it was opened from.
    keys: Vec<(EndpointSecret, SigningKey)>,
    pub(crate) headers: HeaderMap,
}

/// A chain, ready to run.
#[derive(Debug)]
pub(crate) struct ChainView {
    /// The identifier of its application or endpoint.
    pub(crate) owner: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) steps: Arc<[Step]>,
    /// What the steps are of the whole chain.
    pub(super) plan: Plan,
}

/// Every application in use.
#[derive(Debug)]
pub(crate) struct Directory {
    store: Arc<dyn Store>,
    vault: Arc<Vault>,
    outbound: Arc<Outbound>,
    apps: Cache<ApplicationId, Arc<AppView>, Endpoints>,
    /// Raised by each change, so that what was loaded before it is not kept after it.
    generations: Box<[AtomicU64]>,
    organizations: Organizations,
    stats: PluginStats,
    /// Of endpoints whose organization has no policy either.
    retry: RetryPolicy,
}

#[derive(Debug, Clone)]
struct Endpoints;

impl Weighter<ApplicationId, Arc<AppView>> for Endpoints {
    fn weight(&self, _: &ApplicationId, app: &Arc<AppView>) -> u64 {
        let endpoint = |endpoint: &Arc<EndpointView>| {
            1 + endpoint.chain.as_ref().map_or(0, ChainView::long_configs)
        };
        // An application without endpoints is kept too.
        1 + app.endpoints.values().map(endpoint).sum::<u64>()
    }
}

impl Directory {
    /// Sees every change of the store from now on, and passes it on to `changes`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        vault: Arc<Vault>,
        outbound: Arc<Outbound>,
        (endpoints, retry): (u64, RetryPolicy),
        changes: Arc<Changes>,
    ) -> Arc<Self> {
        // Chosen: two endpoints an application, for sizing the table only.
        let apps = usize::try_from(endpoints / 2).unwrap_or(usize::MAX);
        let directory = Arc::new(Self {
            organizations: Organizations::new(Arc::clone(&store)),
            stats: PluginStats::default(),
            retry,
            store: Arc::clone(&store),
            vault,
            outbound,
            apps: Cache::with_weighter(apps.max(1), endpoints, Endpoints),
            generations: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
        });
        // Weak: the store outlives nobody who holds it.
        let watched = Arc::downgrade(&directory);
        store.observe(Box::new(move |change| {
            forget(&watched, change);
            changes.note(change);
        }));
        directory
    }

    /// The application as it stands; none: deleted.
    pub(crate) async fn app(&self, id: ApplicationId) -> Result<Option<Arc<AppView>>, StoreError> {
        if let Some(app) = self.apps.get(&id) {
            return Ok(Some(app));
        }
        let mut loaded = None;
        for _ in 0..LOADS {
            let generation = self.generation(id).load(Ordering::SeqCst);
            let Some(app) = self.load(id).await? else {
                return Ok(None);
            };
            let app = Arc::new(app);
            self.apps.insert(id, Arc::clone(&app));
            if self.generation(id).load(Ordering::SeqCst) == generation {
                return Ok(Some(app));
            }
            // A change came between: what was loaded may lack it.
            self.apps.remove(&id);
            loaded = Some(app);
        }
        Ok(loaded)
    }

    /// The endpoint as it stands; none: deleted, or its application was.
    pub(crate) async fn endpoint(
        &self,
        app: ApplicationId,
        id: EndpointId,
    ) -> Result<Option<Arc<EndpointView>>, StoreError> {
        let app = self.app(app).await?;
        Ok(app.and_then(|app| app.endpoints.get(&id).cloned()))
    }

    /// The organization as it stands.
    pub(crate) async fn organization(
        &self,
        id: OrganizationId,
    ) -> Result<Arc<OrgView>, StoreError> {
        self.organizations.get(id).await
    }

    /// What a plugin version did since the start.
    pub(super) fn plugin_figures(&self, plugin: PluginId, version: Digest) -> VersionFigures {
        self.stats.figures(plugin, version)
    }

    /// The policy where nothing is known of endpoint and organization.
    pub(crate) fn gateway_policy(&self) -> &RetryPolicy {
        &self.retry
    }

    /// The policy of an endpoint of this organization.
    pub(crate) fn policy<'a>(
        &'a self,
        org: &'a OrgView,
        endpoint: &'a Endpoint,
    ) -> &'a RetryPolicy {
        org.policy(endpoint, &self.retry)
    }

    fn generation(&self, id: ApplicationId) -> &AtomicU64 {
        // The last byte is random.
        &self.generations[usize::from(id.as_bytes()[19]) % COUNTERS]
    }

    async fn load(&self, id: ApplicationId) -> Result<Option<AppView>, StoreError> {
        let Some(application) = self.store.get::<Application>(id).await? else {
            return Ok(None);
        };
        let mut chains: HashMap<ChainOwner, Chain> = self
            .all::<ChainRecord>(id)
            .await?
            .into_iter()
            .map(|stored| (stored.value.owner, stored.value.chain))
            .collect();
        let suspended: HashMap<ChainOwner, Vec<Suspension>> = self
            .all::<SuspensionRecord>(id)
            .await?
            .into_iter()
            .map(|stored| (stored.value.owner, stored.value.suspended))
            .collect();
        let mut transformations: HashMap<EndpointId, Transformation> = self
            .all::<Transformation>(id)
            .await?
            .into_iter()
            .map(|stored| (stored.value.endpoint, stored.value))
            .collect();
        let mut view = |owner| {
            let suspended = suspended.get(&owner).map_or(&[][..], Vec::as_slice);
            chains.remove(&owner).map(|chain| {
                let plan = Plan::of(&chain, suspended, &self.stats);
                ChainView::of(&chain, owner.to_string(), plan)
            })
        };
        let chain = view(ChainOwner::Application(id)).filter(ChainView::does_something);
        let mut endpoints = BTreeMap::new();
        for stored in self.all::<Endpoint>(id).await? {
            let id = stored.value.id;
            let mut chain =
                view(ChainOwner::Endpoint(id)).unwrap_or_else(|| ChainView::empty(id.to_string()));
            if let Some(transformation) = transformations.remove(&id) {
                chain.end_with(&transformation, &stored);
            }
            let chain = Some(chain).filter(ChainView::does_something);
            endpoints.insert(id, Arc::new(self.view(stored, chain)));
        }
        Ok(Some(AppView {
            application: application.value,
            tenant: id.to_string().into(),
            chain,
            endpoints,
        }))
    }

    async fn all<T: Resource>(&self, app: ApplicationId) -> Result<Vec<Stored<T>>, StoreError> {
        let mut all = Vec::new();
        let mut page = PageRequest::first(PAGE);
        loop {
            let rows = self.store.list::<T>(app, page).await?;
            let more = rows.len() == PAGE;
            page.cursor = rows.last().map(|row| row.seq);
            all.extend(rows);
            if !more {
                return Ok(all);
            }
        }
    }

    fn view(&self, stored: Stored<Endpoint>, chain: Option<ChainView>) -> EndpointView {
        let endpoint = stored.value;
        let target = self.outbound.judge(&endpoint.url);
        EndpointView {
            seq: stored.seq,
            spec: LaneSpec::of(&endpoint, stored.revision),
            target: target.map_err(|refusal| refusal.to_string()),
            opened: self.open(&endpoint),
            chain,
            endpoint,
        }
    }

    fn open(&self, endpoint: &Endpoint) -> Result<Opened, String> {
        let mut opened = Opened::default();
        for secret in &endpoint.secrets {
            let key = self.key(&secret.sealed).inspect_err(|reason| {
                tracing::error!(endpoint = %endpoint.id, reason, "a signing secret is unusable");
            })?;
            opened.keys.push((secret.clone(), key));
        }
        if let Some(sealed) = &endpoint.headers {
            opened.headers = self.headers(sealed).inspect_err(|reason| {
                tracing::error!(endpoint = %endpoint.id, reason, "the headers are unusable");
            })?;
        }
        Ok(opened)
    }

    fn key(&self, sealed: &Sealed) -> Result<SigningKey, String> {
        let secret = self.vault.open(sealed).map_err(|error| error.to_string())?;
        let text = std::str::from_utf8(secret.expose())
            .map_err(|_| "a signing secret is not text".to_owned())?;
        SigningKey::parse(text).map_err(|error| error.to_string())
    }

    fn headers(&self, sealed: &Sealed) -> Result<HeaderMap, String> {
        let secret = self.vault.open(sealed).map_err(|error| error.to_string())?;
        let named: HashMap<String, String> = serde_json::from_slice(secret.expose())
            .map_err(|_| "the endpoint's headers are not an object of strings".to_owned())?;
        let mut headers = HeaderMap::with_capacity(named.len());
        for (name, value) in named {
            let fields = (HeaderName::try_from(name), HeaderValue::try_from(value));
            let (Ok(name), Ok(mut value)) = fields else {
                return Err("one of the endpoint's headers is not a header".to_owned());
            };
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// Drops what a change touches, after raising the counter: a load that began before may insert in between.
fn forget(directory: &Weak<Directory>, change: &Change) {
    if let (Kind::Organization, Ok(org)) = (change.kind, change.id.parse())
        && let Some(directory) = directory.upgrade()
    {
        directory.organizations.forget(org);
    }
    let app = match change.kind {
        Kind::Application => change.id.parse(),
        Kind::Endpoint | Kind::Chain | Kind::Suspension | Kind::Transformation => {
            change.parent.parse()
        }
        _ => return,
    };
    if let (Ok(app), Some(directory)) = (app, directory.upgrade()) {
        directory.generation(app).fetch_add(1, Ordering::SeqCst);
        directory.apps.remove(&app);
    }
}

impl Opened {
    /// The keys that sign at this moment, the newest first.
    pub(crate) fn keys_at(&self, now: Timestamp) -> Vec<SigningKey> {
        self.keys
            .iter()
            .filter(|(secret, _)| secret.signs_at(now))
            .take(1 + Endpoint::MAX_OLD_SECRETS)
            .map(|(_, key)| key.clone())
            .collect()
    }
}

impl ChainView {
    fn of(chain: &Chain, owner: String, plan: Plan) -> Self {
        let entries = chain.entries.iter().enumerate();
        let called = entries.filter(|(position, _)| plan.calls(*position));
        let steps = called.map(|(_, entry)| Step {
            plugin_name: entry.name.as_str().into(),
            version: entry.version,
            config: entry.config.to_string().into(),
            on_failure: entry.on_failure,
        });
        Self {
            owner: owner.into(),
            revision: chain.revision,
            steps: steps.collect(),
            plan,
        }
    }

    fn empty(owner: String) -> Self {
        Self {
            owner: owner.into(),
            revision: 0,
            steps: Arc::default(),
            plan: Plan::default(),
        }
    }

    /// Puts an endpoint's transformation at the end.
    fn end_with(&mut self, transformation: &Transformation, endpoint: &Stored<Endpoint>) {
        let (Some(code), None) = (transformation.active_code(), &self.plan.halt) else {
            return;
        };
        // Its code sees the endpoint's URL.
        let revisions = (transformation.revision, endpoint.revision);
        self.plan.variant += &format!("/js{}@{}", revisions.0, revisions.1);
        let script = Script {
            code,
            variables: transformation.variables.as_ref(),
            url: &endpoint.value.url,
            dry_run: false,
        };
        let steps = self.steps.iter().cloned().chain([script.step()]);
        self.steps = steps.collect();
    }

    /// Whether plugins are called, or something is said of what is not.
    fn does_something(&self) -> bool {
        !self.steps.is_empty() || !self.plan.is_empty()
    }

    /// How many endpoints' memory its configs take beyond its own: 4 KiB is about what one has.
    fn long_configs(&self) -> u64 {
        let bytes: usize = self.steps.iter().map(|step| step.config.len()).sum();
        bytes as u64 / 4096
    }
}
