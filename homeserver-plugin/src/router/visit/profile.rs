//! The profile: who takes part, and what to seal to.

use atomicity_ledger::authority::{PROFILE_PATH, Purpose};
use atomicity_ledger::record::Profile;
use atomicity_ledger::{MAX_RECORD_BYTES, Signed};

use super::{Broken, Visitor, store, text};
use crate::resolve::Fetched;

impl Visitor<'_> {
    /// Reads the profile and keeps it, if it is the user's and not an old one.
    pub(super) async fn read_profile(&mut self) -> Result<(), Broken> {
        let held = store::profile(&self.state.pool, &self.user).await?;
        self.profile = held.is_some();
        let etag = held.as_ref().and_then(|(_, etag)| etag.clone());
        let found = self
            .get(PROFILE_PATH, etag.as_deref(), MAX_RECORD_BYTES)
            .await?;
        let Fetched::Found { body, etag } = found else {
            // That it is not there is no news: what the user signed still stands.
            return Ok(());
        };
        let Some(profile) = text(&body).and_then(|text| Signed::<Profile>::decode(text).ok())
        else {
            self.refuse("profile_malformed");
            return Ok(());
        };
        if profile.record().user != self.user {
            self.refuse("profile_of_another");
            return Ok(());
        }
        let serial = profile.record().serial.get();
        if held.is_some_and(|(known, _)| known > serial) {
            return Ok(());
        }
        if self.judge(profile.kid(), Purpose::Profile).await?.is_err() {
            self.refuse("profile_not_authorized");
            return Ok(());
        }
        let pool = &self.state.pool;
        store::put_profile(pool, &self.user, profile.jws(), serial, etag.as_deref()).await?;
        self.profile = true;
        Ok(())
    }
}
