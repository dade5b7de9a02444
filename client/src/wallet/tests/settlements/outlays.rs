//! Invoices that accounts have paid outside, with a rail that does as it is told.

use std::task::Poll;

use atomicity_ledger::account::day_of;
use atomicity_ledger::jws::Version;
use atomicity_ledger::record::{Delegation, DelegationLimit, Pays, Scope, Spend, SpendTo};
use atomicity_ledger::{Amount, Keypair, Serial, Signed};

use super::super::super::settle::bitcoins;
use super::*;
use crate::store::accounts::{self, AccountRow, SpendRow, SpendStage};
use crate::store::settlements as hashes;

/// The milkman lets an app spend, outside too: 24,690 sat for a whole, 1 % more or less.
struct Till {
    milkman: Person,
    rail: Arc<ScriptedRail>,
    app: Keypair,
}

const RATE: OwnRate = OwnRate {
    msat: Some(24_690_000),
    spread_ppm: 10_000,
    by_source: false,
};

impl Till {
    async fn open() -> Self {
        let milkman = Person::new("milkman").await;
        let rail = give_rail(&milkman).await;
        let app = Keypair::from_secret(&[0x61; 32]);
        let word = Delegation {
            v: Version,
            root: milkman.key(),
            key: app.signer_key(),
            scopes: vec![Scope::Request, Scope::Rails],
            peers: None,
            limits: vec![DelegationLimit {
                unit: BREAD.parse().unwrap(),
                per_peer: Total::from_minor(1_000).unwrap(),
                per_day: None,
            }],
            not_before: now(),
            not_after: after(600_000),
            serial: Serial::new(1).unwrap(),
        };
        let word = Signed::sign(word, milkman.root.keypair()).unwrap();
        let row = AccountRow {
            key: app.signer_key(),
            name: "till".to_owned(),
            delegation: word.jws().to_owned(),
            plugin: milkman.key().to_z32(),
            told: true,
            rate: RATE,
            revoked_at: None,
            created_at: 0,
        };
        let mut tx = milkman.wallet.store().write().await.unwrap();
        assert!(accounts::add(tx.conn(), &row).await.unwrap());
        tx.commit().await.unwrap();
        Self { milkman, rail, app }
    }

    /// The app asks for the invoice on `preimage`, over [`SAT`], and lets 0.50 go for it.
    fn spend(&self, preimage: Preimage, change: impl FnOnce(&mut Spend)) -> Signed<Spend> {
        let asked = draft(&self.rail, preimage, 50, after(600_000));
        let mut spend = Spend {
            v: Version,
            id: asked.id,
            owner: self.milkman.key(),
            plugin: self.milkman.key(),
            unit: asked.unit,
            amount: asked.amount,
            to: SpendTo::Target(asked.targets[0].clone()),
            pays: asked.pays,
            max_fee: None,
            memo: None,
            expires: asked.expires,
            at: now(),
        };
        change(&mut spend);
        Signed::sign(spend, &self.app).unwrap()
    }

    /// The wallet judges it and takes it on, and the agent knows.
    async fn take(&self, spend: &Signed<Spend>) -> Result<RecordId, SettleReason> {
        let wallet = &self.milkman.wallet;
        let outlay = wallet.judge_outlay(spend, RATE).await.unwrap();
        let outlay = outlay.map_err(|(reason, _)| reason)?;
        let id = spend.record().id;
        let day = day_of(now());
        let mut tx = wallet.store().write().await.unwrap();
        let conn = tx.conn();
        assert!(accounts::add_spend(conn, spend, (0, day)).await.unwrap());
        accounts::wanted(conn, &id, spend.jws()).await.unwrap();
        let cost = spend.record().amount.minor();
        assert!(accounts::claim(conn, &id, (day, cost)).await.unwrap());
        let stage = (SpendStage::Claimed, false);
        assert!(
            accounts::put_outlay(conn, &id, &outlay, stage)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        // Nothing begins before the agent knows that it is taken on.
        self.go_on().await;
        assert_eq!(self.row(&id).await.stage, SpendStage::Claimed);
        let mut tx = wallet.store().write().await.unwrap();
        accounts::spend_told(tx.conn(), &id, SpendStage::Claimed)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        Ok(id)
    }

    async fn go_on(&self) {
        self.milkman.wallet.note_checked();
        self.milkman.wallet.drive_outlays().await.unwrap();
    }

    async fn row(&self, id: &RecordId) -> SpendRow {
        let mut conn = self.milkman.wallet.store().read().await.unwrap();
        accounts::spend(&mut conn, id).await.unwrap().unwrap()
    }

    /// What counts against the limits.
    async fn used(&self) -> u64 {
        let mut conn = self.milkman.wallet.store().read().await.unwrap();
        let key = self.app.signer_key();
        let used = accounts::used(&mut conn, &key, day_of(now()))
            .await
            .unwrap();
        used.in_all
    }

    /// As a new process finds it.
    async fn restart(&mut self) {
        let config = self.milkman.wallet.config().clone();
        self.milkman.wallet.store().close().await;
        self.milkman.wallet = Wallet::open(&config).await.unwrap();
        connect(&self.milkman, &self.rail).await;
    }
}

/// Runs a future for so many turns, and drops it. Whether it came to its end.
async fn turns(n: usize, work: impl Future<Output = ()>) -> bool {
    let mut work = Box::pin(work);
    for _ in 0..n {
        let done = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context)));
        if done.await.is_ready() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    false
}

#[tokio::test]
async fn whatever_the_rail_says_an_account_pays_at_most_once_and_counts_what_is_true() {
    let till = Till::open().await;
    let fails = Effect::Fails(FailureReason::NoRoute);
    let (mut used, mut byte) = (0, 10);
    for effect in [Effect::Pays, fails, Effect::Hangs] {
        for says in [Says::Truth, Says::Unknown, Says::Nothing] {
            for knows in [vec![], vec![Knows::Unreachable, Knows::InFlight]] {
                byte += 1;
                let preimage = secret(byte);
                let hash = PaymentId::from(preimage.hash());
                let spend = till.spend(preimage, |_| ());
                // The first question is whether the rail answers at all.
                let mut said = vec![Knows::Truth];
                said.extend(knows);
                let script = Script {
                    effect,
                    says,
                    knows: said,
                };
                till.rail.script(hash, script);
                till.rail.learn(preimage);
                let id = till.take(&spend).await.unwrap();
                left_hanging(&till.rail, hash, till.go_on()).await;
                for _ in 0..4 {
                    till.go_on().await;
                }
                if effect == Effect::Hangs {
                    let row = till.row(&id).await;
                    assert!(row.ended_at.is_none());
                    assert_eq!(till.used().await, used + 50);
                    till.rail.resolve(hash, None);
                    till.go_on().await;
                }
                let row = till.row(&id).await;
                let paid = effect != fails;
                used += if paid { 50 } else { 0 };
                let case = format!("{effect:?} {says:?} {byte}");
                assert_eq!(till.used().await, used, "{case}");
                assert_eq!(till.rail.times_paid(hash), u32::from(paid), "{case}");
                assert_eq!(till.rail.times_asked(hash), 1, "{case}");
                let expected = if paid {
                    (SpendStage::Paid, None)
                } else {
                    (SpendStage::Failed, Some("rail_failed"))
                };
                assert_eq!((row.stage, row.reason.as_deref()), expected, "{case}");
                // The agent is to be told, with what shows it.
                assert!(!row.told, "{case}");
                let shown = format!(r#"{{"preimage":"{}"}}"#, String::from(preimage));
                assert_eq!(row.receipt, paid.then_some(shown), "{case}");
            }
        }
    }
    let query = HistoryQuery {
        limit: 100,
        ..HistoryQuery::default()
    };
    let items = till.milkman.wallet.history(&query).await.unwrap();
    let paid = items.iter().filter(|item| item.kind == "outlay");
    assert_eq!(paid.count() as u64 * 50, used);
}

#[tokio::test]
async fn a_wallet_that_stops_anywhere_pays_an_account_at_most_once() {
    let mut till = Till::open().await;
    let (mut whole, mut n) = (false, 0);
    while !whole {
        n += 1;
        let preimage = secret(n);
        let spend = till.spend(preimage, |spend| {
            spend.amount = Amount::from_minor(50).unwrap()
        });
        let hash = PaymentId::from(preimage.hash());
        let before = till.used().await;
        let id = till.take(&spend).await.unwrap();
        whole = turns(usize::from(n), till.go_on()).await;
        till.restart().await;
        for _ in 0..3 {
            till.go_on().await;
        }
        let row = till.row(&id).await;
        // It died after it had said that the rail is told, and before it was: nobody can know, and nothing is freed or sent again.
        let held = row.stage == SpendStage::Paying && till.rail.times_asked(hash) == 0;
        let paid = row.stage == SpendStage::Paid && till.rail.times_paid(hash) == 1;
        assert!(held || paid, "after {n} turns: {row:?}");
        assert_eq!(till.used().await, before + 50);
        assert!(till.rail.times_asked(hash) <= 1);
    }
    assert!(n > 2, "it never stopped in between");
}

#[tokio::test]
async fn what_is_off_the_rate_says_something_else_or_is_too_late_is_declined() {
    let till = Till::open().await;
    // Half a whole for 12,345 sat is the rate; 0.49 is more than 1 % less, 0.51 more than 1 % more.
    for (minor, taken) in [(49, false), (50, true), (51, false)] {
        let amount = Amount::from_minor(minor).unwrap();
        let spend = till.spend(secret(1), |spend| spend.amount = amount);
        let judged = till.milkman.wallet.judge_outlay(&spend, RATE).await;
        let reason = judged.unwrap().err().map(|(reason, _)| reason);
        assert_eq!(reason, (!taken).then_some(SettleReason::RateOff), "{minor}");
    }
    let other = bitcoins(Msat::from_sat(SAT - 1).unwrap()).unwrap();
    let spend = till.spend(secret(2), |spend| spend.pays = Some(other));
    assert_eq!(till.take(&spend).await, Err(SettleReason::AmountDiffers));
    let soon = till.spend(secret(3), |spend| spend.expires = after(1_000));
    assert_eq!(till.take(&soon).await, Err(SettleReason::Expired));
    let asked = draft(&till.rail, secret(4), 50, after(1_000));
    let late = till.spend(secret(5), |spend| {
        spend.to = SpendTo::Target(asked.targets[0].clone());
    });
    assert_eq!(till.take(&late).await, Err(SettleReason::Expired));
    // Without a rate only what the unit counts is paid, and no app has people pay by hand.
    let spend = till.spend(secret(6), |_| ());
    let judged = till.milkman.wallet.judge_outlay(&spend, OwnRate::default());
    assert_eq!(judged.await.unwrap().unwrap_err().0, SettleReason::RateOff);
    let settings = super::super::super::settle::RailSettings::Manual {
        methods: vec!["bread-cash-hand".to_owned()],
    };
    let wallet = &till.milkman.wallet;
    wallet
        .add_rail("purse", settings, (None, None))
        .await
        .unwrap();
    let cash = till.spend(secret(7), |spend| {
        let (method, value) = ("bread-cash-hand".parse(), "at the oven".parse());
        spend.to = SpendTo::Target(Target {
            method: method.unwrap(),
            value: value.unwrap(),
        });
        spend.pays = None::<Pays>;
    });
    assert_eq!(till.take(&cash).await, Err(SettleReason::NoMethod));
    assert_eq!(till.used().await, 0);
}

#[tokio::test]
async fn an_invoice_is_paid_for_one_spend_and_for_nothing_else() {
    let till = Till::open().await;
    let first = till.take(&till.spend(secret(1), |_| ())).await.unwrap();
    let second = till.take(&till.spend(secret(1), |_| ())).await.unwrap();
    assert_eq!(till.used().await, 100);
    till.go_on().await;
    let (first, second) = (till.row(&first).await, till.row(&second).await);
    let mut ended = [(first.stage, first.reason), (second.stage, second.reason)];
    ended.sort_by_key(|(stage, _)| *stage == SpendStage::Failed);
    assert_eq!(ended[0], (SpendStage::Paid, None));
    assert_eq!(ended[1].1.as_deref(), Some("already_paid"));
    assert_eq!(till.used().await, 50);
    assert_eq!(till.rail.times_asked(PaymentId::from(secret(1).hash())), 1);
    // A friend's request had this one.
    let mut tx = till.milkman.wallet.store().write().await.unwrap();
    let request = RecordHash::of("a request");
    let taken = hashes::take_hash(tx.conn(), &secret(2).hash(), &request, 0).await;
    assert!(taken.unwrap());
    tx.commit().await.unwrap();
    let third = till.take(&till.spend(secret(2), |_| ())).await.unwrap();
    till.go_on().await;
    let third = till.row(&third).await;
    assert_eq!(third.reason.as_deref(), Some("already_paid"));
    assert_eq!(till.rail.times_asked(PaymentId::from(secret(2).hash())), 0);
}

#[tokio::test]
async fn an_account_that_was_revoked_begins_nothing_and_ends_what_was_begun_as_it_ends() {
    let till = Till::open().await;
    let script = Script {
        effect: Effect::Hangs,
        says: Says::Unknown,
        knows: Vec::new(),
    };
    let hash = PaymentId::from(secret(1).hash());
    let spend = till.spend(secret(1), |_| ());
    till.rail.script(hash, script);
    till.rail.learn(secret(1));
    let begun = till.take(&spend).await.unwrap();
    till.go_on().await;
    // Nobody knows: the agent is told so, and all of it stays counted.
    let row = till.row(&begun).await;
    assert_eq!((row.stage, row.told), (SpendStage::Unknown, false));
    let removed = till.milkman.wallet.remove_rail("node").await.unwrap_err();
    assert_eq!(removed.code(), "rail_in_use");
    let waits = till.take(&till.spend(secret(2), |_| ())).await.unwrap();
    let mut tx = till.milkman.wallet.store().write().await.unwrap();
    let key = till.app.signer_key();
    accounts::revoke(tx.conn(), &key, 1).await.unwrap();
    tx.commit().await.unwrap();
    till.go_on().await;
    let waits = till.row(&waits).await;
    assert_eq!(waits.reason.as_deref(), Some("key_revoked"));
    assert_eq!(till.rail.times_asked(PaymentId::from(secret(2).hash())), 0);
    assert_eq!(till.used().await, 50);
    till.rail.resolve(hash, None);
    till.go_on().await;
    assert_eq!(till.row(&begun).await.stage, SpendStage::Paid);
    assert_eq!(till.used().await, 50);
    till.milkman.wallet.remove_rail("node").await.unwrap();
}

#[tokio::test]
async fn a_rail_that_is_down_is_told_nothing_for_an_account_until_it_answers() {
    let till = Till::open().await;
    let id = till.take(&till.spend(secret(1), |_| ())).await.unwrap();
    till.rail.set_down(true);
    for _ in 0..3 {
        till.go_on().await;
    }
    let row = till.row(&id).await;
    assert_eq!(row.stage, SpendStage::Claimed);
    assert_eq!(row.outlay.unwrap().attempts(), 0);
    // It rests in between, unless all of it is looked at.
    let due = till.milkman.wallet.outlays_due(10).await.unwrap();
    assert!(due.is_empty());
    till.rail.set_down(false);
    till.go_on().await;
    assert_eq!(till.row(&id).await.stage, SpendStage::Paid);
}
