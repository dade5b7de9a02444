//! Who can pay whom how much, now.

use super::Pair;
use crate::amount::{Amount, Balance, Total};
use crate::error::LedgerError;
use crate::money::Money;
use crate::time::Timestamp;
use crate::unit::Unit;

/// The limits of one channel, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// What the peer owes the owner, net.
    pub balance: Balance,
    /// What the peer lets the owner owe; `None` if no line was heard of, which counts as nothing.
    pub line_for_me: Option<Total>,
    /// What the owner lets the peer owe; `None` if no line was set.
    pub line_for_them: Option<Total>,
    /// The most that the owner's book key may let the owner owe this peer: the book's cap, within the delegation.
    pub book_cap: Total,
    /// The most that the owner allows themselves to owe this peer.
    pub own_ceiling: Option<Total>,
    /// The smallest payment that the peer takes.
    pub min_amount: Option<Amount>,
    /// What the peer owes beyond the balance: due, proven, and not yet booked; in minor units.
    pub due_to_me: u64,
    /// What the owner owes beyond the balance in the same way.
    pub due_to_them: u64,
    /// What the peer has promised and is undecided; it reserves the owner's credit line.
    pub promised_to_me: u64,
    /// What the owner has promised and is undecided; it reserves the peer's credit line.
    pub promised_to_them: u64,
    /// What the owner can pay now, in minor units.
    pub can_issue: u64,
    /// What the peer can pay now as far as the owner knows, in minor units.
    pub can_receive: u64,
}

impl Pair {
    /// Both limits in `unit` at `now`; `own_ceiling` is the most that the owner wants to owe this peer.
    #[must_use]
    pub fn limits(&self, unit: &Unit, own_ceiling: Option<Total>, now: Timestamp) -> Limits {
        let balance = self.balance(unit);
        let line = |side: &super::Side| {
            side.units
                .get(unit)
                .and_then(|u| u.line.as_ref())
                .map(|line| (line.record().accept_at(now), line.record().min_amount))
        };
        let for_me = line(&self.theirs);
        let for_them = line(&self.own);
        let book_cap = super::cap_now(&self.own, self.peer, unit, now);
        let bound = for_me
            .map_or(Total::ZERO, |(accept, _)| accept)
            .min(book_cap)
            .min(own_ceiling.unwrap_or(Total::MAX));
        let beyond = |side: &super::Side| {
            let unit = side.units.get(unit);
            unit.map_or((0, 0), |u| (u.due_unbooked(), u.undecided()))
        };
        let ((due_to_them, promised_to_them), (due_to_me, promised_to_me)) =
            (beyond(&self.own), beyond(&self.theirs));
        Limits {
            balance,
            due_to_me,
            due_to_them,
            promised_to_me,
            promised_to_them,
            line_for_me: for_me.map(|(accept, _)| accept),
            line_for_them: for_them.map(|(accept, _)| accept),
            book_cap,
            own_ceiling,
            min_amount: for_me.map(|(_, min)| min),
            can_issue: room(bound, self.own_exposure(unit)),
            can_receive: room(self.accept(unit, now), self.peer_exposure(unit)),
        }
    }

    /// Refuses a payment above what the peer takes or the owner allows, in words that name the limit that binds.
    pub(super) fn check_limits(
        &self,
        unit: &Unit,
        amount: Amount,
        own_ceiling: Option<Total>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let limits = self.limits(unit, own_ceiling, now);
        let words = |minor: u64| format!("{} {}", unit.format_minor(minor), unit.code());
        let wanted = Money {
            amount,
            unit: unit.clone(),
        }
        .to_string();
        if amount.minor() > limits.can_issue {
            return Err(LedgerError::LimitExceeded {
                wanted,
                available: words(limits.can_issue),
                why: limits.why(unit),
            });
        }
        match limits.min_amount {
            Some(min) if amount < min => Err(LedgerError::BelowMinimum {
                wanted,
                smallest: words(min.minor()),
            }),
            _ => Ok(()),
        }
    }
}

impl Limits {
    fn why(&self, unit: &Unit) -> String {
        let words = |minor: u64| format!("{} {}", unit.format_minor(minor), unit.code());
        let owed = self.balance.mirrored().minor();
        let mut standing = if owed >= 0 {
            format!("you owe them {}", words(owed.unsigned_abs()))
        } else {
            format!("they owe you {}", words(owed.unsigned_abs()))
        };
        let promised = self.promised_to_them.saturating_add(self.due_to_them);
        if promised > 0 {
            standing.push_str(&format!(" and have promised {}", words(promised)));
        }
        let Some(line) = self.line_for_me else {
            return format!("this friend has given you no credit line in {unit}; {standing}");
        };
        let tightest = line
            .min(self.book_cap)
            .min(self.own_ceiling.unwrap_or(Total::MAX));
        let limit = if self.own_ceiling == Some(tightest) && tightest < line {
            format!(
                "you want to owe this friend at most {}",
                words(tightest.minor())
            )
        } else if self.book_cap == tightest && tightest < line {
            format!(
                "this device may let you owe a friend at most {}",
                words(tightest.minor())
            )
        } else {
            format!("this friend lets you owe {}", words(line.minor()))
        };
        format!("{limit}, and {standing}")
    }
}

/// What still fits under `bound` for one who owes `owed` net: a negative debt adds.
fn room(bound: Total, owed: Balance) -> u64 {
    let room = i128::from(bound.minor()) - i128::from(owed.minor());
    u64::try_from(room.max(0)).unwrap_or(u64::MAX)
}
