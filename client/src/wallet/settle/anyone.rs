//! Finding a friend who owes enough and can pay an invoice: the one whom the user trusts most is asked first.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use atomicity_ledger::record::Verdict;
use atomicity_ledger::{Money, RecordId, UserKey};
use futures_util::stream::{self, StreamExt as _};

use super::super::view::ChannelState;
use super::super::{ChannelView, MadeKind, Wallet};
use super::{SettleFault, SettleTerms, SettlementView};
use crate::error::ClientError;
use crate::store::{demands, ratings};

/// How long a friend has for a first word, before somebody else is asked.
const FIRST_WORD: Duration = Duration::from_secs(15);
/// How often it is looked for an answer.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What the names of all methods of Lightning begin with.
const LIGHTNING: &str = "btc-lightning-";
/// Friends who are looked at side by side.
const AT_ONCE: usize = 8;
/// The most friends whose endpoints are read.
const LOOKED_AT: usize = 100;

/// A friend who owes enough to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CanSettle {
    /// What the user calls them.
    pub friend: String,
    /// Their key.
    pub user: UserKey,
    /// What they owe that is not spoken for, in minor units.
    pub claim: u64,
    /// How much the user lets them owe, in minor units.
    pub line: u64,
    /// What the user says of them in public.
    pub own_word: Option<Verdict>,
    /// How many friends call them good, less those who do not.
    pub friends_word: i64,
    /// Whether they can pay by Lightning, as far as is known: they paid so before, or can be paid so.
    pub lightning: bool,
}

impl CanSettle {
    /// The smaller, the sooner: the own word, friends' words, how much is entrusted to them, how much they owe.
    fn rank(&self) -> (u8, Reverse<i64>, Reverse<u64>, Reverse<u64>, UserKey) {
        let own = match self.own_word {
            Some(Verdict::Good) => 0,
            None => 1,
            Some(_) => 2,
        };
        (
            own,
            Reverse(self.friends_word),
            Reverse(self.line),
            Reverse(self.claim),
            self.user,
        )
    }
}

/// What of a claim is neither reserved nor promised.
fn free_claim(channel: &ChannelView) -> u64 {
    let owed = u64::try_from(channel.net.minor()).unwrap_or(0);
    owed.saturating_sub(channel.promised_to_them)
}

impl Wallet {
    /// The friends who owe at least `money`, the most trusted first; those who can't pay by Lightning, as far as is known, come last.
    /// Whom the user blocked is not among them, nor who was asked for something that they have not decided.
    ///
    /// # Errors
    /// What the store says. A friend whose homeserver is silent counts as one who can't pay by Lightning.
    pub async fn who_can_settle(&self, money: &Money) -> Result<Vec<CanSettle>, ClientError> {
        let channels = self.balances(None, Some(&money.unit)).await?;
        let mut conn = self.store().read().await?;
        let paid: BTreeSet<UserKey> = demands::payers(&mut conn).await?.into_iter().collect();
        let asked: BTreeSet<UserKey> = demands::asked(&mut conn).await?.into_iter().collect();
        let friends: BTreeSet<UserKey> = self.own_friends().await?.into_iter().collect();
        let mut found = Vec::new();
        for channel in channels {
            let active = channel.state == ChannelState::Active;
            if !active
                || asked.contains(&channel.user)
                || free_claim(&channel) < money.amount.minor()
            {
                continue;
            }
            let said = ratings::about(&mut conn, &channel.user).await?;
            let mut candidate = CanSettle {
                claim: free_claim(&channel),
                line: channel.line_for_them,
                friend: channel.friend,
                user: channel.user,
                own_word: None,
                friends_word: 0,
                lightning: paid.contains(&channel.user),
            };
            for (author, verdict) in said {
                let verdict = super::super::services::verdict_of(&verdict)?;
                if author == self.user() {
                    candidate.own_word = Some(verdict);
                } else if friends.contains(&author) {
                    candidate.friends_word += if verdict == Verdict::Good { 1 } else { -1 };
                }
            }
            if candidate.own_word != Some(Verdict::Block) {
                found.push(candidate);
            }
        }
        drop(conn);
        found.sort_by_key(CanSettle::rank);
        found.truncate(LOOKED_AT);
        let looked = stream::iter(found).map(|candidate| self.look_for_lightning(candidate));
        let mut found: Vec<CanSettle> = looked.buffered(AT_ONCE).collect().await;
        found.sort_by_key(|candidate| !candidate.lightning);
        Ok(found)
    }

    async fn look_for_lightning(&self, candidate: CanSettle) -> CanSettle {
        if candidate.lightning {
            return candidate;
        }
        let lightning = match self.endpoints_of(&candidate.user).await {
            Ok((endpoints, _)) => endpoints.iter().any(|e| e.method.starts_with(LIGHTNING)),
            Err(error) => {
                tracing::info!(code = error.code(), "endpoints can't be read: {error}");
                false
            }
        };
        CanSettle {
            lightning,
            ..candidate
        }
    }

    /// Asks friends who owe enough and can pay by Lightning to pay an invoice, the most trusted first, one at a time: the next one only
    /// after the one before has given back what reserved the claim. Ends when one has paid.
    ///
    /// # Errors
    /// [`SettleFault::Nobody`]; [`SettleFault::Undecided`] if `patience` is over; what the last one said, if all declined; else as
    /// [`Wallet::ask_to_settle`].
    pub async fn settle_with_anyone(
        &self,
        money: &Money,
        terms: &SettleTerms,
        patience: Duration,
        mut progress: impl FnMut(&SettlementView),
    ) -> Result<SettlementView, ClientError> {
        let began = Instant::now();
        if let Some(asked) = self.made_before(MadeKind::Settlement).await? {
            let view = self.settlement(&asked).await?;
            return self.one_of_several(&view, patience, &mut progress).await;
        }
        let all = self.who_can_settle(money).await?;
        let (able, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.lightning);
        let owing = others.into_iter().map(|one| one.friend).collect();
        let mut last: ClientError = SettleFault::Nobody { owing }.into();
        for candidate in able {
            let asked = self
                .ask_for_invoice(&candidate.user, money.clone(), terms.clone())
                .await;
            let view = match asked {
                Ok(view) => view,
                // Their books don't come home now.
                Err(
                    error @ (ClientError::WithAgent(_)
                    | ClientError::AgentAway(_)
                    | ClientError::AgentRefused { .. }),
                ) => {
                    last = error;
                    continue;
                }
                Err(error) => return Err(error),
            };
            progress(&view);
            let left = patience.saturating_sub(began.elapsed());
            match self.one_of_several(&view, left, &mut progress).await {
                Err(error @ ClientError::Settle(SettleFault::NotPaid { .. })) => last = error,
                done => return done,
            }
        }
        Err(last)
    }

    /// Waits for what becomes of a request; takes it back if there is no first word in time.
    async fn one_of_several(
        &self,
        asked: &SettlementView,
        patience: Duration,
        progress: &mut impl FnMut(&SettlementView),
    ) -> Result<SettlementView, ClientError> {
        let first = self
            .await_first_word(&asked.id, patience.min(FIRST_WORD))
            .await?;
        if first.stage == "sent" {
            match self.withdraw_settlement(&asked.id).await {
                Ok(_) => {}
                // Their word came just now.
                Err(ClientError::Settle(SettleFault::Ended(..))) => {}
                Err(error) => return Err(error),
            }
        }
        let done = self.await_settlement(&asked.id, patience, &mut *progress);
        let not_paid = match done.await {
            Err(error @ ClientError::Settle(SettleFault::NotPaid { .. })) => error,
            done => return done,
        };
        // Not paid; but the invoice may go to somebody else only once this part of the claim is free again.
        let began = Instant::now();
        while !self.settlement(&asked.id).await?.over {
            if began.elapsed() >= patience {
                return Err(SettleFault::Undecided(asked.id.to_string()).into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_for_word(asked).await?;
        }
        Err(not_paid)
    }

    async fn await_first_word(
        &self,
        id: &RecordId,
        patience: Duration,
    ) -> Result<SettlementView, ClientError> {
        let began = Instant::now();
        loop {
            let view = self.settlement(id).await?;
            if view.stage != "sent" || began.elapsed() >= patience {
                return Ok(view);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            self.look_for_word(&view).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn friend(n: u8, own_word: Option<Verdict>, friends_word: i64, line: u64) -> CanSettle {
        CanSettle {
            friend: n.to_string(),
            user: atomicity_ledger::Keypair::from_secret(&[n; 32]).user_key(),
            claim: 500,
            line,
            own_word,
            friends_word,
            lightning: true,
        }
    }

    #[test]
    fn the_own_word_counts_before_friends_words_and_those_before_lines() {
        let mut all = [
            friend(1, Some(Verdict::Poor), 5, 900),
            friend(2, None, 0, 100),
            friend(3, None, 0, 700),
            friend(4, None, 2, 100),
            friend(5, Some(Verdict::Good), -3, 100),
        ];
        all.sort_by_key(CanSettle::rank);
        let names: Vec<&str> = all.iter().map(|one| one.friend.as_str()).collect();
        assert_eq!(names, ["5", "4", "3", "2", "1"]);
    }
}
