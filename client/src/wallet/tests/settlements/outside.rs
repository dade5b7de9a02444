//! Debts that are paid off by other rails than Lightning: by hand, by rails that do as they are told, in other currencies.

mod rates;

use atomicity_ledger::Decimal;
use atomicity_ledger::text::RailProof;
use atomicity_paykit_adapter::rail::{
    Failure, Health, Order, Outcome, Proof, Quote, Rail, RailError, Receipt, Standing,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Mutex;

use super::super::super::settle::{OpenRail, OutsidePays, OutsideTerms, RailKind, RailSettings};
use super::*;
use crate::store::confirmed::ConfirmRule;

const CASH: &str = "bread-cash-hand";
const BANK: &str = "bread-bank-iban";

/// Keeps a rail that the milkman works by hand.
async fn by_hand(person: &Person, name: &str, methods: &[&str]) {
    let settings = RailSettings::Manual {
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
    };
    let added = person.wallet.add_rail(name, settings, (None, None)).await;
    assert!(added.unwrap().1.ready);
}

fn target(method: &str, value: &str) -> Target {
    Target {
        method: method.parse().unwrap(),
        value: value.parse().unwrap(),
    }
}

fn words(text: &str) -> RailProof {
    text.parse().unwrap()
}

fn money(text: &str) -> Money {
    Money::parse(text, &[]).unwrap()
}

/// The baker has a claim of 2.00 on the milkman.
async fn owed() -> Shop {
    let (milkman, baker) = village().await;
    milkman.pay(&baker, "2.00 BREAD/2", "bread").await.unwrap();
    settle(&milkman, &baker).await;
    let rail = Arc::new(ScriptedRail::new("none", Vec::new(), Total::ZERO));
    Shop {
        milkman,
        baker,
        rail,
    }
}

impl Shop {
    /// The baker asks for 0.50 at these places.
    async fn ask_outside(&self, targets: &[Target], pays: OutsidePays) -> RecordId {
        let terms = OutsideTerms {
            targets: targets.to_vec(),
            pays,
            ..OutsideTerms::default()
        };
        self.baker.wallet.note_checked();
        let (milkman, half) = (self.milkman.key(), money("0.50 BREAD/2"));
        let asked = self.baker.wallet.outside_draft(half, terms).await.unwrap();
        let view = self.baker.wallet.open_demand(&milkman, asked).await;
        let id = view.unwrap().id;
        self.talk().await;
        id
    }

    /// What the milkman says of a payment by hand, and both hear of it. Nothing can be sent here but by hand.
    async fn say(&self, id: &RecordId, paid: Option<&str>) -> Result<(), ClientError> {
        self.milkman.wallet.note_checked();
        let said = match paid {
            Some(proof) => self.milkman.wallet.paid_by_hand(id, words(proof)).await,
            None => self.milkman.wallet.not_paid_by_hand(id, None).await,
        };
        self.talk().await;
        said.map(drop)
    }

    async fn confirm(&self, id: &RecordId) -> Result<(), ClientError> {
        self.baker.wallet.note_checked();
        let done = self.baker.wallet.confirm_settlement(id).await;
        self.talk().await;
        self.go_on().await;
        done.map(drop)
    }

    async fn reserved(&self) -> u64 {
        let mut conn = self.baker.wallet.store().read().await.unwrap();
        let unit = BREAD.parse().unwrap();
        let milkman = self.milkman.key();
        crate::store::demands::reserved_of(&mut conn, &milkman, &unit)
            .await
            .unwrap()
    }

    async fn owes(&self) -> i64 {
        let (mine, theirs) = (
            self.baker.net(&self.milkman).await,
            self.milkman.net(&self.baker).await,
        );
        assert_eq!(mine, -theirs);
        mine
    }
}

#[tokio::test]
async fn cash_is_paid_first_and_the_claim_falls_when_the_holder_confirms() {
    let shop = owed().await;
    by_hand(&shop.milkman, "purse", &[CASH]).await;
    let place = [target(CASH, "at the oven")];
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    assert_eq!(shop.stage(&id).await, ("sent", "received"));
    assert_eq!((shop.owes().await, shop.reserved().await), (200, 50));
    // With a line of 5.00 the baker could pay 7.00; what is asked for is not spent meanwhile.
    let can = shop.baker.view(&shop.milkman).await.can_issue;
    let most = |minor: u64| format!("{}.{:02} BREAD/2", minor / 100, minor % 100);
    let spent = shop.baker.pay(&shop.milkman, &most(can - 49), "all").await;
    assert_eq!(spent.unwrap_err().code(), "limit_exceeded");
    // Nothing can be confirmed for the issuer, and nothing disputed that nobody says was paid.
    let early = shop.baker.wallet.dispute_settlement(&id).await.unwrap_err();
    assert_eq!(early.code(), "not_confirmable");
    shop.agree(&id).await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("accepted", "dispatched"));
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.by_hand, Some(money("0.50 BREAD/2")));
    assert_eq!(view.way.unwrap().target, place[0]);
    shop.say(&id, Some("to the baker himself")).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("paid", "proven"));
    assert_eq!((shop.owes().await, shop.reserved().await), (200, 50));
    let view = shop.baker.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.method.unwrap().as_str(), CASH);
    assert_eq!(view.proof.unwrap().as_str(), "to the baker himself");
    // Said twice it is the same, and another word does not count.
    let twice = shop.say(&id, Some("again")).await.unwrap_err();
    assert_eq!(twice.code(), "not_by_hand");
    let change = shop.say(&id, None).await.unwrap_err();
    assert_eq!(change.code(), "not_by_hand");

    shop.confirm(&id).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    assert_eq!((shop.owes().await, shop.reserved().await), (150, 0));
    let again = shop.confirm(&id).await.unwrap_err();
    assert_eq!(again.code(), "not_confirmable");
    shop.baker.wallet.ask_once_more(true).await.unwrap();
    shop.go_on().await;
    assert_eq!(shop.owes().await, 150);
}

#[tokio::test]
async fn a_holder_to_whom_nothing_came_disputes_and_keeps_the_claim() {
    let shop = owed().await;
    by_hand(&shop.milkman, "purse", &[CASH]).await;
    let place = [target(CASH, "at the oven")];
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    // Paid at once, without a word before.
    shop.say(&id, Some("put under the door")).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("paid", "proven"));
    shop.baker.wallet.note_checked();
    shop.baker.wallet.dispute_settlement(&id).await.unwrap();
    shop.talk().await;
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("disputed", "proven"));
    assert_eq!((shop.owes().await, shop.reserved().await), (200, 0));
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert!(view.disputed && !view.over);
    // Whatever the milkman repeats changes nothing, and no rule confirms it.
    let rule = ConfirmRule::up_to(money("1.00 BREAD/2"), None);
    shop.baker.wallet.confirm_by_itself(&rule).await.unwrap();
    shop.go_on().await;
    shop.baker.wallet.note_checked();
    shop.baker.wallet.confirm_all(true).await.unwrap();
    assert_eq!(shop.stage(&id).await.0, "disputed");
    // It was under the mat.
    shop.confirm(&id).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    assert_eq!(shop.owes().await, 150);
}

#[tokio::test]
async fn who_is_paid_without_being_told_confirms_and_who_is_believed_need_not_ask() {
    let shop = owed().await;
    by_hand(&shop.milkman, "purse", &[CASH]).await;
    let place = [target(CASH, "at the oven")];
    // The milkman's wallet was told to pay, and the milkman says nothing to it.
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    shop.go_on().await;
    shop.confirm(&id).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    // Nor was it even asked: then nothing is paid any more.
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    shop.confirm(&id).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("booked", "declined"));
    assert_eq!(shop.owes().await, 100);
    // Up to 0.50 the milkman's word is enough.
    let rule = ConfirmRule::up_to(money("0.50 BREAD/2"), Some(shop.milkman.key()));
    shop.baker.wallet.confirm_by_itself(&rule).await.unwrap();
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    shop.say(&id, Some("to the boy")).await.unwrap();
    shop.baker.wallet.note_checked();
    let told = shop.baker.wallet.confirm_all(false).await.unwrap();
    assert_eq!(told.len(), 1);
    shop.talk().await;
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    assert_eq!(shop.owes().await, 50);
    let unit: Unit = BREAD.parse().unwrap();
    let milkman = Some(shop.milkman.key());
    let ended = shop
        .baker
        .wallet
        .confirm_by_hand_again(milkman.as_ref(), &unit);
    assert!(ended.await.unwrap());
    let id = shop.ask_outside(&place, OutsidePays::OneForOne).await;
    shop.say(&id, Some("to the boy")).await.unwrap();
    shop.baker.wallet.confirm_all(true).await.unwrap();
    assert_eq!(shop.stage(&id).await.0, "paid");
}

/// A rail that pays, fails, or says nothing, whatever it is told.
#[derive(Debug, Default)]
struct Obedient {
    methods: Vec<MethodId>,
    says: Mutex<Option<bool>>,
    asked: Mutex<BTreeMap<PaymentId, u32>>,
}

impl Obedient {
    fn standing(&self) -> Standing {
        match *self.says.lock().unwrap() {
            Some(true) => Standing::Succeeded(Receipt {
                proof: Proof::Statement("paid by machine".to_owned()),
                fee: Total::ZERO,
            }),
            Some(false) => {
                Standing::FailedForGood(Failure::new(FailureReason::RefusedByPayee, "no"))
            }
            None => Standing::InFlight,
        }
    }

    fn times_asked(&self) -> u32 {
        self.asked.lock().unwrap().values().sum()
    }
}

impl Rail for Obedient {
    fn name(&self) -> &str {
        "machine"
    }

    fn methods(&self) -> &[MethodId] {
        &self.methods
    }

    fn check<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async { Err(RailError::Unreachable("not asked".to_owned())) }.boxed()
    }

    fn pay<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Outcome> {
        *self.asked.lock().unwrap().entry(order.id).or_default() += 1;
        async move { self.standing().into() }.boxed()
    }

    fn look_up(&self, id: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        let known = self.asked.lock().unwrap().contains_key(&id);
        async move {
            Ok(if known {
                self.standing()
            } else {
                Standing::NeverSeen
            })
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        async {
            ScriptedRail::new("healthy", Vec::new(), Total::ZERO)
                .health()
                .await
        }
        .boxed()
    }
}

/// A machine that pays by bank, before the purse.
async fn machine(person: &Person) -> Arc<Obedient> {
    let rail = Arc::new(Obedient {
        methods: vec![MethodId::new(BANK).unwrap()],
        ..Obedient::default()
    });
    let row = RailRow {
        name: "machine".to_owned(),
        settings: "{}".to_owned(),
        bounds: (None, None),
        added_at: 0,
    };
    let mut tx = person.wallet.store().write().await.unwrap();
    assert!(rails::add(tx.conn(), &row).await.unwrap());
    tx.commit().await.unwrap();
    let open = OpenRail {
        kind: RailKind::Hand,
        ..OpenRail::lightning("machine".parse().unwrap(), rail.clone(), 0)
    };
    let mut rails = person.wallet.inner.rails.lock().await;
    rails.insert("machine".to_owned(), open);
    rail
}

#[tokio::test]
async fn the_next_rail_has_its_turn_only_when_the_one_before_failed_for_good() {
    let shop = owed().await;
    let rail = machine(&shop.milkman).await;
    by_hand(&shop.milkman, "purse", &[CASH]).await;
    // The holder likes cash best; the payer's own order counts.
    let places = [target(CASH, "at the oven"), target(BANK, "DE02")];
    let id = shop.ask_outside(&places, OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    for _ in 0..4 {
        shop.go_on().await;
    }
    // As long as nobody knows, nothing else is tried.
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!((view.stage, view.attempts), ("dispatched", 1));
    assert_eq!(view.way.unwrap().rail.as_str(), "machine");
    assert_eq!((rail.times_asked(), view.by_hand), (1, None));
    let early = shop.say(&id, Some("cash")).await.unwrap_err();
    assert_eq!(early.code(), "not_by_hand");
    *rail.says.lock().unwrap() = Some(false);
    shop.go_on().await;
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!((view.stage, view.attempts), ("dispatched", 2));
    assert_eq!(view.way.unwrap().rail.as_str(), "purse");
    shop.say(&id, Some("cash")).await.unwrap();
    shop.confirm(&id).await.unwrap();
    assert_eq!(shop.stage(&id).await, ("booked", "done"));
    assert_eq!((shop.owes().await, rail.times_asked()), (150, 1));

    // Where every one has failed for good, it is not paid, and the claim is free.
    let id = shop.ask_outside(&places, OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    shop.go_on().await;
    shop.say(&id, None).await.unwrap();
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("failed", "failed"));
    assert_eq!((shop.owes().await, shop.reserved().await), (150, 0));

    // The other way round, as the user says; and a rail that works is proof enough for the issuer.
    *rail.says.lock().unwrap() = Some(true);
    let first = ["purse".to_owned()];
    shop.milkman.wallet.order_rails(&first).await.unwrap();
    let id = shop.ask_outside(&places, OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    shop.go_on().await;
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.way.unwrap().rail.as_str(), "purse");
    shop.say(&id, None).await.unwrap();
    shop.go_on().await;
    assert_eq!(shop.stage(&id).await, ("paid", "proven"));
    let unknown = ["nobody".to_owned()];
    let unknown = shop.milkman.wallet.order_rails(&unknown).await.unwrap_err();
    assert_eq!(unknown.code(), "rail_unknown");
}

#[tokio::test]
async fn a_rail_pays_within_its_bounds_and_nobody_pays_where_none_fits() {
    let shop = owed().await;
    let settings = RailSettings::Manual {
        methods: vec![CASH.to_owned()],
    };
    let bounds = (None, Some(Decimal::read("0.40").unwrap()));
    let wallet = &shop.milkman.wallet;
    wallet.add_rail("purse", settings, bounds).await.unwrap();
    let id = shop
        .ask_outside(&[target(CASH, "at the oven")], OutsidePays::OneForOne)
        .await;
    shop.agree(&id).await;
    shop.go_on().await;
    let view = shop.baker.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.reason, Some(SettleReason::NoMethod));
    // And nothing was paid by hand that could not be.
    let id = shop
        .ask_outside(&[target(BANK, "DE02")], OutsidePays::OneForOne)
        .await;
    let said = shop.say(&id, Some("cash")).await.unwrap_err();
    assert_eq!(said.code(), "not_by_hand");
    assert_eq!(shop.stage(&id).await, ("sent", "received"));
    let turned = (Some("2".parse().unwrap()), Some("1".parse().unwrap()));
    let settings = RailSettings::Manual {
        methods: vec![CASH.to_owned()],
    };
    let error = wallet.add_rail("other", settings, turned).await;
    assert_eq!(error.unwrap_err().exit_code(), 2);
    let settings = RailSettings::Manual {
        methods: vec!["cash".to_owned()],
    };
    let error = wallet.add_rail("other", settings, (None, None)).await;
    assert_eq!(error.unwrap_err().exit_code(), 2);
}

#[tokio::test]
async fn where_no_place_is_named_what_was_told_in_private_counts() {
    let shop = owed().await;
    by_hand(&shop.milkman, "purse", &[CASH, BANK]).await;
    let baker = &shop.baker.wallet;
    baker.note_checked();
    let milkman = shop.milkman.key();
    let bounds = (None, Some("10"));
    let told = baker.add_private_endpoint(&milkman, BANK, "DE02", bounds);
    assert!(told.await.unwrap().private);
    let told = baker.add_private_endpoint(&milkman, CASH, "at the oven", (None, None));
    told.await.unwrap();
    let bad = baker.add_private_endpoint(&milkman, "cash", "x", (None, None));
    assert_eq!(bad.await.unwrap_err().exit_code(), 2);
    shop.talk().await;
    let list = baker.private_endpoints_for(&milkman).await.unwrap();
    let list: Vec<&str> = list.iter().map(|one| one.method.as_str()).collect();
    assert_eq!(list, [BANK, CASH]);
    let id = shop.ask_outside(&[], OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    shop.go_on().await;
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.way.unwrap().target, target(CASH, "at the oven"));
    let gone = baker.remove_private_endpoint(&milkman, CASH, None);
    assert!(gone.await.unwrap());
    let gone = baker.remove_private_endpoint(&milkman, CASH, None);
    assert!(!gone.await.unwrap());
    shop.talk().await;
    let id = shop.ask_outside(&[], OutsidePays::OneForOne).await;
    shop.agree(&id).await;
    shop.go_on().await;
    let view = shop.milkman.wallet.settlement(&id).await.unwrap();
    assert_eq!(view.way.unwrap().target, target(BANK, "DE02"));
}
