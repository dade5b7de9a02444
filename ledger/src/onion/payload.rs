//! What one hop is to do.

use zeroize::Zeroizing;

use crate::amount::Amount;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::text::{Memo, RecordId};
use crate::unit::Unit;

/// The most bytes of the memo of a gift.
pub const MAX_GIFT_MEMO: usize = 140;

/// Bytes of a payload before it is sealed, whatever it says.
pub(super) const PAYLOAD: usize = 160;

const VERSION: u8 = 1;
const FORWARD: u8 = 1;
const DELIVER: u8 = 2;
const GIFT: u8 = 3;
const EXCHANGE: u8 = 4;

/// What one hop is to do with the promise that carries the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Promise `amount` onward to `next`, on the same terms.
    Forward {
        /// To whom.
        next: UserKey,
        /// How much; what the incoming promise exceeds it by is the hop's fee.
        amount: Amount,
        /// Whether the payer asks to be shown that promise, because the payee is away.
        reply: bool,
    },
    /// Promise `amount` of another unit onward to `next`, at the hop's published rate and on the same terms.
    Exchange {
        /// To whom.
        next: UserKey,
        /// What is promised onward.
        unit: Unit,
        /// How much; what is asked for it and for the hop's fee was promised in the unit that came.
        amount: Amount,
        /// As with [`Payload::Forward`].
        reply: bool,
    },
    /// The promise pays an invoice of the one who opens this, or a part of it.
    Deliver {
        /// The invoice.
        invoice: RecordId,
        /// What arrives in all parts together.
        total: Amount,
    },
    /// The promise is a payment that no invoice asked for.
    Gift {
        /// A few words, at most [`MAX_GIFT_MEMO`] bytes.
        memo: Option<Memo>,
    },
}

/// Writes fields one after the other; what is left over stays zero.
struct Writer {
    bytes: Zeroizing<[u8; PAYLOAD]>,
    at: usize,
}

impl Writer {
    fn put(&mut self, field: &[u8]) {
        for byte in field {
            if let Some(slot) = self.bytes.get_mut(self.at) {
                *slot = *byte;
            }
            self.at += 1;
        }
    }
}

/// Reads them again.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], LedgerError> {
        let (field, rest) = self.0.split_at_checked(n).ok_or(unknown())?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LedgerError> {
        self.take(N)?.try_into().map_err(|_| unknown())
    }

    fn byte(&mut self) -> Result<u8, LedgerError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn amount(&mut self) -> Result<Amount, LedgerError> {
        Amount::from_minor(u64::from_be_bytes(self.array()?)).map_err(|_| unknown())
    }

    fn flag(&mut self) -> Result<bool, LedgerError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(unknown()),
        }
    }

    fn text(&mut self, len: usize) -> Result<&'a str, LedgerError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| unknown())
    }

    /// Nothing may follow but zeros: one payload has one form.
    fn end(self) -> Result<(), LedgerError> {
        if self.0.iter().all(|byte| *byte == 0) {
            Ok(())
        } else {
            Err(unknown())
        }
    }
}

fn unknown() -> LedgerError {
    LedgerError::LayersInvalid("they hold no instruction that this version knows")
}

impl Payload {
    /// To whom something is to be promised onward, if anything is.
    #[must_use]
    pub fn next(&self) -> Option<UserKey> {
        match self {
            Self::Forward { next, .. } | Self::Exchange { next, .. } => Some(*next),
            Self::Deliver { .. } | Self::Gift { .. } => None,
        }
    }

    pub(super) fn encode(&self) -> Result<Zeroizing<[u8; PAYLOAD]>, LedgerError> {
        let mut out = Writer {
            bytes: Zeroizing::new([0; PAYLOAD]),
            at: 0,
        };
        out.put(&[VERSION]);
        match self {
            Self::Forward {
                next,
                amount,
                reply,
            } => {
                out.put(&[FORWARD]);
                out.put(next.as_bytes());
                out.put(&amount.minor().to_be_bytes());
                out.put(&[u8::from(*reply)]);
            }
            Self::Exchange {
                next,
                unit,
                amount,
                reply,
            } => {
                out.put(&[EXCHANGE]);
                out.put(next.as_bytes());
                out.put(&amount.minor().to_be_bytes());
                out.put(&[u8::from(*reply)]);
                let unit = unit.to_string();
                let len = u8::try_from(unit.len()).ok();
                out.put(&[len.ok_or(unknown())?]);
                out.put(unit.as_bytes());
            }
            Self::Deliver { invoice, total } => {
                out.put(&[DELIVER]);
                out.put(invoice.as_bytes());
                out.put(&total.minor().to_be_bytes());
            }
            Self::Gift { memo } => {
                let memo = memo.as_ref().map_or("", Memo::as_str);
                let too_long = LedgerError::TooLarge {
                    what: "memo of a gift",
                    bytes: memo.len(),
                    max: MAX_GIFT_MEMO,
                };
                let len = u8::try_from(memo.len()).ok();
                let len = len.filter(|len| usize::from(*len) <= MAX_GIFT_MEMO);
                out.put(&[GIFT, len.ok_or(too_long)?]);
                out.put(memo.as_bytes());
            }
        }
        Ok(out.bytes)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let mut reader = Reader(bytes);
        if bytes.len() != PAYLOAD || reader.byte()? != VERSION {
            return Err(unknown());
        }
        let payload = match reader.byte()? {
            FORWARD => Self::Forward {
                next: UserKey::from_bytes(reader.array()?).map_err(|_| unknown())?,
                amount: reader.amount()?,
                reply: reader.flag()?,
            },
            EXCHANGE => {
                let next = UserKey::from_bytes(reader.array()?).map_err(|_| unknown())?;
                let (amount, reply) = (reader.amount()?, reader.flag()?);
                let len = usize::from(reader.byte()?);
                Self::Exchange {
                    next,
                    unit: reader.text(len)?.parse().map_err(|_| unknown())?,
                    amount,
                    reply,
                }
            }
            DELIVER => Self::Deliver {
                invoice: RecordId::from_entropy(reader.array()?),
                total: reader.amount()?,
            },
            GIFT => Self::Gift {
                memo: read_memo(&mut reader)?,
            },
            _ => return Err(unknown()),
        };
        reader.end()?;
        Ok(payload)
    }
}

fn read_memo(reader: &mut Reader<'_>) -> Result<Option<Memo>, LedgerError> {
    let len = usize::from(reader.byte()?);
    if len == 0 {
        return Ok(None);
    }
    if len > MAX_GIFT_MEMO {
        return Err(unknown());
    }
    reader.text(len)?.parse().map(Some).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::key::Keypair;

    #[test]
    fn an_exchange_has_one_form() {
        let longest = "A1234567890123456/18";
        for unit in ["COFFEE", "USD/2", longest] {
            let payload = Payload::Exchange {
                next: Keypair::from_secret(&[7; 32]).user_key(),
                unit: unit.parse().unwrap(),
                amount: Amount::from_minor(500).unwrap(),
                reply: true,
            };
            let bytes = payload.encode().unwrap();
            assert_eq!(Payload::decode(&*bytes).unwrap(), payload);
            // Kind, key, amount, flag, length, text: each of them spoilt.
            let length = 2 + 32 + 8 + 1;
            for (at, byte) in [
                (1, 5),
                (length - 1, 2),
                (length, 0),
                (length, 200),
                (length, bytes[length] + 1),
                (length + 1, b'a'),
                (length + 1, 0xff),
                (length + 1 + unit.len(), b'0'),
            ] {
                let mut spoilt = bytes.clone();
                spoilt[at] = byte;
                assert!(Payload::decode(&*spoilt).is_err(), "{unit}: {byte} at {at}");
            }
        }
    }
}
