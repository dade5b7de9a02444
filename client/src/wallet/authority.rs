//! Looking up whether a friend's key still has authority: the delegation, or the revocation that replaced it.

use std::collections::BTreeSet;

use atomicity_ledger::authority::delegation_path;
use atomicity_ledger::{SignerKey, UserKey};

use super::receive::Received;
use super::{Wallet, profile};
use crate::error::ClientError;
use crate::net::{NetError, Target};

/// Look-ups for one parcel or file at most: a book may follow a book, and each names a key.
const ROUNDS: usize = 4;

impl Wallet {
    /// Looks up what records wait for, as often as that brings new ones forward. What can't be looked up waits on.
    pub(crate) async fn look_up_authority(
        &self,
        peer: &UserKey,
        received: &mut Received,
    ) -> Result<(), ClientError> {
        let mut asked: BTreeSet<SignerKey> = BTreeSet::new();
        for _ in 0..ROUNDS {
            let Some(key) = received.lookups.difference(&asked).next().copied() else {
                return Ok(());
            };
            asked.insert(key);
            let found = self.fetch_authority(peer, key).await?;
            let more = self.receive_authority(peer, key, found.as_deref()).await?;
            received.add(more);
        }
        Ok(())
    }

    /// What lies where the delegation of `key` should be. Nothing there is no revocation either.
    pub(crate) async fn fetch_authority(
        &self,
        peer: &UserKey,
        key: SignerKey,
    ) -> Result<Option<String>, ClientError> {
        let target = Target::new(*peer, delegation_path(&key)).at_most(profile::MAX_BYTES);
        match self.net().fetch(&target).await {
            Ok(fetched) => fetched.body.bytes().map(profile::text).transpose(),
            Err(NetError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
