#![allow(clippy::unwrap_used, clippy::panic)]
use std::collections::BTreeMap;
use std::sync::Mutex;

use atomicity_ledger::{Money, Timestamp};

use super::*;

/// Kept in memory; breaks when told to.
#[derive(Debug, Default)]
struct Notebook {
    said: Mutex<BTreeMap<PaymentId, Said>>,
    asked: Mutex<Vec<PaymentId>>,
    broken: Mutex<bool>,
}

impl Notebook {
    fn check(&self) -> Result<(), RailError> {
        if *self.broken.lock().unwrap() {
            return Err(RailError::Unreachable("the store is gone".to_owned()));
        }
        Ok(())
    }
}

impl Confirmations for Notebook {
    fn ask<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<(), RailError>> {
        async move {
            self.asked.lock().unwrap().push(order.id);
            self.said.lock().unwrap().entry(order.id).or_default();
            self.check()
        }
        .boxed()
    }

    fn said(&self, id: PaymentId) -> BoxFuture<'_, Result<Option<Said>, RailError>> {
        async move {
            self.check()?;
            Ok(self.said.lock().unwrap().get(&id).cloned())
        }
        .boxed()
    }
}

fn rail() -> (Arc<Notebook>, Manual) {
    let notebook = Arc::new(Notebook::default());
    let methods = vec![MethodId::new("usd-cash-text").unwrap()];
    let rail = Manual::new(
        "cash",
        methods,
        Arc::clone(&notebook) as Arc<dyn Confirmations>,
    );
    (notebook, rail.unwrap())
}

fn order(deadline: Timestamp) -> Order {
    Order {
        id: PaymentId::from_bytes([7; 32]),
        target: "at the bar".to_owned(),
        amount: Money::parse("5.00 USD/2", &[]).unwrap(),
        max_fee: Total::ZERO,
        deadline,
    }
}

fn later() -> Timestamp {
    now().plus_millis(3_600_000)
}

fn proof(words: &str) -> RailProof {
    words.parse().unwrap()
}

#[test]
fn every_pair_of_words_has_one_meaning() {
    let payers = [
        None,
        Some(PayerSaid::Paid(proof("gave it to Eve"))),
        Some(PayerSaid::WillNotPay(Some("no money".parse().unwrap()))),
    ];
    let payees = [
        None,
        Some(PayeeSaid::NothingCame),
        Some(PayeeSaid::Received(proof("thanks"))),
    ];
    let meant = payers.iter().flat_map(|payer| {
        payees.iter().map(move |payee| {
            let (payer, payee) = (payer.clone(), payee.clone());
            match (Said { payer, payee }).standing() {
                Standing::Succeeded(Receipt {
                    proof: Proof::Statement(words),
                    fee: Total::ZERO,
                }) => words,
                Standing::FailedForGood(failure) => failure.to_string(),
                Standing::InFlight => "in flight".to_owned(),
                other => panic!("{other:?}"),
            }
        })
    });
    let meant: Vec<String> = meant.collect();
    let (paid, not) = ("gave it to Eve", "canceled: no money");
    let expected = [
        "in flight",
        "in flight",
        "thanks",
        paid,
        paid,
        paid,
        not,
        not,
        "thanks",
    ];
    assert_eq!(meant, expected);
}

#[tokio::test]
async fn the_payer_is_asked_once_and_only_words_end_it() {
    let (notebook, rail) = rail();
    let order = order(later());
    assert_eq!(rail.look_up(order.id).await.unwrap(), Standing::NeverSeen);
    for _ in 0..3 {
        let outcome = rail.pay(&order).await;
        assert!(matches!(outcome, Outcome::Unknown(RailError::UnderWay)));
    }
    assert_eq!(notebook.asked.lock().unwrap().as_slice(), [order.id]);
    assert_eq!(rail.look_up(order.id).await.unwrap(), Standing::InFlight);
    // The deadline passes: the money may be on its way all the same.
    let late = Order {
        deadline: now(),
        ..order.clone()
    };
    let outcome = rail.pay(&late).await;
    assert!(matches!(outcome, Outcome::Unknown(RailError::UnderWay)));
    notebook
        .said
        .lock()
        .unwrap()
        .get_mut(&order.id)
        .unwrap()
        .payer = Some(PayerSaid::Paid(proof("transfer 42")));
    let Outcome::Succeeded(receipt) = rail.pay(&late).await else {
        panic!("the payer has paid");
    };
    assert_eq!(receipt.proof, Proof::Statement("transfer 42".to_owned()));
}

#[tokio::test]
async fn what_was_never_asked_can_fail_and_what_may_have_been_asked_cannot() {
    let (notebook, rail) = rail();
    let late = order(now());
    let Outcome::FailedForGood(failure) = rail.pay(&late).await else {
        panic!("nobody was asked");
    };
    assert_eq!(failure.reason, FailureReason::TooLate);
    let unreadable = Order {
        target: "\u{1b}[2J".to_owned(),
        ..order(later())
    };
    let Outcome::FailedForGood(failure) = rail.pay(&unreadable).await else {
        panic!("nobody was asked");
    };
    assert_eq!(failure.reason, FailureReason::TargetUnusable);
    assert!(rail.check(&unreadable.target).await.is_err());
    assert!(notebook.asked.lock().unwrap().is_empty());

    *notebook.broken.lock().unwrap() = true;
    let outcome = rail.pay(&order(later())).await;
    assert!(matches!(
        outcome,
        Outcome::Unknown(RailError::Unreachable(_))
    ));
    assert!(rail.look_up(late.id).await.is_err());
    assert!(Manual::new("none", Vec::new(), notebook).is_err());
}
