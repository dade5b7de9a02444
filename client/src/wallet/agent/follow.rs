//! What the agent tells, as this wallet's history and its watchers know it.

use atomicity_ledger::record::{LogProof, Payment, ReleaseReason, Reply};
use atomicity_ledger::text::Layers;
use atomicity_ledger::{
    AnyRecord, Balance, PaymentHash, Preimage, RecordHash, RecordId, Unit, UserKey,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::books::Change;
use super::super::event::{WalletEvent, WalletEventKind};
use super::super::routed::{self, Word};
use super::super::{Direction, HistoryItem, accounts, now, requests, settle};
use super::settling;
use crate::error::ClientError;
use crate::net::plugin::{AgentEvent, Signature};
use crate::store::contacts::Contact;
use crate::store::history;

/// How the history says on which secret a promise hangs.
pub(super) const HANGS_ON: &str = "hangs on ";

/// The members of events that are understood.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    unit: Option<Unit>,
    amount: Option<Value>,
    accept: Option<Value>,
    iou: Option<RecordHash>,
    hash: Option<PaymentHash>,
    deadline_ms: Option<u64>,
    id: Option<String>,
    memo: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    reason: Option<ReleaseReason>,
    preimage: Option<Preimage>,
    from: Option<UserKey>,
    seq: Option<Value>,
    epoch: Option<Value>,
    why: Option<String>,
    message: Option<String>,
    code: Option<String>,
    detail: Option<String>,
}

/// A number, as a number or as text.
pub(super) fn number(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

fn read<T: DeserializeOwned + Default>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// One event while it is told.
struct Teller<'a> {
    change: &'a mut Change,
    me: UserKey,
    contact: Contact,
    at: u64,
    body: Body,
}

/// Writes one event into the history and returns it for watchers. What this version does not know is passed over.
pub(super) async fn take(
    change: &mut Change,
    me: UserKey,
    contact: Option<Contact>,
    event: &AgentEvent,
) -> Result<Vec<WalletEvent>, ClientError> {
    let body: Body = read(&event.body);
    let Some(contact) = contact else {
        return Ok(Vec::new());
    };
    let mut teller = Teller {
        change,
        me,
        contact,
        at: event.at,
        body,
    };
    let kind = teller.take(&event.kind).await?;
    let (user, friend) = (teller.contact.user, teller.contact.name.clone());
    let mut told: Vec<WalletEvent> = kind
        .into_iter()
        .map(|kind| WalletEvent {
            at: event.at,
            user: Some(user),
            friend: Some(friend.clone()),
            kind,
        })
        .collect();
    let (reference, unit) = (teller.body.reference.clone(), teller.body.unit.clone());
    let amount = number(teller.body.amount.as_ref());
    if let (true, Some(reference), Some(unit), Some(amount)) =
        (event.kind == "payment", reference, unit, amount)
    {
        let came = (&unit, amount);
        told.extend(requests::paid_directly(change, user, &reference, came).await?);
    }
    if let Some(word) = word(&event.kind, &event.body, (user, me)) {
        told.extend(routed::follow_copy(change, me, user, Some(&word)).await?);
    }
    if let Some(happened) = settling::ended(event, (user, me)) {
        told.extend(settle::follow(change, me, user, &[happened]).await?);
    }
    Ok(told)
}

/// What an event says of a promise of this user, whose payment may hang on it.
fn word(kind: &str, body: &Value, (peer, me): (UserKey, UserKey)) -> Option<Word> {
    #[derive(Deserialize)]
    struct Told {
        iou: RecordHash,
        #[serde(default)]
        reason: Option<ReleaseReason>,
        #[serde(default)]
        failure: Option<Layers>,
        #[serde(default)]
        preimage: Option<Preimage>,
        #[serde(default)]
        proof: Option<LogProof>,
        #[serde(default)]
        body: Option<Layers>,
    }
    let told: Told = serde_json::from_value(body.clone()).ok()?;
    Some(match kind {
        "released" => Word::Failed(
            told.iou,
            told.reason.unwrap_or(ReleaseReason::Declined),
            told.failure,
        ),
        "expired" => Word::Failed(told.iou, ReleaseReason::Expired, None),
        "merged" => Word::Paid(told.iou, told.preimage?, told.proof),
        "reply" => Word::Reply(Reply {
            v: Default::default(),
            from: peer,
            to: me,
            iou: told.iou,
            body: told.body?,
            at: now(),
        }),
        _ => return None,
    })
}

/// What an event says of a spend of one of the user's payment accounts.
pub(super) fn spend(event: &AgentEvent) -> Option<WalletEvent> {
    #[derive(Deserialize)]
    struct Told {
        id: RecordId,
        name: String,
        unit: Unit,
        amount: Value,
        state: String,
        #[serde(default)]
        reason: Option<String>,
    }
    if event.kind != "spend" {
        return None;
    }
    let told: Told = serde_json::from_value(event.body.clone()).ok()?;
    Some(WalletEvent {
        at: event.at,
        user: None,
        friend: None,
        kind: WalletEventKind::Spend {
            id: told.id,
            account: told.name,
            unit: told.unit,
            amount: number(Some(&told.amount))?,
            state: told.state,
            reason: told.reason,
        },
    })
}

/// The invoice that an event is about, which is nobody's books.
pub(super) fn invoice_named(event: &AgentEvent) -> Option<RecordId> {
    let body: Body = read(&event.body);
    let id = body.id.filter(|_| event.kind == "invoice")?;
    id.parse().ok()
}

impl Teller<'_> {
    async fn take(&mut self, kind: &str) -> Result<Option<WalletEventKind>, ClientError> {
        let amount = number(self.body.amount.as_ref());
        let both = self.body.unit.clone().zip(amount);
        match (kind, both) {
            ("payment", Some((unit, amount))) => self.payment(unit, amount).await.map(Some),
            ("promised", Some((unit, amount))) => self.promised(unit, amount).await,
            ("released" | "expired" | "due" | "merged", Some((unit, amount))) => {
                self.decided(kind, unit, amount).await
            }
            ("refused", Some((unit, amount))) => {
                self.note("refusal", Direction::In, &unit, amount).await?;
                Ok(Some(WalletEventKind::Refused { unit, amount }))
            }
            ("paid_back", Some((unit, amount))) => {
                self.note("refusal", Direction::Out, &unit, amount).await?;
                Ok(Some(WalletEventKind::PaidBack { unit, amount }))
            }
            _ => self.rare(kind).await,
        }
    }

    async fn rare(&mut self, kind: &str) -> Result<Option<WalletEventKind>, ClientError> {
        let body = &self.body;
        let epoch = number(body.epoch.as_ref());
        Ok(match kind {
            "acknowledged" => self.acknowledged().await?,
            "line" => match (body.unit.clone(), number(body.accept.as_ref())) {
                (Some(unit), Some(accept)) => {
                    self.note("line", Direction::In, &unit, accept).await?;
                    Some(WalletEventKind::Line { unit, accept })
                }
                _ => None,
            },
            "book" => epoch.map(|epoch| WalletEventKind::Book { epoch }),
            "book_acknowledged" => epoch.map(|epoch| WalletEventKind::BookAcknowledged { epoch }),
            "frozen" => match (body.unit.clone(), body.why.clone()) {
                (Some(unit), Some(reason)) => Some(WalletEventKind::Frozen { unit, reason }),
                _ => None,
            },
            "error" | "refused_record" => Some(WalletEventKind::Error {
                code: body.code.clone().unwrap_or_else(|| kind.to_owned()),
                message: body
                    .detail
                    .clone()
                    .or_else(|| body.message.clone())
                    .unwrap_or_else(|| "the agent could not take a record".to_owned()),
            }),
            _ => None,
        })
    }

    async fn item(&mut self, item: HistoryItem) -> Result<(), ClientError> {
        let item = HistoryItem {
            at: self.at,
            user: Some(self.contact.user),
            ..item
        };
        history::add(self.change.conn(), &item).await
    }

    async fn note(
        &mut self,
        kind: &str,
        direction: Direction,
        unit: &Unit,
        amount: u64,
    ) -> Result<(), ClientError> {
        let reference = self.body.iou.map(|iou| iou.to_string());
        self.item(HistoryItem {
            unit: Some(unit.clone()),
            kind: kind.to_owned(),
            direction: Some(direction),
            amount: Some(amount),
            reference,
            ..HistoryItem::default()
        })
        .await
    }

    /// What the friend owes by the copy of the books.
    async fn net(&mut self, unit: &Unit) -> Result<Balance, ClientError> {
        let pair = self.change.load(self.me, self.contact.user).await?;
        Ok(pair.balance(unit))
    }

    async fn payment(&mut self, unit: Unit, amount: u64) -> Result<WalletEventKind, ClientError> {
        let (payment, memo) = (self.body.id.clone(), self.body.memo.clone());
        let reference = self.body.reference.clone();
        self.item(HistoryItem {
            unit: Some(unit.clone()),
            kind: "payment".to_owned(),
            direction: Some(Direction::In),
            amount: Some(amount),
            status: Some("received".to_owned()),
            payment,
            memo: memo.clone(),
            reference,
            ..HistoryItem::default()
        })
        .await?;
        Ok(WalletEventKind::Payment {
            net: self.net(&unit).await?,
            unit,
            amount,
            memo,
        })
    }

    async fn promised(
        &mut self,
        unit: Unit,
        amount: u64,
    ) -> Result<Option<WalletEventKind>, ClientError> {
        let Some(hash) = self.body.hash else {
            return Ok(None);
        };
        self.item(HistoryItem {
            unit: Some(unit.clone()),
            kind: "promised".to_owned(),
            direction: Some(Direction::In),
            amount: Some(amount),
            reference: Some(hash.to_string()),
            ..HistoryItem::default()
        })
        .await?;
        Ok(self.body.iou.map(|iou| WalletEventKind::Promised {
            iou,
            unit,
            amount,
            hash,
            deadline: self.body.deadline_ms.unwrap_or(0),
        }))
    }

    /// A promise that the agent had passed on is paid: the difference to what was promised for it is the fee.
    async fn earned(&mut self, unit: &Unit, amount: u64) -> Result<(), ClientError> {
        let Some(iou) = self.body.iou else {
            return Ok(());
        };
        let conn = self.change.conn();
        let given = history::promised(conn, Direction::Out, &iou.to_string()).await?;
        let Some(hash) = given
            .as_ref()
            .and_then(|(_, note)| note.strip_prefix(HANGS_ON))
        else {
            return Ok(());
        };
        let taken = history::promised(conn, Direction::In, hash).await?;
        let Some(fee) = taken.and_then(|(taken, _)| taken.checked_sub(amount)) else {
            return Ok(());
        };
        let reference = Some(hash.to_owned());
        self.item(HistoryItem {
            unit: Some(unit.clone()),
            kind: "forwarded".to_owned(),
            direction: Some(Direction::In),
            amount: Some(fee),
            reference,
            note: Some("the fee for passing a payment on".to_owned()),
            ..HistoryItem::default()
        })
        .await
    }

    /// Whose promise it is: what is merged is the user's own, what is due is the friend's, the others say so by the books.
    async fn direction(&mut self, kind: &str) -> Result<Direction, ClientError> {
        match (kind, self.body.from) {
            ("merged", _) => return Ok(Direction::Out),
            ("due", _) => return Ok(Direction::In),
            (_, Some(from)) if from == self.me => return Ok(Direction::Out),
            (_, Some(_)) => return Ok(Direction::In),
            _ => {}
        }
        let pair = self.change.load(self.me, self.contact.user).await?;
        let held = self.body.iou.and_then(|iou| pair.promise_held(iou));
        Ok(match held {
            Some(_) => Direction::In,
            None => Direction::Out,
        })
    }

    async fn decided(
        &mut self,
        kind: &str,
        unit: Unit,
        amount: u64,
    ) -> Result<Option<WalletEventKind>, ClientError> {
        let direction = self.direction(kind).await?;
        self.note(kind, direction, &unit, amount).await?;
        if kind == "merged" {
            self.earned(&unit, amount).await?;
        }
        let Some(iou) = self.body.iou else {
            return Ok(None);
        };
        Ok(Some(match kind {
            "released" => WalletEventKind::Released {
                iou,
                direction,
                unit,
                amount,
                reason: self.body.reason.unwrap_or(ReleaseReason::Declined),
            },
            "expired" => WalletEventKind::Expired {
                iou,
                direction,
                unit,
                amount,
            },
            "merged" => WalletEventKind::Merged {
                iou: Some(iou),
                direction,
                net: self.net(&unit).await?,
                unit,
                amount,
            },
            _ => match self.body.preimage {
                Some(preimage) => WalletEventKind::Due {
                    iou,
                    unit,
                    amount,
                    preimage,
                },
                None => return Ok(None),
            },
        }))
    }

    async fn acknowledged(&mut self) -> Result<Option<WalletEventKind>, ClientError> {
        let (unit, seq) = (self.body.unit.clone(), number(self.body.seq.as_ref()));
        let (Some(unit), Some(seq)) = (unit, seq) else {
            return Ok(None);
        };
        let user = self.contact.user;
        let pair = self.change.load(self.me, user).await?;
        let epoch = number(self.body.epoch.as_ref())
            .or_else(|| pair.own().epoch().map(|epoch| epoch.get()));
        if let Some(epoch) = epoch {
            history::acknowledged(self.change.conn(), &user, &unit, epoch, seq).await?;
        }
        Ok(Some(WalletEventKind::Acknowledged { unit, seq }))
    }
}

/// What the agent signed for one of the user's apps, or passed on. This wallet's own requests are in the history already.
pub(super) async fn take_signature(
    change: &mut Change,
    item: &Signature,
) -> Result<(), ClientError> {
    let line = match AnyRecord::decode(&item.record) {
        Ok(AnyRecord::Payment(payment)) => {
            let account = accounts::take_payment(change, &payment, item.at).await?;
            HistoryItem {
                note: account.map(|name| format!("for {name:?}")),
                ..payment_line(payment.record())
            }
        }
        Ok(AnyRecord::Spend(spend)) => return accounts::take_spend(change, &spend, item.at).await,
        Ok(AnyRecord::ConditionalIou(iou)) => {
            let reference = iou.hash().to_string();
            if history::promised(change.conn(), Direction::Out, &reference)
                .await?
                .is_some()
            {
                return Ok(());
            }
            let iou = iou.record();
            HistoryItem {
                unit: Some(iou.unit.clone()),
                kind: "promised".to_owned(),
                direction: Some(Direction::Out),
                amount: Some(iou.amount.minor()),
                reference: Some(reference),
                note: Some(format!("{HANGS_ON}{}", iou.terms.hash)),
                ..HistoryItem::default()
            }
        }
        _ => return Ok(()),
    };
    let line = HistoryItem {
        at: item.at,
        user: Some(item.peer),
        ..line
    };
    history::add(change.conn(), &line).await
}

fn payment_line(payment: &Payment) -> HistoryItem {
    HistoryItem {
        unit: Some(payment.unit.clone()),
        kind: "payment".to_owned(),
        direction: Some(Direction::Out),
        amount: Some(payment.amount.minor()),
        epoch: Some(payment.epoch.get()),
        seq: Some(payment.seq.get()),
        status: Some("sent".to_owned()),
        payment: Some(payment.id.to_string()),
        memo: payment.memo.as_ref().map(ToString::to_string),
        reference: payment.reference.as_ref().map(ToString::to_string),
        ..HistoryItem::default()
    }
}
