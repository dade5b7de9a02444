//! `atomicity:` links: an invoice, a request to be paid, or whom to pay and how much, as text that fits a QR code or a button.
//!
//! `atomicity:<invoice>` and `atomicity:<request>` hold a whole [`Invoice`] or [`PaymentRequest`] in compact form. `atomicity:<user>` with, if wanted, `?amount=5.00&unit=USD/2`
//! and `&memo=…` names a user; nobody signed that, so it is worth no more than the place where it was found.

use std::fmt;
use std::str::FromStr;

use crate::amount::Amount;
use crate::error::LedgerError;
use crate::jws::{MAX_RECORD_BYTES, Record as _, Signed, peek_typ};
use crate::key::UserKey;
use crate::record::{Invoice, PaymentRequest};
use crate::text::Memo;
use crate::unit::Unit;

/// The scheme, as it is printed. Any case is read.
pub const SCHEME: &str = "atomicity";
/// The longest link, in bytes: one with the longest record.
pub const MAX_LINK_BYTES: usize = SCHEME.len() + 1 + MAX_RECORD_BYTES;
/// The longest link to a user, in bytes.
pub const MAX_USER_LINK_BYTES: usize = 2048;

/// More than the longest amount has: 19 digits and a point.
const MAX_AMOUNT_BYTES: usize = 40;

/// What a link asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// To pay this invoice. Its signature was checked; whether the key that signed may do so for the payee was not.
    Invoice(Box<Signed<Invoice>>),
    /// To pay this request, or a part of it. What was checked of it is the same.
    Request(Box<Signed<PaymentRequest>>),
    /// To pay a user.
    User(UserLink),
}

/// Whom to pay, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserLink {
    /// Whom.
    pub user: UserKey,
    /// What, if the link says so.
    pub wanted: Option<Wanted>,
    /// What for.
    pub memo: Option<Memo>,
}

/// What a link wants to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// In what.
    pub unit: Unit,
    /// How much; the payer chooses if absent.
    pub amount: Option<Amount>,
}

impl From<Signed<Invoice>> for Link {
    fn from(invoice: Signed<Invoice>) -> Self {
        Self::Invoice(Box::new(invoice))
    }
}

impl From<Signed<PaymentRequest>> for Link {
    fn from(request: Signed<PaymentRequest>) -> Self {
        Self::Request(Box::new(request))
    }
}

impl From<UserKey> for Link {
    fn from(user: UserKey) -> Self {
        Self::User(UserLink {
            user,
            wanted: None,
            memo: None,
        })
    }
}

impl FromStr for Link {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        within(text, MAX_LINK_BYTES)?;
        let (_, rest) = text
            .split_once(':')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
            .ok_or(malformed("it must begin with atomicity:"))?;
        // A compact record has dots and no question mark; a key has neither.
        let (subject, query) = match rest.split_once('?') {
            None => (rest, None),
            Some((subject, query)) => (subject, Some(query)),
        };
        if !subject.contains('.') {
            within(text, MAX_USER_LINK_BYTES)?;
            return UserLink::read(subject, query).map(Self::User);
        }
        if query.is_some() {
            return Err(malformed("a record says all: nothing may follow it"));
        }
        if peek_typ(subject).is_ok_and(|typ| typ == PaymentRequest::TYP) {
            return Signed::<PaymentRequest>::decode(subject).map(Self::from);
        }
        Signed::<Invoice>::decode(subject).map(Self::from)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoice(invoice) => write!(f, "{SCHEME}:{}", invoice.jws()),
            Self::Request(request) => write!(f, "{SCHEME}:{}", request.jws()),
            Self::User(link) => link.fmt(f),
        }
    }
}

impl UserLink {
    fn read(user: &str, query: Option<&str>) -> Result<Self, LedgerError> {
        let user = user.parse()?;
        let (mut amount, mut unit, mut memo) = (None, None, None);
        for pair in query.map(|query| query.split('&')).into_iter().flatten() {
            let (name, value) = pair
                .split_once('=')
                .ok_or(malformed("after the question mark stand name=value pairs"))?;
            let slot = match name {
                "amount" => &mut amount,
                "unit" => &mut unit,
                "memo" => &mut memo,
                _ => {
                    return Err(malformed(
                        "it names something other than amount, unit, memo",
                    ));
                }
            };
            if slot.replace(decoded(value)?).is_some() {
                return Err(malformed("it names something twice"));
            }
        }
        let wanted = match (unit, amount) {
            (None, None) => None,
            (None, Some(_)) => return Err(malformed("an amount without a unit says nothing")),
            (Some(unit), amount) => Some(Wanted::read(&unit, amount.as_deref())?),
        };
        let memo = memo.map(Memo::try_from).transpose()?;
        Ok(Self { user, wanted, memo })
    }
}

impl Wanted {
    fn read(unit: &str, amount: Option<&str>) -> Result<Self, LedgerError> {
        let unit: Unit = unit.parse()?;
        if amount.is_some_and(|text| text.len() > MAX_AMOUNT_BYTES) {
            return Err(malformed("its amount has more digits than any amount"));
        }
        let minor = amount.map(|text| unit.parse_minor(text)).transpose()?;
        let amount = minor.map(Amount::from_minor).transpose()?;
        Ok(Self { unit, amount })
    }
}

impl fmt::Display for UserLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}:{}", self.user)?;
        let wanted = self.wanted.as_ref();
        let amount = wanted.and_then(|w| Some(w.unit.format_minor(w.amount?.minor())));
        let unit = wanted.map(|w| w.unit.to_string());
        let memo = self.memo.as_ref().map(Memo::to_string);
        let named = [("amount", amount), ("unit", unit), ("memo", memo)];
        let mut mark = '?';
        for (name, value) in named {
            let Some(value) = value else { continue };
            write!(f, "{mark}{name}=")?;
            encoded(&value, f)?;
            mark = '&';
        }
        Ok(())
    }
}

/// What may stand in a value as it is: what RFC 3986 §3.4 allows in a query, except the mark between two pairs.
fn stands_for_itself(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/:@!$'()*,;?+=".contains(&byte)
}

/// Writes much less as it is: some readers take a plus sign for a space, or end a link at a bracket.
fn encoded(value: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            write!(f, "{}", char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn decoded(value: &str) -> Result<String, LedgerError> {
    let broken = malformed("what is no letter or digit is written as % and two hex digits");
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let mut bytes = value.bytes();
    let mut read = Vec::with_capacity(value.len());
    while let Some(byte) = bytes.next() {
        if stands_for_itself(byte) {
            read.push(byte);
            continue;
        }
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(broken);
        };
        let decoded = u8::try_from(high << 4 | low).ok();
        let decoded = decoded.filter(|_| byte == b'%');
        read.push(decoded.ok_or_else(|| broken.clone())?);
    }
    String::from_utf8(read).map_err(|_| malformed("it is not UTF-8"))
}

fn within(text: &str, max: usize) -> Result<(), LedgerError> {
    if text.len() <= max {
        return Ok(());
    }
    Err(LedgerError::TooLarge {
        what: "the link",
        bytes: text.len(),
        max,
    })
}

fn malformed(why: &'static str) -> LedgerError {
    LedgerError::TextInvalid { what: "link", why }
}
