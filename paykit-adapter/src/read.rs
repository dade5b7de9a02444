//! Reading the endpoints of anybody, without a session.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::UserKey;
use futures_util::StreamExt as _;
use futures_util::stream;
use pubky::{PubkyHttpClient, PublicKey};
use tokio::time::Instant;

use crate::credit::{CreditEndpoint, is_credit_method};
use crate::error::{AdapterError, Fault};
use crate::fetch::{Budget, Names, ReadLimits, Source};
use crate::name::{AppId, MethodId, excerpt};
use crate::paths::{
    APPS_DIR, LEGACY_DIR, REGISTRY_PATH, endpoint_path, endpoints_dir, legacy_path,
};
use crate::payload::{MAX_PAYLOAD_BYTES, Payload};
use crate::registry::{AppRegistry, MAX_REGISTRY_BYTES};

/// The most endpoints that one app may have.
pub const MAX_ENDPOINTS: usize = 256;
/// The most apps of one user that are read.
pub const MAX_APPS: usize = 64;

/// One way to pay a user.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Endpoint {
    /// The app that keeps it, or nothing if it lies at the older path.
    pub app: Option<AppId>,
    /// How.
    pub method: MethodId,
    /// Where.
    pub payload: Payload,
}

/// What could be read of a user's endpoints, and what could not.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The endpoints, by app and method; those at the older path last.
    pub endpoints: Vec<Endpoint>,
    /// What could not be read. None of it affects the endpoints above; there may be more endpoints than they show.
    pub faults: Vec<Fault>,
}

impl Listing {
    /// The endpoints of one method.
    pub fn method(&self, method: &MethodId) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(move |endpoint| endpoint.method == *method)
    }

    /// The credit endpoints among them. A malformed one is an error of its own and hides no other.
    pub fn credit(&self) -> impl Iterator<Item = Result<CreditEndpoint, AdapterError>> {
        self.endpoints
            .iter()
            .filter(|endpoint| is_credit_method(&endpoint.method))
            .map(|endpoint| CreditEndpoint::read(&endpoint.method, &endpoint.payload))
    }
}

/// Reads endpoints from whichever homeserver their owner has.
#[derive(Clone, Debug)]
pub struct Reader {
    client: PubkyHttpClient,
    limits: ReadLimits,
}

/// Where an endpoint lies: with an app, or at the older path.
#[derive(Clone, PartialEq, Eq)]
struct Place {
    app: Option<AppId>,
    method: MethodId,
}

impl Place {
    fn path(&self) -> String {
        match &self.app {
            Some(app) => endpoint_path(app, &self.method),
            None => legacy_path(&self.method),
        }
    }
}

impl Reader {
    /// Reads through `client`, within the default limits.
    #[must_use]
    pub fn new(client: PubkyHttpClient) -> Self {
        Self {
            client,
            limits: ReadLimits::default(),
        }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: ReadLimits) -> Self {
        Self { limits, ..self }
    }

    /// All endpoints of a user: of every app, and at the older path those methods that no app has.
    ///
    /// The apps are found by their directories, not by the registry, so that a broken registry hides nothing.
    ///
    /// # Errors
    /// Only if not even the apps can be listed. What fails after that is among [`Listing::faults`].
    pub async fn list(&self, owner: &UserKey) -> Result<Listing, AdapterError> {
        let source = self.source(owner)?;
        let deadline = Instant::now() + self.limits.total;
        let mut listing = Listing::default();
        let apps = apps_of(&source, &mut listing).await?;
        let mut places = self.places_of(&source, apps, deadline, &mut listing).await;
        let taken: BTreeSet<MethodId> = places.iter().map(|place| place.method.clone()).collect();
        match within(
            deadline,
            self.limits.total,
            source.list(LEGACY_DIR, MAX_ENDPOINTS),
        )
        .await
        {
            Ok(names) => {
                let old = methods_in(None, LEGACY_DIR, names, &mut listing);
                places.extend(
                    old.into_iter()
                        .filter(|place| !taken.contains(&place.method)),
                );
            }
            Err(error) => listing.fault(LEGACY_DIR, error),
        }
        self.fetch(&source, places, deadline, &mut listing).await;
        Ok(listing)
    }

    /// The endpoints of one app of a user. An app without endpoints has an empty listing.
    ///
    /// # Errors
    /// Only if the app's directory can't be listed. What fails after that is among [`Listing::faults`].
    pub async fn list_app(&self, owner: &UserKey, app: &AppId) -> Result<Listing, AdapterError> {
        let source = self.source(owner)?;
        let deadline = Instant::now() + self.limits.total;
        let mut listing = Listing::default();
        let dir = endpoints_dir(app);
        let names = source.list(&dir, MAX_ENDPOINTS).await?;
        let places = methods_in(Some(app), &dir, names, &mut listing);
        self.fetch(&source, places, deadline, &mut listing).await;
        Ok(listing)
    }

    /// One endpoint of one app, or nothing if it isn't there.
    ///
    /// # Errors
    /// If it can't be fetched or is malformed.
    pub async fn get(
        &self,
        owner: &UserKey,
        app: &AppId,
        method: &MethodId,
    ) -> Result<Option<Endpoint>, AdapterError> {
        let source = self.source(owner)?;
        read_place(
            &source,
            Place {
                app: Some(app.clone()),
                method: method.clone(),
            },
        )
        .await
    }

    /// How to pay a user by one method: the app that they prefer for it, else any other, else the older path.
    ///
    /// # Errors
    /// Only if no place has a readable endpoint and at least one could not be read.
    pub async fn find(
        &self,
        owner: &UserKey,
        method: &MethodId,
    ) -> Result<Option<Endpoint>, AdapterError> {
        let limit = self.limits.total;
        let deadline = Instant::now() + limit;
        within(deadline, limit, self.find_in_time(owner, method)).await
    }

    async fn find_in_time(
        &self,
        owner: &UserKey,
        method: &MethodId,
    ) -> Result<Option<Endpoint>, AdapterError> {
        let source = self.source(owner)?;
        let mut apps = apps_of(&source, &mut Listing::default()).await?;
        // A broken registry costs the preference, not the payment.
        let registry = registry_of(&source).await.ok().flatten();
        let preferred = registry
            .as_ref()
            .and_then(|registry| registry.preferred(method));
        apps.sort_by_key(|app| (preferred != Some(app), app.clone()));
        let mut first_failure = None;
        for app in apps.into_iter().map(Some).chain([None]) {
            match read_place(
                &source,
                Place {
                    app,
                    method: method.clone(),
                },
            )
            .await
            {
                Ok(Some(endpoint)) => return Ok(Some(endpoint)),
                Ok(None) => {}
                Err(error) => first_failure = first_failure.or(Some(error)),
            }
        }
        first_failure.map_or(Ok(None), Err)
    }

    /// The user's app registry, or nothing if there is none.
    ///
    /// # Errors
    /// If it can't be fetched or is malformed.
    pub async fn registry(&self, owner: &UserKey) -> Result<Option<AppRegistry>, AdapterError> {
        registry_of(&self.source(owner)?).await
    }

    /// The names of an app's endpoints, without reading them.
    pub(crate) async fn methods(
        &self,
        owner: &UserKey,
        app: &AppId,
    ) -> Result<Vec<MethodId>, AdapterError> {
        let dir = endpoints_dir(app);
        let names = self.source(owner)?.list(&dir, MAX_ENDPOINTS).await?;
        let places = methods_in(Some(app), &dir, names, &mut Listing::default());
        Ok(places.into_iter().map(|place| place.method).collect())
    }

    fn source(&self, owner: &UserKey) -> Result<Source<'_>, AdapterError> {
        let owner = PublicKey::try_from_z32(&owner.to_z32())
            .map_err(|_| AdapterError::KeyUnusable("the network does not know such keys"))?;
        let budget = Budget::new(self.limits.bytes);
        Ok(Source {
            client: &self.client,
            owner,
            limits: self.limits,
            budget,
        })
    }

    /// Lists the directories of all apps, several at once.
    async fn places_of(
        &self,
        source: &Source<'_>,
        apps: Vec<AppId>,
        deadline: Instant,
        listing: &mut Listing,
    ) -> Vec<Place> {
        let total = self.limits.total;
        let lists = apps.into_iter().map(|app| async move {
            let dir = endpoints_dir(&app);
            let names = within(deadline, total, source.list(&dir, MAX_ENDPOINTS)).await;
            (app, dir, names)
        });
        let mut lists = stream::iter(lists).buffered(self.limits.concurrency.max(1));
        let mut places = Vec::new();
        while let Some((app, dir, names)) = lists.next().await {
            match names {
                Ok(names) => places.extend(methods_in(Some(&app), &dir, names, listing)),
                Err(error) => listing.fault(&dir, error),
            }
        }
        places
    }

    /// Reads endpoints, several at once, in the order of `places`.
    async fn fetch(
        &self,
        source: &Source<'_>,
        mut places: Vec<Place>,
        deadline: Instant,
        listing: &mut Listing,
    ) {
        if places.len() > self.limits.endpoints {
            let limit = self.limits.endpoints;
            places.truncate(limit);
            listing.fault(
                "",
                AdapterError::TooMany {
                    what: "endpoints in all",
                    limit,
                },
            );
        }
        let total = self.limits.total;
        let reads = places.into_iter().map(|place| async move {
            let path = place.path();
            (
                path,
                within(deadline, total, read_place(source, place)).await,
            )
        });
        let mut reads = stream::iter(reads).buffered(self.limits.concurrency.max(1));
        while let Some((path, result)) = reads.next().await {
            match result {
                Ok(endpoint) => listing.endpoints.extend(endpoint),
                Err(error) => listing.fault(&path, error),
            }
        }
    }
}

impl Listing {
    fn fault(&mut self, path: &str, error: AdapterError) {
        self.faults.push(Fault {
            path: excerpt(path),
            error,
        });
    }
}

/// Ends with [`AdapterError::Timeout`] at the deadline of the whole call.
async fn within<T>(
    deadline: Instant,
    limit: Duration,
    work: impl Future<Output = Result<T, AdapterError>>,
) -> Result<T, AdapterError> {
    tokio::time::timeout_at(deadline, work)
        .await
        .unwrap_or(Err(AdapterError::Timeout(limit)))
}

async fn apps_of(source: &Source<'_>, listing: &mut Listing) -> Result<Vec<AppId>, AdapterError> {
    let found = source.list(APPS_DIR, MAX_APPS).await?;
    if found.more {
        listing.fault(
            APPS_DIR,
            AdapterError::TooMany {
                what: "apps",
                limit: MAX_APPS,
            },
        );
    }
    let mut apps = Vec::new();
    for dir in found.names.iter().filter_map(|name| name.strip_suffix('/')) {
        match AppId::new(dir) {
            Ok(app) => apps.push(app),
            Err(error) => listing.fault(&format!("{APPS_DIR}{dir}"), error),
        }
    }
    apps.sort();
    Ok(apps)
}

/// The endpoints that a directory's names stand for; subdirectories are something else and passed over.
fn methods_in(app: Option<&AppId>, dir: &str, found: Names, listing: &mut Listing) -> Vec<Place> {
    if found.more {
        listing.fault(
            dir,
            AdapterError::TooMany {
                what: "endpoints",
                limit: MAX_ENDPOINTS,
            },
        );
    }
    let mut places = Vec::new();
    for name in found.names.iter().filter(|name| !name.ends_with('/')) {
        match MethodId::new(name.as_str()) {
            Ok(method) => places.push(Place {
                app: app.cloned(),
                method,
            }),
            Err(error) => listing.fault(&format!("{dir}{name}"), error),
        }
    }
    places.sort_by(|a, b| a.method.cmp(&b.method));
    places
}

/// Reads one endpoint. An empty file counts as none: that is how Paykit reads it.
async fn read_place(source: &Source<'_>, place: Place) -> Result<Option<Endpoint>, AdapterError> {
    let Some(bytes) = source.get(&place.path(), MAX_PAYLOAD_BYTES).await? else {
        return Ok(None);
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let payload = Payload::decode(&bytes)?;
    Ok(Some(Endpoint {
        app: place.app,
        method: place.method,
        payload,
    }))
}

async fn registry_of(source: &Source<'_>) -> Result<Option<AppRegistry>, AdapterError> {
    let bytes = source.get(REGISTRY_PATH, MAX_REGISTRY_BYTES).await?;
    bytes.as_deref().map(AppRegistry::decode).transpose()
}
