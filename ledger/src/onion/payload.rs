//! What one hop is to do.

use zeroize::Zeroizing;

use crate::amount::Amount;
use crate::error::LedgerError;
use crate::key::UserKey;
use crate::text::{Memo, RecordId};

/// The most bytes of the memo of a gift.
pub const MAX_GIFT_MEMO: usize = 140;

/// Bytes of a payload before it is sealed, whatever it says.
pub(super) const PAYLOAD: usize = 160;

const VERSION: u8 = 1;
const FORWARD: u8 = 1;
const DELIVER: u8 = 2;
const GIFT: u8 = 3;

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
                reply: match reader.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(unknown()),
                },
            },
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
    let text = std::str::from_utf8(reader.take(len)?).map_err(|_| unknown())?;
    text.parse().map(Some).map_err(|_| unknown())
}
