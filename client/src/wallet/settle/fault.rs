//! Why a debt is not paid off.

use atomicity_ledger::record::{Pays, SettleReason};

/// Why a settlement can't be made, or was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettleFault {
    /// The invoice can't be used. Nothing was signed.
    #[error("this invoice can't be used: {0}")]
    InvoiceUnusable(String),
    /// The invoice asks for something else than the user expects. Nothing was signed.
    #[error("the invoice asks for {asked}, not for {given}")]
    AmountDiffers {
        /// What it asks for.
        asked: String,
        /// What was given.
        given: String,
    },
    /// The friend did not accept it, or accepted and did not pay. The claim is what it was.
    #[error("it was not paid, and your claim is what it was: {}", reason.code())]
    NotPaid {
        /// Why.
        reason: SettleReason,
        /// What the friend would pay instead.
        offer: Option<Pays>,
    },
    /// No friend who owes so much can pay by Lightning, as far as is known. Nothing was signed.
    #[error("nobody who owes you so much can pay by Lightning, as far as is known")]
    Nobody {
        /// Who owes so much.
        owing: Vec<String>,
    },
    /// Nobody knows yet what becomes of it.
    #[error("settlement {0} is not decided yet: `atomicity sync` or `watch` goes on with it")]
    Undecided(String),
    /// There is no such settlement.
    #[error("there is no settlement {0}")]
    Unknown(String),
    /// The request does not wait for the user's word.
    #[error("settlement {0} does not wait for your word: it is {1}")]
    NotWaiting(String, &'static str),
    /// It can't be taken back any more.
    #[error("settlement {0} can't be taken back: it is {1}")]
    Ended(String, &'static str),
    /// No rail has this name.
    #[error("there is no rail {0:?}")]
    RailUnknown(String),
    /// Another rail has this name.
    #[error("there is a rail {0:?} already")]
    RailExists(String),
    /// A payment that is not decided hangs on the rail.
    #[error("a payment that is not decided yet hangs on the rail {0:?}")]
    RailInUse(String),
    /// Nothing of it is to be paid by hand now.
    #[error("nothing of settlement {0} is to be paid by hand now: it is {1}")]
    NotByHand(String, &'static str),
    /// It can't be confirmed or disputed.
    #[error("settlement {0} can't be {1}: it is {2}")]
    NotConfirmable(String, &'static str, &'static str),
    /// There is no rate.
    #[error("there is no rate: {why}")]
    Rate {
        /// The source's own code.
        code: &'static str,
        /// In words.
        why: String,
    },
    /// The rail can't be used.
    #[error("the rail can't be used: {why}")]
    Rail {
        /// The rail's own code.
        code: &'static str,
        /// In words.
        why: String,
    },
}

impl SettleFault {
    /// A stable name, for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvoiceUnusable(_) => "invoice_unusable",
            Self::AmountDiffers { .. } => "amount_differs",
            Self::NotPaid { reason, .. } => reason.code(),
            Self::Nobody { .. } => "nobody_can_settle",
            Self::Undecided(_) => "undecided",
            Self::Unknown(_) => "settlement_unknown",
            Self::NotWaiting(..) => "not_waiting",
            Self::Ended(..) => "settlement_ended",
            Self::RailUnknown(_) => "rail_unknown",
            Self::RailExists(_) => "rail_exists",
            Self::RailInUse(_) => "rail_in_use",
            Self::NotByHand(..) => "not_by_hand",
            Self::NotConfirmable(..) => "not_confirmable",
            Self::Rail { code, .. } | Self::Rate { code, .. } => code,
        }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InvoiceUnusable(_) => {
                "it must be a BOLT11 invoice of fixed amount that has not expired; nothing was signed"
            }
            Self::AmountDiffers { .. } => "nothing was signed",
            Self::NotPaid {
                offer: Some(offer), ..
            } => {
                return Some(format!(
                    "they would pay {} {}: ask for that",
                    offer.amount, offer.asset
                ));
            }
            Self::Nobody { owing } => {
                let first = owing.first()?;
                return Some(format!(
                    "you can name one of those who owe you: `atomicity settle {first} …`"
                ));
            }
            Self::Undecided(_) => "`atomicity settle show` tells how it stands",
            Self::Unknown(_) => "`atomicity settle list` shows them",
            Self::RailUnknown(_) => {
                "`atomicity rail list` shows them; add one with `atomicity rail add …`"
            }
            Self::NotByHand(_, "received") => {
                "no rail of yours that is paid by hand fits: `atomicity rail add manual` adds one"
            }
            Self::Rate {
                code: "rate_pair_missing",
                ..
            } => "name a source of rates in config.toml, or say with --pays how much is to be paid",
            Self::RailInUse(_) | Self::NotByHand(..) => "`atomicity settle list` shows it",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The exit code of the command line.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::InvoiceUnusable(_)
            | Self::AmountDiffers { .. }
            | Self::Unknown(_)
            | Self::RailUnknown(_)
            | Self::RailExists(_) => 2,
            Self::Undecided(_) => 4,
            Self::Rail { .. } | Self::Rate { .. } => 1,
            _ => 3,
        }
    }
}
