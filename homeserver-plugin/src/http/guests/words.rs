//! What is said of guest parts on the wire.

use atomicity_ledger::{Amount, Name, RecordId, Timestamp, Unit};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::db::guests::{Row, State, Way};
use crate::error::PluginError;

/// Longest reason.
const MAX_REASON: usize = 64;
/// Longest Lightning invoice: twice what wallets make.
const MAX_INVOICE: usize = 2048;
/// Longest address on the chain.
const MAX_ADDRESS: usize = 100;
/// Thousandths of a satoshi in one, and satoshis in a bitcoin.
const MSAT: i64 = 1_000;
const SATOSHIS: i64 = 100_000_000;

/// What a guest wants to pay of a request.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGuestPart {
    /// Sixteen random bytes, base64url: whoever knows it sees how far the part is.
    #[schema(value_type = String, min_length = 22, max_length = 22)]
    pub id: RecordId,
    /// How much, in minor units of the request.
    #[schema(value_type = String)]
    pub amount: Amount,
    /// How.
    pub way: Way,
    /// What the guest calls themselves, at most 40 characters and 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub name: Option<Name>,
}

/// A guest part, and how far it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GuestPartView {
    /// Its name.
    pub id: String,
    /// Of which request of the payee.
    pub request: String,
    /// In what.
    #[schema(example = "USD/2")]
    pub unit: String,
    /// How it is paid.
    pub way: Way,
    /// How much, in minor units: as asked for, then as the wallet offered it, then as it came.
    #[schema(example = "3000")]
    pub amount: String,
    /// What the guest calls themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `waiting` (the wallet has not answered), `offered` (it can be paid), `seen` (the payment is under way), `paid`, `refused`, `ended`.
    pub state: String,
    /// When it was made, Unix milliseconds.
    pub at: i64,
    /// Until when the wallet can answer; once it has, until when it can be paid.
    pub expires: i64,
    /// What is to be paid, in thousandths of a satoshi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_msat: Option<String>,
    /// The BOLT 11 invoice to be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<String>,
    /// The address to pay to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What opens a wallet of the payer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Why it was refused: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl GuestPartView {
    /// A guest part as it is shown at `now`.
    #[must_use]
    pub fn of(row: &Row, now: i64) -> Self {
        let target = |way| row.target.clone().filter(|_| row.way == way);
        Self {
            id: row.id.clone(),
            request: row.request.clone(),
            unit: row.unit.clone(),
            way: row.way,
            amount: row.amount.to_string(),
            name: row.name.clone(),
            state: row.state_at(now).word().to_owned(),
            at: row.at,
            expires: row.expires,
            price_msat: row.price_msat.map(|msat| msat.to_string()),
            invoice: target(Way::Lightning),
            address: target(Way::Onchain),
            uri: uri(row),
            reason: row.reason.clone(),
        }
    }
}

/// What opens a wallet of the payer. Capital letters make a smaller code of an invoice.
fn uri(row: &Row) -> Option<String> {
    let target = row.target.as_deref()?;
    Some(match row.way {
        Way::Lightning => format!("lightning:{}", target.to_ascii_uppercase()),
        Way::Onchain => format!("bitcoin:{target}?amount={}", bitcoins(row.price_msat?)),
    })
}

/// Whole satoshis as a decimal number of bitcoins.
fn bitcoins(msat: i64) -> String {
    let satoshis = msat / MSAT;
    let number = format!("{}.{:08}", satoshis / SATOSHIS, satoshis % SATOSHIS);
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}

/// Guest parts, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct GuestPartList {
    /// At most two hundred.
    pub(super) items: Vec<GuestPartView>,
}

/// Which guest parts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct GuestPartsQuery {
    /// Only those that wait for the wallet, or can be paid.
    #[serde(default)]
    pub(super) open: bool,
}

/// A way by which a wallet takes what guests pay.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestWay {
    /// How.
    pub way: Way,
    /// Of requests in this unit.
    #[schema(value_type = String, example = "USD/2")]
    pub unit: Unit,
}

/// All ways by which a wallet takes what guests pay.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestWays {
    /// At most two hundred.
    pub ways: Vec<GuestWay>,
}

/// What a wallet says of a guest part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestWord {
    /// It can be paid.
    Offered,
    /// The payment is under way.
    Seen,
    /// It was paid.
    Paid,
    /// It is not taken.
    Refused,
    /// It was not paid in time.
    Ended,
}

impl From<GuestWord> for State {
    fn from(word: GuestWord) -> Self {
        match word {
            GuestWord::Offered => Self::Offered,
            GuestWord::Seen => Self::Seen,
            GuestWord::Paid => Self::Paid,
            GuestWord::Refused => Self::Refused,
            GuestWord::Ended => Self::Ended,
        }
    }
}

/// What a wallet makes of a guest part.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestReport {
    /// How far it is.
    pub state: GuestWord,
    /// How much is offered, or was paid, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub amount: Option<Amount>,
    /// The BOLT 11 invoice that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub invoice: Option<String>,
    /// The address that is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub address: Option<String>,
    /// What is to be paid, in thousandths of a satoshi; on the chain whole satoshis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub price_msat: Option<Amount>,
    /// Until when it can be paid, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    pub expires: Option<Timestamp>,
    /// Why it is refused: a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 64)]
    pub reason: Option<String>,
}

/// That a body is none of a guest part.
pub(super) fn invalid(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "guest_part_invalid",
        detail: detail.into(),
    }
}

/// Checks that a report says what belongs to its state and nothing else.
///
/// # Errors
/// `guest_part_invalid`.
pub(super) fn check(report: &GuestReport, row: &Row) -> Result<(), PluginError> {
    let said = [
        report.amount.is_some(),
        report.price_msat.is_some(),
        report.expires.is_some(),
        report.invoice.is_some() || report.address.is_some(),
        report.reason.is_some(),
    ];
    let fits = match report.state {
        GuestWord::Offered => [true, true, true, true, false],
        GuestWord::Seen | GuestWord::Ended => [false; 5],
        GuestWord::Paid => [true, false, false, false, false],
        GuestWord::Refused => [false, false, false, false, true],
    };
    if said != fits {
        return Err(invalid(
            "an offer has amount, price_msat, expires, and invoice or address; `paid` an amount, `refused` a reason, the others nothing",
        ));
    }
    if let Some(reason) = &report.reason {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if reason.is_empty() || reason.len() > MAX_REASON || !reason.bytes().all(letter) {
            return Err(invalid("a reason is a code"));
        }
    }
    match report.state {
        GuestWord::Offered => check_offer(report, row),
        _ => Ok(()),
    }
}

fn check_offer(report: &GuestReport, row: &Row) -> Result<(), PluginError> {
    let (target, most) = match (row.way, &report.invoice, &report.address) {
        (Way::Lightning, Some(invoice), None) => (invoice, MAX_INVOICE),
        (Way::Onchain, None, Some(address)) => (address, MAX_ADDRESS),
        (Way::Lightning, ..) => return Err(invalid("over Lightning an invoice is offered")),
        (Way::Onchain, ..) => return Err(invalid("on the chain an address is offered")),
    };
    let letters = target.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if target.is_empty() || target.len() > most || !letters {
        return Err(invalid("that is no invoice, or no address"));
    }
    let part = report
        .price_msat
        .is_some_and(|price| price.minor() % MSAT.unsigned_abs() != 0);
    if row.way == Way::Onchain && part {
        return Err(invalid("on the chain whole satoshis are paid"));
    }
    let expires = report.expires.map(|until| until.millis());
    if expires.and_then(|until| i64::try_from(until).ok()) <= Some(row.at) {
        return Err(invalid("it would be over already"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitcoins_are_written_as_wallets_read_them() {
        for (msat, text) in [
            (1_000, "0.00000001"),
            (45_000_000, "0.00045"),
            (100_000_000_000, "1"),
            (2_150_000_000_000, "21.5"),
            (1_000_000_000_000, "10"),
        ] {
            assert_eq!(bitcoins(msat), text);
        }
    }
}
