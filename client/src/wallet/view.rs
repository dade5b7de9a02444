//! What the wallet shows: balances, limits, who it is. None of it talks to anybody.

use std::collections::BTreeMap;

use atomicity_ledger::pair::Pair;
use atomicity_ledger::{Balance, SignerKey, Total, Unit, UserKey};
use sqlx::SqliteConnection;

use super::access::{self, Keys};
use super::{Wallet, books, generation, now};
use crate::error::ClientError;
use crate::net::plugin::PluginAddress;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::history::{self, HistoryItem, HistoryQuery};
use crate::store::{inbox, outbox, pairs, rules, settings, units};

/// Whether a channel can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Both sides may sign.
    Active,
    /// The friend has not acknowledged this wallet's new book.
    WaitingForAck,
    /// Contradicting records froze it.
    Frozen,
}

/// One channel: a friend and a unit. All amounts are minor units of `unit`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChannelView {
    /// What the user calls the friend.
    pub friend: String,
    /// The friend's key.
    pub user: UserKey,
    /// The unit.
    pub unit: Unit,
    /// What the friend owes the user, net.
    pub net: Balance,
    /// What the friend may owe the user.
    pub line_for_them: u64,
    /// What the user may owe the friend by the friend's line; `None` if none was heard of, which counts as nothing.
    pub line_for_me: Option<u64>,
    /// The most that the user wants to owe the friend.
    pub own_ceiling: Option<u64>,
    /// What the user can pay now.
    pub can_issue: u64,
    /// What the friend can pay now, as far as this wallet knows.
    pub can_receive: u64,
    /// What the friend owes beyond `net`: due by proof, and not booked yet.
    pub due_to_me: u64,
    /// What the user owes beyond `net` in the same way.
    pub due_to_them: u64,
    /// What the friend has promised and is not decided.
    pub promised_to_me: u64,
    /// What the user has promised and is not decided.
    pub promised_to_them: u64,
    /// What the user issued and the friend has not acknowledged yet.
    pub unacknowledged: u64,
    /// Records of the friend that can't be judged yet.
    pub pending: u64,
    /// Whether the channel can be used.
    pub state: ChannelState,
    /// The epoch of the user's book.
    pub epoch_mine: Option<u64>,
    /// The epoch of the friend's book.
    pub epoch_theirs: Option<u64>,
}

/// All channels of one unit together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnitTotal {
    /// The unit.
    pub unit: Unit,
    /// What all friends owe the user, net of what the user owes them, in minor units.
    pub net: i128,
    /// What friends owe the user, in minor units.
    pub owed_to_me: u128,
    /// What the user owes friends, in minor units.
    pub owed_by_me: u128,
}

/// Who this wallet is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The user.
    pub user: UserKey,
    /// The book key of this device.
    pub book_key: SignerKey,
    /// What the user calls themselves.
    pub name: Option<String>,
    /// The user's homeserver (z-base-32).
    pub homeserver: Option<String>,
    /// Where the user takes records.
    pub plugins: Vec<PluginAddress>,
    /// The open units.
    pub units: Vec<Unit>,
    /// The number of the encryption key in force.
    pub encryption_key_number: u32,
    /// The number of the mark that this store wrote last.
    pub generation: u64,
    /// Changes that wait to be sent.
    pub outbox: u64,
}

impl Wallet {
    /// Balances with all friends, or with one; by unit, then by name.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn balances(
        &self,
        user: Option<&UserKey>,
        unit: Option<&Unit>,
    ) -> Result<Vec<ChannelView>, ClientError> {
        let mut conn = self.store().read().await?;
        let mut views = Vec::new();
        for row in pairs::list(&mut conn).await? {
            if user.is_some_and(|user| row.user != *user) {
                continue;
            }
            let Some(contact) = contacts::get(&mut conn, &row.user).await? else {
                continue;
            };
            let pair = books::parse(&row.body)?;
            let shown = channels(&mut conn, &pair, &contact).await?;
            let hidden = contact.status != ContactStatus::Friend;
            views.extend(shown.into_iter().filter(|view| {
                unit.is_none_or(|unit| view.unit == *unit) && !(hidden && view.net.minor() == 0)
            }));
        }
        views.sort_by(|a, b| (&a.unit, &a.friend, a.user).cmp(&(&b.unit, &b.friend, b.user)));
        Ok(views)
    }

    /// Lines of the history, newest first.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn history(&self, query: &HistoryQuery) -> Result<Vec<HistoryItem>, ClientError> {
        history::list(&mut *self.store().read().await?, query).await
    }

    /// What the user calls somebody; the key if nothing.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn name_of(&self, user: &UserKey) -> Result<String, ClientError> {
        let contact = contacts::get(&mut *self.store().read().await?, user).await?;
        Ok(contact.map_or_else(|| user.to_z32(), |contact| contact.name))
    }

    /// Who this wallet is.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn identity(&self) -> Result<Identity, ClientError> {
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let open = units::list(&mut conn).await?;
        Ok(Identity {
            user: self.user(),
            book_key: keys.pen.signer_key(),
            name: settings::get(&mut conn, settings::NAME).await?,
            homeserver: settings::get(&mut conn, settings::HOMESERVER).await?,
            plugins: access::plugins(&mut conn).await?,
            units: open.into_iter().map(|open| open.unit).collect(),
            encryption_key_number: keys.current()?.id().get(),
            generation: generation::current(&mut conn).await?,
            outbox: outbox::waiting(&mut conn, None).await?.0,
        })
    }
}

/// Sums channels by unit, in the order of the units.
#[must_use]
pub fn totals(views: &[ChannelView]) -> Vec<UnitTotal> {
    let mut totals: BTreeMap<&Unit, UnitTotal> = BTreeMap::new();
    for view in views {
        let net = i128::from(view.net.minor());
        let total = totals.entry(&view.unit).or_insert_with(|| UnitTotal {
            unit: view.unit.clone(),
            net: 0,
            owed_to_me: 0,
            owed_by_me: 0,
        });
        total.net += net;
        if net > 0 {
            total.owed_to_me += net.unsigned_abs();
        } else {
            total.owed_by_me += net.unsigned_abs();
        }
    }
    totals.into_values().collect()
}

/// All channels of a pair.
pub(crate) async fn channels(
    conn: &mut SqliteConnection,
    pair: &Pair,
    contact: &Contact,
) -> Result<Vec<ChannelView>, ClientError> {
    let mut views = Vec::new();
    for unit in pair.units() {
        views.push(channel(conn, pair, contact, &unit).await?);
    }
    Ok(views)
}

/// One channel of a pair.
pub(crate) async fn channel(
    conn: &mut SqliteConnection,
    pair: &Pair,
    contact: &Contact,
    unit: &Unit,
) -> Result<ChannelView, ClientError> {
    let ceiling = rules::verdict(conn, &contact.user, unit).await?.issue;
    let pending = inbox::count_held(conn, &contact.user).await?;
    let limits = pair.limits(unit, ceiling, now());
    let state = if pair.frozen(unit).is_some() {
        ChannelState::Frozen
    } else if pair.is_waiting() {
        ChannelState::WaitingForAck
    } else {
        ChannelState::Active
    };
    Ok(ChannelView {
        friend: contact.name.clone(),
        user: contact.user,
        unit: unit.clone(),
        net: limits.balance,
        line_for_them: limits.line_for_them.map_or(0, Total::minor),
        line_for_me: limits.line_for_me.map(Total::minor),
        own_ceiling: ceiling.map(Total::minor),
        can_issue: limits.can_issue,
        can_receive: limits.can_receive,
        due_to_me: limits.due_to_me,
        due_to_them: limits.due_to_them,
        promised_to_me: limits.promised_to_me,
        promised_to_them: limits.promised_to_them,
        unacknowledged: pair
            .own()
            .unit(unit)
            .map_or(0, |side| side.unacknowledged()),
        pending,
        state,
        epoch_mine: pair.own().epoch().map(|epoch| epoch.get()),
        epoch_theirs: pair.theirs().epoch().map(|epoch| epoch.get()),
    })
}
