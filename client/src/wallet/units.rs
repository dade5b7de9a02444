//! Opening and closing units. The root names, per unit, how much this device may let its user owe one friend.

use std::collections::BTreeMap;

use atomicity_ledger::authority::delegation_path;
use atomicity_ledger::pair::{LineTerms, NewBook, Pair};
use atomicity_ledger::{Epoch, Keypair, SignerKey, Total, Unit};
use sqlx::SqliteConnection;

use super::books::{self, Change};
use super::create::{check_root, next_serial};
use super::{Fault, RootKey, Wallet, now, profile};
use crate::error::ClientError;
use crate::store::contacts::{self, ContactStatus};
use crate::store::history::HistoryItem;
use crate::store::pairs::agent;
use crate::store::units::{self, OpenUnit};
use crate::store::{pairs, publications, settings};

/// What one may owe a friend in a unit that was opened without a cap: a hundred whole units.
pub const DEFAULT_CAP_WHOLE_UNITS: u64 = 100;

/// A unit that was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpenedUnit {
    /// The unit.
    pub unit: Unit,
    /// The most that this device may let its user owe one friend.
    pub cap: Total,
    /// Why it could not be published yet, if it couldn't.
    pub fault: Option<Fault>,
    /// Whether there is a homeserver to publish at.
    pub published: bool,
}

/// A unit that was closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClosedUnit {
    /// The unit.
    pub unit: Unit,
    /// Friends with whom something is still open in it.
    pub still_open_with: Vec<String>,
    /// Why it could not be published yet, if it couldn't.
    pub fault: Option<Fault>,
}

/// A change of the open units.
enum Edit {
    Open(OpenUnit),
    Close,
}

impl Wallet {
    /// Opens a unit, or changes its cap: a new delegation, a new profile, the Paykit endpoint, and a new book towards each friend,
    /// all by the root's word.
    ///
    /// # Errors
    /// [`ClientError::OtherRoot`], [`ClientError::BookKeyInUse`], or what the store says. What can't be published yet stands in
    /// the result.
    pub async fn open_unit(
        &self,
        root: &RootKey,
        unit: Unit,
        cap: Option<Total>,
    ) -> Result<OpenedUnit, ClientError> {
        let cap = match cap {
            Some(cap) => cap,
            None => default_cap(&unit)?,
        };
        let open = OpenUnit {
            unit: unit.clone(),
            cap: Some(cap),
            opened_at: now().millis(),
        };
        let (published, fault) = self.change_units(root, &unit, Edit::Open(open)).await?;
        Ok(OpenedUnit {
            unit,
            cap,
            fault,
            published,
        })
    }

    /// Closes a unit: nothing can be owed in it any more by this user. What is owed stays owed.
    ///
    /// # Errors
    /// [`ClientError::UnitNotOpen`], else as [`Wallet::open_unit`].
    pub async fn close_unit(&self, root: &RootKey, unit: Unit) -> Result<ClosedUnit, ClientError> {
        let (_, fault) = self.change_units(root, &unit, Edit::Close).await?;
        let mut conn = self.store().read().await?;
        let mut still_open_with = Vec::new();
        for row in pairs::list(&mut conn).await? {
            let balance = books::parse(&row.body)?.balance(&unit);
            if balance.minor() != 0 {
                let contact = contacts::get(&mut conn, &row.user).await?;
                still_open_with.push(contact.map_or_else(|| row.user.to_z32(), |c| c.name));
            }
        }
        Ok(ClosedUnit {
            unit,
            still_open_with,
            fault,
        })
    }

    /// The open units.
    ///
    /// # Errors
    /// [`ClientError::Store`] if the store can't be read.
    pub async fn open_units(&self) -> Result<Vec<OpenUnit>, ClientError> {
        units::list(&mut *self.store().read().await?).await
    }

    async fn change_units(
        &self,
        root: &RootKey,
        unit: &Unit,
        edit: Edit,
    ) -> Result<(bool, Option<Fault>), ClientError> {
        check_root(root, self.user())?;
        let online = match self.ensure_may_sign().await {
            Ok(()) => true,
            Err(ClientError::NoHomeserver) => false,
            Err(error) => return Err(error),
        };
        let mut change = self.change().await?;
        let what = match &edit {
            Edit::Open(open) => {
                units::put(change.conn(), open).await?;
                "opened"
            }
            Edit::Close if units::remove(change.conn(), unit).await? => "closed",
            Edit::Close => return Err(ClientError::UnitNotOpen(unit.clone())),
        };
        let device = change.keys.pen.signer_key();
        renew_delegation(change.conn(), root, device).await?;
        profile::renew(change.conn(), root, self.user()).await?;
        settings::set(change.conn(), settings::ENDPOINTS_STALE, "1").await?;
        reopen_books(&mut change, root.keypair()).await?;
        change
            .note(HistoryItem {
                unit: Some(unit.clone()),
                kind: "unit".to_owned(),
                note: Some(what.to_owned()),
                ..HistoryItem::default()
            })
            .await?;
        change.signed();
        change.commit().await?;
        if !online {
            return Ok((false, None));
        }
        let flushed = self.flush().await?;
        Ok((flushed.fault.is_none(), flushed.fault))
    }
}

fn default_cap(unit: &Unit) -> Result<Total, ClientError> {
    let minor = DEFAULT_CAP_WHOLE_UNITS.saturating_mul(unit.scale());
    Ok(Total::from_minor(minor.min(Total::MAX.minor()))?)
}

/// Signs the delegation of this device anew, with the open units as its limits, and plans its publication.
async fn renew_delegation(
    conn: &mut SqliteConnection,
    root: &RootKey,
    device: SignerKey,
) -> Result<(), ClientError> {
    let open = units::list(conn).await?;
    let serial = next_serial(conn).await?;
    let delegation = root.delegate(device, &open, serial, now())?;
    settings::set(conn, settings::DELEGATION, delegation.jws()).await?;
    let path = delegation_path(&device);
    let body = delegation.jws().as_bytes();
    publications::put(conn, &path, Some(body), now().millis()).await
}

/// What this user's books may let them owe one friend, per open unit.
pub(crate) async fn caps(
    conn: &mut SqliteConnection,
) -> Result<BTreeMap<Unit, Total>, ClientError> {
    let open = units::list(conn).await?;
    Ok(open
        .into_iter()
        .map(|open| (open.unit, open.cap.unwrap_or(Total::MAX)))
        .collect())
}

/// Opens a book towards `pair`'s peer with the caps in force, by the pen's own delegation or by the root, and returns what the
/// peer must get. Credit lines are signed anew for the new epoch.
pub(crate) async fn open_book(
    change: &mut Change,
    pair: &mut Pair,
    signer: &Keypair,
) -> Result<Vec<String>, ClientError> {
    let caps = caps(change.conn()).await?;
    let delegation = settings::need(change.conn(), settings::DELEGATION).await?;
    let now = change.now;
    pair.learn_own_authority(&delegation, now)?;
    let book = pair.open_book(
        NewBook {
            key: change.keys.pen.signer_key(),
            caps,
            continues: true,
            at_least: Epoch::ZERO,
        },
        signer,
        now,
    )?;
    change.signed();
    let mut records = vec![delegation, book.jws().to_owned()];
    // A line counts in the epoch of its book: whoever gets the new book first would refuse the old line.
    for terms in own_lines(pair) {
        let line = pair.set_line(terms, &change.keys.pen, now)?;
        records.push(line.jws().to_owned());
    }
    Ok(records)
}

/// The credit lines that this user gives the peer.
pub(crate) fn own_lines(pair: &Pair) -> Vec<LineTerms> {
    let lines = pair.units().into_iter().filter_map(|unit| {
        let line = pair.own().unit(&unit)?.line()?.record().clone();
        Some(LineTerms {
            unit: line.unit,
            accept: line.accept,
            min_amount: line.min_amount,
            max_deadline_s: line.max_deadline_s,
            slots: line.slots,
            unattended: line.unattended,
            logs_refused: line.logs_refused,
            expires: line.expires,
        })
    });
    lines.collect()
}

/// A new book towards every friend, for the caps have changed.
async fn reopen_books(change: &mut Change, root: &Keypair) -> Result<(), ClientError> {
    for friend in contacts::list(change.conn(), ContactStatus::Friend).await? {
        // The agent keeps its books as they are until they come back.
        if agent::keeps(change.conn(), &friend.user).await? {
            continue;
        }
        let Some(row) = pairs::get(change.conn(), &friend.user).await? else {
            continue;
        };
        let mut pair = books::parse(&row.body)?;
        let records = open_book(change, &mut pair, root).await?;
        change.save(&pair).await?;
        change.send(&friend.user, &records).await?;
    }
    Ok(())
}
