//! What is signed: one module for each type of record.

mod ack;
mod advert;
mod book;
mod conditional_iou;
mod contacts;
mod credit_line;
mod delegation;
mod diary;
mod endpoints;
mod invoice;
mod manifest;
mod part;
mod payment;
mod profile;
mod publication;
mod rates;
mod rating;
mod refusal;
mod release;
mod reply;
mod request;
mod settlement;
mod settlement_answer;
mod snapshot;
mod spend;
mod state;
mod target;
mod view;

pub use ack::{Ack, AckItem, BookAck, IouAck, MAX_HELD, StateAck, UnitBase};
pub use advert::{Advert, AdvertUnit, Clears, Intake, MAX_PPM, Offer, advert_path, coarse, fee};
pub use book::{Book, Carried, UnitCap};
pub use conditional_iou::{ConditionalIou, LogTerm, MAX_TERM_LOGS, Terms};
pub use contacts::{Contact, Contacts};
pub use credit_line::{CreditLine, Unattended};
pub use delegation::{Delegation, DelegationLimit, Revocation, Scope};
pub use diary::{Diary, DiaryDirection, DiaryEntry, MAX_ENTRIES as MAX_DIARY_ENTRIES};
pub use endpoints::{Endpoint, Endpoints, MAX_ENDPOINTS};
pub use invoice::{Hint, Invoice, InvoiceLog};
pub use manifest::{MAX_RECORDS as MAX_BUNDLE_RECORDS, Manifest, ManifestEntry};
pub use part::{Part, PartAnswer, PartReason, PartSaid, ReplyTo, turn_part};
pub use payment::Payment;
pub use profile::{EncryptionKeyEntry, Inbox, Profile};
pub use publication::{LogProof, Publication};
pub use rates::{MAX_RATES, RATES_PATH, Rate, Rates};
pub use rating::{Rating, RatingKind, Verdict, rating_path};
pub use refusal::Refusal;
pub use release::{Release, ReleaseReason};
pub use reply::Reply;
pub use request::{
    Every, Goal, MAX_TURNS, PaymentRequest, Period, RequestState, request_path, request_state_path,
};
pub use settlement::{ClaimRef, Settlement};
pub use settlement_answer::{SettleReason, SettlementAnswer, SettlementSaid, SettlementWithdrawal};
pub use snapshot::{Snapshot, SnapshotChannel};
pub use spend::{Pass, Spend, SpendTo};
pub use state::State;
pub use target::{LIGHTNING_INVOICE, MAX_TARGETS, MILLISATOSHI_PLACES, Pays, Target};
pub use view::View;

use crate::error::LedgerError;
use crate::jws::{Record, RecordHash, Signed, peek_typ};
use crate::key::{SignerKey, UserKey};

macro_rules! any_record {
    ($($name:ident),* $(,)?) => {
        /// A record of any type, its signature checked.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum AnyRecord {
            $($name(Signed<$name>)),*
        }

        impl AnyRecord {
            /// Every type that there is.
            pub const TYPES: &[&str] = &[$(<$name as Record>::TYP),*];

            /// Reads a record of whatever type its header names and checks its signature.
            ///
            /// # Errors
            /// [`LedgerError::UnknownType`] for a type that this version does not know; else as [`Signed::decode`].
            pub fn decode(jws: &str) -> Result<Self, LedgerError> {
                let typ = peek_typ(jws)?;
                match typ.as_str() {
                    $(<$name as Record>::TYP => Signed::decode(jws).map(Self::$name),)*
                    _ => Err(LedgerError::UnknownType(typ.chars().take(64).collect())),
                }
            }

            /// The type in the header.
            #[must_use]
            pub fn typ(&self) -> &'static str {
                match self { $(Self::$name(_) => <$name as Record>::TYP),* }
            }

            /// The user in whose name it speaks.
            #[must_use]
            pub fn author(&self) -> UserKey {
                match self { $(Self::$name(signed) => signed.record().author()),* }
            }

            /// The key that signed.
            #[must_use]
            pub fn kid(&self) -> SignerKey {
                match self { $(Self::$name(signed) => signed.kid()),* }
            }

            /// The hash of the compact form.
            #[must_use]
            pub fn hash(&self) -> RecordHash {
                match self { $(Self::$name(signed) => signed.hash()),* }
            }

            /// The compact form.
            #[must_use]
            pub fn jws(&self) -> &str {
                match self { $(Self::$name(signed) => signed.jws()),* }
            }
        }

        $(impl From<Signed<$name>> for AnyRecord {
            fn from(signed: Signed<$name>) -> Self {
                Self::$name(signed)
            }
        })*
    };
}

any_record!(
    Ack,
    Advert,
    Book,
    ConditionalIou,
    Contacts,
    CreditLine,
    Delegation,
    Diary,
    Endpoints,
    Invoice,
    Manifest,
    Part,
    PartAnswer,
    Pass,
    Payment,
    PaymentRequest,
    Profile,
    Publication,
    Rates,
    Rating,
    Refusal,
    Release,
    Reply,
    RequestState,
    Revocation,
    Settlement,
    SettlementAnswer,
    SettlementWithdrawal,
    Snapshot,
    Spend,
    State,
    View,
);

/// Checks that a list is strictly ascending by `key`, so that it holds nothing twice and has one spelling.
fn ascending<'a, T, K: Ord>(items: &'a [T], key: impl Fn(&'a T) -> K) -> bool {
    items.windows(2).all(|pair| key(&pair[0]) < key(&pair[1]))
}

/// A `Contradiction` of record type `typ`, unless `holds`.
fn rule(typ: &'static str, holds: bool, why: &'static str) -> Result<(), LedgerError> {
    if holds {
        Ok(())
    } else {
        Err(LedgerError::Contradiction { typ, why })
    }
}
