//! Paying a friend: owing them more, or giving back what they owe.

use std::time::Duration;

use atomicity_ledger::pair::{Pair, PaymentNote};
use atomicity_ledger::{LedgerError, Memo, Money, RecordHash, RecordId, Total, UserKey};

use super::books::{self, Change};
use super::flush::Delivery;
use super::view::{self, ChannelView};
use super::{Direction, HistoryItem, MadeKind, PaymentFault, Wallet, entropy, receive};
use crate::error::{ClientError, LimitDetail};
use crate::store::contacts::{self, Contact};
use crate::store::{demands, history, rules, units};

/// How long to look for the friend's news before paying.
const REFRESH: Duration = Duration::from_secs(5);

/// How to pay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssueOptions {
    /// A few words for the friend.
    pub memo: Option<Memo>,
    /// What the payment refers to.
    pub reference: Option<Memo>,
    /// Look for the friend's news first, for at most five seconds.
    pub refresh: bool,
    /// Send it at once. Otherwise it is only committed here, for a running [`Wallet::watch`] or the next [`Wallet::sync`].
    pub send: bool,
}

impl Default for IssueOptions {
    fn default() -> Self {
        Self {
            memo: None,
            reference: None,
            refresh: true,
            send: true,
        }
    }
}

impl IssueOptions {
    /// With a few words for the friend, and what the payment refers to.
    #[must_use]
    pub fn described(memo: Option<Memo>, reference: Option<Memo>) -> Self {
        Self {
            memo,
            reference,
            ..Self::default()
        }
    }

    /// Neither looks for the friend's news first nor sends: the payment is only committed here.
    #[must_use]
    pub fn committed_only(mut self) -> Self {
        self.refresh = false;
        self.send = false;
        self
    }
}

/// A payment that was signed and is durable here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IssuedPayment {
    /// The payment's own name.
    pub payment: RecordId,
    /// The friend.
    pub contact: Contact,
    /// What was paid.
    pub money: Money,
    /// The number of the state.
    pub seq: u64,
    /// The channel as it stands now.
    pub channel: ChannelView,
    /// How far it got.
    pub delivery: Delivery,
}

impl Wallet {
    /// Pays a friend. The limits are checked here first; what exceeds them is refused before anything is signed. When this
    /// returns, the payment is durable here and counts, whether or not it could be delivered yet.
    ///
    /// # Errors
    /// [`ClientError::LimitExceeded`], [`ClientError::NoCreditLine`], [`ClientError::UnitNotOpen`],
    /// [`ClientError::ChannelFrozen`], [`ClientError::WaitingForAck`], [`ClientError::BookKeyInUse`],
    /// [`ClientError::GenerationUnknown`], [`ClientError::StoreFull`]: nothing was signed or sent.
    pub async fn issue(
        &self,
        user: &UserKey,
        money: Money,
        options: IssueOptions,
    ) -> Result<IssuedPayment, ClientError> {
        let made = self.made().await?;
        if let Some((MadeKind::Given, id)) = made {
            return self.issued_before(id, user, money).await;
        }
        if let Some(agent) = self.agent_for(user).await? {
            return self.issue_by_agent(&agent, user, money, options).await;
        }
        if let Some((_, id)) = made {
            // It was left to an agent that keeps these books no more: its own record says what became of it.
            return Err(PaymentFault::Undecided(id.to_string()).into());
        }
        self.ensure_may_sign().await?;
        if options.refresh {
            self.plain().refresh(user).await?;
        }
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user)
            .await?
            .filter(|contact| receive::is_friend(Some(contact)))
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let mut pair = change.load(self.user(), *user).await?;
        let note = PaymentNote {
            id: RecordId::from_entropy(entropy()),
            reference: options.reference,
            memo: options.memo,
        };
        let payment = note.id;
        let (seq, _) = sign(&mut change, &mut pair, &contact, &money, note).await?;
        let channel = view::channel(change.conn(), &pair, &contact, &money.unit).await?;
        self.note_made(change.conn(), MadeKind::Given, &payment)
            .await?;
        change.commit().await?;
        // From here on the payment stands; whatever fails now is only late.
        let delivery = if options.send {
            self.send_now(user).await?
        } else {
            Delivery::Queued
        };
        Ok(IssuedPayment {
            payment,
            contact,
            money,
            seq,
            channel,
            delivery,
        })
    }

    /// What the operation gave when it was asked for before, as it stands now.
    async fn issued_before(
        &self,
        id: RecordId,
        user: &UserKey,
        money: Money,
    ) -> Result<IssuedPayment, ClientError> {
        let delivery = self.send_now(user).await?;
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user).await?;
        let contact = contact.ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let pair = books::load(&mut conn, self.user(), *user).await?;
        Ok(IssuedPayment {
            payment: id,
            seq: history::seq_of(&mut conn, &id.to_string()).await?,
            channel: view::channel(&mut conn, &pair, &contact, &money.unit).await?,
            contact,
            money,
            delivery,
        })
    }

    /// Sends what was committed, and says how far it got. What can't be sent now is sent later.
    pub(super) async fn send_now(&self, user: &UserKey) -> Result<Delivery, ClientError> {
        match self.flush().await {
            Ok(_) => self.delivery(user).await,
            Err(error) => {
                tracing::warn!(
                    code = error.code(),
                    "the payment is kept and will be sent later"
                );
                Ok(Delivery::Queued)
            }
        }
    }

    /// Looks for a friend's news, for a short time. What the store says counts; what the network says doesn't.
    pub(super) async fn refresh(&self, user: &UserKey) -> Result<(), ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        let Some(contact) = contact else {
            return Ok(());
        };
        let look = async {
            self.read_inboxes().await?;
            self.sync_friend(&contact).await.map(|_| ())
        };
        match tokio::time::timeout(REFRESH, look).await {
            Ok(Err(error @ (ClientError::StoreFull | ClientError::Store(_)))) => Err(error),
            _ => Ok(()),
        }
    }
}

/// Signs the payment and puts everything into the transaction; returns the number of the state, and the hash of the payment.
pub(super) async fn sign(
    change: &mut Change,
    pair: &mut Pair,
    contact: &Contact,
    money: &Money,
    note: PaymentNote,
) -> Result<(u64, RecordHash), ClientError> {
    let unit = &money.unit;
    let ceiling = rules::verdict(change.conn(), &contact.user, unit)
        .await?
        .issue;
    let open = units::list(change.conn()).await?;
    let now = change.now;
    check_reserved(change, pair, contact, money, ceiling).await?;
    let memo = note.memo.as_ref().map(ToString::to_string);
    let reference = note.reference.as_ref().map(ToString::to_string);
    let issued = pair
        .issue(unit, money.amount, ceiling, note, &change.keys.pen, now)
        .map_err(|error| {
            let is_open = open.iter().any(|open| open.unit == *unit);
            explain(error, pair, contact, money, ceiling, is_open, now)
        })?;
    change.save(pair).await?;
    let state = issued.state.record();
    let seq = state.seq.get();
    let records = [
        issued.state.jws().to_owned(),
        issued.payment.jws().to_owned(),
    ];
    change.send(&contact.user, &records).await?;
    change
        .note(HistoryItem {
            user: Some(contact.user),
            unit: Some(unit.clone()),
            kind: "payment".to_owned(),
            direction: Some(Direction::Out),
            amount: Some(money.amount.minor()),
            epoch: Some(state.epoch.get()),
            seq: Some(seq),
            status: Some("sent".to_owned()),
            payment: Some(issued.payment.record().id.to_string()),
            memo,
            reference,
            ..HistoryItem::default()
        })
        .await?;
    change.signed();
    Ok((seq, issued.payment.hash()))
}

/// What a friend was asked to pay outside is not spent meanwhile.
async fn check_reserved(
    change: &mut Change,
    pair: &Pair,
    contact: &Contact,
    money: &Money,
    ceiling: Option<Total>,
) -> Result<(), ClientError> {
    let kept = demands::reserved_of(change.conn(), &contact.user, &money.unit).await?;
    if kept == 0 {
        return Ok(());
    }
    let limits = pair.limits(&money.unit, ceiling, change.now);
    let free = limits.can_issue.saturating_sub(kept);
    if money.amount.minor() <= free {
        return Ok(());
    }
    Err(ClientError::LimitExceeded(Box::new(LimitDetail {
        friend: contact.name.clone(),
        unit: money.unit.clone(),
        amount: money.amount.minor(),
        available: free,
        accept: limits.line_for_me.map_or(0, Total::minor),
        own_issue: ceiling.map(Total::minor),
        net: limits.balance.minor(),
    })))
}

/// The ledger's refusal with names and figures.
pub(super) fn explain(
    error: LedgerError,
    pair: &Pair,
    contact: &Contact,
    money: &Money,
    ceiling: Option<Total>,
    is_open: bool,
    now: atomicity_ledger::Timestamp,
) -> ClientError {
    let friend = contact.name.clone();
    let unit = money.unit.clone();
    match error {
        LedgerError::LimitExceeded { .. } => {
            let limits = pair.limits(&unit, ceiling, now);
            if !is_open && limits.balance.minor() <= 0 {
                return ClientError::UnitNotOpen(unit);
            }
            if limits.line_for_me.is_none() && limits.balance.minor() <= 0 {
                return ClientError::NoCreditLine { friend, unit };
            }
            let own_issue = [ceiling, Some(limits.book_cap)]
                .into_iter()
                .flatten()
                .map(Total::minor)
                .min();
            ClientError::LimitExceeded(Box::new(LimitDetail {
                friend,
                unit,
                amount: money.amount.minor(),
                available: limits.can_issue,
                accept: limits.line_for_me.map_or(0, Total::minor),
                own_issue,
                net: limits.balance.minor(),
            }))
        }
        LedgerError::BookNotAcknowledged => ClientError::WaitingForAck(friend),
        LedgerError::Frozen { why, .. } => ClientError::ChannelFrozen {
            friend,
            unit,
            why: why.to_owned(),
        },
        LedgerError::NoPen { why } if pair.is_behind() => ClientError::BookKeyInUse(why.to_owned()),
        other => other.into(),
    }
}
