//! The issuer's side: requests of friends, paid step by step. Each step is durable before anybody is told of it, and a rail is told to
//! pay in one place only: right after the step that stores a new attempt.

use atomicity_ledger::pair::Pair;
use atomicity_ledger::settle::{self, Facts, Next, RailSaid, Stage, Standing, Step};
use atomicity_ledger::{PaymentHash, RecordHash, RecordId};
use futures_util::{StreamExt as _, stream};

use super::super::books::Change;
use super::super::event::{WalletEvent, WalletEventKind};
use super::super::{Direction, MadeKind, Wallet, decide, now};
use super::confirm::late;
use super::facts::Verdict;
use super::holder::{note_paid, tell};
use super::intake::{carry, keep};
use super::{SettleFault, SettlementView, auto, of_discharge};
use crate::error::ClientError;
use crate::store::pairs::agent;
use crate::store::rails::SettleRule;
use crate::store::settlements::{self, DischargeRow};

/// Steps of one request in one go: more than it has.
const STEPS: usize = 32;
/// Requests that are worked on side by side.
const AT_ONCE: usize = 8;
/// How long to wait before a rail is asked again, at first and at most, in milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 60_000);
/// How long to wait for a direct release that is not here, in milliseconds.
const RELEASE_MS: u64 = 2_000;
/// How long to wait for a price, or for the friend's endpoints, in milliseconds.
const LATER_MS: u64 = 5_000;
/// How long to wait for what comes by itself, in milliseconds.
const REST_MS: u64 = 10 * 60 * 1000;

/// One request, with the books that it is about, in a transaction.
struct Case {
    change: Change,
    row: DischargeRow,
    pair: Pair,
}

impl Wallet {
    /// The requests that are due to be looked at.
    pub(crate) async fn discharges_due(&self, limit: u32) -> Result<Vec<RecordHash>, ClientError> {
        let mut conn = self.store().read().await?;
        settlements::discharges_due(&mut conn, now().millis(), limit).await
    }

    /// Goes on with every request that is not over, and sends own ones again.
    pub(crate) async fn settle_all(&self) -> Result<Vec<WalletEvent>, ClientError> {
        let mut told = self.confirm_all(true).await?;
        self.ask_once_more(true).await?;
        let mut conn = self.store().read().await?;
        let open = settlements::discharges_due(&mut conn, u64::MAX, u32::MAX).await?;
        drop(conn);
        let mut work = stream::iter(open)
            .map(|settlement| async move { self.discharge(&settlement).await })
            .buffer_unordered(AT_ONCE);
        while let Some(done) = work.next().await {
            told.extend(done?);
        }
        Ok(told)
    }

    /// Agrees to pay what a friend asked for, at what the request says.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotWaiting`]. Whether it is paid is not known yet: see [`Wallet::await_settlement`].
    pub async fn pay_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        if self.made_before(MadeKind::Settlement).await?.is_some() {
            return self.settlement(id).await;
        }
        self.ensure_may_sign().await?;
        let settlement = self.waiting(id).await?;
        let mut change = self.change().await?;
        self.note_made(change.conn(), MadeKind::Settlement, id)
            .await?;
        if let Some(mut row) = settlements::discharge(change.conn(), &settlement).await? {
            row.approved = true;
            row.next_at = 0;
            keep(&mut change, &mut row).await?;
        }
        change.commit().await?;
        self.settlement(id).await
    }

    /// Declines what a friend asked for.
    ///
    /// # Errors
    /// [`SettleFault::Unknown`], [`SettleFault::NotWaiting`].
    pub async fn decline_settlement(&self, id: &RecordId) -> Result<SettlementView, ClientError> {
        self.ensure_may_sign().await?;
        let settlement = self.waiting(id).await?;
        self.home_for(&settlement).await?;
        if let Some(mut case) = self.case(&settlement).await? {
            let facts = Facts {
                unit_known: true,
                allowed: false,
                busy: false,
                ways: Vec::new(),
                invoice: None,
                quote: None,
            };
            let step = case.row.discharge.judge(&facts, case.change.now);
            case.store(&step).await?;
        }
        self.flush().await?;
        self.settlement(id).await
    }

    /// The request of this name that waits for the user.
    pub(super) async fn waiting(&self, id: &RecordId) -> Result<RecordHash, ClientError> {
        let mut conn = self.store().read().await?;
        let rows = settlements::discharges_named(&mut conn, id).await?;
        let views: Vec<SettlementView> = rows.iter().map(of_discharge).collect();
        let Some(first) = views.first() else {
            return Err(SettleFault::Unknown(id.to_string()).into());
        };
        match views.iter().find(|view| view.waits_for_user) {
            Some(view) => Ok(view.settlement),
            None => Err(SettleFault::NotWaiting(id.to_string(), first.stage).into()),
        }
    }

    /// Goes on with a request as far as it goes now.
    ///
    /// # Errors
    /// What hinders signing, and what the store says. What a rail does wrong is none: it is asked again.
    pub(crate) async fn discharge(
        &self,
        settlement: &RecordHash,
    ) -> Result<Vec<WalletEvent>, ClientError> {
        self.ensure_may_sign().await?;
        if !self.is_at_home(settlement).await? {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        for _ in 0..STEPS {
            let Some(mut case) = self.case(settlement).await? else {
                break;
            };
            let now = case.change.now;
            let step = case.row.discharge.tick(now);
            let row = case.row.clone();
            let (next, news) = match step.next {
                Next::Judge => {
                    drop(case);
                    self.judge(&row).await?
                }
                Next::Reserve => {
                    let standing = case.standing().await?;
                    let step = case.row.discharge.reserve(&standing, now);
                    case.store(&step).await?
                }
                Next::Dispatch => {
                    drop(case);
                    self.dispatch(&row).await?
                }
                Next::LookUp(order) => {
                    drop(case);
                    let said = self.ask_rail(&order, plan_hash(&row)).await?;
                    self.heard(settlement, &order, said).await?
                }
                _ => case.store(&step).await?,
            };
            told.extend(news);
            match next {
                Next::Judge | Next::LookUp(_) => {
                    self.pause(settlement, next).await?;
                    break;
                }
                Next::Wait => {
                    self.pause(settlement, Next::Wait).await?;
                    break;
                }
                Next::Over => break,
                Next::Alarm => {
                    told.push(alarm(&row));
                    break;
                }
                Next::Dispatch if self.is_put_off(settlement).await? => break,
                _ => {}
            }
        }
        Ok(told)
    }

    /// Brings the books home that a friend's request is about.
    pub(super) async fn home_for(&self, settlement: &RecordHash) -> Result<(), ClientError> {
        let row = settlements::discharge(&mut *self.store().read().await?, settlement).await?;
        match row {
            Some(row) => self.bring_home(&row.user).await,
            None => Ok(()),
        }
    }

    /// Whether the books that a request is about are here. Where the agent keeps them they come home as soon as something is to be signed:
    /// what waits for the user's word, or for the holder's books, stays where it is, and is looked at again later.
    async fn is_at_home(&self, settlement: &RecordHash) -> Result<bool, ClientError> {
        let row = settlements::discharge(&mut *self.store().read().await?, settlement).await?;
        let Some(row) = row.filter(|row| !row.discharge.is_over()) else {
            return Ok(true);
        };
        if !self.is_with_agent(&row.user).await? {
            return Ok(true);
        }
        let step = row.discharge.clone().tick(now());
        let rests = match step.next {
            Next::Judge => match self.gather(&row).await? {
                Verdict::Judge(..) => None,
                Verdict::AskUser => Some(REST_MS),
                Verdict::Later => Some(LATER_MS),
            },
            Next::Wait => Some(REST_MS),
            _ => None,
        };
        if let Some(rest) = rests {
            self.put_off(settlement, Some(rest)).await?;
            return Ok(false);
        }
        match self.bring_home(&row.user).await {
            Ok(()) => Ok(true),
            Err(error) => {
                late(error)?;
                self.judge_later(settlement).await?;
                Ok(false)
            }
        }
    }

    /// Opens a transaction on a request that is not over. Nothing if there is none, or its books are not here.
    async fn case(&self, settlement: &RecordHash) -> Result<Option<Case>, ClientError> {
        let mut change = self.change().await?;
        let Some(row) = settlements::discharge(change.conn(), settlement).await? else {
            return Ok(None);
        };
        if row.discharge.is_over() || agent::keeps(change.conn(), &row.user).await? {
            return Ok(None);
        }
        let pair = change.load(self.user(), row.user).await?;
        Ok(Some(Case { change, row, pair }))
    }

    async fn judge(&self, row: &DischargeRow) -> Result<(Next, Vec<WalletEvent>), ClientError> {
        let settlement = row.discharge.settlement().hash();
        match self.gather(row).await? {
            Verdict::Judge(facts, rule) => {
                self.judge_by(&settlement, &facts, rule.as_ref(), false)
                    .await
            }
            Verdict::AskUser => Ok((Next::Judge, Vec::new())),
            Verdict::Later => {
                self.judge_later(&settlement).await?;
                Ok((Next::Dispatch, Vec::new()))
            }
        }
    }

    /// Judges by what was found; `agreed`: the user says so with it. What a rule lets go counts against its day in the same
    /// transaction.
    pub(super) async fn judge_by(
        &self,
        settlement: &RecordHash,
        facts: &Facts,
        rule: Option<&SettleRule>,
        agreed: bool,
    ) -> Result<(Next, Vec<WalletEvent>), ClientError> {
        let Some(mut case) = self.case(settlement).await? else {
            return Ok((Next::Over, Vec::new()));
        };
        case.row.approved |= agreed;
        let step = case.row.discharge.judge(facts, case.change.now);
        let accepted = *case.row.discharge.stage() == Stage::Checked;
        if let Some(rule) = rule.filter(|_| accepted && !case.row.approved) {
            let amount = case.row.discharge.settlement().record().amount.minor();
            if !auto::spend(&mut case.change, rule, settlement, amount).await? {
                // More than the rule lets go in a day: the user has to say so.
                return Ok((Next::Judge, Vec::new()));
            }
        }
        case.store(&step).await
    }

    /// What has to be known is looked for again soon.
    async fn judge_later(&self, settlement: &RecordHash) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        if let Some(mut row) = settlements::discharge(change.conn(), settlement).await? {
            let now = change.now.millis();
            let expires = row.discharge.settlement().record().expires.millis();
            let until = if expires > now { expires } else { u64::MAX };
            row.next_at = now.saturating_add(LATER_MS).min(until);
            settlements::put_discharge(change.conn(), &row).await?;
        }
        change.commit().await
    }

    /// Begins an attempt and tells the rail, if the rail can be asked at all: otherwise nothing is begun.
    async fn dispatch(&self, row: &DischargeRow) -> Result<(Next, Vec<WalletEvent>), ClientError> {
        let settlement = row.discharge.settlement().hash();
        if !self.answers(row).await? {
            self.put_off(&settlement, None).await?;
            return Ok((Next::Dispatch, Vec::new()));
        }
        let Some(mut case) = self.case(&settlement).await? else {
            return Ok((Next::Over, Vec::new()));
        };
        let standing = case.standing().await?;
        let step = case.row.discharge.dispatch(&standing, case.change.now);
        let (next, mut told) = case.store(&step).await?;
        let Next::Pay(order) = next else {
            return Ok((next, told));
        };
        // Stored. Only now, and only here, is the rail told.
        let said = self.tell_rail(&order, plan_hash(row)).await?;
        let (next, news) = self.heard(&settlement, &order, said).await?;
        told.extend(news);
        Ok((next, told))
    }

    /// Takes what a rail said of an order.
    async fn heard(
        &self,
        settlement: &RecordHash,
        order: &settle::Order,
        said: RailSaid,
    ) -> Result<(Next, Vec<WalletEvent>), ClientError> {
        let Some(mut case) = self.case(settlement).await? else {
            return Ok((Next::Over, Vec::new()));
        };
        let now = case.change.now;
        let step = case
            .row
            .discharge
            .rail_said(order.ticket.attempt, said, now);
        case.store(&step).await
    }

    /// Looks at it again later.
    async fn pause(&self, settlement: &RecordHash, next: Next) -> Result<(), ClientError> {
        let rest = match next {
            Next::Judge | Next::Wait => Some(REST_MS),
            _ => None,
        };
        self.put_off(settlement, rest).await
    }

    /// For as long as is said, but not beyond its expiry; else twice as long each time.
    async fn put_off(&self, settlement: &RecordHash, rest: Option<u64>) -> Result<(), ClientError> {
        let mut change = self.change().await?;
        let Some(mut row) = settlements::discharge(change.conn(), settlement).await? else {
            return Ok(());
        };
        // What came meanwhile is not slept through.
        let rest = match row.discharge.stage() {
            Stage::Received if row.approved => return Ok(()),
            Stage::Checked => Some(RELEASE_MS),
            _ => rest,
        };
        let now = change.now.millis();
        let doublings = u32::try_from(row.tries.min(16)).unwrap_or(16);
        let wait = PAUSE_MS.0.saturating_mul(2u64.saturating_pow(doublings));
        let wait = rest.unwrap_or_else(|| wait.min(PAUSE_MS.1));
        let expires = row.discharge.settlement().record().expires.millis();
        // What expires meanwhile is ended in time.
        let until = if expires > now { expires } else { u64::MAX };
        row.next_at = now.saturating_add(wait).min(until);
        row.tries = row.tries.saturating_add(1);
        settlements::put_discharge(change.conn(), &row).await?;
        change.commit().await
    }

    async fn is_put_off(&self, settlement: &RecordHash) -> Result<bool, ClientError> {
        let mut conn = self.store().read().await?;
        let row = settlements::discharge(&mut conn, settlement).await?;
        Ok(row.is_none_or(|row| row.next_at > now().millis()))
    }
}

impl Case {
    async fn standing(&mut self) -> Result<Standing, ClientError> {
        let asked = self.row.discharge.settlement();
        let (settlement, record) = (asked.hash(), asked.record());
        let hash = plan_hash(&self.row);
        let mut reserved: u64 = 0;
        for other in settlements::open_with(self.change.conn(), &self.row.user).await? {
            let same = other.discharge.settlement().record().unit == record.unit;
            if same && other.discharge.settlement().hash() != settlement {
                let kept = other.discharge.reserves().map_or(0, |kept| kept.minor());
                reserved = reserved.saturating_add(kept);
            }
        }
        let taken = match &hash {
            Some(hash) => settlements::hash_taken(self.change.conn(), hash, &settlement).await?,
            None => false,
        };
        Ok(Standing::read(&self.pair, record, hash, reserved, taken))
    }

    /// Makes a step durable, with all that belongs to it.
    async fn store(mut self, step: &Step) -> Result<(Next, Vec<WalletEvent>), ClientError> {
        let settlement = self.row.discharge.settlement().hash();
        let old = settlements::discharge(self.change.conn(), &settlement).await?;
        let changed = old.is_none_or(|old| old.discharge != self.row.discharge);
        if !changed && step.entries.is_empty() {
            return Ok((step.next.clone(), Vec::new()));
        }
        let before = self.pair.clone();
        let entries = &step.entries;
        let records = carry(
            &mut self.change,
            &mut self.pair,
            &self.row.discharge,
            entries,
        )
        .await??;
        if self.pair != before {
            self.change.save(&self.pair).await?;
        }
        let me = self.pair.me();
        decide::dispatch(&mut self.change, me, &self.pair, records).await?;
        self.row.next_at = 0;
        self.row.tries = 0;
        keep(&mut self.change, &mut self.row).await?;
        let mut view = of_discharge(&self.row);
        if matches!(self.row.discharge.stage(), Stage::Proven { .. }) {
            note_paid(&mut self.change, &view, Direction::Out).await?;
            if self.row.confirmed {
                self.row.discharge.booked();
                keep(&mut self.change, &mut self.row).await?;
                view = of_discharge(&self.row);
            }
        }
        let told = tell(&mut self.change, vec![view]).await?;
        self.change.commit().await?;
        Ok((step.next.clone(), told))
    }
}

pub(super) fn plan_hash(row: &DischargeRow) -> Option<PaymentHash> {
    row.discharge.plan().and_then(|plan| plan.hash)
}

fn alarm(row: &DischargeRow) -> WalletEvent {
    let id = row.discharge.settlement().record().id;
    WalletEvent {
        at: now().millis(),
        user: Some(row.user),
        friend: None,
        kind: WalletEventKind::Error {
            code: "paid_after_all".to_owned(),
            message: format!(
                "a rail says that settlement {id} was paid, which it had said was not"
            ),
        },
    }
}
