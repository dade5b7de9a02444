//! Our session at the homeserver, as a publisher of Paykit endpoints writes with it.
//!
//! Not a session of the SDK from the same grant: a homeserver keeps one bearer for each grant, so whatever this process does meanwhile
//! would end that session in the middle of its errand.

use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_paykit_adapter::{AdapterError, Storage};
use futures_util::future::BoxFuture;
use pubky::PubkyHttpClient;

use super::error::NetError;
use super::session::{HomeSession, StorageLock};

impl Storage for HomeSession {
    type Lock = StorageLock;

    fn user(&self) -> Result<UserKey, AdapterError> {
        Ok(*Self::user(self))
    }

    fn client(&self) -> PubkyHttpClient {
        self.net().sdk().client().clone()
    }

    fn lock<'a>(
        &'a self,
        path: &'a str,
        life: Duration,
    ) -> BoxFuture<'a, Result<StorageLock, AdapterError>> {
        Box::pin(async move { Self::lock(self, path, life).await.map_err(not_written) })
    }

    fn put<'a>(
        &'a self,
        lock: &'a StorageLock,
        body: String,
    ) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let written = self.put_locked(lock, body.into_bytes()).await;
            written.map_err(not_written)
        })
    }

    fn delete<'a>(&'a self, lock: &'a StorageLock) -> BoxFuture<'a, Result<bool, AdapterError>> {
        Box::pin(async move { self.delete_locked(lock).await.map_err(not_written) })
    }

    fn unlock<'a>(&'a self, lock: &'a StorageLock) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let ended = Self::unlock(self, lock.clone()).await;
            ended.map_err(not_written)
        })
    }
}

fn not_written(error: NetError) -> AdapterError {
    match error {
        NetError::Locked(_) => AdapterError::Locked,
        error => AdapterError::NotWritten {
            transient: error.is_retryable(),
            why: Box::new(error),
        },
    }
}
