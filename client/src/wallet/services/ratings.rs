//! What the user thinks of services, for friends to read; and what friends, and those whom friends follow, think of them.
//!
//! Ratings lie in the open on everybody's homeserver, signed. They are read a few people at a time and kept, so that choosing a service
//! asks nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use atomicity_ledger::authority::{Credentials, Purpose, book_path, delegation_path};
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Rating, RatingKind, Verdict, rating_path};
use atomicity_ledger::{LedgerError, Memo, Serial, Signed, SignerKey, Timestamp, UserKey};
use futures_util::{StreamExt as _, stream};

use crate::error::ClientError;
use crate::net::{NetError, Role, Target};
use crate::store::contacts::{self, ContactStatus};
use crate::store::ratings::{self, RatingRow};
use crate::store::rules::grants;
use crate::store::{publications, services};
use crate::wallet::{Fault, Wallet, now, profile};

/// Where ratings lie on everybody's homeserver.
pub(in crate::wallet) const RATINGS: &str = "/pub/atomicity/v0/ratings/";
/// Where the people whom somebody follows are named.
pub(in crate::wallet) const FOLLOWS: &str = "/pub/pubky.app/follows/";
/// Most entries of a folder that are looked at.
pub(in crate::wallet) const MAX_LISTED: u16 = 1000;
/// Most people of one friend's follows that are remembered, and most in all whose ratings are read.
pub(in crate::wallet) const FOLLOWS_OF_FRIEND: usize = 256;
const MAX_FOLLOWED: usize = 512;
/// Most people who are read at once, and in one go.
const AT_ONCE: usize = 8;
const PER_ROUND: usize = 48;
/// How long one go may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who could not be read is tried again after this long, in milliseconds.
const RETRY_MS: u64 = 10 * 60 * 1000;
/// Keys whose authority is looked up for one person's ratings.
const MAX_KEYS: usize = 3;

/// How people of one kind are read.
#[derive(Clone, Copy)]
struct Circle {
    /// Most ratings of one of them.
    ratings: usize,
    /// How old what is known of them may be before they are read again, in milliseconds.
    every_ms: u64,
    /// Whether it matters whom they follow.
    follows: bool,
}

const FRIENDS: Circle = Circle {
    ratings: 64,
    every_ms: 6 * 60 * 60 * 1000,
    follows: true,
};
const FOLLOWED: Circle = Circle {
    ratings: 16,
    every_ms: 24 * 60 * 60 * 1000,
    follows: false,
};

/// A rating of the user's own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RatingView {
    /// Who is judged.
    pub subject: UserKey,
    /// As what: `router`, `log`, `watchtower`, `cosigner` or `user`.
    pub kind: String,
    /// `good`, `poor` or `block`.
    pub verdict: String,
    /// Why.
    pub memo: Option<String>,
    /// When it was signed, Unix milliseconds.
    pub at: u64,
    /// The record.
    pub record: String,
}

/// What became of a rating.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rated {
    /// The rating in force; `None` if it was removed.
    pub rating: Option<RatingView>,
    /// Why it could not be published yet. It will be with the next `sync`.
    pub fault: Option<Fault>,
}

/// The word for a verdict.
#[must_use]
pub fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Good => "good",
        Verdict::Poor => "poor",
        Verdict::Block => "block",
    }
}

/// The word for what somebody is judged as.
#[must_use]
pub fn rating_kind_name(kind: RatingKind) -> &'static str {
    match kind {
        RatingKind::Router => "router",
        RatingKind::Log => "log",
        RatingKind::Watchtower => "watchtower",
        RatingKind::Cosigner => "cosigner",
        RatingKind::User => "user",
    }
}

/// The verdict that a word of this program's own means.
pub(in crate::wallet) fn verdict_of(name: &str) -> Result<Verdict, ClientError> {
    let all = [Verdict::Good, Verdict::Poor, Verdict::Block];
    let found = all.into_iter().find(|v| verdict_name(*v) == name);
    found.ok_or_else(|| ClientError::StoreCorrupt {
        what: "a verdict",
        why: format!("{name:?} is none"),
    })
}

fn kind_of(role: Role) -> RatingKind {
    match role {
        Role::Router => RatingKind::Router,
        Role::WitnessLog => RatingKind::Log,
        Role::Cosigner => RatingKind::Cosigner,
        Role::Watchtower => RatingKind::Watchtower,
    }
}

fn row_of(signed: &Signed<Rating>) -> RatingRow {
    let rating = signed.record();
    RatingRow {
        author: rating.from,
        subject: rating.subject,
        kind: rating_kind_name(rating.kind).to_owned(),
        verdict: verdict_name(rating.verdict).to_owned(),
        memo: rating.memo.as_ref().map(|memo| memo.as_str().to_owned()),
        serial: rating.serial.get(),
        at: rating.at.millis(),
        record: signed.jws().to_owned(),
    }
}

impl From<RatingRow> for RatingView {
    fn from(row: RatingRow) -> Self {
        Self {
            subject: row.subject,
            kind: row.kind,
            verdict: row.verdict,
            memo: row.memo,
            at: row.at,
            record: row.record,
        }
    }
}

impl Wallet {
    /// Says in public what the user thinks of somebody. It replaces what they said before. Without a `kind`, it is what the wallet knows
    /// them as.
    ///
    /// # Errors
    /// [`ClientError::OwnKey`]; [`ClientError::Ledger`] if the memo is too long; as [`Wallet::flush`].
    pub async fn rate(
        &self,
        subject: &UserKey,
        verdict: Verdict,
        kind: Option<RatingKind>,
        memo: Option<&str>,
    ) -> Result<Rated, ClientError> {
        if *subject == self.user() {
            return Err(ClientError::OwnKey);
        }
        let memo = memo.map(str::parse::<Memo>).transpose()?;
        self.ensure_may_sign().await?;
        let pen = self.keys().await?.pen;
        let mut tx = self.store().write().await?;
        let before = ratings::of(tx.conn(), &self.user()).await?;
        let before = before.into_iter().find(|row| row.subject == *subject);
        let kind = match kind {
            Some(kind) => kind,
            None => {
                let known = services::list(tx.conn()).await?;
                let known = known.into_iter().find(|service| service.key == *subject);
                let role = known.and_then(|service| service.roles.first().map(|(role, _)| *role));
                role.map_or(RatingKind::User, kind_of)
            }
        };
        let at = now();
        let serial = before.map_or(0, |row| row.serial.saturating_add(1));
        let rating = Rating {
            v: Version,
            from: self.user(),
            subject: *subject,
            kind,
            verdict,
            serial: Serial::new(serial.max(at.millis()))?,
            memo,
            at,
        };
        let signed = Signed::sign(rating, &pen)?;
        let row = row_of(&signed);
        ratings::put(tx.conn(), &row).await?;
        let body = Some(signed.jws().as_bytes());
        publications::put(tx.conn(), &rating_path(subject), body, at.millis()).await?;
        tx.commit().await?;
        Ok(Rated {
            rating: Some(row.into()),
            fault: self.flush().await?.fault,
        })
    }

    /// Takes back what the user said of somebody.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if they said nothing; as [`Wallet::flush`].
    pub async fn remove_rating(&self, subject: &UserKey) -> Result<Rated, ClientError> {
        self.ensure_may_sign().await?;
        let mut tx = self.store().write().await?;
        if !ratings::remove(tx.conn(), &self.user(), subject).await? {
            return Err(ClientError::Usage(format!("you have not rated {subject}")));
        }
        let at = now().millis();
        publications::put(tx.conn(), &rating_path(subject), None, at).await?;
        tx.commit().await?;
        Ok(Rated {
            rating: None,
            fault: self.flush().await?.fault,
        })
    }

    /// The user's own ratings.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn ratings(&self) -> Result<Vec<RatingView>, ClientError> {
        let own = ratings::of(&mut *self.store().read().await?, &self.user()).await?;
        Ok(own.into_iter().map(RatingView::from).collect())
    }

    /// Reads what friends, and those whom they follow, think of services: a bounded number of people, whoever was not read the longest
    /// first, and nobody who was read lately, unless `anew`. Who can't be read is left for the next time.
    ///
    /// # Errors
    /// Only what the store says.
    pub async fn read_ratings(&self, anew: bool) -> Result<(), ClientError> {
        let friends = self.own_friends().await?;
        let due = self.due(&friends, FRIENDS, anew).await?;
        let until = tokio::time::Instant::now() + PATIENCE;
        let read = self.read_people(due, FRIENDS);
        if let Ok(done) = tokio::time::timeout_at(until, read).await {
            done?;
        }
        let followed = self.followed(&friends).await?;
        let wanted: Vec<UserKey> = [self.user()]
            .into_iter()
            .chain(friends)
            .chain(followed.iter().copied())
            .collect();
        let mut tx = self.store().write().await?;
        ratings::keep_only(tx.conn(), &wanted).await?;
        tx.commit().await?;
        let due = self.due(&followed, FOLLOWED, anew).await?;
        let read = self.read_people(due, FOLLOWED);
        if let Ok(done) = tokio::time::timeout_at(until, read).await {
            done?;
        }
        Ok(())
    }

    /// Friends whom no rule let in: whose word counts.
    pub(in crate::wallet) async fn own_friends(&self) -> Result<Vec<UserKey>, ClientError> {
        let mut conn = self.store().read().await?;
        let friends = contacts::list(&mut conn, ContactStatus::Friend).await?;
        let let_in = grants::all_let_in(&mut conn).await?;
        let own = |user: &UserKey| !let_in.iter().any(|(other, _)| other == user);
        Ok(friends.into_iter().map(|f| f.user).filter(own).collect())
    }

    /// Whom friends follow, those whom most of them follow first.
    async fn followed(&self, friends: &[UserKey]) -> Result<Vec<UserKey>, ClientError> {
        let follows = ratings::follows(&mut *self.store().read().await?).await?;
        let mut by: BTreeMap<UserKey, u32> = BTreeMap::new();
        for (friend, user) in follows {
            if friends.contains(&friend) && !friends.contains(&user) && user != self.user() {
                *by.entry(user).or_default() += 1;
            }
        }
        let mut all: Vec<(UserKey, u32)> = by.into_iter().collect();
        all.sort_by_key(|(user, count)| (std::cmp::Reverse(*count), *user));
        all.truncate(MAX_FOLLOWED);
        Ok(all.into_iter().map(|(user, _)| user).collect())
    }

    /// Who of these is to be read now.
    async fn due(
        &self,
        people: &[UserKey],
        circle: Circle,
        anew: bool,
    ) -> Result<Vec<UserKey>, ClientError> {
        let read_at = ratings::readers(&mut *self.store().read().await?).await?;
        let read_at: BTreeMap<UserKey, u64> = read_at.into_iter().collect();
        let oldest = now().millis().saturating_sub(circle.every_ms);
        let mut due: Vec<(u64, UserKey)> = people
            .iter()
            .map(|user| (read_at.get(user).copied().unwrap_or(0), *user))
            .filter(|(at, _)| anew || *at < oldest)
            .collect();
        due.sort_unstable();
        due.truncate(PER_ROUND);
        Ok(due.into_iter().map(|(_, user)| user).collect())
    }

    async fn read_people(&self, people: Vec<UserKey>, circle: Circle) -> Result<(), ClientError> {
        let mut reading = stream::iter(people)
            .map(|user| async move { (user, self.read_person(user, circle).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((user, read)) = reading.next().await {
            match read {
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => {
                    tracing::info!(%user, code = error.code(), "ratings can't be read: {error}");
                    let looks_read = now().millis().saturating_sub(circle.every_ms - RETRY_MS);
                    let mut tx = self.store().write().await?;
                    ratings::note_read(tx.conn(), &user, looks_read).await?;
                    tx.commit().await?;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Reads one person's ratings and, of a friend, whom they follow.
    async fn read_person(&self, user: UserKey, circle: Circle) -> Result<(), ClientError> {
        let mut present = self.named_in(&user, RATINGS).await?;
        // What is about services that the wallet knows comes first, should there be more than are read.
        let known = services::list(&mut *self.store().read().await?).await?;
        let known: BTreeSet<UserKey> = known.into_iter().map(|service| service.key).collect();
        present.sort_by_key(|subject| !known.contains(subject));
        let wanted = present.get(..circle.ratings).unwrap_or(&present);
        let mut judge = Judge::new(user);
        let mut rows = Vec::new();
        for subject in wanted {
            match self.read_rating(&mut judge, subject).await {
                Ok(row) => rows.push(row),
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => {
                    tracing::info!(%user, %subject, code = error.code(), "a rating does not count: {error}");
                }
            }
        }
        let follows = if circle.follows {
            let mut follows = self.named_in(&user, FOLLOWS).await?;
            follows.truncate(FOLLOWS_OF_FRIEND);
            Some(follows)
        } else {
            None
        };
        let mut tx = self.store().write().await?;
        ratings::read(tx.conn(), &user, &present, &rows, now().millis()).await?;
        if let Some(follows) = follows {
            ratings::set_follows(tx.conn(), &user, &follows).await?;
        }
        tx.commit().await
    }

    /// The users after whom files in a folder are named.
    pub(in crate::wallet) async fn named_in(
        &self,
        user: &UserKey,
        folder: &str,
    ) -> Result<Vec<UserKey>, ClientError> {
        let paths = self.net().list_public(user, folder, MAX_LISTED).await?;
        let names = paths.iter().filter_map(|path| path.strip_prefix(folder));
        Ok(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Reads what somebody says of `subject`, and checks that they say it.
    pub(in crate::wallet) async fn read_rating(
        &self,
        judge: &mut Judge,
        subject: &UserKey,
    ) -> Result<RatingRow, ClientError> {
        let text = self.read_text(&judge.user, rating_path(subject)).await?;
        let text = text.ok_or_else(|| NetError::NotFound(rating_path(subject)))?;
        let signed: Signed<Rating> = Signed::decode(&text)?;
        let rating = signed.record();
        if rating.from != judge.user || rating.subject != *subject {
            return Err(LedgerError::ForeignChannel.into());
        }
        let key = signed.kid();
        let at = now();
        if judge.says(key, at).is_err() && judge.may_ask(key) {
            // Nothing there is no revocation either.
            for path in [delegation_path(&key), book_path(&key)] {
                if let Some(found) = self.read_text(&judge.user, path).await? {
                    judge.credentials.learn(&found, at)?;
                }
            }
            judge.credentials.mark_checked(key, at);
        }
        judge.says(key, at)?;
        Ok(row_of(&signed))
    }

    async fn read_text(&self, user: &UserKey, path: String) -> Result<Option<String>, ClientError> {
        let target = Target::new(*user, path).at_most(profile::MAX_BYTES);
        match self.net().fetch(&target).await {
            Ok(fetched) => fetched.body.bytes().map(profile::text).transpose(),
            Err(NetError::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether somebody's keys may rate for them, looked up once a key.
pub(in crate::wallet) struct Judge {
    user: UserKey,
    credentials: Credentials,
    asked: BTreeSet<SignerKey>,
}

impl Judge {
    pub(in crate::wallet) fn new(user: UserKey) -> Self {
        Self {
            user,
            credentials: Credentials::new(user),
            asked: BTreeSet::new(),
        }
    }

    fn says(&self, key: SignerKey, at: Timestamp) -> Result<(), LedgerError> {
        self.credentials.judge(key, Purpose::Report, at).map(|_| ())
    }

    fn may_ask(&mut self, key: SignerKey) -> bool {
        self.asked.len() < MAX_KEYS && self.asked.insert(key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_verdict_has_a_word_of_its_own() {
        for verdict in [Verdict::Good, Verdict::Poor, Verdict::Block] {
            assert_eq!(verdict_of(verdict_name(verdict)).unwrap(), verdict);
            // The word of the record.
            let word = serde_json::to_value(verdict).unwrap();
            assert_eq!(word, verdict_name(verdict));
        }
        assert_eq!(verdict_of("king").unwrap_err().code(), "store_corrupt");
    }
}
