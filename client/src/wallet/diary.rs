//! What waits and what there was, told to the user's own wallet page: signed by this wallet, pushed to the own plugin if the user
//! wants that.

use atomicity_ledger::record::{Diary, DiaryDirection, DiaryEntry, MAX_DIARY_ENTRIES, Payment};
use atomicity_ledger::text::{Voucher, Word};
use atomicity_ledger::{Memo, RecordHash, RecordId, Signed, Timestamp, Total, Unit, UserKey};
use serde_json::json;

use super::books;
use super::pay::PaymentView;
use super::requests::{RequestRole, RequestView};
use super::settle::{SettleRole, SettlementView};
use super::{Wallet, now};
use crate::error::ClientError;
use crate::store::history::{Direction, HistoryItem, HistoryQuery};
use crate::store::payments::PaymentState;
use crate::store::{pairs, settings};

/// How long the receipts of one diary may be together.
const MAX_RECEIPT_BYTES: usize = 20 * 1024;
/// How long each list may be, as JSON. A record has 64 KiB in base64, and what others wrote beside payments may be long: one that could not
/// be signed would be worse than one that leaves out the oldest.
const MAX_WAITING_BYTES: usize = 18_000;
const MAX_PAST_BYTES: usize = 27_000;
/// What the plugin holds is not known: it was about to be told something.
const UNSURE: &str = "unsure";

/// What became of a diary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiaryOutcome {
    /// Whether the user opted in.
    pub opted_in: bool,
    /// Whether it was pushed just now.
    pub pushed: bool,
}

impl Wallet {
    /// Opts in to telling the own plugins what waits and what there was lately, or out again: then they forget it.
    ///
    /// # Errors
    /// What the store says; [`ClientError::Net`] if a plugin can't be reached.
    pub async fn set_diary(&self, opted_in: bool) -> Result<DiaryOutcome, ClientError> {
        let mut tx = self.store().write().await?;
        let value = if opted_in { "1" } else { "0" };
        settings::set(tx.conn(), settings::DIARY, value).await?;
        // Until the plugins have forgotten it for certain, whatever comes in between.
        settings::set(tx.conn(), settings::DIARY_SHOWN, UNSURE).await?;
        tx.commit().await?;
        if opted_in {
            return self.push_diary().await;
        }
        self.have_diary_forgotten().await?;
        Ok(DiaryOutcome {
            opted_in,
            pushed: false,
        })
    }

    /// Pushes the diary as it stands to every own plugin.
    ///
    /// # Errors
    /// [`ClientError::Usage`] if the user did not opt in, [`ClientError::Net`] if a plugin can't be reached.
    pub async fn push_diary(&self) -> Result<DiaryOutcome, ClientError> {
        if !self.is_stale(settings::DIARY).await? {
            return Err(ClientError::Usage(
                "you did not opt in: your plugin would learn what waits for you and what there was. Opt in: atomicity diary on"
                    .to_owned(),
            ));
        }
        let diary = self.diary().await?;
        self.tell_diary(diary).await?;
        Ok(DiaryOutcome {
            opted_in: true,
            pushed: true,
        })
    }

    /// If what it says has changed. What can't be pushed now is pushed with what is sent next.
    pub(crate) async fn push_diary_if_wanted(&self) -> Result<(), ClientError> {
        let shown = settings::get(&mut *self.store().read().await?, settings::DIARY_SHOWN).await?;
        let done = if self.is_stale(settings::DIARY).await? {
            let diary = self.diary().await?;
            if shown == Some(digest(&diary)?) {
                return Ok(());
            }
            self.tell_diary(diary).await
        } else if shown.is_some_and(|shown| !shown.is_empty()) {
            // The user opted out while another process was telling it, or nobody could be reached.
            self.have_diary_forgotten().await
        } else {
            return Ok(());
        };
        match done {
            Err(ClientError::Net(error)) => {
                tracing::info!(code = error.code(), "the diary was not pushed");
                Ok(())
            }
            other => other,
        }
    }

    async fn have_diary_forgotten(&self) -> Result<(), ClientError> {
        for plugin in self.own_plugins().await? {
            plugin.forget_diary().await?;
        }
        self.note_diary_shown("").await
    }

    async fn note_diary_shown(&self, shown: &str) -> Result<(), ClientError> {
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::DIARY_SHOWN, shown).await?;
        tx.commit().await
    }

    async fn tell_diary(&self, diary: Diary) -> Result<(), ClientError> {
        self.ensure_may_sign().await?;
        let shown = digest(&diary)?;
        let signed = Signed::sign(diary, &self.keys().await?.pen)?;
        self.note_diary_shown(UNSURE).await?;
        for plugin in self.own_plugins().await? {
            plugin.push_diary(signed.jws()).await?;
        }
        self.note_diary_shown(&shown).await
    }

    async fn diary(&self) -> Result<Diary, ClientError> {
        Ok(Diary {
            v: Default::default(),
            user: self.user(),
            at: now(),
            waiting: newest(self.diary_waiting().await?, MAX_WAITING_BYTES),
            past: newest(self.diary_past().await?, MAX_PAST_BYTES),
        })
    }

    /// Requests, settlements and payments that are not done.
    async fn diary_waiting(&self) -> Result<Vec<DiaryEntry>, ClientError> {
        let mut all = Vec::new();
        for view in self.requests().await? {
            all.extend(of_request(&view)?);
        }
        for view in self.settlements().await? {
            all.extend(of_settlement(&view)?);
        }
        for view in self.payments().await? {
            all.extend(of_payment(&view)?);
        }
        Ok(all)
    }

    async fn diary_past(&self) -> Result<Vec<DiaryEntry>, ClientError> {
        let query = HistoryQuery {
            limit: u32::try_from(MAX_DIARY_ENTRIES).unwrap_or(u32::MAX),
            ..HistoryQuery::default()
        };
        let items = self.history(&query).await?;
        let mut left = MAX_RECEIPT_BYTES;
        let mut all = Vec::new();
        for item in &items {
            let Some(mut entry) = of_history(item, self.user())? else {
                continue;
            };
            let receipt = self.receipt_of(item).await?;
            entry.receipt = receipt.filter(|receipt| receipt.as_str().len() <= left);
            left -= entry.receipt.as_ref().map_or(0, |r| r.as_str().len());
            all.push(entry);
        }
        Ok(all)
    }

    /// What shows others that the user paid: the invoice with what it was paid for, or the signed note of a payment to a friend.
    async fn receipt_of(&self, item: &HistoryItem) -> Result<Option<Voucher>, ClientError> {
        match (item.kind.as_str(), item.direction) {
            ("paid", _) => {
                let id = item.reference.as_deref().map(str::parse::<RecordId>);
                let Some(Ok(id)) = id else { return Ok(None) };
                let Ok(receipt) = self.receipt(&id).await else {
                    return Ok(None);
                };
                let shown = json!({"invoice": receipt.invoice, "preimage": receipt.preimage});
                Ok(shown.to_string().parse().ok())
            }
            ("payment", Some(Direction::Out)) => {
                let (Some(user), Some(name)) = (&item.user, &item.payment) else {
                    return Ok(None);
                };
                let row = pairs::get(&mut *self.store().read().await?, user).await?;
                let pair = row.map(|row| books::parse(&row.body)).transpose()?;
                let records = pair.map(|pair| pair.file_records().own);
                Ok(records
                    .iter()
                    .flatten()
                    .find(|jws| is_payment(jws, name))
                    .and_then(|jws| jws.parse().ok()))
            }
            _ => Ok(None),
        }
    }
}

fn is_payment(jws: &str, name: &str) -> bool {
    Signed::<Payment>::decode(jws).is_ok_and(|payment| payment.record().id.to_string() == name)
}

/// What tells one content from another, whenever it was told.
fn digest(diary: &Diary) -> Result<String, ClientError> {
    let content = serde_json::to_string(&(&diary.waiting, &diary.past))
        .map_err(|error| ClientError::Usage(error.to_string()))?;
    Ok(RecordHash::of(&content).to_string())
}

/// The newest, as many as may be told and as are at most so long together.
fn newest(mut entries: Vec<DiaryEntry>, most_bytes: usize) -> Vec<DiaryEntry> {
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    entries.truncate(MAX_DIARY_ENTRIES);
    let mut bytes: usize = 0;
    entries
        .into_iter()
        .take_while(|entry| {
            let length = serde_json::to_string(entry).map_or(usize::MAX, |json| json.len());
            bytes = bytes.saturating_add(length).saturating_add(1);
            bytes <= most_bytes
        })
        .collect()
}

fn entry(at: u64, kind: &str) -> Result<DiaryEntry, ClientError> {
    Ok(DiaryEntry {
        at: Timestamp::from_millis(at)?,
        kind: kind.parse::<Word>()?,
        direction: None,
        peer: None,
        unit: None,
        amount: None,
        memo: None,
        id: None,
        status: None,
        until: None,
        receipt: None,
    })
}

fn money(unit: &Unit, minor: Option<u64>) -> (Option<Unit>, Option<Total>) {
    let amount = minor.and_then(|minor| Total::from_minor(minor).ok());
    (Some(unit.clone()), amount)
}

/// What others ask of the user and has not been paid, and what the user asks for.
fn of_request(view: &RequestView) -> Result<Option<DiaryEntry>, ClientError> {
    let over = view.ended_at.is_some() || view.expires_at <= now().millis();
    if over || view.open == Some(false) {
        return Ok(None);
    }
    let (kind, direction, peer) = match view.role {
        RequestRole::Payee => ("asked", DiaryDirection::In, view.payer),
        RequestRole::Payer if view.is_call => ("call", DiaryDirection::Out, Some(view.payee)),
        RequestRole::Payer => ("request", DiaryDirection::Out, Some(view.payee)),
    };
    let paid = |stage: &str| view.parts.iter().any(|part| part.stage == stage);
    if view.role == RequestRole::Payer && view.every.is_none() && paid("paid") {
        return Ok(None);
    }
    let (unit, amount) = money(&view.unit, view.goal.most().map(|most| most.minor()));
    Ok(Some(DiaryEntry {
        direction: Some(direction),
        peer,
        unit,
        amount,
        memo: view.memo.clone(),
        id: Some(view.id),
        until: Timestamp::from_millis(view.expires_at).ok(),
        ..entry(view.created_at, kind)?
    }))
}

fn of_settlement(view: &SettlementView) -> Result<Option<DiaryEntry>, ClientError> {
    if view.over {
        return Ok(None);
    }
    let (kind, direction) = match view.role {
        SettleRole::Issuer if view.waits_for_user => ("settle_decide", DiaryDirection::Out),
        SettleRole::Issuer if view.by_hand.is_some() => ("settle_by_hand", DiaryDirection::Out),
        SettleRole::Issuer => ("settling", DiaryDirection::Out),
        SettleRole::Holder if matches!(view.stage, "paid" | "disputed") => {
            ("settle_confirm", DiaryDirection::In)
        }
        SettleRole::Holder if view.overdue => ("settle_overdue", DiaryDirection::In),
        SettleRole::Holder => ("settling", DiaryDirection::In),
    };
    let (unit, amount) = money(&view.unit, Some(view.amount));
    Ok(Some(DiaryEntry {
        direction: Some(direction),
        peer: Some(view.user),
        unit,
        amount,
        memo: view.memo.clone(),
        id: Some(view.id),
        status: view.stage.parse().ok(),
        until: Timestamp::from_millis(view.expires).ok(),
        ..entry(view.created_at, kind)?
    }))
}

fn of_payment(view: &PaymentView) -> Result<Option<DiaryEntry>, ClientError> {
    if view.state != PaymentState::Open {
        return Ok(None);
    }
    let (unit, amount) = money(&view.unit, Some(view.amount));
    Ok(Some(DiaryEntry {
        direction: Some(DiaryDirection::Out),
        peer: Some(view.payee),
        unit,
        amount,
        memo: view.memo.clone(),
        id: Some(view.id),
        ..entry(view.created_at, "paying")?
    }))
}

fn of_history(item: &HistoryItem, me: UserKey) -> Result<Option<DiaryEntry>, ClientError> {
    // Keys and promises in between are for whoever looks for a fault: `atomicity history` has them.
    if matches!(item.kind.as_str(), "hello" | "book" | "promised" | "router") {
        return Ok(None);
    }
    let (unit, amount) = match &item.unit {
        Some(unit) => money(unit, item.amount),
        None => (None, None),
    };
    let name = item.payment.as_deref().or(item.reference.as_deref());
    Ok(Some(DiaryEntry {
        direction: item.direction.map(|direction| match direction {
            Direction::Out => DiaryDirection::Out,
            Direction::In => DiaryDirection::In,
        }),
        peer: item.user.filter(|user| *user != me),
        unit,
        amount,
        memo: item
            .memo
            .as_deref()
            .and_then(|memo| memo.parse::<Memo>().ok()),
        id: name.and_then(|name| name.parse().ok()),
        status: item
            .status
            .as_deref()
            .and_then(|status| status.parse().ok()),
        ..entry(item.at, &item.kind)?
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn however_much_others_write_it_can_be_signed() {
        let keys = Keypair::from_secret(&[1; 32]);
        // Each of these is two bytes in JSON.
        let memo: Memo = "\"".repeat(Memo::MAX_BYTES).parse().unwrap();
        let full = |at: u64| DiaryEntry {
            memo: Some(memo.clone()),
            receipt: Some("r".repeat(Voucher::MAX_BYTES).parse().unwrap()),
            ..entry(at, "payment").unwrap()
        };
        let many: Vec<DiaryEntry> = (0..200).map(full).collect();
        let diary = Diary {
            v: Default::default(),
            user: keys.user_key(),
            at: Timestamp::from_millis(1).unwrap(),
            waiting: newest(many.clone(), MAX_WAITING_BYTES),
            past: newest(many, MAX_PAST_BYTES),
        };
        assert_eq!(diary.past.first().unwrap().at.millis(), 199);
        assert!(diary.past.len() > 1 && diary.waiting.len() > 1);
        Signed::sign(diary, &keys).unwrap();
    }
}
