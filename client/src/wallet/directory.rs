//! Which tag in the own inbox, and which channel file, belongs to whom.

use std::collections::HashMap;
use std::sync::Arc;

use atomicity_ledger::UserKey;
use atomicity_ledger::record::Profile;
use atomicity_ledger::seal::{Agreement, EncryptionKey, EncryptionSecret, KeyId, Tag};
use atomicity_ledger::{LedgerError, Signed};

use super::Wallet;
use super::access::Keys;
use crate::error::ClientError;
use crate::store::contacts::{self, Contact, ContactStatus};

/// How many of a peer's encryption keys are still read.
const PEER_KEYS: usize = 2;

/// Everything that can be opened without trying.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_tag: HashMap<[u8; 32], Agreement>,
}

impl Directory {
    /// Who writes under a tag.
    pub(crate) fn agreement(&self, tag: &Tag) -> Option<&Agreement> {
        self.by_tag.get(tag.as_bytes())
    }

    /// All tags that the own inbox should take.
    pub(crate) fn tags(&self) -> Vec<[u8; 32]> {
        let mut tags: Vec<_> = self.by_tag.keys().copied().collect();
        tags.sort_unstable();
        tags
    }
}

impl Wallet {
    /// The directory of all friends; computed once until something changes.
    pub(crate) async fn directory(&self) -> Result<Arc<Directory>, ClientError> {
        if let Ok(slot) = self.inner.directory.lock()
            && let Some(directory) = slot.as_ref()
        {
            return Ok(directory.clone());
        }
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        drop(conn);
        let me = self.user();
        // One agreement of keys for each friend: with a thousand friends that takes a moment.
        let built = tokio::task::spawn_blocking(move || build(me, &keys, &friends))
            .await
            .map_err(|e| ClientError::Internal(e.to_string()))??;
        let built = Arc::new(built);
        if let Ok(mut slot) = self.inner.directory.lock() {
            *slot = Some(built.clone());
        }
        Ok(built)
    }

    /// Forgets the directory after friends, profiles or keys changed.
    pub(crate) fn forget_directory(&self) {
        if let Ok(mut slot) = self.inner.directory.lock() {
            *slot = None;
        }
    }
}

fn build(me: UserKey, keys: &Keys, friends: &[Contact]) -> Result<Directory, ClientError> {
    let mut directory = Directory::default();
    for friend in friends {
        for secret in &keys.encryption {
            for (id, key) in peer_keys(friend)?.iter().take(PEER_KEYS) {
                let agreement = Agreement::incoming(&me, secret, &friend.user, key, *id)?;
                directory
                    .by_tag
                    .insert(*agreement.tag().as_bytes(), agreement);
            }
        }
    }
    Ok(directory)
}

/// The profile of a contact, as last verified.
pub(crate) fn profile(contact: &Contact) -> Result<Option<Signed<Profile>>, ClientError> {
    let Some(jws) = &contact.profile else {
        return Ok(None);
    };
    Signed::decode(jws)
        .map(Some)
        .map_err(|e| ClientError::StoreCorrupt {
            what: "a friend's profile",
            why: e.to_string(),
        })
}

/// The encryption keys of a contact, newest first: from the profile, else the X25519 form of the root key.
pub(crate) fn peer_keys(contact: &Contact) -> Result<Vec<(KeyId, EncryptionKey)>, ClientError> {
    Ok(match profile(contact)? {
        Some(profile) => profile
            .record()
            .encryption
            .iter()
            .map(|entry| (entry.n, entry.key))
            .collect(),
        None => vec![(KeyId::ROOT, EncryptionKey::of_root(&contact.user)?)],
    })
}

/// For what this user writes to a contact: the newest keys of both.
pub(crate) fn outgoing(
    me: &UserKey,
    secret: &EncryptionSecret,
    contact: &Contact,
) -> Result<Agreement, ClientError> {
    let keys = peer_keys(contact)?;
    let (id, key) = keys.first().ok_or(LedgerError::KeyInvalid(
        "the profile names no encryption key",
    ))?;
    Ok(Agreement::outgoing(me, secret, &contact.user, key, *id)?)
}

/// For what a contact writes to this user: the newest keys of both first, then the older ones, each computed when asked for.
pub(crate) fn incoming<'a>(
    me: &'a UserKey,
    keys: &'a Keys,
    contact: &'a Contact,
) -> Result<impl Iterator<Item = Result<Agreement, LedgerError>> + 'a, ClientError> {
    let theirs = peer_keys(contact)?.into_iter().take(PEER_KEYS);
    Ok(theirs.flat_map(move |(id, key)| {
        keys.encryption
            .iter()
            .map(move |secret| Agreement::incoming(me, secret, &contact.user, &key, id))
    }))
}
