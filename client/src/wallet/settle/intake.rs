//! Records about settlements that a friend sent, taken in the transaction of the books.

use atomicity_ledger::hop::Neighbour;
use atomicity_ledger::pair::{Pair, PendingReason};
use atomicity_ledger::record::{Settlement, SettlementAnswer, SettlementWithdrawal};
use atomicity_ledger::settle::{DemandStage, Discharge, Entry, Known, Stage};
use atomicity_ledger::{AnyRecord, LedgerError, RecordHash, Signed, SignerKey};

use super::super::books::Change;
use super::super::event::WalletEventKind;
use super::event;
use crate::error::ClientError;
use crate::store::pairs::agent;
use crate::store::settlements::{self, DischargeRow};
use crate::store::{demands, rails};

/// The most requests of one friend that are kept, over all time.
const MAX_KEPT: u64 = 10_000;

/// What became of a record.
pub(crate) enum Taken {
    /// It changed something.
    Applied {
        replies: Vec<AnyRecord>,
        told: Option<WalletEventKind>,
    },
    /// It was known: it is answered as before.
    Again(Vec<AnyRecord>),
    /// It can't be judged yet.
    Waits {
        reason: &'static str,
        lookup: Option<SignerKey>,
    },
    /// It is void.
    Refused { code: &'static str, why: String },
}

impl From<LedgerError> for Taken {
    fn from(error: LedgerError) -> Self {
        Self::Refused {
            code: error.code(),
            why: error.to_string(),
        }
    }
}

/// Whether this is for here and not for the books of the two.
pub(crate) fn is_one(record: &AnyRecord) -> bool {
    matches!(
        record,
        AnyRecord::Settlement(_)
            | AnyRecord::SettlementAnswer(_)
            | AnyRecord::SettlementWithdrawal(_)
    )
}

/// Takes a record about a settlement. The caller stores `pair` and sends what is to be said.
pub(crate) async fn take(
    change: &mut Change,
    pair: &mut Pair,
    record: &AnyRecord,
) -> Result<Taken, ClientError> {
    match pair.judge_settling(record, change.now) {
        Ok(None) => {}
        Ok(Some(PendingReason::RevocationUnknown { key })) => {
            return Ok(Taken::Waits {
                reason: "revocation_unknown",
                lookup: Some(key),
            });
        }
        // The next keeper's word may come before its book.
        Ok(Some(_)) => {
            return Ok(Taken::Waits {
                reason: "book_unknown",
                lookup: None,
            });
        }
        Err(error) => return Ok(error.into()),
    }
    match record {
        AnyRecord::Settlement(asked) => take_request(change, pair, asked).await,
        AnyRecord::SettlementAnswer(answer) => take_answer(change, pair, answer).await,
        AnyRecord::SettlementWithdrawal(word) => take_withdrawal(change, pair, word).await,
        _ => Ok(LedgerError::ForeignChannel.into()),
    }
}

/// Does what a step asks for in the books, and returns what is to be sent. Nothing has changed if it fails.
pub(super) async fn carry(
    change: &mut Change,
    pair: &mut Pair,
    discharge: &Discharge,
    entries: &[Entry],
) -> Result<Result<Vec<AnyRecord>, LedgerError>, ClientError> {
    let now = change.now;
    let mut next = pair.clone();
    let with = Neighbour {
        pair: &mut next,
        pen: &change.keys.pen,
    };
    let records = match discharge.carry_out(entries, with, now) {
        Ok(records) => records,
        Err(error) => return Ok(Err(error)),
    };
    let settlement = discharge.settlement().hash();
    for entry in entries {
        if let Entry::TakeHash(hash) = entry
            && !settlements::take_hash(change.conn(), hash, &settlement, now.millis()).await?
        {
            // Read in this very transaction: only a broken store can say so.
            return Err(ClientError::StoreCorrupt {
                what: "the payment hashes that are taken",
                why: format!("{hash} is taken twice"),
            });
        }
    }
    *pair = next;
    Ok(Ok(records))
}

/// What could not be signed now waits; anything else is void.
fn unsigned(error: LedgerError) -> Taken {
    match error {
        LedgerError::NoPen { .. } | LedgerError::BookNotAcknowledged => Taken::Waits {
            reason: "no_pen",
            lookup: None,
        },
        other => other.into(),
    }
}

async fn take_request(
    change: &mut Change,
    pair: &mut Pair,
    asked: &Signed<Settlement>,
) -> Result<Taken, ClientError> {
    let user = pair.peer();
    if let Some(row) = settlements::discharge(change.conn(), &asked.hash()).await? {
        let mut discharge = row.discharge.clone();
        // A direct release that came while nobody here could give it up is given up now.
        let mut entries = discharge.release_came().entries;
        entries.extend(discharge.asked_again().entries);
        let answered = carry(change, pair, &row.discharge, &entries).await?;
        return Ok(answered.map_or_else(unsigned, Taken::Again));
    }
    if settlements::count_of(change.conn(), &user).await? >= MAX_KEPT {
        return Ok(Taken::Refused {
            code: "too_many_requests",
            why: "too many requests to settle of this friend are kept already".to_owned(),
        });
    }
    let record = asked.record();
    let named = match &record.release {
        Some(iou) => settlements::discharge_with(change.conn(), iou)
            .await?
            .is_some(),
        None => false,
    };
    let known = Known {
        id_used: settlements::id_used(change.conn(), &user, &record.id).await?,
        release_named: named,
        // A withdrawal that comes first waits for its request.
        withdrawn: false,
    };
    let (discharge, step) = Discharge::receive(asked.clone(), known, change.now);
    let replies = match carry(change, pair, &discharge, &step.entries).await? {
        Ok(replies) => replies,
        Err(error) => return Ok(unsigned(error)),
    };
    let now = change.now.millis();
    let row = DischargeRow {
        user,
        owns_release: record.release.is_some() && !named,
        approved: false,
        confirmed: false,
        next_at: 0,
        tries: 0,
        created_at: now,
        ended_at: discharge.is_over().then_some(now),
        discharge,
    };
    settlements::put_discharge(change.conn(), &row).await?;
    let told = Some(event(&super::of_discharge(&row)));
    Ok(Taken::Applied { replies, told })
}

async fn take_answer(
    change: &mut Change,
    pair: &Pair,
    answer: &Signed<SettlementAnswer>,
) -> Result<Taken, ClientError> {
    let said = answer.record();
    let row = demands::get(change.conn(), &said.settlement).await?;
    let Some(mut row) = row.filter(|row| row.user == pair.peer()) else {
        return Ok(unknown());
    };
    if !row.demand.heard(&said.said) {
        return Ok(Taken::Again(Vec::new()));
    }
    if matches!(row.demand.stage(), DemandStage::Paid { .. }) {
        // A rule may confirm it.
        row.next_at = 0;
    }
    super::holder::keep(change, &mut row).await?;
    let told = Some(event(&super::of_demand(&row)));
    let replies = Vec::new();
    Ok(Taken::Applied { replies, told })
}

async fn take_withdrawal(
    change: &mut Change,
    pair: &mut Pair,
    word: &Signed<SettlementWithdrawal>,
) -> Result<Taken, ClientError> {
    let settlement = word.record().settlement;
    let Some(mut row) = settlements::discharge(change.conn(), &settlement).await? else {
        return Ok(Taken::Waits {
            reason: "settlement_unknown",
            lookup: None,
        });
    };
    if row.user != pair.peer() {
        return Ok(unknown());
    }
    let before = row.discharge.clone();
    let step = row.discharge.withdraw();
    let replies = match carry(change, pair, &row.discharge, &step.entries).await? {
        Ok(replies) => replies,
        Err(error) => return Ok(unsigned(error)),
    };
    if row.discharge == before {
        return Ok(Taken::Again(replies));
    }
    keep(change, &mut row).await?;
    let told = Some(event(&super::of_discharge(&row)));
    Ok(Taken::Applied { replies, told })
}

/// A direct release of a friend has come: the request that names it goes on, or gives it back.
pub(crate) async fn release_came(
    change: &mut Change,
    pair: &mut Pair,
    iou: &RecordHash,
) -> Result<Vec<AnyRecord>, ClientError> {
    let Some(mut row) = settlements::discharge_with(change.conn(), iou).await? else {
        return Ok(Vec::new());
    };
    if row.user != pair.peer() {
        return Ok(Vec::new());
    }
    let step = row.discharge.release_came();
    let records = carry(change, pair, &row.discharge, &step.entries).await?;
    row.next_at = 0;
    keep(change, &mut row).await?;
    Ok(records.unwrap_or_default())
}

/// Stores a discharge, and when it ended.
pub(super) async fn keep(change: &mut Change, row: &mut DischargeRow) -> Result<(), ClientError> {
    if row.discharge.is_over() && row.ended_at.is_none() {
        row.ended_at = Some(change.now.millis());
        agent::may_go(change.conn(), &row.user).await?;
    }
    if matches!(
        row.discharge.stage(),
        Stage::Declined { .. } | Stage::Failed { .. }
    ) {
        rails::unspend(change.conn(), &row.discharge.settlement().hash()).await?;
    }
    settlements::put_discharge(change.conn(), row).await
}

fn unknown() -> Taken {
    Taken::Refused {
        code: "settlement_unknown",
        why: "it names a request to settle that is not known here".to_owned(),
    }
}
