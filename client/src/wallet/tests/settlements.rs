//! Debts that are paid off outside, with a rail that does as it is told.

mod faults;
mod outlays;
mod outside;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use atomicity_ledger::record::{LIGHTNING_INVOICE, SettleReason, Target};
use atomicity_ledger::settle::Draft;
use atomicity_ledger::{Preimage, RecordId, Timestamp, Total, Unit};
use atomicity_paykit_adapter::MethodId;
use atomicity_paykit_adapter::rail::{
    Effect, FailureReason, Knows, Msat, PaymentId, Says, Script, ScriptedRail,
};

use super::super::settle::OpenRail;
use super::*;
use crate::store::rails::{self, RailRow};

const SAT: u64 = 12_345;

/// The baker has a claim of 2.00 on the milkman, whose rail is scripted.
struct Shop {
    milkman: Person,
    baker: Person,
    rail: Arc<ScriptedRail>,
}

fn after(millis: u64) -> Timestamp {
    now().plus_millis(millis)
}

async fn give_rail(person: &Person) -> Arc<ScriptedRail> {
    let methods = vec![MethodId::new(LIGHTNING_INVOICE).unwrap()];
    let rail = Arc::new(ScriptedRail::new("node", methods, Total::ZERO));
    let row = RailRow {
        name: "node".to_owned(),
        settings: "{}".to_owned(),
        bounds: (None, None),
        added_at: 0,
    };
    let mut tx = person.wallet.store().write().await.unwrap();
    assert!(rails::add(tx.conn(), &row).await.unwrap());
    tx.commit().await.unwrap();
    connect(person, &rail).await;
    rail
}

/// The rail as one that this process has opened.
async fn connect(person: &Person, rail: &Arc<ScriptedRail>) {
    let open = OpenRail::lightning("node".parse().unwrap(), rail.clone(), 10_000);
    let mut rails = person.wallet.inner.rails.lock().await;
    rails.insert("node".to_owned(), open);
}

/// Does this to its end. A rail that was asked to pay `id` and never answers is left, as a crash would leave it: however long it took until
/// it was asked, since nobody would leave it later.
async fn left_hanging(rail: &ScriptedRail, id: PaymentId, work: impl Future<Output = ()>) {
    let left = async {
        while rail.times_asked(id) == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    };
    tokio::select! {
        () = work => {}
        () = left => {}
    }
}

/// A request for `minor` of the claim against an invoice over [`SAT`] on `preimage`.
fn draft(rail: &ScriptedRail, preimage: Preimage, minor: u64, expires: Timestamp) -> Draft {
    let id = rail.learn(preimage);
    let amount = Msat::from_sat(SAT).unwrap();
    let value = ScriptedRail::target(id, &amount.to_money().unwrap(), expires);
    Draft {
        id: RecordId::from_entropy(entropy()),
        unit: BREAD.parse().unwrap(),
        amount: atomicity_ledger::Amount::from_minor(minor).unwrap(),
        targets: vec![Target {
            method: LIGHTNING_INVOICE.parse().unwrap(),
            value: value.parse().unwrap(),
        }],
        pays: Some(super::super::settle::bitcoins(amount).unwrap()),
        hash: Some(preimage.hash()),
        memo: None,
        expires,
    }
}

impl Shop {
    async fn open() -> Self {
        let (milkman, baker) = village().await;
        milkman.pay(&baker, "2.00 BREAD/2", "bread").await.unwrap();
        settle(&milkman, &baker).await;
        let rail = give_rail(&milkman).await;
        Self {
            milkman,
            baker,
            rail,
        }
    }

    /// The baker asks for 0.50 against the invoice on `preimage`, and the milkman has it.
    async fn ask(&self, preimage: Preimage) -> RecordId {
        let draft = draft(&self.rail, preimage, 50, after(600_000));
        let asked = self.ask_for(draft).await.unwrap();
        self.talk().await;
        asked
    }

    async fn ask_for(&self, draft: Draft) -> Result<RecordId, ClientError> {
        let view = self
            .baker
            .wallet
            .open_demand(&self.milkman.key(), draft)
            .await?;
        Ok(view.id)
    }

    async fn talk(&self) {
        settle(&self.baker, &self.milkman).await;
    }

    async fn agree(&self, id: &RecordId) {
        self.milkman.wallet.note_checked();
        self.milkman.wallet.pay_settlement(id).await.unwrap();
    }

    /// The milkman's wallet as a new process finds it.
    async fn restart(&mut self) {
        let config = self.milkman.wallet.config().clone();
        self.milkman.wallet.store().close().await;
        self.milkman.wallet = Wallet::open(&config).await.unwrap();
        self.milkman.wallet.note_checked();
        connect(&self.milkman, &self.rail).await;
    }

    /// The milkman's wallet goes on, and both hear of it.
    async fn go_on(&self) {
        self.milkman.wallet.note_checked();
        self.milkman.wallet.settle_all().await.unwrap();
        self.talk().await;
    }

    async fn stage(&self, id: &RecordId) -> (&'static str, &'static str) {
        let baker = self.baker.wallet.settlement(id).await.unwrap();
        let milkman = self.milkman.wallet.settlement(id).await.unwrap();
        (baker.stage, milkman.stage)
    }

    /// What the milkman owes, and how much of it is reserved, as both say.
    async fn claim(&self) -> (i64, u64) {
        let mine = self.baker.view(&self.milkman).await;
        let theirs = self.milkman.view(&self.baker).await;
        assert_eq!(mine.net.minor(), -theirs.net.minor());
        assert_eq!(mine.promised_to_them, theirs.promised_to_me);
        (mine.net.minor(), mine.promised_to_them)
    }

    /// It was paid `times`, and the claim fell accordingly.
    async fn ends(&self, id: &RecordId, times: u32, preimage: Preimage) {
        let hash = PaymentId::from(preimage.hash());
        assert_eq!(self.rail.times_paid(hash), times);
        let fell = 50 * i64::from(times);
        assert_eq!(self.claim().await, (200 - fell, 0));
        let view = self.baker.wallet.settlement(id).await.unwrap();
        assert!(view.over);
        let shown = (times > 0).then_some(preimage);
        assert_eq!(view.preimage, shown);
        assert!(self.milkman.wallet.settlement(id).await.unwrap().over);
    }
}

fn secret(byte: u8) -> Preimage {
    Preimage::from_bytes([byte; 32])
}

#[tokio::test]
async fn an_invoice_is_paid_and_the_claim_falls_by_exactly_the_amount() {
    let shop = Shop::open().await;
    let id = shop.ask(secret(1)).await;
    assert_eq!(shop.stage(&id).await, ("sent", "received"));
    assert_eq!(shop.claim().await, (200, 50));
    // Nothing is paid before the milkman says so.
    shop.go_on().await;
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert!(view.waits_for_user);
    assert_eq!(view.pays.unwrap().millisatoshi(), Some(SAT * 1000));
    shop.agree(&id).await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    shop.ends(&id, 1, secret(1)).await;
    // Whatever is said again changes nothing.
    shop.baker.wallet.ask_once_more(true).await.unwrap();
    shop.go_on().await;
    shop.ends(&id, 1, secret(1)).await;
    let kinds: Vec<String> = {
        let query = HistoryQuery {
            limit: 100,
            ..HistoryQuery::default()
        };
        let items = shop.baker.wallet.history(&query).await.unwrap();
        items.into_iter().map(|item| item.kind).collect()
    };
    assert_eq!(kinds.iter().filter(|kind| *kind == "settled").count(), 1);
}

#[tokio::test]
async fn whatever_the_rail_says_it_pays_at_most_once_and_the_claim_tells_the_truth() {
    let shop = Shop::open().await;
    let fails = Effect::Fails(FailureReason::NoRoute);
    let mut owed = 200;
    let mut byte = 10;
    for effect in [Effect::Pays, fails, Effect::Hangs] {
        for says in [Says::Truth, Says::Unknown, Says::Nothing] {
            for knows in [
                vec![],
                vec![Knows::Unreachable, Knows::Unreachable],
                vec![Knows::Unreachable, Knows::InFlight],
            ] {
                byte += 1;
                let preimage = secret(byte);
                let hash = PaymentId::from(preimage.hash());
                let draft = draft(&shop.rail, preimage, 5, after(600_000));
                // The first question is whether the rail answers at all.
                let mut said = vec![Knows::Truth];
                said.extend(knows);
                let script = Script {
                    effect,
                    says,
                    knows: said,
                };
                shop.rail.script(hash, script);
                shop.rail.learn(preimage);
                let id = shop.ask_for(draft).await.unwrap();
                shop.talk().await;
                shop.agree(&id).await;
                left_hanging(&shop.rail, hash, shop.go_on()).await;
                shop.talk().await;
                for _ in 0..4 {
                    shop.go_on().await;
                }
                if effect == Effect::Hangs {
                    assert_eq!(shop.stage(&id).await.1, "dispatched");
                    assert_eq!(shop.claim().await, (owed, 5), "{says:?}");
                    shop.rail.resolve(hash, None);
                    shop.go_on().await;
                }
                let paid = effect != fails;
                owed -= if paid { 5 } else { 0 };
                let case = format!("{effect:?} {says:?} {byte}");
                assert_eq!(shop.claim().await, (owed, 0), "{case}");
                assert_eq!(shop.rail.times_paid(hash), u32::from(paid), "{case}");
                assert_eq!(shop.rail.times_asked(hash), 1, "{case}");
                let expected = if paid {
                    ("booked", "done")
                } else {
                    ("failed", "failed")
                };
                assert_eq!(shop.stage(&id).await, expected, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn an_order_that_was_lost_holds_the_claim_and_is_never_sent_again() {
    let shop = Shop::open().await;
    let hash = shop.rail.learn(secret(1));
    let script = Script {
        effect: Effect::Lost,
        says: Says::Unknown,
        knows: Vec::new(),
    };
    let asked = draft(&shop.rail, secret(1), 50, after(600_000));
    shop.rail.script(hash, script);
    let id = shop.ask_for(asked).await.unwrap();
    shop.talk().await;
    shop.agree(&id).await;
    for _ in 0..4 {
        shop.go_on().await;
    }
    assert_eq!(shop.stage(&id).await, ("accepted", "dispatched"));
    assert_eq!(shop.claim().await, (200, 50));
    assert_eq!(shop.rail.times_asked(hash), 1);
    // Nor can it be taken back, and the holder is told.
    shop.baker.wallet.note_checked();
    shop.baker.wallet.withdraw_settlement(&id).await.unwrap();
    shop.talk().await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("accepted", "dispatched"));
}

#[tokio::test]
async fn a_rail_that_is_down_is_not_told_anything_until_it_answers() {
    let shop = Shop::open().await;
    shop.rail.set_down(true);
    let id = shop.ask(secret(1)).await;
    shop.agree(&id).await;
    for _ in 0..5 {
        shop.go_on().await;
    }
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!((view.stage, view.attempts), ("reserved", 0));
    shop.rail.set_down(false);
    shop.go_on().await;
    shop.ends(&id, 1, secret(1)).await;
}

#[tokio::test]
async fn a_request_is_taken_back_as_long_as_no_rail_was_told() {
    let shop = Shop::open().await;
    let id = shop.ask(secret(1)).await;
    shop.baker.wallet.note_checked();
    shop.baker.wallet.withdraw_settlement(&id).await.unwrap();
    shop.talk().await;
    assert_eq!(shop.stage(&id).await, ("declined", "declined"));
    shop.ends(&id, 0, secret(1)).await;
    let refused = shop.milkman.wallet.pay_settlement(&id).await.unwrap_err();
    assert_eq!(refused.code(), "not_waiting");
    // The claim is free again.
    let again = shop.ask(secret(2)).await;
    shop.milkman.wallet.note_checked();
    shop.milkman
        .wallet
        .decline_settlement(&again)
        .await
        .unwrap();
    shop.talk().await;
    let view = shop.baker.wallet.settlement(&again).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::NotAllowed));
    shop.ends(&again, 0, secret(2)).await;
}

#[tokio::test]
async fn within_limits_and_near_the_rate_it_is_paid_without_asking() {
    let shop = Shop::open().await;
    // 12,345 sat for 0.50: 24,690 sat for a whole.
    let rule = |sat: u64| {
        let most = Money::parse("0.50 BREAD/2", &[]).unwrap();
        SettleRule::up_to(most, None, Some(sat * 1000), 10_000)
    };
    let milkman = &shop.milkman.wallet;
    milkman.pay_by_itself(&rule(24_000)).await.unwrap();
    let id = shop.ask(secret(1)).await;
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::RateOff));
    assert_eq!(view.offer.unwrap().millisatoshi(), Some(12_000_000));
    shop.ends(&id, 0, secret(1)).await;
    milkman.pay_by_itself(&rule(24_600)).await.unwrap();
    let id = shop.ask(secret(2)).await;
    shop.go_on().await;
    shop.ends(&id, 1, secret(2)).await;
    let unit: Unit = BREAD.parse().unwrap();
    assert!(milkman.ask_again(None, &unit).await.unwrap());
    let id = shop.ask(secret(3)).await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("sent", "received"));
}

#[tokio::test]
async fn an_issuer_who_pays_and_never_tells_is_asked_again() {
    let shop = Shop::open().await;
    let id = shop.ask(secret(1)).await;
    shop.agree(&id).await;
    shop.milkman.wallet.settle_all().await.unwrap();
    // Lost on the way.
    assert!(!shop.milkman.outgoing(&shop.baker).await.is_empty());
    assert_eq!(shop.stage(&id).await, ("sent", "proven"));
    shop.baker.wallet.ask_once_more(true).await.unwrap();
    shop.talk().await;
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    shop.ends(&id, 1, secret(1)).await;
}

#[tokio::test]
async fn what_has_expired_ends_unpaid() {
    let shop = Shop::open().await;
    let brief = draft(&shop.rail, secret(1), 50, after(5_300));
    let id = shop.ask_for(brief).await.unwrap();
    shop.talk().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    shop.agree(&id).await;
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::Expired));
    shop.ends(&id, 0, secret(1)).await;
}

#[tokio::test]
async fn only_what_is_still_owed_can_be_handed_on() {
    let shop = Shop::open().await;
    shop.ask(secret(9)).await;
    assert_eq!(shop.claim().await, (200, 50));
    let milkman = shop.milkman.key();
    let mut conn = shop.baker.wallet.store().read().await.unwrap();
    let pair = books::load(&mut conn, shop.baker.key(), milkman)
        .await
        .unwrap();
    let unit = BREAD.parse().unwrap();
    // The 0.50 are what is handed on: they are covered, and so would 2.00 be, but no cent more.
    for (promised, covered) in [(50, true), (200, true), (201, false)] {
        let looked = super::super::pay::still_covers(&pair, &unit, promised, now());
        assert_eq!(looked.is_ok(), covered, "{promised}");
    }
}
