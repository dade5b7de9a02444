//! What guests pay: kept, seen, counted and freed, without any network. The till is made up: what comes to an address is what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use atomicity_ledger::record::Every;
use atomicity_ledger::{Memo, Unit};
use atomicity_paykit_adapter::MethodId;
use atomicity_paykit_adapter::rail::{
    Address, Deposited, Deposits, Health, Msat, Order, Outcome, PaymentId, Quote, Rail, RailError,
    Standing,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::net::plugin::GuestPart;
use crate::store::rails::{self, RailRow};
use crate::store::requests::guests as store;
use crate::store::requests::guests::GuestRow;
use crate::wallet::settle::OpenRail;

const BITS: &str = "BTC/8";

/// Gives addresses, and says what came there.
#[derive(Debug, Default)]
struct Till {
    /// What is seen and what is confirmed, in satoshis.
    came: Mutex<BTreeMap<String, (u64, u64)>>,
    given: Mutex<u32>,
    down: Mutex<bool>,
}

impl Till {
    fn comes(&self, part: &GuestRow, seen: u64, confirmed: u64) {
        let address = part.place.as_ref().unwrap().place.clone();
        self.came.lock().unwrap().insert(address, (seen, confirmed));
    }

    fn works(&self) -> Result<(), RailError> {
        match *self.down.lock().unwrap() {
            true => Err(RailError::Unreachable("it is down".to_owned())),
            false => Ok(()),
        }
    }
}

impl Deposits for Till {
    fn new_address(&self) -> BoxFuture<'_, Result<Address, RailError>> {
        async move {
            self.works()?;
            let mut given = self.given.lock().unwrap();
            *given += 1;
            Ok(Address {
                address: format!("sb1q{given}"),
                since_block: 7,
            })
        }
        .boxed()
    }

    fn deposited<'a>(
        &'a self,
        address: &'a Address,
    ) -> BoxFuture<'a, Result<Deposited, RailError>> {
        async move {
            self.works()?;
            assert_eq!(address.since_block, 7);
            let came = self.came.lock().unwrap();
            let (seen, confirmed) = came.get(&address.address).copied().unwrap_or_default();
            Ok(Deposited {
                seen: Msat::from_sat(seen)?,
                confirmed: Msat::from_sat(confirmed)?,
            })
        }
        .boxed()
    }
}

impl Rail for Till {
    fn name(&self) -> &'static str {
        "till"
    }

    fn methods(&self) -> &[MethodId] {
        &[]
    }

    fn check<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Quote, RailError>> {
        async { Err(RailError::NeverSeen) }.boxed()
    }

    fn pay<'a>(&'a self, _: &'a Order) -> BoxFuture<'a, Outcome> {
        async { Outcome::Unknown(RailError::NeverSeen) }.boxed()
    }

    fn look_up(&self, _: PaymentId) -> BoxFuture<'_, Result<Standing, RailError>> {
        async { Ok(Standing::NeverSeen) }.boxed()
    }

    fn health(&self) -> BoxFuture<'_, Result<Health, RailError>> {
        async { Err(RailError::NeverSeen) }.boxed()
    }

    fn deposits(&self) -> Option<&dyn Deposits> {
        Some(self)
    }
}

/// A baker who takes guests on the chain.
async fn inn() -> (Person, Arc<Till>) {
    let baker = Person::new("baker").await;
    let unit: Unit = BITS.parse().unwrap();
    baker
        .wallet
        .open_unit(&baker.root, unit, None)
        .await
        .unwrap();
    let till = Arc::new(Till::default());
    let row = RailRow {
        name: "till".to_owned(),
        settings: "{}".to_owned(),
        bounds: (None, None),
        added_at: 0,
    };
    let mut tx = baker.wallet.store().write().await.unwrap();
    assert!(rails::add(tx.conn(), &row).await.unwrap());
    tx.commit().await.unwrap();
    let open = OpenRail::lightning("till".parse().unwrap(), till.clone(), 0);
    let mut rails = baker.wallet.inner.rails.lock().await;
    rails.insert("till".to_owned(), open);
    drop(rails);
    (baker, till)
}

fn ways() -> Vec<GuestRail> {
    let rails = r#"[{"way": "onchain", "rail": "till"}]"#;
    serde_json::from_str(rails).unwrap()
}

/// The baker asks for so much.
async fn asks(baker: &Person, goal: Goal, change_it: impl FnOnce(&mut RequestTerms)) -> RequestRow {
    let mut terms = RequestTerms::new(BITS.parse().unwrap(), goal);
    terms.memo = Some("the roof".parse::<Memo>().unwrap());
    change_it(&mut terms);
    let mut change = baker.wallet.change().await.unwrap();
    let signed = baker.wallet.sign_request(&mut change, terms, false).await;
    change.commit().await.unwrap();
    signed.unwrap()
}

fn together(minor: u64) -> Goal {
    Goal::Target {
        amount: amount(minor),
        min: None,
    }
}

fn wants(row: &RequestRow, n: u8, minor: u64) -> GuestPart {
    serde_json::from_value(serde_json::json!({
        "id": RecordId::from_entropy([n; 16]),
        "request": row.record.record().id,
        "unit": BITS,
        "way": "onchain",
        "amount": minor.to_string(),
        "name": "Carla",
        "state": "waiting",
        "at": 0,
        "expires": u64::MAX >> 12,
        "something": "new",
    }))
    .unwrap()
}

impl Person {
    async fn keeps(&self, part: &GuestPart) -> Result<(), &'static str> {
        self.wallet.note_checked();
        let kept = self.wallet.keep_guest("p".to_owned(), part, &ways()).await;
        kept.unwrap()
    }

    async fn guest(&self, n: u8) -> GuestRow {
        let mut conn = self.wallet.store().read().await.unwrap();
        let id = RecordId::from_entropy([n; 16]);
        store::get(&mut conn, &id).await.unwrap().unwrap()
    }

    /// Everything but talking to a plugin. Returns how many payments were told.
    async fn hosts(&self) -> usize {
        self.wallet.note_checked();
        self.wallet.make_places().await.unwrap();
        *self.wallet.inner.chain_looked.lock().unwrap() = None;
        *self.wallet.inner.late_guests_looked.lock().unwrap() = None;
        self.wallet.look_at_tills().await.unwrap().len()
    }

    /// The time of a guest's part is over, a minute ago.
    async fn passes(&self, n: u8) {
        self.passed(n, 60_000).await;
    }

    async fn passed(&self, n: u8, ago_ms: u64) {
        let mut row = self.guest(n).await;
        row.place.as_mut().unwrap().until = now().millis() - ago_ms;
        let mut tx = self.wallet.store().write().await.unwrap();
        store::put(tx.conn(), &row).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_guest_sends_is_seen_then_counts_once_and_stands_in_the_receipts() {
    let (baker, till) = inn().await;
    let row = asks(&baker, together(100_000), |_| {}).await;
    let part = wants(&row, 1, 60_000);
    for _ in 0..2 {
        baker.keeps(&part).await.unwrap();
    }
    assert_eq!(baker.figures(&row).await, [0, 60_000, 0]);
    assert_eq!(baker.guest(1).await.stage, GuestStage::Kept);
    assert_eq!(baker.hosts().await, 0);
    let offered = baker.guest(1).await;
    let place = offered.place.clone().unwrap();
    assert_eq!(
        (offered.stage, place.price),
        (GuestStage::Offered, 60_000_000)
    );
    assert_eq!(place.place, "sb1q1");

    till.comes(&offered, 60_000, 0);
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.guest(1).await.stage, GuestStage::Seen);
    assert_eq!(baker.figures(&row).await, [0, 60_000, 0]);
    till.comes(&offered, 60_000, 60_000);
    assert_eq!(baker.hosts().await, 1);
    for _ in 0..2 {
        assert_eq!(baker.hosts().await, 0);
    }
    assert_eq!(baker.guest(1).await.stage, GuestStage::Paid);
    assert_eq!(baker.figures(&row).await, [60_000, 0, 0]);
    let id = row.record.record().id.to_string();
    let view = baker.wallet.request(&id).await.unwrap();
    let [receipt] = view.receipts.as_slice() else {
        panic!("{:?}", view.receipts);
    };
    assert_eq!((receipt.amount, receipt.way.as_str()), (60_000, "onchain"));
    assert_eq!(receipt.payer.as_deref(), Some("Carla"));
    // Asked for under its name once more, it is not kept once more.
    assert_eq!(baker.keeps(&part).await, Err("part_paid"));
}

#[tokio::test]
async fn what_comes_late_short_or_in_excess_counts_as_what_it_is() {
    let (baker, till) = inn().await;
    let row = asks(&baker, together(100_000), |_| {}).await;
    for n in 1..=3 {
        baker.keeps(&wants(&row, n, 30_000)).await.unwrap();
    }
    baker.hosts().await;
    assert_eq!(baker.figures(&row).await, [0, 90_000, 0]);

    // Half of it: the rest is waited for until its time is over, and then the half counts.
    till.comes(&baker.guest(1).await, 15_000, 15_000);
    assert_eq!(baker.hosts().await, 0);
    baker.passes(1).await;
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [15_000, 60_000, 0]);

    // What no block holds yet is not given to others when its time is over.
    till.comes(&baker.guest(2).await, 30_000, 0);
    baker.passes(2).await;
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.figures(&row).await, [15_000, 60_000, 0]);
    // It vanishes, and what was kept is free.
    till.comes(&baker.guest(2).await, 0, 0);
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.guest(2).await.stage, GuestStage::Ended);
    assert_eq!(baker.figures(&row).await, [15_000, 30_000, 0]);
    // Twice as much came for the third, and the second comes after all: nothing of it is lost, and the bill is not overfilled.
    till.comes(&baker.guest(3).await, 60_000, 60_000);
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [75_000, 0, 0]);
    till.comes(&baker.guest(2).await, 30_000, 30_000);
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [100_000, 0, 5_000]);
    assert_eq!(baker.guest(2).await.stage, GuestStage::Paid);
}

#[tokio::test]
async fn a_transaction_that_no_block_takes_or_that_is_worth_nothing_keeps_no_part_for_ever() {
    let (baker, till) = inn().await;
    let row = asks(&baker, together(100_000), |_| {}).await;
    for n in 1..=3 {
        baker.keeps(&wants(&row, n, 30_000)).await.unwrap();
    }
    baker.hosts().await;
    till.comes(&baker.guest(1).await, 30_000, 0);
    till.comes(&baker.guest(2).await, 30_000, 10_000);
    for n in 1..=2 {
        baker.passed(n, 86_000_000).await;
    }
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.figures(&row).await, [0, 90_000, 0]);
    // A day after its time what a block holds counts, and nothing else.
    for n in 1..=2 {
        baker.passed(n, 87_000_000).await;
    }
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [10_000, 30_000, 0]);
    assert_eq!(baker.guest(1).await.stage, GuestStage::Ended);
    // If a block takes it after all, it counts all the same.
    till.comes(&baker.guest(1).await, 30_000, 30_000);
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [40_000, 30_000, 0]);

    // Less than the smallest unit of the request is nothing.
    let mut dear = baker.guest(3).await;
    dear.place.as_mut().unwrap().price = 30_000_000_000_000;
    let mut tx = baker.wallet.store().write().await.unwrap();
    store::put(tx.conn(), &dear).await.unwrap();
    tx.commit().await.unwrap();
    till.comes(&dear, 600, 600);
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.guest(3).await.stage, GuestStage::Seen);
    baker.passes(3).await;
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.guest(3).await.stage, GuestStage::Ended);
    assert_eq!(baker.figures(&row).await, [40_000, 0, 0]);
}

#[tokio::test]
async fn a_till_that_does_not_answer_takes_nothing_from_anybody() {
    let (baker, till) = inn().await;
    let row = asks(&baker, together(100_000), |_| {}).await;
    baker.keeps(&wants(&row, 1, 60_000)).await.unwrap();
    *till.down.lock().unwrap() = true;
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.guest(1).await.stage, GuestStage::Kept);
    assert_eq!(baker.figures(&row).await, [0, 60_000, 0]);
    // A guest who has waited for long is told so, and somebody else may pay.
    let mut tx = baker.wallet.store().write().await.unwrap();
    let forged = sqlx::query("UPDATE guest SET created_at = 1");
    forged.execute(tx.conn()).await.unwrap();
    tx.commit().await.unwrap();
    baker.hosts().await;
    let ended = baker.guest(1).await;
    assert_eq!(ended.stage, GuestStage::Ended);
    assert_eq!(ended.reason.as_deref(), Some("rail_unreachable"));
    assert_eq!(baker.figures(&row).await, [0, 0, 0]);

    *till.down.lock().unwrap() = false;
    baker.keeps(&wants(&row, 2, 60_000)).await.unwrap();
    baker.hosts().await;
    // Nobody knows what came: what is kept stays kept, also when its time is over.
    *till.down.lock().unwrap() = true;
    baker.passes(2).await;
    assert_eq!(baker.hosts().await, 0);
    assert_eq!(baker.figures(&row).await, [0, 60_000, 0]);
    // Nor can the rail be removed.
    let removed = baker.wallet.remove_rail("till").await.unwrap_err();
    assert_eq!(removed.code(), "rail_in_use");
    *till.down.lock().unwrap() = false;
    till.comes(&baker.guest(2).await, 60_000, 60_000);
    assert_eq!(baker.hosts().await, 1);
    assert_eq!(baker.figures(&row).await, [60_000, 0, 0]);
    // What the chain does not carry is refused, and names why.
    baker.keeps(&wants(&row, 3, 545)).await.unwrap();
    baker.hosts().await;
    assert_eq!(baker.guest(3).await.reason.as_deref(), Some("below_dust"));
    assert_eq!(baker.figures(&row).await, [60_000, 0, 0]);
    baker.wallet.remove_rail("till").await.unwrap();
}

#[tokio::test]
async fn a_guest_gets_no_part_of_what_is_not_for_guests() {
    let (baker, _till) = inn().await;
    let row = asks(&baker, together(1_000), |_| {}).await;
    let full = wants(&row, 1, 1_000);
    baker.keeps(&full).await.unwrap();
    assert_eq!(baker.keeps(&wants(&row, 2, 1)).await, Err("request_full"));
    let mut other = wants(&row, 3, 1_000);
    other.way = "lightning".to_owned();
    assert_eq!(baker.keeps(&other).await, Err("guests_unwelcome"));
    other.way = "a new one".to_owned();
    assert_eq!(baker.keeps(&other).await, Err("guests_unwelcome"));
    let mut other = wants(&row, 3, 1_000);
    other.unit = BREAD.parse().unwrap();
    assert_eq!(baker.keeps(&other).await, Err("request_closed"));
    let mut other = wants(&row, 3, 1_000);
    other.request = RecordId::from_entropy([99; 16]);
    assert_eq!(baker.keeps(&other).await, Err("request_unknown"));

    let milkman = Keypair::from_secret(&[3; 32]).user_key();
    let for_one = asks(&baker, Goal::Exact(amount(500)), |terms| {
        terms.payer = Some(milkman);
    });
    let for_one = for_one.await;
    assert_eq!(
        baker.keeps(&wants(&for_one, 4, 500)).await,
        Err("request_closed")
    );
    let weekly = asks(&baker, Goal::Exact(amount(500)), |terms| {
        terms.every = Some(Every {
            period: atomicity_ledger::record::Period::Week,
            from: now(),
            count: None,
        });
    });
    let weekly = weekly.await;
    assert_eq!(
        baker.keeps(&wants(&weekly, 5, 500)).await,
        Err("wrong_turn")
    );
    assert_eq!(baker.figures(&row).await, [0, 1_000, 0]);
    // A name that would not fit into a line is left out, and the rest taken.
    let open = Goal::Open {
        min: None,
        max: None,
    };
    let open = asks(&baker, open, |_| {}).await;
    for (n, name) in [
        (6, "a\nb".to_owned()),
        (7, "x".repeat(41)),
        (8, " ".to_owned()),
    ] {
        let mut part = wants(&open, n, 1_000);
        part.name = Some(name);
        baker.keeps(&part).await.unwrap();
        assert_eq!(baker.guest(n).await.name, None);
    }
}
