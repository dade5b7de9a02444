#![allow(clippy::unwrap_used, clippy::panic)]
#[path = "bitcoin_core_played.rs"]
mod played;
#[path = "bitcoin_core_received_tests.rs"]
mod received;

use atomicity_ledger::Money;

use super::*;
use crate::rail::payment::Proof;
use crate::rail::replay::{Exchange, Replay, Reply};
use played::*;

async fn rail(exchanges: Vec<Exchange>, drawer: &Arc<Drawer>) -> (Replay, BitcoinCore) {
    let replay = Replay::start(false, exchanges).await;
    let cookie = std::env::temp_dir().join(format!("cookie-{}", replay.address.port()));
    std::fs::write(&cookie, "__cookie__:secret").unwrap();
    let config = CoreConfig {
        name: "chain".to_owned(),
        url: format!("http://{}", replay.address).parse().unwrap(),
        wallet: "our wallet".to_owned(),
        auth: CoreAuth::Cookie(cookie),
        chain: "regtest".to_owned(),
        methods: vec![MethodId::new("btc-bitcoin-address").unwrap()],
        target_blocks: 6,
        confirmations: 2,
        timeout: Duration::from_secs(10),
    };
    let rail = BitcoinCore::open(config, Arc::clone(drawer) as Arc<dyn Drafts>);
    (replay, rail.unwrap())
}

async fn done(replay: Replay) {
    let port = replay.address.port();
    replay.finish().await;
    std::fs::remove_file(std::env::temp_dir().join(format!("cookie-{port}"))).unwrap();
}

fn short(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(receipt) => format!("paid, fee {}", receipt.fee),
        Outcome::FailedForGood(failure) => format!("failed: {}", failure.reason.code()),
        Outcome::Unknown(error) => format!("unknown: {}", error.code()),
    }
}

async fn pay_by(exchanges: Vec<Exchange>, drawer: &Arc<Drawer>, order: &Order) -> String {
    let (replay, rail) = rail(exchanges, drawer).await;
    let outcome = short(&rail.pay(order).await);
    done(replay).await;
    outcome
}

async fn look_up_by(exchanges: Vec<Exchange>, drawer: &Arc<Drawer>) -> String {
    let (replay, rail) = rail(exchanges, drawer).await;
    let standing = rail.look_up(order().id).await;
    done(replay).await;
    match standing {
        Ok(standing) => short(&standing.into()),
        Err(error) => format!("error: {}", error.code()),
    }
}

/// With a draft that was kept before.
fn kept() -> Arc<Drawer> {
    let drawer = Arc::new(Drawer::default());
    drawer
        .drafts
        .lock()
        .unwrap()
        .insert(order().id, draft(TXID));
    drawer
}

#[tokio::test]
async fn a_payment_is_drafted_kept_and_then_sent() {
    let drawer = Arc::new(Drawer::default());
    let mut exchanges = drafting();
    exchanges.extend([unknown(), send()]);
    let outcome = pay_by(exchanges, &drawer, &order()).await;
    assert_eq!(outcome, "unknown: payment_under_way");
    assert_eq!(
        drawer.drafts.lock().unwrap().get(&order().id),
        Some(&draft(TXID))
    );

    // It fills the blocks.
    for (confirmations, expected) in [
        (0, "unknown: payment_under_way"),
        (1, "unknown: payment_under_way"),
        (2, "paid, fee 141000"),
    ] {
        let exchanges = vec![known(confirmations, &[])];
        assert_eq!(look_up_by(exchanges, &drawer).await, expected);
    }
    let (replay, rail) = rail(vec![known(3, &[])], &drawer).await;
    let Outcome::Succeeded(receipt) = rail.pay(&order()).await else {
        panic!("it was paid");
    };
    done(replay).await;
    assert_eq!(receipt.proof, Proof::Transaction(format!("{TXID}:1")));
    assert!(!format!("{rail:?}").contains("secret"));
}

#[tokio::test]
async fn what_is_kept_is_sent_again_and_never_drafted_anew() {
    let late = Order {
        deadline: now(),
        ..order()
    };
    // Interrupted between keeping and sending, by whatever; also when it is too late to begin.
    let exchanges = vec![unknown(), send()];
    assert_eq!(
        pay_by(exchanges.clone(), &kept(), &late).await,
        "unknown: payment_under_way"
    );
    assert_eq!(
        look_up_by(exchanges, &kept()).await,
        "unknown: payment_under_way"
    );
    // The node does not take it now; that proves nothing.
    for (code, message) in [
        (-25, "bad-txns-inputs-missingorspent"),
        (-26, "mempool full"),
        (-27, "already in utxo set"),
    ] {
        let exchanges = vec![unknown(), refuse(send(), code, message)];
        assert_eq!(
            pay_by(exchanges, &kept(), &order()).await,
            "unknown: rail_failed",
            "{code}"
        );
    }
    // The store broke while it kept the draft. What it holds counts.
    for (stored, asked) in [(false, 0), (true, 1)] {
        let drawer = Arc::new(Drawer::default());
        *drawer.breaks.lock().unwrap() = Some(stored);
        let outcome = pay_by(drafting(), &drawer, &order()).await;
        assert_eq!(outcome, "unknown: rail_unreachable");
        assert_eq!(drawer.drafts.lock().unwrap().len(), asked);
    }
    let nothing = Arc::new(Drawer::default());
    assert_eq!(
        look_up_by(Vec::new(), &nothing).await,
        "unknown: payment_never_seen"
    );
}

/// Keeps another draft just before ours.
#[derive(Debug)]
struct Rival;

impl Drafts for Rival {
    fn draft(&self, _: PaymentId) -> BoxFuture<'_, Result<Option<Draft>, RailError>> {
        async { Ok(None) }.boxed()
    }

    fn keep<'a>(&'a self, _: PaymentId, _: &'a Draft) -> BoxFuture<'a, Result<Draft, RailError>> {
        async { Ok(draft(OTHER)) }.boxed()
    }
}

#[tokio::test]
async fn of_two_that_draft_at_once_the_first_is_sent() {
    let mut exchanges = drafting();
    exchanges.extend(unlock());
    let theirs = |asked: Exchange, params: Value, result: &str| {
        ask(
            asked.body["method"]
                .as_str()
                .map(|_| "gettransaction")
                .unwrap(),
            params,
            result,
        )
    };
    exchanges.push(theirs(
        known(0, &[]),
        json!({ "txid": OTHER }),
        "{\"confirmations\":0,\"walletconflicts\":[]}",
    ));
    let (replay, rail) = rail(exchanges, &Arc::new(Drawer::default())).await;
    let rail = BitcoinCore {
        drafts: Arc::new(Rival),
        ..rail
    };
    assert_eq!(
        short(&rail.pay(&order()).await),
        "unknown: payment_under_way"
    );
    done(replay).await;
}

#[tokio::test]
async fn what_fails_before_a_draft_is_kept_fails_for_good_and_gives_the_inputs_back() {
    let begin = || vec![valid(), fund("0.00000141")];
    let signed = || [begin(), vec![sign(true), finalize()]].concat();
    let wrong = ("0.00150001", SCRIPT, ADDRESS);
    let cases: Vec<(Vec<Exchange>, bool, &str)> = vec![
        (
            vec![ask(
                "validateaddress",
                json!([ADDRESS]),
                "{\"isvalid\":false}",
            )],
            false,
            "failed: target_unusable",
        ),
        (
            vec![valid(), refuse(fund("0"), -4, "Insufficient funds")],
            false,
            "failed: insufficient_balance",
        ),
        (
            vec![valid(), refuse(fund("0"), -6, "Fee estimation")],
            false,
            "failed: insufficient_balance",
        ),
        (
            vec![valid(), refuse(fund("0"), -8, "Invalid parameter")],
            false,
            "failed: refused_by_rail",
        ),
        (vec![valid(), fund("0.00000142")], true, "failed: no_route"),
        (
            [begin(), vec![sign(false)]].concat(),
            true,
            "failed: refused_by_rail",
        ),
        (
            [
                begin(),
                vec![refuse(sign(true), -13, "enter the wallet passphrase")],
            ]
            .concat(),
            true,
            "unknown: rail_not_ready",
        ),
        (
            [signed(), vec![decode(&[CHANGE, wrong])]].concat(),
            true,
            "failed: refused_by_rail",
        ),
        (
            [signed(), vec![decode(&[PAYS, PAYS])]].concat(),
            true,
            "failed: refused_by_rail",
        ),
        (
            [signed(), vec![decode(&[CHANGE, PAYS]), test(false)]].concat(),
            true,
            "failed: refused_by_rail",
        ),
    ];
    for (mut exchanges, locked, expected) in cases {
        if locked {
            exchanges.extend(unlock());
        }
        let drawer = Arc::new(Drawer::default());
        assert_eq!(pay_by(exchanges, &drawer, &order()).await, expected);
        assert!(drawer.drafts.lock().unwrap().is_empty());
    }
    let good = order();
    for (order, expected) in [
        (
            Order {
                deadline: now(),
                ..good.clone()
            },
            "failed: too_late",
        ),
        (
            Order {
                target: "bitcoin:x?amount=1".to_owned(),
                ..good.clone()
            },
            "failed: target_unusable",
        ),
        (
            Order {
                amount: Money::parse("0.00000000001 BTC/11", &[]).unwrap(),
                ..good.clone()
            },
            "failed: target_unusable",
        ),
        (
            Order {
                amount: Money::parse("5.00 USD/2", &[]).unwrap(),
                ..good
            },
            "failed: target_unusable",
        ),
    ] {
        let drawer = Arc::new(Drawer::default());
        assert_eq!(pay_by(Vec::new(), &drawer, &order).await, expected);
    }
}

#[tokio::test]
async fn a_node_that_breaks_off_leaves_it_open() {
    let drawer = Arc::new(Drawer::default());
    let warming = refuse(valid(), -28, "Loading block index…");
    let say = |status, body: &str| Reply::Say(status, body.to_owned());
    for (reply, expected) in [
        (warming.reply.clone(), "unknown: rail_not_ready"),
        (Reply::HangUp, "unknown: rail_unreachable"),
        (Reply::Half, "unknown: rail_answer_broken"),
        (say(401, ""), "unknown: rail_not_permitted"),
        (
            say(503, "Work queue depth exceeded"),
            "unknown: rail_failed",
        ),
        (
            say(
                200,
                "{\"result\":{\"isvalid\":true},\"error\":null,\"id\":\"x\"}",
            ),
            "unknown: rail_answer_malformed",
        ),
        (
            say(
                200,
                "{\"result\":null,\"error\":null,\"id\":\"validateaddress\"}",
            ),
            "unknown: rail_answer_malformed",
        ),
    ] {
        let asked = Exchange { reply, ..valid() };
        assert_eq!(pay_by(vec![asked], &drawer, &order()).await, expected);
    }
    for reply in [Reply::HangUp, Reply::Half] {
        let sent = Exchange { reply, ..send() };
        let outcome = pay_by(vec![unknown(), sent], &kept(), &order()).await;
        assert!(outcome.starts_with("unknown: rail_"), "{outcome}");
    }
}

#[tokio::test]
async fn what_another_transaction_took_has_failed_only_if_that_one_is_deep_and_pays_somebody_else()
{
    let other = |confirmations: i64, outputs: &[(&str, &str, &str)]| {
        let decoded = decoded(OTHER, outputs);
        let result = format!(
            "{{\"confirmations\":{confirmations},\"walletconflicts\":[],\"decoded\":{decoded}}}"
        );
        ask(
            "gettransaction",
            json!({ "txid": OTHER, "verbose": true }),
            &result,
        )
    };
    for (exchanges, expected) in [
        (
            vec![known(-9, &[OTHER]), other(9, &[CHANGE])],
            "failed: canceled",
        ),
        (
            vec![known(-6, &[OTHER]), other(6, &[CHANGE])],
            "failed: canceled",
        ),
        (
            vec![known(-5, &[OTHER]), other(5, &[CHANGE])],
            "unknown: payment_under_way",
        ),
        (
            vec![known(-9, &[OTHER]), other(9, &[CHANGE, PAYS])],
            "error: payment_replaced",
        ),
        (
            vec![known(-9, &[OTHER]), other(0, &[CHANGE, PAYS])],
            "unknown: payment_under_way",
        ),
        (vec![known(-9, &[])], "unknown: payment_under_way"),
        (vec![known(-9, &[OTHER; 17])], "error: payment_replaced"),
    ] {
        assert_eq!(look_up_by(exchanges, &kept()).await, expected);
    }
}

#[tokio::test]
async fn health_is_what_node_and_wallet_say() {
    let chain = |name: &str, blocks| {
        let result = format!(
            "{{\"chain\":\"{name}\",\"blocks\":{blocks},\"headers\":103,\"initialblockdownload\":false}}"
        );
        ask("getblockchaininfo", json!([]), &result)
    };
    let balances = || {
        let result = "{\"mine\":{\"trusted\":49.99999999,\"untrusted_pending\":0.00000000,\"immature\":5000.00000000}}";
        ask("getbalances", json!([]), result)
    };
    let drawer = Arc::new(Drawer::default());
    for (blocks, ready) in [(103, true), (102, false)] {
        let (replay, rail) = rail(vec![chain("regtest", blocks), balances()], &drawer).await;
        let health = rail.health().await.unwrap();
        done(replay).await;
        assert_eq!(health.ready, ready);
        assert_eq!(health.can_send.unwrap().to_string(), "49.99999999000 BTC");
    }
    let (replay, rail) = rail(vec![chain("main", 103)], &drawer).await;
    assert_eq!(
        rail.health().await.unwrap_err().code(),
        "rail_config_invalid"
    );
    done(replay).await;
}

#[test]
fn passwords_stay_on_this_machine() {
    let open = |url: &str| {
        let auth = CoreAuth::Password {
            user: "us".to_owned(),
            password: "password".into(),
        };
        Client::new(url.parse().unwrap(), "w", auth, Duration::from_secs(1)).map_err(|e| e.code())
    };
    assert!(open("http://127.0.0.1:8332").is_ok() && open("http://[::1]:8332").is_ok());
    for url in [
        "http://192.168.0.2:8332",
        "http://localhost:8332",
        "https://127.0.0.1:8332",
    ] {
        assert_eq!(open(url).unwrap_err(), "rail_config_invalid", "{url}");
    }
}
