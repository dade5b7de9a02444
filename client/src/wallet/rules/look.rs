//! Finding out what rules ask about: the user's own tags, whom friends vouch for, and who follows whom.
//!
//! Everything is bounded and kept with its age. What can't be read leaves things as they were until it is too old to count, so that a
//! server that is silent never widens a limit.

use std::collections::BTreeSet;
use std::time::Duration;

use atomicity_ledger::UserKey;
use atomicity_ledger::key::Z32_LEN;
use atomicity_ledger::policy::{Label, Policy, Who};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use super::super::services::{FOLLOWS, FOLLOWS_OF_FRIEND, Judge, MAX_LISTED, RATINGS};
use super::super::{Wallet, now};
use crate::error::ClientError;
use crate::net::{NetError, Target};
use crate::store::contacts::{self, ContactStatus};
use crate::store::ratings;
use crate::store::rules::{self, facts, grants};

/// Where the user's tags lie.
const TAGS: &str = "/pub/pubky.app/tags/";
/// The profile that stands for a person in a tag.
const PROFILE: &str = "/pub/pubky.app/profile.json";
/// A tag has no more bytes than this.
const MAX_TAG_BYTES: usize = 4096;
/// Tags that are read in one go.
const TAGS_PER_ROUND: usize = 256;
/// People who are looked at in one go.
const PEOPLE_PER_ROUND: usize = 64;
/// Friends whose word is asked for at most.
const MAX_FRIENDS: usize = 64;
/// People whose follows are read in one go, and how old what is known of them may be, milliseconds.
const FOLLOWS_PER_ROUND: usize = 48;
const FOLLOWS_AGE_MS: u64 = 10 * 60 * 1000;
/// Most people at one distance whose follows are read.
const MAX_RING: usize = 256;
/// Requests that are under way at once.
const AT_ONCE: usize = 8;
/// How long one go may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who has a line by a rule is looked at so often, milliseconds.
const GRANTED_EVERY_MS: u64 = 10 * 60 * 1000;
/// Who has none is looked at after so long for the second time, then ever more rarely, milliseconds.
const FIRST_PAUSE_MS: u64 = 15_000;
const LONGEST_PAUSE_MS: u64 = 6 * 60 * 60 * 1000;

/// What the rules ask about.
#[derive(Default)]
struct Questions {
    tags: bool,
    /// Any friend's word, or these friends'.
    any_word: bool,
    words: BTreeSet<UserKey>,
    hops: u8,
}

impl Questions {
    fn of(policy: &Policy) -> Self {
        let mut asked = Self::default();
        for rule in policy.rules() {
            match &rule.who {
                Who::Tag(_) => asked.tags = true,
                Who::FriendOf(None) => asked.any_word = true,
                Who::FriendOf(Some(friend)) => {
                    asked.words.insert(*friend);
                }
                Who::Distance { hops, .. } => asked.hops = asked.hops.max(*hops),
                _ => {}
            }
        }
        asked
    }
}

/// A tag, as apps write it.
#[derive(Deserialize)]
struct Tag {
    uri: String,
    label: String,
}

/// Whom a tag is about, if it is about a person.
fn tagged(uri: &str) -> Option<UserKey> {
    let rest = uri
        .strip_prefix("pubky://")
        .or_else(|| uri.strip_prefix("pubky"))?;
    let (user, path) = rest.split_at_checked(Z32_LEN)?;
    let person = matches!(path, "" | "/") || path == PROFILE;
    person.then(|| user.parse().ok()).flatten()
}

impl Wallet {
    /// Looks at those of `people` (of all whom rules may be about, if none is named) who were not looked at lately; at all of them, if
    /// `anew`.
    pub(super) async fn look(&self, people: &[UserKey], anew: bool) -> Result<(), ClientError> {
        let (asked, due) = {
            let mut conn = self.store().read().await?;
            (
                Questions::of(&rules::many(&mut conn).await?),
                self.whom_to_look_at(people, anew).await?,
            )
        };
        if due.is_empty() {
            return Ok(());
        }
        let looking = async {
            if asked.tags {
                self.read_tags().await?;
            }
            self.ask_for_words(&asked, &due).await?;
            self.read_follows(asked.hops, anew).await
        };
        // What is not there in time is read the next time.
        if let Ok(done) = tokio::time::timeout(PATIENCE, looking).await {
            done?;
        }
        let at = now().millis();
        let mut tx = self.store().write().await?;
        for user in &due {
            facts::note_look(tx.conn(), user, at).await?;
        }
        facts::forget_follows(tx.conn(), at.saturating_sub(facts::WORD_STANDS_MS)).await?;
        tx.commit().await
    }

    /// Who is to be looked at, whoever was not the longest first.
    async fn whom_to_look_at(
        &self,
        people: &[UserKey],
        anew: bool,
    ) -> Result<Vec<UserKey>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut all = people.to_vec();
        if all.is_empty() {
            for status in [ContactStatus::Pending, ContactStatus::Friend] {
                let known = contacts::list(&mut conn, status).await?;
                all.extend(known.into_iter().map(|contact| contact.user));
            }
        }
        let granted: BTreeSet<UserKey> = grants::list(&mut conn)
            .await?
            .into_iter()
            .map(|g| g.user)
            .collect();
        let at = now().millis();
        let mut due = Vec::new();
        for user in all {
            let (last, looks) = facts::looked_at(&mut conn, &user).await?.unwrap_or((0, 0));
            let pause = match looks {
                0 => 0,
                _ if granted.contains(&user) => GRANTED_EVERY_MS,
                // Four times as long every time.
                _ => {
                    let doublings = looks.saturating_sub(1).min(12) * 2;
                    (FIRST_PAUSE_MS << doublings).min(LONGEST_PAUSE_MS)
                }
            };
            let blocked = rules::is_blocked(&mut conn, &user).await?;
            if !blocked && (anew || at.saturating_sub(last) >= pause) {
                due.push((last, user));
            }
        }
        due.sort();
        due.truncate(PEOPLE_PER_ROUND);
        Ok(due.into_iter().map(|(_, user)| user).collect())
    }

    /// Reads the user's own tags. Those whose files are gone, or are too many to be listed, do not count.
    pub(in super::super) async fn read_tags(&self) -> Result<(), ClientError> {
        let listed = match self.net().list_public(&self.user(), TAGS, MAX_LISTED).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::info!(code = error.code(), "the own tags can't be read: {error}");
                return Ok(());
            }
        };
        let listed: BTreeSet<String> = listed.into_iter().collect();
        let known = facts::tag_files(&mut *self.store().read().await?).await?;
        let new = listed.difference(&known).take(TAGS_PER_ROUND).cloned();
        let mut reading = stream::iter(new)
            .map(|path| async move { (self.read_tag(&path).await, path) })
            .buffer_unordered(AT_ONCE);
        let mut read = Vec::new();
        while let Some((tag, path)) = reading.next().await {
            match tag {
                Ok(tag) => read.push((path, tag)),
                Err(error) => tracing::info!(code = error.code(), "a tag can't be read: {error}"),
            }
        }
        let mut tx = self.store().write().await?;
        for gone in known.difference(&listed) {
            facts::remove_tag(tx.conn(), gone).await?;
        }
        for (path, tag) in read {
            facts::put_tag(tx.conn(), &path, tag).await?;
        }
        tx.commit().await
    }

    /// What a tag says; `None` if it is not about a person.
    async fn read_tag(&self, path: &str) -> Result<Option<(UserKey, String)>, NetError> {
        let target = Target::new(self.user(), path).at_most(MAX_TAG_BYTES);
        let bytes = match self.net().fetch(&target).await {
            Ok(fetched) => fetched.body.bytes().unwrap_or_default(),
            Err(NetError::NotFound(_) | NetError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let tag: Option<Tag> = serde_json::from_slice(&bytes).ok();
        Ok(tag.and_then(|tag| {
            let label: Label = tag.label.parse().ok()?;
            Some((tagged(&tag.uri)?, label.into()))
        }))
    }

    /// Asks friends for their word on these people.
    async fn ask_for_words(
        &self,
        asked: &Questions,
        people: &[UserKey],
    ) -> Result<(), ClientError> {
        let mut friends = self.own_friends().await?;
        friends.retain(|friend| asked.any_word || asked.words.contains(friend));
        friends.truncate(MAX_FRIENDS);
        let mut asking = stream::iter(friends)
            .map(|friend| async move { (friend, self.ask_for_word(friend, people).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((friend, said)) = asking.next().await {
            let said = match said {
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(error) => {
                    tracing::info!(%friend, code = error.code(), "a friend can't be asked for their word: {error}");
                    continue;
                }
                Ok(said) => said,
            };
            let at = now().millis();
            let mut tx = self.store().write().await?;
            for (user, good) in said {
                facts::put_vouch(tx.conn(), &friend, &user, good, at).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// What one friend says of these people: signed by them, and verified. Whoever can't be judged now is left out.
    async fn ask_for_word(
        &self,
        friend: UserKey,
        people: &[UserKey],
    ) -> Result<Vec<(UserKey, bool)>, ClientError> {
        let rated = self.named_in(&friend, RATINGS).await?;
        let all = rated.len() < usize::from(MAX_LISTED);
        let mut judge = Judge::new(friend);
        let mut said = Vec::new();
        for user in people.iter().filter(|user| **user != friend) {
            // A listing that is complete spares the question.
            if all && !rated.contains(user) {
                said.push((*user, false));
                continue;
            }
            match self.read_rating(&mut judge, user).await {
                Ok(row) => said.push((*user, row.kind == "user" && row.verdict == "good")),
                Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => return Err(error),
                Err(ClientError::Net(error)) if !matches!(error, NetError::NotFound(_)) => {
                    tracing::info!(%friend, %user, code = error.code(), "a word can't be read: {error}");
                }
                Err(_) => said.push((*user, false)),
            }
        }
        Ok(said)
    }

    /// Reads whom the user follows, whom those follow, and so on, as far as the rules go.
    async fn read_follows(&self, hops: u8, anew: bool) -> Result<(), ClientError> {
        let age = if anew { 0 } else { FOLLOWS_AGE_MS };
        let mut ring = vec![self.user()];
        let mut left = FOLLOWS_PER_ROUND;
        for _ in 0..hops {
            let at = now().millis();
            let mut due = Vec::new();
            let mut conn = self.store().read().await?;
            for user in &ring {
                let read = facts::follows_read(&mut conn, user).await?.unwrap_or(0);
                if at.saturating_sub(read) >= age {
                    due.push((read, *user));
                }
            }
            drop(conn);
            due.sort();
            due.truncate(left);
            left = left.saturating_sub(due.len());
            self.read_follows_of(due.into_iter().map(|(_, user)| user))
                .await?;
            let mut next = BTreeSet::new();
            let mut conn = self.store().read().await?;
            for user in &ring {
                next.extend(facts::follows_of(&mut conn, user).await?);
            }
            next.remove(&self.user());
            ring = next.into_iter().take(MAX_RING).collect();
        }
        Ok(())
    }

    async fn read_follows_of(
        &self,
        people: impl Iterator<Item = UserKey>,
    ) -> Result<(), ClientError> {
        let mut reading = stream::iter(people)
            .map(|user| async move { (user, self.named_in(&user, FOLLOWS).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((user, follows)) = reading.next().await {
            let mut follows = match follows {
                Ok(follows) => follows,
                Err(error) => {
                    tracing::info!(%user, code = error.code(), "follows can't be read: {error}");
                    continue;
                }
            };
            follows.truncate(FOLLOWS_OF_FRIEND);
            let mut tx = self.store().write().await?;
            ratings::set_follows(tx.conn(), &user, &follows).await?;
            facts::note_follows_read(tx.conn(), &user, now().millis()).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn a_tag_on_a_person_is_told_from_one_on_what_they_wrote() {
        let user = Keypair::from_secret(&[1; 32]).user_key();
        for uri in [
            format!("pubky://{user}"),
            format!("pubky://{user}/"),
            format!("pubky://{user}{PROFILE}"),
            format!("pubky{user}{PROFILE}"),
        ] {
            assert_eq!(tagged(&uri), Some(user), "{uri}");
        }
        for uri in [
            format!("pubky://{user}/pub/pubky.app/posts/0032FNCGXE3R0"),
            format!("https://{user}"),
            format!("pubky://{user}x"),
            "pubky://".to_owned(),
            "pubky://ä".repeat(20),
            String::new(),
        ] {
            assert_eq!(tagged(&uri), None, "{uri}");
        }
    }
}
