//! Publishing endpoints with the user's session.
//!
//! Files that are read, changed and written back are held under the homeserver's lock meanwhile, as other Paykit apps do it.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::{Unit, UserKey};
use pubky::PubkySession;

use crate::credit::{CreditEndpoint, credit_endpoints, is_credit_method};
use crate::error::AdapterError;
use crate::fetch::ReadLimits;
use crate::name::{AppId, MethodId};
use crate::paths::{REGISTRY_PATH, endpoint_path};
use crate::payload::Payload;
use crate::read::{MAX_ENDPOINTS, Reader};
use crate::registry::{App, AppRegistry};
use crate::storage::Storage;

/// How long one write may take in all. Below [`LOCK_LIFE`], so that a lock can't end under a write.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How long a lock outlives a writer that died.
const LOCK_LIFE: Duration = Duration::from_secs(30);
/// How long to wait for whoever else is writing. Leaves the write itself some of [`WRITE_LIMIT`].
const LOCK_PATIENCE: Duration = Duration::from_secs(15);
/// The first pause between two looks at a lock that is taken; each next one is longer, up to ten times this.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Writes the endpoints of one user's app, through the user's session: the SDK's, or whatever else can write there.
///
/// The session needs the capabilities in [`crate::CAPABILITIES`], for the app `atomicity`.
#[derive(Clone, Debug)]
pub struct Publisher<S = PubkySession> {
    storage: S,
    reader: Reader,
    app: AppId,
    user: UserKey,
}

impl<S: Storage> Publisher<S> {
    /// Writes for the app `atomicity`.
    ///
    /// # Errors
    /// [`AdapterError::KeyUnusable`] if the session's user has a weak key.
    pub fn new(storage: S) -> Result<Self, AdapterError> {
        Self::for_app(storage, AppId::atomicity())
    }

    /// Writes for another app.
    ///
    /// # Errors
    /// As [`Publisher::new`].
    pub fn for_app(storage: S, app: AppId) -> Result<Self, AdapterError> {
        let user = storage.user()?;
        let reader = Reader::new(storage.client()).with_limits(ReadLimits {
            total: WRITE_LIMIT,
            ..ReadLimits::default()
        });
        Ok(Self {
            storage,
            reader,
            app,
            user,
        })
    }

    /// The user whose endpoints are written.
    #[must_use]
    pub fn user(&self) -> &UserKey {
        &self.user
    }

    /// Publishes an endpoint or replaces it.
    ///
    /// # Errors
    /// [`AdapterError::MethodUnconventional`] if no wallet would recognise the name, [`AdapterError::TooMany`] if the app has 256
    /// other endpoints; otherwise as the homeserver answers.
    pub async fn publish(&self, method: &MethodId, payload: &Payload) -> Result<(), AdapterError> {
        if method.parts().is_none() {
            return Err(AdapterError::MethodUnconventional(method.to_string()));
        }
        let body = payload.encode()?;
        in_time(async {
            self.check_room(method).await?;
            let lock = self.lock(&endpoint_path(&self.app, method)).await?;
            let result = self.put(&lock, body).await;
            self.unlock(&lock).await;
            result
        })
        .await
    }

    /// Removes an endpoint. True if it was there.
    ///
    /// # Errors
    /// As the homeserver answers.
    pub async fn remove(&self, method: &MethodId) -> Result<bool, AdapterError> {
        in_time(async {
            let lock = self.lock(&endpoint_path(&self.app, method)).await?;
            let result = self.delete(&lock).await;
            self.unlock(&lock).await;
            result
        })
        .await
    }

    /// Enters the app into the user's registry. True if the registry changed.
    ///
    /// # Errors
    /// [`AdapterError::RegistryMalformed`] if there is a registry that can't be understood: it also speaks for other apps, so it
    /// is left as it is. Otherwise as the homeserver answers.
    pub async fn register(&self, app: App) -> Result<bool, AdapterError> {
        in_time(async {
            let mut known = self.reader.registry(&self.user).await?.unwrap_or_default();
            if !known.register(self.app.clone(), app.clone())? {
                return Ok(false);
            }
            let lock = self.lock(REGISTRY_PATH).await?;
            let result = self
                .change_registry(&lock, |registry| registry.register(self.app.clone(), app))
                .await;
            self.unlock(&lock).await;
            result
        })
        .await
    }

    /// Takes the app out of the user's registry; its endpoints stay. True if the registry changed.
    ///
    /// # Errors
    /// As [`Publisher::register`].
    pub async fn unregister(&self) -> Result<bool, AdapterError> {
        in_time(async {
            let lock = self.lock(REGISTRY_PATH).await?;
            let result = self
                .change_registry(&lock, |registry| Ok(registry.unregister(&self.app)))
                .await;
            self.unlock(&lock).await;
            result
        })
        .await
    }

    /// Adds a unit to the user's credit endpoint of its code, and enters the app into the registry. Gives the open units of that
    /// code. Opening an open unit changes nothing.
    ///
    /// # Errors
    /// [`AdapterError::PayeeDiffers`] if the endpoint names another payee; otherwise as [`Publisher::publish`] and
    /// [`Publisher::register`]. If only the registry failed, the endpoint is published nevertheless.
    pub async fn open_unit(&self, unit: &Unit) -> Result<BTreeSet<Unit>, AdapterError> {
        let method = CreditEndpoint::method(unit)?;
        let units = in_time(async {
            self.check_room(&method).await?;
            let lock = self.lock(&endpoint_path(&self.app, &method)).await?;
            let result = self.open_locked(&lock, &method, unit).await;
            self.unlock(&lock).await;
            result
        })
        .await?;
        self.register(App::atomicity()).await?;
        Ok(units)
    }

    /// Takes a unit from the user's credit endpoint of its code, and removes the endpoint with its last unit. Gives the units of
    /// that code that are still open. Closing a closed unit changes nothing.
    ///
    /// # Errors
    /// [`AdapterError::CreditMalformed`] or [`AdapterError::PayloadMalformed`] if the endpoint can't be understood; otherwise as
    /// the homeserver answers.
    pub async fn close_unit(&self, unit: &Unit) -> Result<BTreeSet<Unit>, AdapterError> {
        let method = CreditEndpoint::method(unit)?;
        in_time(async {
            let lock = self.lock(&endpoint_path(&self.app, &method)).await?;
            let result = self.close_locked(&lock, &method, unit).await;
            self.unlock(&lock).await;
            result
        })
        .await
    }

    /// Makes the user's credit endpoints say exactly that these units are open: what a wallet does that knows them all. An
    /// endpoint that names another payee is left as it is.
    ///
    /// # Errors
    /// As [`Publisher::publish`], [`Publisher::remove`] and [`Publisher::register`]; it may be called again.
    pub async fn set_units(&self, open: &BTreeSet<Unit>) -> Result<(), AdapterError> {
        let wanted = credit_endpoints(&self.user, open)?;
        let present = in_time(self.reader.methods(&self.user, &self.app)).await?;
        let unwanted = present
            .into_iter()
            .filter(|method| is_credit_method(method) && !wanted.contains_key(method));
        for method in unwanted {
            if !self.is_anothers(self.now_at(&method).await?.as_ref(), &method) {
                self.remove(&method).await?;
            }
        }
        for (method, payload) in &wanted {
            let now = self.now_at(method).await?;
            if now.as_ref() != Some(payload) && !self.is_anothers(now.as_ref(), method) {
                self.publish(method, payload).await?;
            }
        }
        if !wanted.is_empty() {
            self.register(App::atomicity()).await?;
        }
        Ok(())
    }

    /// What an endpoint says now; nothing if it is absent or in no readable form.
    async fn now_at(&self, method: &MethodId) -> Result<Option<Payload>, AdapterError> {
        match in_time(self.reader.get(&self.user, &self.app, method)).await {
            Ok(found) => Ok(found.map(|endpoint| endpoint.payload)),
            Err(AdapterError::PayloadMalformed(_) | AdapterError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_anothers(&self, now: Option<&Payload>, method: &MethodId) -> bool {
        now.and_then(|payload| CreditEndpoint::read(method, payload).ok())
            .is_some_and(|endpoint| *endpoint.payee() != self.user)
    }

    async fn open_locked(
        &self,
        lock: &S::Lock,
        method: &MethodId,
        unit: &Unit,
    ) -> Result<BTreeSet<Unit>, AdapterError> {
        let fresh = || CreditEndpoint::new(self.user, unit.clone());
        let (known, next) = match self.credit(method).await {
            Ok(None) => (None, fresh()),
            Ok(Some(known)) if *known.payee() != self.user => {
                return Err(AdapterError::PayeeDiffers {
                    method: method.to_string(),
                });
            }
            Ok(Some(known)) => (Some(known.clone()), known.opened(unit.clone())?),
            // Our own app's file in no form that we write: nothing of value is lost by writing it anew.
            Err(
                AdapterError::PayloadMalformed(_)
                | AdapterError::CreditMalformed(_)
                | AdapterError::TooLarge { .. },
            ) => (None, fresh()),
            Err(error) => return Err(error),
        };
        if known.as_ref() != Some(&next) {
            self.put(lock, next.payload()?.encode()?).await?;
        }
        Ok(next.units().clone())
    }

    async fn close_locked(
        &self,
        lock: &S::Lock,
        method: &MethodId,
        unit: &Unit,
    ) -> Result<BTreeSet<Unit>, AdapterError> {
        let Some(known) = self.credit(method).await? else {
            return Ok(BTreeSet::new());
        };
        if !known.units().contains(unit) {
            return Ok(known.units().clone());
        }
        match known.closed(unit) {
            Some(rest) => {
                self.put(lock, rest.payload()?.encode()?).await?;
                Ok(rest.units().clone())
            }
            None => {
                self.delete(lock).await?;
                Ok(BTreeSet::new())
            }
        }
    }

    async fn credit(&self, method: &MethodId) -> Result<Option<CreditEndpoint>, AdapterError> {
        let endpoint = self.reader.get(&self.user, &self.app, method).await?;
        endpoint
            .map(|found| CreditEndpoint::read(method, &found.payload))
            .transpose()
    }

    async fn change_registry(
        &self,
        lock: &S::Lock,
        change: impl FnOnce(&mut AppRegistry) -> Result<bool, AdapterError>,
    ) -> Result<bool, AdapterError> {
        let mut registry = self.reader.registry(&self.user).await?.unwrap_or_default();
        let changed = change(&mut registry)?;
        if changed {
            self.put(lock, registry.encode()?).await?;
        }
        Ok(changed)
    }

    /// Paykit readers refuse the whole list of an app with more than 256 endpoints.
    async fn check_room(&self, method: &MethodId) -> Result<(), AdapterError> {
        let present = self.reader.methods(&self.user, &self.app).await?;
        if present.len() >= MAX_ENDPOINTS && !present.contains(method) {
            return Err(AdapterError::TooMany {
                what: "endpoints",
                limit: MAX_ENDPOINTS,
            });
        }
        Ok(())
    }

    async fn lock(&self, path: &str) -> Result<S::Lock, AdapterError> {
        let patience = tokio::time::Instant::now() + LOCK_PATIENCE;
        let mut pause = LOCK_PAUSE;
        loop {
            match self.storage.lock(path, LOCK_LIFE).await {
                Err(AdapterError::Locked) if tokio::time::Instant::now() + pause < patience => {
                    tokio::time::sleep(pause).await;
                    pause = (pause + LOCK_PAUSE).min(LOCK_PAUSE * 10);
                }
                other => return other,
            }
        }
    }

    /// What was written stays written if this fails; the lock ends by itself.
    async fn unlock(&self, lock: &S::Lock) {
        self.storage.unlock(lock).await.ok();
    }

    async fn put(&self, lock: &S::Lock, body: String) -> Result<(), AdapterError> {
        self.storage.put(lock, body).await
    }

    async fn delete(&self, lock: &S::Lock) -> Result<bool, AdapterError> {
        self.storage.delete(lock).await
    }
}

/// Opens a unit for credit with a session of the app `atomicity`. See [`Publisher::open_unit`].
///
/// # Errors
/// As [`Publisher::open_unit`].
pub async fn open_unit(
    session: &PubkySession,
    unit: &Unit,
) -> Result<BTreeSet<Unit>, AdapterError> {
    Publisher::new(session.clone())?.open_unit(unit).await
}

/// Closes a unit for credit with a session of the app `atomicity`. See [`Publisher::close_unit`].
///
/// # Errors
/// As [`Publisher::close_unit`].
pub async fn close_unit(
    session: &PubkySession,
    unit: &Unit,
) -> Result<BTreeSet<Unit>, AdapterError> {
    Publisher::new(session.clone())?.close_unit(unit).await
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, AdapterError>>,
) -> Result<T, AdapterError> {
    tokio::time::timeout(WRITE_LIMIT, work)
        .await
        .unwrap_or(Err(AdapterError::Timeout(WRITE_LIMIT)))
}
