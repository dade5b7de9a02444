//! Signing for the user, within all limits that they set.

use atomicity_ledger::pair::PaymentNote;
use atomicity_ledger::{Amount, AnyRecord, Unit, UserKey};

use super::change::Change;
use super::{refused, store};
use crate::error::PluginError;

const DAY_MS: u64 = 86_400_000;

/// Sums of a day, for a limit that is a day's.
pub struct Spending {
    /// To whom.
    pub peer: UserKey,
    /// In what.
    pub unit: Unit,
    /// How much.
    pub amount: Amount,
}

/// Counts what is spent against the limits of the day.
///
/// # Errors
/// `day_limit_exceeded`, what the root's word says no to, [`PluginError::Database`].
pub async fn count(change: &mut Change, spending: &Spending) -> Result<(), PluginError> {
    let (owner, now) = (change.keeper.owner, change.now);
    let unit = spending.unit.to_string();
    let day = i64::try_from(now.millis() / DAY_MS).unwrap_or(i64::MAX);
    let minor = |minor: u64| i64::try_from(minor).unwrap_or(i64::MAX);
    let authority = change.keeper.authority_for(spending.peer, now);
    let in_all = match authority.map_err(|error| refused(&error))? {
        atomicity_ledger::authority::Authority::Delegation(delegation) => delegation
            .limit_for(&spending.unit)
            .and_then(|limit| limit.per_day),
        _ => None,
    };
    let settings = change.pair(&spending.peer).map(|l| &l.settings);
    let of_peer = settings
        .and_then(|settings| settings.unit(&spending.unit))
        .and_then(|unit| unit.per_day);
    let amount = minor(spending.amount.minor());
    for (peer, most) in [(spending.peer, of_peer), (owner, in_all)] {
        let Some(most) = most else { continue };
        let sums = (amount, minor(most.minor()));
        if !store::spend(change.tx(), &owner, &peer, (&unit, day), sums).await? {
            return Err(PluginError::Refused {
                code: "day_limit_exceeded",
                detail: "what may be issued on one day does not leave room for this".to_owned(),
            });
        }
    }
    Ok(())
}

/// Signs a payment to a friend whose books are locked, within all limits: the state, and the payment.
///
/// # Errors
/// `pair_unknown`; what the rules of the books say no to; as [`count`].
pub async fn sign(
    change: &mut Change,
    spending: &Spending,
    note: PaymentNote,
) -> Result<[AnyRecord; 2], PluginError> {
    let now = change.now;
    let (loaded, pen) = change.pair_mut(&spending.peer)?;
    let ceiling = Some(loaded.settings.ceiling(&spending.unit));
    let issued = loaded
        .pair
        .issue(&spending.unit, spending.amount, ceiling, note, pen, now)
        .map_err(|error| refused(&error))?;
    count(change, spending).await?;
    Ok([
        AnyRecord::from(issued.state),
        AnyRecord::from(issued.payment),
    ])
}
