//! A real Lightning network, and the rail of an lnd node on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomicity_e2e::lightning::{Lightning, LightningNode};
use atomicity_e2e::proxy::{Mode, Proxy};
use atomicity_e2e::{ports, wait};
use atomicity_ledger::{Preimage, Timestamp, Total};
use atomicity_paykit_adapter::rail::{
    Bolt11, FailureReason, InvoiceState, Invoices, LightningNetwork, Lnd, Msat, NewInvoice, Order,
    Outcome, PaymentId, Rail, RailError, Receipt, Standing,
};
use futures_util::StreamExt as _;
use serde_json::json;

async fn network() -> Option<Lightning> {
    let network = Lightning::start().await.unwrap();
    if network.is_none() {
        println!("skipped: no btcd and lnd");
    }
    network
}

fn in_a(while_: Duration) -> Timestamp {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + while_;
    Timestamp::from_millis(u64::try_from(at.as_millis()).unwrap()).unwrap()
}

fn wanted(msat: u64) -> NewInvoice {
    NewInvoice {
        amount: Msat::new(msat).unwrap(),
        memo: "a coffee".to_owned(),
        expiry: Duration::from_secs(600),
        hold: None,
    }
}

/// An order to pay an invoice, for at most 10 sat on top.
fn order(invoice: &Bolt11) -> Order {
    Order {
        id: invoice.hash().into(),
        target: invoice.as_str().to_owned(),
        amount: invoice.amount().to_money().unwrap(),
        max_fee: Total::from_minor(10_000).unwrap(),
        deadline: in_a(Duration::from_secs(60)),
    }
}

async fn make(payee: &Lnd, invoice: NewInvoice) -> Bolt11 {
    let invoices = payee.invoices().unwrap();
    invoices.new_invoice(&invoice).await.unwrap()
}

fn succeeded(outcome: Outcome) -> Receipt {
    match outcome {
        Outcome::Succeeded(receipt) => receipt,
        other => panic!("it did not succeed: {other:?}"),
    }
}

fn failed(outcome: Outcome) -> FailureReason {
    match outcome {
        Outcome::FailedForGood(failure) => failure.reason,
        other => panic!("it did not fail for good: {other:?}"),
    }
}

fn unknown(outcome: Outcome) -> RailError {
    match outcome {
        Outcome::Unknown(error) => error,
        other => panic!("it is not unknown: {other:?}"),
    }
}

/// What a node has in its channels, in millisatoshis.
async fn has(node: &LightningNode) -> u64 {
    let balance = node.get("/v1/balance/channels").await.unwrap();
    let msat = balance["local_balance"]["msat"].as_str().unwrap();
    msat.parse().unwrap()
}

/// Waits until a node has `msat` in its channels: balances follow a moment after a payment is known to have ended.
async fn comes_to_have(node: &LightningNode, msat: u64) {
    wait::until("the balance", || async {
        let now = has(node).await;
        anyhow::ensure!(now == msat, "it has {now}, not {msat}");
        Ok(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_lightning_network_pays() {
    let Some(network) = network().await else {
        return;
    };
    let before = has(&network.bob).await;
    let invoice = json!({"value": "1500", "memo": "a coffee"});
    let invoice = network.bob.post("/v1/invoices", &invoice).await.unwrap();
    let pay = json!({
        "payment_request": invoice["payment_request"],
        "timeout_seconds": 30,
        "no_inflight_updates": true,
    });
    let paid = network.alice.post("/v2/router/send", &pay).await.unwrap();
    assert_eq!(paid["result"]["status"], "SUCCEEDED", "{paid}");
    comes_to_have(&network.bob, before + 1_500_000).await;
}

#[tokio::test]
async fn lnd_pays_an_invoice_once_and_says_so_ever_after() {
    let Some(network) = network().await else {
        return;
    };
    let (alice, bob) = (&network.alice, &network.bob);
    let (payer, payee) = (alice.rail().await.unwrap(), bob.rail().await.unwrap());
    let health = payer.health().await.unwrap();
    assert!(health.ready);
    assert_eq!(health.identity, Some(alice.key().await.unwrap()));
    assert!(health.can_send.is_some() && health.can_receive.is_some());

    let before = has(bob).await;
    let invoice = make(&payee, wanted(1_500_500)).await;
    let quote = payer.check(invoice.as_str()).await.unwrap();
    assert_eq!(quote.id, Some(invoice.hash().into()));
    assert_eq!(quote.payee, Some(bob.key().await.unwrap()));
    let order = order(&invoice);
    assert_eq!(
        payer.look_up(order.id).await.unwrap(),
        Standing::NeverSeen,
        "before it is paid"
    );
    let invoices: &dyn Invoices = &payee;
    let mut watched = invoices.watch_invoice(invoice.hash());
    assert_eq!(watched.next().await.unwrap().unwrap(), InvoiceState::Open);

    let receipt = succeeded(payer.pay(&order).await);
    let preimage = receipt.proof.preimage().unwrap();
    assert_eq!(preimage.hash(), invoice.hash());
    let settled = InvoiceState::Settled {
        received: invoice.amount(),
    };
    assert_eq!(watched.next().await.unwrap().unwrap(), settled);
    assert!(watched.next().await.is_none(), "it is over");
    let state = invoices.look_up_invoice(invoice.hash()).await.unwrap();
    assert_eq!(state, Some(settled));

    // Again, also from a process that knows of nothing, and after the deadline.
    let late = Order {
        deadline: in_a(Duration::ZERO),
        ..order.clone()
    };
    let fresh = alice.rail().await.unwrap();
    for again in [payer.pay(&order), fresh.pay(&order), fresh.pay(&late)] {
        assert_eq!(succeeded(again.await), receipt);
    }
    let standing = fresh.look_up(order.id).await.unwrap();
    assert_eq!(standing, Standing::Succeeded(receipt));
    comes_to_have(bob, before + invoice.amount().get()).await;
}

#[tokio::test]
async fn lnd_fails_for_good_only_when_nothing_was_paid() {
    let Some(network) = network().await else {
        return;
    };
    let (alice, bob) = (&network.alice, &network.bob);
    let stranger = network.add_node("carol").await.unwrap();
    let payer = alice.rail().await.unwrap();
    let payee = bob.rail().await.unwrap();
    let stranger = stranger.rail().await.unwrap();
    let before = has(alice).await;

    let nobody = PaymentId::from_bytes([9; 32]);
    assert_eq!(payer.look_up(nobody).await.unwrap(), Standing::NeverSeen);
    let invoices: &dyn Invoices = &payee;
    let none = invoices.look_up_invoice(nobody.as_hash()).await.unwrap();
    assert_eq!(none, None);

    let far = order(&make(&stranger, wanted(1_000_000)).await);
    let much = order(&make(&payee, wanted(9_000_000_000)).await);
    let withdrawn = make(&payee, wanted(2_000)).await;
    invoices.cancel_invoice(withdrawn.hash()).await.unwrap();
    let withdrawn = order(&withdrawn);
    let good = order(&make(&payee, wanted(3_000)).await);
    let other_amount = Order {
        amount: Msat::new(3_001).unwrap().to_money().unwrap(),
        ..good.clone()
    };
    let other_hash = Order {
        id: nobody,
        ..good.clone()
    };
    let too_late = Order {
        deadline: in_a(Duration::ZERO),
        ..good.clone()
    };
    for (order, reason) in [
        (&far, FailureReason::NoRoute),
        (&much, FailureReason::InsufficientBalance),
        (&withdrawn, FailureReason::RefusedByPayee),
        (&other_amount, FailureReason::TargetUnusable),
        (&other_hash, FailureReason::TargetUnusable),
        (&too_late, FailureReason::TooLate),
    ] {
        assert_eq!(failed(payer.pay(order).await), reason, "{order:?}");
    }
    // What the node tried and failed stays failed, and is not tried again.
    for order in [&far, &withdrawn] {
        let standing = payer.look_up(order.id).await.unwrap();
        assert!(
            matches!(standing, Standing::FailedForGood(_)),
            "{standing:?}"
        );
        failed(payer.pay(order).await);
    }
    let brief = NewInvoice {
        expiry: Duration::from_secs(1),
        ..wanted(1_000)
    };
    let brief = make(&payee, brief).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let refused = payer.check(brief.as_str()).await.unwrap_err();
    assert_eq!(refused.code(), "target_expired");
    let reason = failed(payer.pay(&order(&brief)).await);
    assert_eq!(reason, FailureReason::TooLate);
    comes_to_have(alice, before).await;
}

#[tokio::test]
async fn lnd_is_asked_only_where_it_is_and_with_its_rights() {
    let Some(network) = network().await else {
        return;
    };
    let (alice, bob) = (&network.alice, &network.bob);
    let payee = bob.rail().await.unwrap();
    let order = order(&make(&payee, wanted(1_000)).await);
    let right = alice.rail_config().await.unwrap();

    let mut another_certificate = right.clone();
    another_certificate.certificate = bob.rail_config().await.unwrap().certificate;
    let rail = Lnd::open(another_certificate).await.unwrap();
    let error = unknown(rail.pay(&order).await);
    assert_eq!(error.code(), "rail_unreachable", "{error}");

    let mut anothers_rights = right.clone();
    anothers_rights.macaroon = bob.rail_config().await.unwrap().macaroon;
    let rail = Lnd::open(anothers_rights).await.unwrap();
    let error = unknown(rail.pay(&order).await);
    assert_eq!(error.code(), "rail_not_permitted", "{error}");

    let mut another_network = right.clone();
    another_network.network = LightningNetwork::Bitcoin;
    let rail = Lnd::open(another_network).await.unwrap();
    let error = rail.health().await.unwrap_err();
    assert_eq!(error.code(), "rail_config_invalid", "{error}");
    let reason = failed(rail.pay(&order).await);
    assert_eq!(reason, FailureReason::TargetUnusable);

    let rail = Lnd::open(right.clone()).await.unwrap();
    let macaroon = tokio::fs::read(&right.macaroon).await.unwrap();
    let hex: String = macaroon.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!format!("{rail:?}").contains(&hex));
    succeeded(rail.pay(&order).await);
}

/// A hold invoice of Bob's, and Alice's payment of it that is under way.
async fn under_way(payer: &'static Lnd, payee: &Lnd) -> (Preimage, Order, Pending) {
    let preimage = Preimage::from_bytes(rand::random());
    let held = NewInvoice {
        hold: Some(preimage.hash()),
        ..wanted(50_000)
    };
    let order = order(&make(payee, held).await);
    let paying = tokio::spawn({
        let order = order.clone();
        async move { payer.pay(&order).await }
    });
    let invoices: &dyn Invoices = payee;
    wait::until("the money to be held", || async {
        let state = invoices.look_up_invoice(preimage.hash()).await?;
        anyhow::ensure!(state == Some(InvoiceState::Held), "it is {state:?}");
        Ok(())
    })
    .await
    .unwrap();
    (preimage, order, paying)
}

type Pending = tokio::task::JoinHandle<Outcome>;

#[tokio::test]
async fn what_lnd_was_paying_when_it_died_is_unknown_until_it_says() {
    let Some(mut network) = network().await else {
        return;
    };
    let payee = network.bob.rail().await.unwrap();
    // For tasks of their own.
    let payer: &'static Lnd = Box::leak(Box::new(network.alice.rail().await.unwrap()));
    let (taken, taken_order, taking) = under_way(payer, &payee).await;
    let (given_back, given_order, giving) = under_way(payer, &payee).await;
    let busy = unknown(payer.pay(&taken_order).await);
    assert_eq!(busy.code(), "payment_busy");

    network.alice.kill().await.unwrap();
    for paying in [taking, giving] {
        unknown(paying.await.unwrap());
    }
    payer.look_up(taken_order.id).await.unwrap_err();
    unknown(payer.pay(&taken_order).await);

    network.alice.restart().await.unwrap();
    let standing = payer.look_up(taken_order.id).await.unwrap();
    assert_eq!(standing, Standing::InFlight);
    let invoices: &dyn Invoices = &payee;
    invoices.settle_invoice(taken).await.unwrap();
    invoices.cancel_invoice(given_back.hash()).await.unwrap();
    // Called again with the same order it sends nothing, and waits for the end.
    let receipt = succeeded(payer.pay(&taken_order).await);
    assert_eq!(receipt.proof.preimage().unwrap().hash(), taken.hash());
    let reason = failed(payer.pay(&given_order).await);
    assert_eq!(reason, FailureReason::RefusedByPayee);
    let standing = payer.look_up(taken_order.id).await.unwrap();
    assert_eq!(standing, Standing::Succeeded(receipt));
}

#[tokio::test]
async fn an_answer_that_never_arrives_is_unknown() {
    let Some(network) = network().await else {
        return;
    };
    let payee = network.bob.rail().await.unwrap();
    let target = ports::on_loopback(network.alice.rest_port());
    let proxy = Proxy::start(target).await.unwrap();
    let mut config = network.alice.rail_config().await.unwrap();
    config.url = format!("https://127.0.0.1:{}", proxy.port())
        .parse()
        .unwrap();
    config.timeout = Duration::from_millis(500);
    let payer: &'static Lnd = Box::leak(Box::new(Lnd::open(config).await.unwrap()));

    let (preimage, order, paying) = under_way(payer, &payee).await;
    proxy.set(Mode::BlackHole);
    let invoices: &dyn Invoices = &payee;
    invoices.settle_invoice(preimage).await.unwrap();
    let error = payer.look_up(order.id).await.unwrap_err();
    assert_eq!(error.code(), "rail_timeout", "{error}");
    proxy.set(Mode::Refuse);
    unknown(paying.await.unwrap());
    let error = payer.look_up(order.id).await.unwrap_err();
    assert_eq!(error.code(), "rail_unreachable", "{error}");

    proxy.set(Mode::Pass);
    let receipt = wait::until("the proxy to listen again", || async {
        match payer.look_up(order.id).await? {
            Standing::Succeeded(receipt) => Ok(receipt),
            other => anyhow::bail!("it is {other:?}"),
        }
    })
    .await
    .unwrap();
    assert_eq!(receipt.proof.preimage(), Some(preimage));
}
