//! What a publisher needs of whoever writes to the user's storage.

use std::time::Duration;

use atomicity_ledger::UserKey;
use futures_util::future::BoxFuture;
use pubky::errors::RequestError;
use pubky::{PubkyHttpClient, PubkySession, StatusCode, StorageLock};

use crate::error::AdapterError;

/// The storage of one user, open for writing. [`PubkySession`] is one. A program that has its own session at the homeserver
/// implements it for that: a homeserver keeps one bearer for each grant, so a second session of the same grant would end the first.
///
/// What it gives is boxed, so that whoever publishes need not know what writing is made of.
pub trait Storage: Send + Sync {
    /// The exclusive right to write one path, for a while.
    type Lock: Send + Sync;

    /// Whose storage it is.
    ///
    /// # Errors
    /// [`AdapterError::KeyUnusable`] if the user has a weak key.
    fn user(&self) -> Result<UserKey, AdapterError>;

    /// What reads what everybody can read.
    fn client(&self) -> PubkyHttpClient;

    /// Takes the exclusive right to write `path`, for at most `life`.
    ///
    /// # Errors
    /// [`AdapterError::Locked`] if somebody else has it; otherwise as the homeserver answers.
    fn lock<'a>(
        &'a self,
        path: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<Self::Lock, AdapterError>>;

    /// Writes the locked file, whatever was there.
    ///
    /// # Errors
    /// As the homeserver answers.
    fn put<'a>(
        &'a self,
        lock: &'a Self::Lock,
        body: String,
    ) -> BoxFuture<'a, Result<(), AdapterError>>;

    /// Deletes the locked file. False if there was none.
    ///
    /// # Errors
    /// As the homeserver answers.
    fn delete<'a>(&'a self, lock: &'a Self::Lock) -> BoxFuture<'a, Result<bool, AdapterError>>;

    /// Gives the right back. If that fails it ends by itself.
    ///
    /// # Errors
    /// As the homeserver answers.
    fn unlock<'a>(&'a self, lock: &'a Self::Lock) -> BoxFuture<'a, Result<(), AdapterError>>;
}

impl Storage for PubkySession {
    type Lock = StorageLock;

    fn user(&self) -> Result<UserKey, AdapterError> {
        UserKey::from_bytes(self.public_key().to_bytes())
            .map_err(|_| AdapterError::KeyUnusable("it is not canonical or has small order"))
    }

    fn client(&self) -> PubkyHttpClient {
        Self::client(self).clone()
    }

    fn lock<'a>(
        &'a self,
        path: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<StorageLock, AdapterError>> {
        Box::pin(async move { Ok(self.storage().lock(path, life).await?) })
    }

    fn put<'a>(
        &'a self,
        lock: &'a StorageLock,
        body: String,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            self.storage().put_locked(lock, body).await?;
            Ok(())
        })
    }

    fn delete<'a>(&'a self, lock: &'a StorageLock) -> BoxFuture<'a, Result<bool, AdapterError>> {
        Box::pin(async move {
            match self.storage().delete_locked(lock).await {
                Ok(_) => Ok(true),
                Err(error) if is_absence(&error) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    fn unlock<'a>(&'a self, lock: &'a StorageLock) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            self.storage().unlock(lock).await?;
            Ok(())
        })
    }
}

fn is_absence(error: &pubky::Error) -> bool {
    matches!(error, pubky::Error::Request(RequestError::Server { status, .. }) if *status == StatusCode::NOT_FOUND)
}
