//! Credit lines, and the user's own ceilings.

use std::time::Duration;

use atomicity_ledger::pair::{LineTerms, Pair};
use atomicity_ledger::record::Unattended;
use atomicity_ledger::text::Address;
use atomicity_ledger::{Amount, Total, Unit, UserKey};

use super::books::Change;
use super::friends::LimitChange;
use super::{Delivery, Direction, HistoryItem, Wallet, logs, now, receive};
use crate::error::ClientError;
use crate::net::plugin::PluginClient;
use crate::store::contacts::{self, Contact};
use crate::store::pairs::agent;
use crate::store::rules::{self, grants};
use crate::store::{forwarding, parse_own};

/// The most logs that an allowance names.
const MAX_ALLOWED_LOGS: usize = 16;

/// What is taken while the user is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnattendedTerms {
    /// The most at once, in minor units; zero takes nothing.
    pub amount: u64,
    /// For how long.
    pub lasts: Duration,
}

impl Wallet {
    /// Sets how much a friend may owe this user in `unit`, in minor units; zero closes the line.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`], [`ClientError::BookKeyInUse`], or what the store says.
    pub async fn set_limit(
        &self,
        user: &UserKey,
        unit: &Unit,
        accept: u64,
    ) -> Result<LimitChange, ClientError> {
        self.set_line(user, unit, accept, None).await
    }

    /// The same, and says what is taken on this line while the user is away: `Some` with nothing in it takes nothing. What was said
    /// before stands if it is `None`.
    ///
    /// # Errors
    /// As [`Wallet::set_limit`]; [`ClientError::NoLog`] if no log is relied on.
    pub async fn set_line(
        &self,
        user: &UserKey,
        unit: &Unit,
        accept: u64,
        unattended: Option<UnattendedTerms>,
    ) -> Result<LimitChange, ClientError> {
        let by_agent = self.agent_for(user).await?;
        if by_agent.is_none() {
            self.ensure_may_sign().await?;
        }
        let unattended = match unattended {
            Some(terms) => Some(self.allowance(terms).await?),
            None => None,
        };
        let accept = Total::from_minor(accept)?;
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user)
            .await?
            .filter(|contact| receive::is_friend(Some(contact)))
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let mut pair = change.load(self.user(), *user).await?;
        // The rule is what the user decided; the line is how the friend hears of it.
        rules::set_accept(change.conn(), user, unit, accept).await?;
        // What was said of them in person is no rule's any more.
        grants::remove(change.conn(), user, unit).await?;
        let accept = rules::verdict(change.conn(), user, unit).await?.accept;
        if let Some(agent) = by_agent {
            let terms = terms_of(&mut change, &pair, (unit, accept), unattended).await?;
            return self.set_line_there(change, &agent, contact, &terms).await;
        }
        let line = (unit, accept);
        let seq = give(&mut change, &mut pair, line, unattended, None).await?;
        change.commit().await?;
        self.flush().await?;
        Ok(LimitChange {
            delivery: Some(self.delivery(user).await?),
            seq: Some(seq),
            contact,
        })
    }

    /// The same for books that the agent keeps. If it does not answer, the rule is as it was too.
    async fn set_line_there(
        &self,
        change: Change,
        agent: &PluginClient,
        contact: Contact,
        terms: &LineTerms,
    ) -> Result<LimitChange, ClientError> {
        // A transaction is not held while a server is asked.
        drop(change);
        let user = contact.user;
        let seq = self.line_by_agent(agent, &user, terms).await?;
        let mut change = self.change().await?;
        rules::set_accept(change.conn(), &user, &terms.unit, terms.accept).await?;
        grants::remove(change.conn(), &user, &terms.unit).await?;
        note_there(&mut change, &user, terms, (seq, None)).await?;
        agent::limits_changed(change.conn(), Some(&user)).await?;
        change.commit().await?;
        Ok(LimitChange {
            delivery: Some(Delivery::Agent),
            seq,
            contact,
        })
    }

    async fn allowance(&self, terms: UnattendedTerms) -> Result<Option<Unattended>, ClientError> {
        let Ok(amount) = Amount::from_minor(terms.amount) else {
            return Ok(None);
        };
        let mut logs = Vec::new();
        for log in self.logs().await?.into_iter().filter(|log| log.usable) {
            logs.push(parse_own::<Address>(&log.origin, "the name of a log")?);
        }
        logs.sort();
        logs.truncate(MAX_ALLOWED_LOGS);
        if logs.is_empty() {
            return Err(ClientError::NoLog);
        }
        let lasts = u64::try_from(terms.lasts.as_millis()).unwrap_or(u64::MAX);
        Ok(Some(Unattended {
            amount,
            logs,
            until: now().plus_millis(lasts),
        }))
    }

    /// Sets the most that this user wants to owe a friend in `unit`, in minor units. Nobody else sees it.
    ///
    /// # Errors
    /// [`ClientError::UnknownFriend`], or what the store says.
    pub async fn set_own_ceiling(
        &self,
        user: &UserKey,
        unit: &Unit,
        most: u64,
    ) -> Result<LimitChange, ClientError> {
        let mut tx = self.store().write().await?;
        let contact = contacts::get(tx.conn(), user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        rules::set_issue(tx.conn(), user, unit, Total::from_minor(most)?).await?;
        forwarding::look_again(tx.conn()).await?;
        agent::limits_changed(tx.conn(), Some(user)).await?;
        tx.commit().await?;
        if self.is_with_agent(user).await? {
            // Tried again by the next look at the agent if it does not answer now.
            self.tend_agent().await?;
        }
        Ok(LimitChange {
            contact,
            seq: None,
            delivery: None,
        })
    }
}

/// Signs a credit line and puts it into the transaction; returns its number. What is taken while the user is away stays as it was,
/// unless `unattended` says otherwise. `note` is why.
pub(crate) async fn give(
    change: &mut Change,
    pair: &mut Pair,
    (unit, accept): (&Unit, Total),
    unattended: Option<Option<Unattended>>,
    note: Option<String>,
) -> Result<u64, ClientError> {
    let (peer, now) = (pair.peer(), change.now);
    let terms = terms_of(change, pair, (unit, accept), unattended).await?;
    let line = pair.set_line(terms, &change.keys.pen, now)?;
    let (epoch, seq) = (line.record().epoch.get(), line.record().seq.get());
    change.save(pair).await?;
    forwarding::line_set(change.conn(), &peer).await?;
    change.send(&peer, &[line.jws().to_owned()]).await?;
    change
        .note(HistoryItem {
            user: Some(peer),
            unit: Some(unit.clone()),
            kind: "line".to_owned(),
            direction: Some(Direction::Out),
            amount: Some(accept.minor()),
            epoch: Some(epoch),
            seq: Some(seq),
            note,
            ..HistoryItem::default()
        })
        .await?;
    change.signed();
    Ok(seq)
}

/// Notes a line that the agent signed, with its number, and why.
pub(super) async fn note_there(
    change: &mut Change,
    user: &UserKey,
    terms: &LineTerms,
    (seq, note): (Option<u64>, Option<String>),
) -> Result<(), ClientError> {
    change
        .note(HistoryItem {
            user: Some(*user),
            unit: Some(terms.unit.clone()),
            kind: "line".to_owned(),
            direction: Some(Direction::Out),
            amount: Some(terms.accept.minor()),
            seq,
            note,
            ..HistoryItem::default()
        })
        .await
}

/// What a line says beside its amount.
pub(super) async fn terms_of(
    change: &mut Change,
    pair: &Pair,
    (unit, accept): (&Unit, Total),
    unattended: Option<Option<Unattended>>,
) -> Result<LineTerms, ClientError> {
    let now = change.now;
    let mut terms = LineTerms::simple(unit.clone(), accept)?;
    // Friends need not promise on a log that is not relied on here.
    terms.logs_refused = logs::refused(change.conn()).await?;
    let before = pair.own().unit(unit).and_then(|side| side.line());
    let before = before.and_then(|line| line.record().unattended.clone());
    terms.unattended = unattended.unwrap_or(before);
    terms.unattended = terms.unattended.filter(|allowance| allowance.until > now);
    Ok(terms)
}

/// Closes every line that is open, and returns the records.
pub(crate) async fn close_all(
    change: &mut Change,
    pair: &mut Pair,
) -> Result<Vec<String>, ClientError> {
    let mut closed = Vec::new();
    let now = change.now;
    for unit in pair.units() {
        if pair.own().accept_at(&unit, now) == Total::ZERO {
            continue;
        }
        rules::set_accept(change.conn(), &pair.peer(), &unit, Total::ZERO).await?;
        grants::remove(change.conn(), &pair.peer(), &unit).await?;
        let terms = LineTerms::simple(unit, Total::ZERO)?;
        let line = pair.set_line(terms, &change.keys.pen, now)?;
        closed.push(line.jws().to_owned());
        change.signed();
    }
    Ok(closed)
}
