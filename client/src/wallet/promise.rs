//! Promising a friend something that becomes due if a secret is published in time, and what has become of promises.

use std::time::Duration;

use atomicity_ledger::pair::{NewPromise, Pair, Promise, Standing};
use atomicity_ledger::record::{ConditionalIou, LogTerm, ReleaseReason, Terms};
use atomicity_ledger::text::Address;
use atomicity_ledger::{
    AnyRecord, Money, PaymentHash, PolicyHash, Preimage, RecordHash, RecordId, Signed, Unit,
    UserKey,
};

use super::books::{self, Change};
use super::flush::Delivery;
use super::logs::Log;
use super::view::{self, ChannelView};
use super::{Direction, HistoryItem, Wallet, decide, entropy, issue, logs, receive, settle};
use crate::error::ClientError;
use crate::net::now_ms;
use crate::net::plugin::PluginClient;
use crate::store::contacts::{self, Contact};
use crate::store::{pairs, parse_own, rules, units};

/// How long a promise stands if nothing else is said.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// On what a promise hangs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Hangs {
    /// On the publication of the secret in one of these logs (all that can be relied on, if none is named) before the time is up.
    Logs {
        /// Their names or addresses.
        logs: Vec<String>,
        /// How long the secret may take.
        deadline: Duration,
    },
    /// On the secret being shown to the promiser, with no log and no deadline.
    Shown,
}

impl Default for Hangs {
    fn default() -> Self {
        Self::Logs {
            logs: Vec::new(),
            deadline: DEFAULT_DEADLINE,
        }
    }
}

/// How to promise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PromiseTerms {
    /// The hash of the secret.
    pub hash: PaymentHash,
    /// On what it hangs.
    pub hangs: Hangs,
    /// Look for the friend's news first, for at most five seconds.
    pub refresh: bool,
}

impl PromiseTerms {
    /// Hangs on the publication of the secret with this hash.
    #[must_use]
    pub fn on(hash: PaymentHash, hangs: Hangs) -> Self {
        Self {
            hash,
            hangs,
            refresh: true,
        }
    }
}

/// A promise that was signed and is durable here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MadePromise {
    /// The promise.
    pub promise: PromiseView,
    /// The friend.
    pub contact: Contact,
    /// The channel as it stands now.
    pub channel: ChannelView,
    /// How far it got.
    pub delivery: Delivery,
}

/// A promise, as it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PromiseView {
    /// Its own name: the hash of the signed promise.
    pub id: RecordHash,
    /// What the user calls the friend.
    pub friend: String,
    /// The friend's key.
    pub user: UserKey,
    /// Whose promise it is: the user's own go out.
    pub direction: Direction,
    /// In what.
    pub unit: Unit,
    /// How much, in minor units.
    pub amount: u64,
    /// On what it hangs.
    pub terms: Terms,
    /// Where it stands.
    pub standing: Standing,
    /// Whether the friend has said that it arrived.
    pub acknowledged: bool,
    /// What was published, if it was.
    pub preimage: Option<Preimage>,
    /// When it was signed, Unix milliseconds.
    pub at: u64,
}

impl PromiseView {
    fn new(contact: &Contact, me: UserKey, promise: &Promise) -> Self {
        let iou = promise.iou().record();
        let direction = if iou.from == me {
            Direction::Out
        } else {
            Direction::In
        };
        Self {
            id: promise.iou().hash(),
            friend: contact.name.clone(),
            user: contact.user,
            direction,
            unit: iou.unit.clone(),
            amount: iou.amount.minor(),
            terms: iou.terms.clone(),
            standing: promise.standing(),
            acknowledged: promise.is_acknowledged(),
            preimage: promise.publication().map(|p| p.record().preimage),
            at: iou.at.millis(),
        }
    }
}

/// The name of a standing, for machines.
#[must_use]
pub fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Undecided => "undecided",
        Standing::Due => "due",
        Standing::Merged => "merged",
        Standing::Released => "released",
        Standing::Expired => "expired",
    }
}

impl Wallet {
    /// Promises a friend money that becomes due if a secret is published in time. It reserves the friend's credit until that is
    /// decided. When this returns, the promise is durable here and binds, whether or not it could be delivered yet.
    ///
    /// # Errors
    /// As [`Wallet::issue`]; [`ClientError::NoLog`], [`ClientError::LogUnknown`], [`ClientError::LogRefused`], and what hinders
    /// reading the logs; [`atomicity_ledger::LedgerError::TermsRefused`] and `NoSlot` from the ledger. Nothing was signed then.
    pub async fn promise(
        &self,
        user: &UserKey,
        money: Money,
        how: PromiseTerms,
    ) -> Result<MadePromise, ClientError> {
        let by_agent = self.agent_for(user).await?;
        match &by_agent {
            Some(agent) => self.copy_later(agent, user).await?,
            None => self.ensure_may_sign().await?,
        }
        if how.refresh {
            self.refresh(user).await?;
        }
        let terms = self.terms_for(user, &money.unit, how).await?;
        if let Some(agent) = by_agent {
            return self.promise_there(&agent, user, money, terms).await;
        }
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), user)
            .await?
            .filter(|contact| receive::is_friend(Some(contact)))
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        if terms.is_direct() {
            settle::only_direct_release(&mut change, &terms.hash).await?;
        }
        let mut pair = change.load(self.user(), *user).await?;
        let iou = sign(&mut change, &mut pair, &contact, &money, terms).await?;
        change.save(&pair).await?;
        let records = vec![AnyRecord::ConditionalIou(iou.clone())];
        decide::dispatch(&mut change, self.user(), &pair, records).await?;
        decide::want_logs(&mut change).await?;
        let record = iou.record();
        change
            .note(HistoryItem {
                user: Some(*user),
                unit: Some(money.unit.clone()),
                kind: "promised".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(money.amount.minor()),
                reference: Some(iou.hash().to_string()),
                note: Some(format!("hangs on {}", record.terms.hash)),
                ..HistoryItem::default()
            })
            .await?;
        let channel = view::channel(change.conn(), &pair, &contact, &money.unit).await?;
        let promise = find(&pair, iou.hash()).map(|p| PromiseView::new(&contact, self.user(), p));
        let promise =
            promise.ok_or_else(|| ClientError::Internal("a promise was not kept".to_owned()))?;
        change.commit().await?;
        Ok(MadePromise {
            delivery: self.send_now(user).await?,
            promise,
            contact,
            channel,
        })
    }

    /// The same for books that the agent keeps.
    async fn promise_there(
        &self,
        agent: &PluginClient,
        user: &UserKey,
        money: Money,
        terms: Terms,
    ) -> Result<MadePromise, ClientError> {
        if terms.is_direct() {
            let mut change = self.change().await?;
            settle::only_direct_release(&mut change, &terms.hash).await?;
        }
        let id = RecordId::from_entropy(entropy());
        let iou = self
            .promise_by_agent(agent, user, (id, &money), (&terms, None))
            .await?;
        let mut change = self.change().await?;
        change
            .note(HistoryItem {
                user: Some(*user),
                unit: Some(money.unit.clone()),
                kind: "promised".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(money.amount.minor()),
                reference: Some(iou.hash().to_string()),
                note: Some(format!("hangs on {}", terms.hash)),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        self.copy_later(agent, user).await?;
        let mut conn = self.store().read().await?;
        let contact = contacts::get(&mut conn, user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let pair = books::load(&mut conn, self.user(), *user).await?;
        let shown = find(&pair, iou.hash()).map(|p| PromiseView::new(&contact, self.user(), p));
        Ok(MadePromise {
            // It stands at the agent, whatever the copy shows.
            promise: shown.unwrap_or_else(|| PromiseView {
                id: iou.hash(),
                friend: contact.name.clone(),
                user: *user,
                direction: Direction::Out,
                unit: money.unit.clone(),
                amount: money.amount.minor(),
                terms,
                standing: Standing::Undecided,
                acknowledged: false,
                preimage: None,
                at: iou.record().at.millis(),
            }),
            channel: view::channel(&mut conn, &pair, &contact, &money.unit).await?,
            contact,
            delivery: Delivery::Agent,
        })
    }

    /// The promises between this user and their friends that are still kept, by friend, the user's own first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn promises(&self, user: Option<&UserKey>) -> Result<Vec<PromiseView>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut views = Vec::new();
        for row in pairs::with_promises(&mut conn).await? {
            if user.is_some_and(|user| *user != row.user) {
                continue;
            }
            let Some(contact) = contacts::get(&mut conn, &row.user).await? else {
                continue;
            };
            let pair = books::parse(&row.body)?;
            views.extend(all(&pair).map(|p| PromiseView::new(&contact, self.user(), p)));
        }
        Ok(views)
    }

    /// Gives a friend's promise up: nothing is claimed under it any more, whatever is published.
    ///
    /// # Errors
    /// From the ledger: `PromiseUnknown`, and `NotReleasable` if it is due, decided, or promised onward.
    pub async fn release_promise(&self, id: RecordHash) -> Result<PromiseView, ClientError> {
        let promises = self.promises(None).await?;
        let known = promises.iter().find(|promise| promise.id == id);
        let unknown = atomicity_ledger::LedgerError::PromiseUnknown;
        let known = known.ok_or(unknown)?;
        let user = known.user;
        if let Some(agent) = self.agent_for(&user).await? {
            return self.release_there(&agent, known).await;
        }
        self.ensure_may_sign().await?;
        let known = Some(known);
        let mut change = self.change().await?;
        let contact = contacts::get(change.conn(), &user)
            .await?
            .ok_or_else(|| ClientError::UnknownFriend(user.to_z32()))?;
        let mut pair = change.load(self.user(), user).await?;
        let (pen, now) = (&change.keys.pen, change.now);
        let records = pair.release(id, ReleaseReason::Declined, None, pen, now)?;
        change.save(&pair).await?;
        decide::dispatch(&mut change, self.user(), &pair, records).await?;
        super::routed::react(&mut change, self.user(), user, &[]).await?;
        let view = find(&pair, id)
            .map(|promise| PromiseView::new(&contact, self.user(), promise))
            .or_else(|| {
                // A clear has covered it already.
                let known = known.cloned()?;
                let standing = Standing::Released;
                Some(PromiseView { standing, ..known })
            });
        let view = view.ok_or(atomicity_ledger::LedgerError::PromiseUnknown)?;
        change
            .note(HistoryItem {
                user: Some(user),
                unit: Some(view.unit.clone()),
                kind: "released".to_owned(),
                direction: Some(Direction::In),
                amount: Some(view.amount),
                reference: Some(id.to_string()),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        self.send_now(&user).await?;
        Ok(view)
    }

    /// The same for books that the agent keeps.
    async fn release_there(
        &self,
        agent: &PluginClient,
        known: &PromiseView,
    ) -> Result<PromiseView, ClientError> {
        self.release_by_agent(agent, &known.user, known.id).await?;
        let mut change = self.change().await?;
        change
            .note(HistoryItem {
                user: Some(known.user),
                unit: Some(known.unit.clone()),
                kind: "released".to_owned(),
                direction: Some(Direction::In),
                amount: Some(known.amount),
                reference: Some(known.id.to_string()),
                ..HistoryItem::default()
            })
            .await?;
        change.commit().await?;
        Ok(PromiseView {
            standing: Standing::Released,
            ..known.clone()
        })
    }

    /// Reads the logs as far as they are now, and puts the terms together.
    pub(super) async fn terms_for(
        &self,
        user: &UserKey,
        unit: &Unit,
        how: PromiseTerms,
    ) -> Result<Terms, ClientError> {
        let Hangs::Logs {
            logs: named,
            deadline,
        } = how.hangs
        else {
            return Ok(Terms {
                hash: how.hash,
                logs: Vec::new(),
                deadline_ms: 0,
            });
        };
        let mut conn = self.store().read().await?;
        let pair = books::load(&mut conn, self.user(), *user).await?;
        drop(conn);
        let line = pair.theirs().unit(unit).and_then(|side| side.line());
        let refused = line.map_or(&[][..], |line| &line.record().logs_refused);
        let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
        // Whoever knows of a lie is heard before anything hangs on the log.
        self.ask_watchtowers().await?;
        let logs = self.logs_for_promise(&named, &refused).await?;
        let mut terms = Vec::new();
        let mut failure = None;
        for mut log in logs {
            match self.fresh(&mut log).await {
                Ok(()) => terms.push(LogTerm {
                    origin: log.row.origin.parse::<Address>()?,
                    policy_hash: parse_own::<PolicyHash>(&log.row.policy_hash, "a policy's hash")?,
                    from_size: log.row.size,
                }),
                // One that was not asked for by name can be left out.
                Err(error) if named.is_empty() => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
        if terms.is_empty() {
            return Err(failure.unwrap_or(ClientError::NoLog));
        }
        let millis = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        Ok(Terms {
            hash: how.hash,
            logs: terms,
            deadline_ms: now_ms().saturating_add(millis),
        })
    }

    /// The log as it is now; refused if what it shows proves that it lies.
    async fn fresh(&self, log: &mut Log) -> Result<(), ClientError> {
        let news = self.refresh_living(log).await?;
        match news.first() {
            Some(fork) => Err(ClientError::LogRefused {
                origin: log.row.origin.clone(),
                why: format!("it is proven that {}", fork.words),
            }),
            None => Ok(()),
        }
    }
}

async fn sign(
    change: &mut Change,
    pair: &mut Pair,
    contact: &Contact,
    money: &Money,
    terms: Terms,
) -> Result<Signed<ConditionalIou>, ClientError> {
    let ceiling = rules::verdict(change.conn(), &contact.user, &money.unit)
        .await?
        .issue;
    let open = units::list(change.conn()).await?;
    let known = logs::known(change.conn()).await?;
    let now = change.now;
    let new = NewPromise {
        unit: money.unit.clone(),
        amount: money.amount,
        terms,
        onward: None,
    };
    pair.promise(new, ceiling, &known, &change.keys.pen, now)
        .map_err(|error| {
            let is_open = open.iter().any(|open| open.unit == money.unit);
            issue::explain(error, pair, contact, money, ceiling, is_open, now)
        })
}

/// All promises of a pair, the owner's own first.
pub(crate) fn all(pair: &Pair) -> impl Iterator<Item = &Promise> {
    [pair.own(), pair.theirs()].into_iter().flat_map(|side| {
        let units = pair.units().into_iter();
        let sides = units.filter_map(move |unit| side.unit(&unit));
        sides.flat_map(|side| side.promises())
    })
}

fn find(pair: &Pair, id: RecordHash) -> Option<&Promise> {
    all(pair).find(|promise| promise.iou().hash() == id)
}
