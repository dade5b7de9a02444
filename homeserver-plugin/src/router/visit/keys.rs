//! The files of the keys that sign for a user: delegation, grant, or the revocation in its place.

use std::collections::BTreeSet;

use atomicity_ledger::authority::{Purpose, delegation_path};
use atomicity_ledger::record::Revocation;
use atomicity_ledger::{MAX_RECORD_BYTES, Signed, SignerKey};

use super::{Broken, Visitor, now, store, text};
use crate::clock;
use crate::resolve::Fetched;
use crate::router::authority::{KeyFile, MAX_KEYS};

impl Visitor<'_> {
    /// What is known of a key, looked for within the last minutes; anew if `again`.
    pub(super) async fn key_file(
        &mut self,
        key: SignerKey,
        again: bool,
    ) -> Result<KeyFile, Broken> {
        if let Some(known) = self.keys.get(&key) {
            return Ok(known.clone());
        }
        let pool = &self.state.pool;
        let stored = store::keys::get(pool, &self.user, &key).await?;
        let is_new = stored.is_none();
        let mut file = stored.unwrap_or_default();
        if is_new && store::keys::count(pool, &self.user).await? >= MAX_KEYS {
            self.refuse("too_many_keys");
            return Ok(file);
        }
        let every = self.router.config.poll_s.saturating_mul(1_000);
        let every = i64::try_from(every).unwrap_or(i64::MAX);
        if is_new || again || !file.is_fresh(every, clock::now_ms()) {
            self.fetch_key(key, &mut file).await?;
            store::keys::put(&self.state.pool, &self.user, &key, &file).await?;
        }
        self.keys.insert(key, file.clone());
        Ok(file)
    }

    async fn fetch_key(&mut self, key: SignerKey, file: &mut KeyFile) -> Result<(), Broken> {
        let path = delegation_path(&key);
        let etag = file.etag.clone();
        let found = self.get(&path, etag.as_deref(), MAX_RECORD_BYTES).await?;
        let Fetched::Found { body, etag } = found else {
            // Nothing new, or nothing there, which is no news.
            file.checked_at = clock::now_ms();
            return Ok(());
        };
        let Some(text) = text(&body) else {
            self.refuse("key_file_malformed");
            return Ok(());
        };
        let learnt = match Signed::<Revocation>::decode(text) {
            Ok(revocation) => self.revoke(key, file, &revocation).await?,
            Err(_) => file.learn(self.user, key, text, now()).is_ok(),
        };
        if learnt {
            file.checked_at = clock::now_ms();
            file.etag = etag;
        } else {
            self.refuse("key_file_invalid");
        }
        Ok(())
    }

    async fn revoke(
        &mut self,
        key: SignerKey,
        file: &mut KeyFile,
        revocation: &Signed<Revocation>,
    ) -> Result<bool, Broken> {
        let by = revocation.kid();
        let mut voice = None;
        if !by.is_root_of(&self.user) {
            let found = self
                .get(&delegation_path(&by), None, MAX_RECORD_BYTES)
                .await?;
            if let Fetched::Found { body, .. } = found {
                voice = text(&body).map(str::to_owned);
            }
        }
        let done = file.revoke(self.user, key, revocation, voice.as_deref(), now());
        Ok(done.is_ok())
    }

    /// Looks at the keys under which something is held, and takes out what is not covered any more.
    pub(super) async fn look_for_revocations(&mut self, again: bool) -> Result<(), Broken> {
        let held = store::adverts::of_user(&self.state.pool, &self.user).await?;
        let rates = store::rates::of_user(&self.state.pool, &self.user).await?;
        let rates = rates.filter(|rates| !rates.withdrawn);
        let root = |key: &SignerKey| key.is_root_of(&self.user);
        let counting = held.iter().filter(|advert| !advert.withdrawn);
        let signers: BTreeSet<SignerKey> = counting
            .map(|advert| advert.signer)
            .chain(rates.iter().map(|rates| rates.signer))
            .filter(|signer| !root(signer))
            .collect();
        for signer in &signers {
            self.key_file(*signer, again).await?;
        }
        for advert in held
            .iter()
            .filter(|advert| signers.contains(&advert.signer))
        {
            if advert.withdrawn {
                continue;
            }
            let purpose = Purpose::Book(advert.peer);
            if let Err(error) = self.judge(advert.signer, purpose).await? {
                self.router.metrics.refused(error.code());
                self.withdraw(&advert.peer).await?;
            }
        }
        if let Some(rates) = rates.filter(|rates| signers.contains(&rates.signer))
            && let Err(error) = self.judge(rates.signer, Purpose::Report).await?
        {
            self.router.metrics.refused(error.code());
            self.withdraw_rates().await?;
        }
        Ok(())
    }
}
