//! Rules about many: who they are, what they gave, and applying them.
//!
//! A rule lets people owe who were never added by hand: whom a friend vouches for, whom the user tagged, who is near in the follow graph.
//! [`Wallet::apply_rules`] looks at whoever said hello, makes those friends whom a rule is about, and gives every one a credit line within
//! the caps.

mod divide;
mod look;
#[cfg(test)]
mod tests;
pub(super) mod told;
mod words;

use std::collections::BTreeMap;

use atomicity_ledger::policy::{Facts, Held, Match, Policy, Rule, RuleId, RuleUse};
use atomicity_ledger::{Total, Unit, UserKey};

use super::books;
use super::event::WalletEvent;
use super::{Wallet, lines};
use crate::error::ClientError;
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent;
use crate::store::rules::grants::{self, Granted};
use crate::store::rules::{self, facts};
use crate::store::{forwarding, pairs};

/// A rule, and what it has given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuleView {
    /// What it says.
    pub rule: Rule,
    /// About whom, in words.
    pub about: String,
    /// How much of its caps is taken.
    pub used: RuleUse,
}

/// What a rule gave somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GrantView {
    /// In which unit.
    pub unit: Unit,
    /// Which rule.
    pub rule: RuleId,
    /// Why, in words; `None` if the rule is gone.
    pub why: Option<String>,
    /// The credit line, in minor units; zero: it was closed, and something is still owed.
    pub line: u64,
}

/// Whether a rule is about somebody.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TriedRule {
    /// The rule.
    pub rule: Rule,
    /// About whom it is, in words.
    pub about: String,
    /// Why it is about them; `None` if it isn't.
    pub found: Option<Match>,
    /// What it says they may owe, in minor units, if there is room; `None` if it does not say.
    pub most: Option<u64>,
    /// Whether it is the rule that decides how much they may owe in its unit.
    pub decides: bool,
}

/// What the rules say about somebody.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trial {
    /// Who.
    pub user: UserKey,
    /// What is known of them.
    pub facts: Facts,
    /// Whether the user blocked them.
    pub blocked: bool,
    /// Every rule that was asked, in order; what was said of them in person first.
    pub rules: Vec<TriedRule>,
    /// What they have by rules now.
    pub granted: Vec<GrantView>,
}

impl Wallet {
    /// Adds a rule about many, before another or after all, and applies the rules. Its number.
    ///
    /// # Errors
    /// [`ClientError::Ledger`] if the rule does not hold together, [`ClientError::UnitNotOpen`], [`ClientError::Usage`] if there is no
    /// rule `before`.
    pub async fn add_rule(
        &self,
        rule: &Rule,
        before: Option<RuleId>,
    ) -> Result<(RuleId, Vec<WalletEvent>), ClientError> {
        let open = self.identity().await?.units;
        if !open.contains(&rule.unit) {
            return Err(ClientError::UnitNotOpen(rule.unit.clone()));
        }
        rule.check()?;
        let mut tx = self.store().write().await?;
        let id = rules::add(tx.conn(), rule, before).await?;
        facts::look_again(tx.conn()).await?;
        forwarding::look_again(tx.conn()).await?;
        tx.commit().await?;
        Ok((id, self.apply_and_publish().await?))
    }

    /// Takes a rule about many back: the lines that it gave are closed, what is owed stays owed.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if there is no such rule, or what the store says.
    pub async fn remove_rule(&self, id: RuleId) -> Result<Vec<WalletEvent>, ClientError> {
        let mut tx = self.store().write().await?;
        rules::remove(tx.conn(), id).await?;
        facts::look_again(tx.conn()).await?;
        forwarding::look_again(tx.conn()).await?;
        tx.commit().await?;
        self.apply_and_publish().await
    }

    async fn apply_and_publish(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let events = self.apply_rules(false).await?;
        self.plan_adverts().await?;
        self.flush().await?;
        Ok(events)
    }

    /// The rules about many in the order in which they are asked, and how much of their caps is taken.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn rules(&self) -> Result<Vec<RuleView>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut given = Vec::new();
        for granted in grants::list(&mut conn).await? {
            let exposure = match pairs::get(&mut conn, &granted.user).await? {
                Some(row) => books::parse(&row.body)?
                    .peer_exposure(&granted.unit)
                    .minor(),
                None => 0,
            };
            let exposure = Total::from_minor(u64::try_from(exposure).unwrap_or(0))?;
            given.push((granted.held, granted.line, exposure));
        }
        let mut used: BTreeMap<RuleId, RuleUse> = Policy::usage(given);
        let policy = rules::many(&mut conn).await?;
        let mut views = Vec::new();
        for rule in policy.rules() {
            views.push(RuleView {
                about: words::about(&mut conn, &rule.who).await?,
                used: used.remove(&rule.id).unwrap_or_default(),
                rule: rule.clone(),
            });
        }
        Ok(views)
    }

    /// A rule in words, whether it stands or not; as if nothing of it were taken.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn rule_in_words(&self, rule: &Rule) -> Result<RuleView, ClientError> {
        let mut conn = self.store().read().await?;
        Ok(RuleView {
            about: words::about(&mut conn, &rule.who).await?,
            used: RuleUse::default(),
            rule: rule.clone(),
        })
    }

    /// Looks at whoever rules may be about and was not looked at lately (at everybody, if `anew`), and gives and takes credit lines by the
    /// rules. Sends what that makes.
    ///
    /// # Errors
    /// [`ClientError::BookKeyInUse`], [`ClientError::GenerationUnknown`], or what the store says.
    pub async fn apply_rules(&self, anew: bool) -> Result<Vec<WalletEvent>, ClientError> {
        let mut conn = self.store().read().await?;
        let some = !rules::many(&mut conn).await?.rules().is_empty();
        let idle = !some && grants::list(&mut conn).await?.is_empty();
        drop(conn);
        if idle {
            return Ok(Vec::new());
        }
        self.ensure_may_sign().await?;
        if some {
            self.look(&[], anew).await?;
        }
        let mut divided = self.divide().await?;
        let there = self.give_there(std::mem::take(&mut divided.there)).await?;
        divided.events.extend(there);
        if !divided.new.is_empty() {
            self.forget_directory();
        }
        if !divided.events.is_empty() {
            self.flush().await?;
        }
        let mut tx = self.store().write().await?;
        told::refresh(tx.conn(), super::now().millis()).await?;
        tx.commit().await?;
        let mut events = divided.events;
        for user in divided.new {
            events.extend(self.get_acquainted(&user).await?);
        }
        Ok(events)
    }

    /// Reads what a new friend already wrote. If that fails, the next `sync` does it.
    async fn get_acquainted(&self, user: &UserKey) -> Result<Vec<WalletEvent>, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        let Some(contact) = contact else {
            return Ok(Vec::new());
        };
        match self.sync_friend(&contact).await {
            Ok(received) => Ok(received.events),
            Err(error @ (ClientError::Store(_) | ClientError::StoreFull)) => Err(error),
            Err(error) => {
                tracing::info!(%user, code = error.code(), "a new friend can't be read: {error}");
                Ok(Vec::new())
            }
        }
    }

    /// Asks every rule about somebody, after looking at them anew. Changes nothing.
    ///
    /// # Errors
    /// [`ClientError::OwnKey`], or what the store says.
    pub async fn try_rules(&self, user: &UserKey) -> Result<Trial, ClientError> {
        if *user == self.user() {
            return Err(ClientError::OwnKey);
        }
        self.look(&[*user], true).await?;
        let mut conn = self.store().read().await?;
        let policy = rules::policy(&mut conn, user).await?;
        let facts = facts::of(&mut conn, user).await?;
        let blocked = policy.is_blocked(user);
        let mut tried = Vec::new();
        for rule in policy.rules() {
            let found = rule.who.matches(user, &facts);
            let verdict = policy.verdict(user, &rule.unit, &facts);
            let most = match (&found, rule.accept) {
                (Some(found), Some(accept)) => Some(found.weight.of(accept).minor()),
                _ => None,
            };
            tried.push(TriedRule {
                about: words::about(&mut conn, &rule.who).await?,
                decides: most.is_some() && !blocked && verdict.by == Some(rule.id),
                rule: rule.clone(),
                found,
                most,
            });
        }
        drop(conn);
        Ok(Trial {
            user: *user,
            blocked,
            facts,
            rules: tried,
            granted: self.granted(user).await?,
        })
    }

    /// What rules gave somebody.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn granted(&self, user: &UserKey) -> Result<Vec<GrantView>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut views = Vec::new();
        for Granted {
            unit, held, line, ..
        } in grants::of(&mut conn, user).await?
        {
            views.push(GrantView {
                why: words::why(&mut conn, held).await?,
                rule: held.rule,
                line: line.minor(),
                unit,
            });
        }
        Ok(views)
    }

    /// Which friends a rule let in, and why, in words.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn let_in(&self) -> Result<BTreeMap<UserKey, Option<String>>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut all = BTreeMap::new();
        for (user, rule) in grants::all_let_in(&mut conn).await? {
            let held = grants::of(&mut conn, &user).await?;
            let held = held.first().map_or(
                Held {
                    rule,
                    introducer: None,
                },
                |granted| granted.held,
            );
            all.insert(user, words::why(&mut conn, held).await?);
        }
        Ok(all)
    }

    /// Wants nothing more to do with somebody, or lifts that. Whoever is blocked may owe nothing more, is owed nothing more, gets nothing
    /// passed on, and can't say hello; what is owed stays owed. `false` if it was so already.
    ///
    /// # Errors
    /// [`ClientError::OwnKey`], [`ClientError::BookKeyInUse`], or what the store says.
    pub async fn set_blocked(&self, user: &UserKey, blocked: bool) -> Result<bool, ClientError> {
        if *user == self.user() {
            return Err(ClientError::OwnKey);
        }
        self.ensure_may_sign().await?;
        // Their lines can only be closed where the books are.
        self.bring_home(user).await?;
        let mut change = self.change().await?;
        let now = change.now;
        if !rules::set_blocked(change.conn(), user, blocked, now.millis()).await? {
            return Ok(false);
        }
        if agent::keeps(change.conn(), user).await? {
            let contact = contacts::get(change.conn(), user).await?;
            return Err(ClientError::WithAgent(
                contact.map_or_else(|| user.to_z32(), |c| c.name),
            ));
        }
        let mut pair = change.load(self.user(), *user).await?;
        let held = grants::of(change.conn(), user).await?;
        for unit in pair.units() {
            // What a rule gave is the rules' business.
            if held.iter().any(|granted| granted.unit == unit) {
                continue;
            }
            let verdict = rules::verdict(change.conn(), user, &unit).await?;
            let named = blocked || verdict.by == Some(0);
            if named && pair.own().accept_at(&unit, now) != verdict.accept {
                let line = (&unit, verdict.accept);
                lines::give(&mut change, &mut pair, line, None, None).await?;
            }
        }
        forwarding::look_again(change.conn()).await?;
        agent::may_go(change.conn(), user).await?;
        change.commit().await?;
        self.apply_and_publish().await?;
        Ok(true)
    }

    /// Whom the user blocked, with what is known of them, and since when (Unix milliseconds).
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn blocked(&self) -> Result<Vec<(UserKey, Option<Contact>, u64)>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut all = Vec::new();
        for (user, at) in rules::blocked(&mut conn).await? {
            all.push((user, contacts::get(&mut conn, &user).await?, at));
        }
        Ok(all)
    }
}
