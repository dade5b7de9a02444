//! Ratings: what the user says of services and of others.

use atomicity_ledger::authority::Purpose;
use atomicity_ledger::record::{Rating, RatingKind, Verdict, rating_path};
use atomicity_ledger::{MAX_RECORD_BYTES, Signed, UserKey};

use super::{Broken, Visitor, store, text};
use crate::resolve::Fetched;
use crate::router::store::ratings::New;

/// Where ratings lie.
const RATINGS: &str = "/pub/atomicity/v0/ratings/";

/// The name of a kind in answers.
fn kind(kind: RatingKind) -> &'static str {
    match kind {
        RatingKind::Router => "router",
        RatingKind::Log => "log",
        RatingKind::Watchtower => "watchtower",
        RatingKind::Cosigner => "cosigner",
        RatingKind::User => "user",
    }
}

/// The name of a verdict in answers.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Poor => "poor",
        Verdict::Block => "block",
    }
}

impl Visitor<'_> {
    /// Reads all ratings. One that is not listed any more is forgotten: nobody is hurt if it comes back.
    pub(super) async fn read_ratings(&mut self) -> Result<(), Broken> {
        let most = self.router.config.ratings_per_user;
        let listed = self.list(RATINGS, most).await?;
        let held = store::ratings::of_user(&self.state.pool, &self.user).await?;
        for gone in held.keys().filter(|subject| !listed.contains(subject)) {
            store::ratings::remove(&self.state.pool, &self.user, gone).await?;
        }
        for subject in &listed {
            let etag = held.get(subject).cloned().flatten();
            self.read_rating(subject, etag.as_deref()).await?;
        }
        Ok(())
    }

    async fn read_rating(&mut self, subject: &UserKey, etag: Option<&str>) -> Result<(), Broken> {
        let found = self
            .get(&rating_path(subject), etag, MAX_RECORD_BYTES)
            .await?;
        let Fetched::Found { body, etag } = found else {
            return Ok(());
        };
        let Some(signed) = text(&body).and_then(|text| Signed::<Rating>::decode(text).ok()) else {
            self.refuse("rating_malformed");
            return Ok(());
        };
        let rating = signed.record();
        if rating.from != self.user || rating.subject != *subject {
            self.refuse("rating_misplaced");
            return Ok(());
        }
        if self.judge(signed.kid(), Purpose::Report).await?.is_err() {
            self.refuse("rating_not_authorized");
            return Ok(());
        }
        let new = New {
            owner: &self.user,
            subject,
            kind: kind(rating.kind),
            verdict: verdict(rating.verdict),
            serial: rating.serial.get(),
            jws: signed.jws(),
            etag: etag.as_deref(),
        };
        Ok(store::ratings::put(&self.state.pool, &new).await?)
    }
}
