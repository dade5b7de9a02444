//! Requests to be paid, on real parts: a bill that many fill, what recurs, what was promised and never paid, and wallets that die.

mod agent;
mod calls;

use anyhow::{Context, ensure};
use atomicity_e2e::people::{Person, amount, expect, string};
use atomicity_e2e::town::{Town, befriend, live, over, pass_on, read_news, router, until_owed};
use atomicity_e2e::wait;
use serde_json::Value;

use crate::common::{BREAD, commits, friends};
use crate::routed::agent::{Place, engage};

/// The last commit at which a payee dies here, in each place: one who is busy with something else meanwhile has more.
const MOST: usize = 41;

/// Somebody's new request: its link and its name.
async fn ask(person: &Person, words: &[&str]) -> (String, String) {
    let all = [&["request", "new"], words].concat();
    let made = person.wallet().ok(&all).await.unwrap();
    expect(&made, "/open", true).unwrap();
    let link = string(&made, "/link").unwrap();
    (link, string(&made, "/request").unwrap())
}

async fn shown(person: &Person, request: &str) -> Value {
    let show = ["request", "show", request];
    person.wallet().ok(&show).await.unwrap()
}

/// Waits until a request stands like this: paid, being paid, whether more is welcome.
async fn until_filled(
    person: &Person,
    request: &str,
    filled: u64,
    reserved: u64,
    open: bool,
) -> Value {
    wait::until("a request to be filled", || async {
        let now = person.wallet().ok(&["request", "show", request]).await?;
        let figures = [("/filled", filled), ("/reserved", reserved)];
        for (pointer, expected) in figures {
            ensure!(string(&now, pointer)? == expected.to_string(), "{now}");
        }
        ensure!(now["open"] == open, "{now}");
        Ok(now)
    })
    .await
    .unwrap()
}

/// The stages of the parts that a request shows, sorted.
fn stages(request: &Value) -> Vec<String> {
    let parts = request["parts"].as_array().unwrap();
    let mut all: Vec<String> = parts.iter().map(|p| string(p, "/stage").unwrap()).collect();
    all.sort();
    all
}

/// Paula asks; Ben is her friend and passes on; Sam is a friend of Ben's and a stranger to Paula.
async fn table(town: &Town) -> [Person; 3] {
    let paula = town.person("paula", 0).await.unwrap();
    let ben = town.person("ben", 0).await.unwrap();
    let sam = town.person("sam", 1).await.unwrap();
    befriend(&paula, &ben, "50.00 BREAD/2").await.unwrap();
    befriend(&ben, &sam, "50.00 BREAD/2").await.unwrap();
    pass_on(&ben, BREAD, "0.01").await.unwrap();
    [paula, ben, sam]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bill_is_filled_by_a_friend_a_stranger_and_cash() {
    let town = Town::found(BREAD).await.unwrap();
    let [paula, ben, sam] = table(&town).await;
    let _running = [live(&paula).await.unwrap(), live(&ben).await.unwrap()];
    let bill = [
        "30.00 BREAD/2",
        "--together",
        "--min",
        "1.00",
        "--memo",
        "dinner",
    ];
    let or = ["--or", "cash=at-the-table"];
    let (link, name) = ask(&paula, &[&bill[..], &or].concat()).await;

    // Whoever has the link sees it, and it tells no lies.
    let seen = shown(&sam, &link).await;
    expect(&seen, "/role", "payer").unwrap();
    expect(&seen, "/left", "3000").unwrap();
    expect(&seen, "/or/0/method", "cash").unwrap();
    expect(&seen, "/payee", paula.key()).unwrap();
    let wallet = sam.wallet();
    let small = ["request", "pay", &link, "0.50"];
    let refused = wallet.fails(3, &small).await.unwrap();
    expect(&refused, "/code", "part_too_small").unwrap();
    let other = ["request", "pay", &link, "1.00 USD/2"];
    let refused = wallet.fails(2, &other).await.unwrap();
    expect(&refused, "/code", "wrong_unit").unwrap();
    let plainly = wallet.fails(2, &["pay", &link]).await.unwrap();
    expect(&plainly, "/code", "is_request").unwrap();
    let own = ["request", "pay", &name];
    let refused = paula.wallet().fails(2, &own).await.unwrap();
    expect(&refused, "/code", "own_request").unwrap();

    // A friend.
    let pay = ["request", "pay", &link, "10.00"];
    let paid = ben.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    until_owed(&paula, &ben, BREAD, 1000).await.unwrap();
    // Cash, by hand.
    let cash = [
        "request",
        "received",
        &name,
        "8.00 BREAD/2",
        "--from",
        "Carla",
    ];
    let noted = paula.wallet().ok(&cash).await.unwrap();
    expect(&noted, "/filled", "1800").unwrap();
    expect(&noted, "/received/0/from", "Carla").unwrap();
    // A stranger, over the friend, who wants to pay more than is left: he pays what is left.
    let along = over(&[&ben, &paula]);
    let pay = ["request", "pay", &link, "15.00", "--along", &along];
    let paid = sam.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    expect(&paid, "/amount", "1200").unwrap();
    until_owed(&paula, &ben, BREAD, 2200).await.unwrap();

    let full = until_filled(&paula, &name, 3000, 0, false).await;
    assert_eq!(stages(&full), ["paid", "paid"]);
    expect(&full, "/surplus", "0").unwrap();
    // Whoever comes now is told so, and cash that comes all the same counts apart.
    wait::until("the state to be published", || async {
        let seen = sam.wallet().ok(&["request", "show", &link]).await?;
        expect(&seen, "/open", false)
    })
    .await
    .unwrap();
    let late = ["request", "pay", &link, "2.00"];
    let refused = ben.wallet().fails(3, &late).await.unwrap();
    expect(&refused, "/code", "request_full").unwrap();
    let cash = ["request", "received", &name, "1.00 BREAD/2", "--by", "bank"];
    let noted = paula.wallet().ok(&cash).await.unwrap();
    expect(&noted, "/filled", "3000").unwrap();
    expect(&noted, "/surplus", "100").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_last_payers_at_once_do_not_overfill_it() {
    let town = Town::found(BREAD).await.unwrap();
    let [paula, ben, sam] = table(&town).await;
    let _running = [live(&paula).await.unwrap(), live(&ben).await.unwrap()];
    let (link, name) = ask(&paula, &["5.00 BREAD/2", "--together"]).await;
    let along = over(&[&ben, &paula]);
    let far = ["request", "pay", &link, "4.00", "--along", &along];
    let near = ["request", "pay", &link, "4.00"];
    let (first, second) = tokio::join!(sam.wallet().run(&far), ben.wallet().run(&near));
    let codes = [first.unwrap(), second.unwrap()].map(|run| (run.code, run.json().unwrap()));
    // One pays 4.00, the other what is left.
    let mut amounts: Vec<String> = codes
        .iter()
        .map(|(code, said)| {
            assert_eq!(*code, Some(0), "{said}");
            string(said, "/amount").unwrap()
        })
        .collect();
    amounts.sort();
    assert_eq!(amounts, ["100", "400"]);
    until_filled(&paula, &name, 500, 0, false).await;
    until_owed(&paula, &ben, BREAD, 500).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_for_a_payer_survives_a_cancelled_request_and_a_killed_payee_and_is_free_when_its_time_is_over()
 {
    let town = Town::found(BREAD).await.unwrap();
    let [paula, ben, sam] = table(&town).await;
    let paula_runs = live(&paula).await.unwrap();
    let (link, name) = ask(&paula, &["5.00 BREAD/2", "--together"]).await;
    let along = over(&[&ben, &paula]);
    let pay = ["request", "pay", &link, "3.00", "--along", &along];
    // Ben is away: the part is granted, and the payment does not get through.
    let slow = [&pay[..], &["--deadline", "25s"]].concat();
    let failed = sam.wallet().run(&slow).await.unwrap();
    assert_ne!(failed.code, Some(0), "{failed}");
    until_filled(&paula, &name, 0, 300, true).await;

    // Killed between grant and payment, and taken back: what was granted may still be paid, and nothing else.
    drop(paula_runs);
    let cancelled = ["request", "cancel", &name];
    let cancelled = paula.wallet().ok(&cancelled).await.unwrap();
    expect(&cancelled, "/open", false).unwrap();
    expect(&cancelled, "/reserved", "300").unwrap();
    let again = paula.wallet().fails(3, &["request", "cancel", &name]).await;
    expect(&again.unwrap(), "/code", "request_over").unwrap();
    let paula_runs = live(&paula).await.unwrap();
    let ben_runs = live(&ben).await.unwrap();
    let refused = ben
        .wallet()
        .fails(3, &["request", "pay", &link, "1.00"])
        .await;
    expect(&refused.unwrap(), "/code", "request_closed").unwrap();
    let paid = sam.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    let over = until_filled(&paula, &name, 300, 0, false).await;
    assert_eq!(stages(&over), ["paid"]);
    until_owed(&paula, &ben, BREAD, 300).await.unwrap();
    let list = sam.wallet().ok(&["request", "list"]).await.unwrap();
    expect(&list, "/requests/0/parts/0/stage", "paid").unwrap();

    // A part that is never paid is free again, for the next.
    let (link, name) = ask(&paula, &["2.00 BREAD/2", "--together", "--hold", "15s"]).await;
    drop(ben_runs);
    let slow = [
        "request",
        "pay",
        &link,
        "--along",
        &along,
        "--deadline",
        "25s",
    ];
    let failed = sam.wallet().run(&slow).await.unwrap();
    assert_ne!(failed.code, Some(0), "{failed}");
    let free = until_filled(&paula, &name, 0, 0, true).await;
    assert_eq!(stages(&free), ["ended"]);
    let paid = ben.wallet().ok(&["request", "pay", &link]).await.unwrap();
    expect(&paid, "/amount", "200").unwrap();
    until_filled(&paula, &name, 200, 0, false).await;

    // One that has expired can't be paid.
    let words = ["request", "new", "2.00 BREAD/2", "--expires", "1s"];
    let made = paula.wallet().ok(&words).await.unwrap();
    let link = string(&made, "/link").unwrap();
    let name = string(&made, "/request").unwrap();
    wait::until("a request to expire", || async {
        let seen = paula.wallet().ok(&["request", "show", &name]).await?;
        expect(&seen, "/open", false)
    })
    .await
    .unwrap();
    let late = ben.wallet().fails(3, &["request", "pay", &link]).await;
    expect(&late.unwrap(), "/code", "request_expired").unwrap();
    paula_runs.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_friend_is_asked_and_pays_without_any_log() {
    let world = atomicity_e2e::World::start().await.unwrap();
    let (_site, milkman, baker) = crate::common::village(&world).await;
    let mut watch = live(&milkman).await.unwrap();
    let _baker = live(&baker).await.unwrap();
    let words = ["4.00 BREAD/2", "--to", "milkman", "--memo", "rolls"];
    let (_, name) = ask(&baker, &words).await;
    let asked = watch
        .next("what is asked for", |event| event["event"] == "asked")
        .await
        .unwrap();
    expect(&asked, "/request", name.clone()).unwrap();
    expect(&asked, "/memo", "rolls").unwrap();
    let less = ["request", "pay", &name, "3.00"];
    let refused = milkman.wallet().fails(2, &less).await.unwrap();
    expect(&refused, "/code", "amount_fixed").unwrap();
    let paid = milkman
        .wallet()
        .ok(&["request", "pay", &name])
        .await
        .unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    until_filled(&baker, &name, 400, 0, false).await;
    until_owed(&baker, &milkman, BREAD, 400).await.unwrap();
    let again = milkman.wallet().fails(3, &["request", "pay", &name]).await;
    expect(&again.unwrap(), "/code", "already_paid").unwrap();
    watch
        .next("that it is closed", |event| {
            event["event"] == "request_closed"
        })
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_recurs_is_paid_turn_by_turn_within_what_was_approved() {
    let town = Town::found(BREAD).await.unwrap();
    let [paula, ben, sam] = table(&town).await;
    let _running = [live(&paula).await.unwrap(), live(&ben).await.unwrap()];
    // Due for the first time two days ago: three turns are due, and there are no more.
    let day = day_before(2);
    let words = [
        "1.00 BREAD/2",
        "--every",
        "day",
        "--from",
        &day,
        "--count",
        "3",
    ];
    let (link, name) = ask(&paula, &words).await;
    let wallet = sam.wallet();
    let approve = ["request", "approve", &link, "--up-to"];
    let low = [&approve[..], &["0.99 BREAD/2"]].concat();
    let refused = wallet.fails(3, &low).await.unwrap();
    expect(&refused, "/code", "above_ceiling").unwrap();
    let once = ask(&paula, &["1.00 BREAD/2"]).await.0;
    let single = ["request", "approve", &once, "--up-to", "2.00 BREAD/2"];
    let refused = wallet.fails(2, &single).await.unwrap();
    expect(&refused, "/code", "not_recurring").unwrap();

    // A ceiling without room for Ben's fee: nothing is paid.
    let home = &town.sites[0].homeserver;
    let router = router(&town.world, home, &[&ben]).await.unwrap();
    wallet.ok(&["services", "add", router.key()]).await.unwrap();
    let tight = [&approve[..], &["1.00 BREAD/2"]].concat();
    wallet.ok(&tight).await.unwrap();
    let mut sam_runs = live(&sam).await.unwrap();
    wait::until("a try that costs too much", || async {
        let seen = sam.wallet().ok(&["request", "show", &link]).await?;
        let why = seen.pointer("/parts/0/reason");
        ensure!(why.is_some_and(|why| !why.is_null()), "{seen}");
        Ok(())
    })
    .await
    .unwrap();
    expect(&shown(&paula, &name).await, "/filled", "0").unwrap();
    // With room, each turn is paid once; those that were missed are caught up.
    let wide = [&approve[..], &["1.10 BREAD/2"]].concat();
    wallet.ok(&wide).await.unwrap();
    for turn in 0..3 {
        let paid = sam_runs
            .next("a turn to be paid", |event| event["event"] == "part_paid")
            .await
            .unwrap();
        expect(&paid, "/turn", turn).unwrap();
    }
    until_owed(&paula, &ben, BREAD, 300).await.unwrap();
    let all = wait::until("the approval to be over", || async {
        let all = sam.wallet().ok(&["request", "approvals"]).await?;
        expect(&all, "/approvals/0/active", false)?;
        Ok(all)
    })
    .await
    .unwrap();
    assert_eq!(all["approvals"][0]["turns"].to_string(), "[0,1,2]");
    let nothing = wallet.fails(3, &["request", "pay", &link]).await.unwrap();
    expect(&nothing, "/code", "nothing_due").unwrap();

    // What is revoked is not paid, however long it is due.
    let words = ["2.00 BREAD/2", "--every", "week", "--from", &day];
    let (weekly, weekly_name) = ask(&paula, &words).await;
    sam_runs.stop().await.unwrap();
    let approve = ["request", "approve", &weekly, "--up-to", "3.00 BREAD/2"];
    wallet.ok(&approve).await.unwrap();
    let revoked = wallet.ok(&["request", "revoke", &weekly]).await.unwrap();
    expect(&revoked, "/active", false).unwrap();
    let again = wallet.fails(2, &["request", "revoke", &weekly]).await;
    expect(&again.unwrap(), "/code", "not_approved").unwrap();
    read_news(&sam, &ben).await.unwrap();
    assert!(stages(&shown(&paula, &weekly_name).await).is_empty());
}

/// The day so many days ago, as `--from` takes it.
fn day_before(ago: u64) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let day = since.unwrap().as_secs() / 86_400 - ago;
    // A date of the Gregorian calendar, its years counted from March.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_collects_fills_a_request() {
    let place = Place::found().await;
    let ben = place.person("ben", &place.other).await;
    let carl = place.person("carl", &place.agents).await;
    friends(&ben, &carl).await;
    engage(&carl, &[], &[&ben]).await;
    let carl_runs = live(&carl).await.unwrap();
    let (link, name) = ask(&carl, &["3.00 BREAD/2", "--together"]).await;
    let pay = ["request", "pay", &link, "2.00", "--deadline", "100s"];
    let paid = ben.wallet().ok(&pay).await.unwrap();
    expect(&paid, "/stage", "paid").unwrap();
    let filled = until_filled(&carl, &name, 200, 0, true).await;
    assert_eq!(stages(&filled), ["paid"]);
    let invoices = carl.wallet().ok(&["invoices"]).await.unwrap();
    expect(&invoices, "/invoices/0/kept_by", "agent").unwrap();
    carl_runs.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_who_dies_at_any_commit_grants_a_part_once_and_counts_it_once() {
    let town = Town::found(BREAD).await.unwrap();
    let [paula, ben, sam] = table(&town).await;
    let _ben = live(&ben).await.unwrap();
    let (link, name) = ask(&paula, &["40.00 BREAD/2", "--together"]).await;
    let along = over(&[&ben, &paula]);
    let armed = town.world.new_path("armed");
    let mut filled = 0;
    for place in ["before_commit", "after_commit"] {
        let mut deaths = 0;
        for n in commits(place, MOST) {
            let dying = paula.wallet().dying(place, n, &armed);
            let mut first = dying.watch(&[]).await.unwrap();
            std::fs::write(&armed, b"").unwrap();
            let pay = ["--json", "request", "pay", &link, "0.20", "--along", &along];
            let more = ["--max-fee", "0.05", "--deadline", "100s", "--wait", "100s"];
            let pay = [&pay[..], &more].concat();
            let payer = tokio::spawn(sam.wallet().command(&pay).output());
            while first.runs().unwrap() && !payer.is_finished() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let died = !first.runs().unwrap();
            std::fs::remove_file(&armed).unwrap();
            let again = match died {
                true => Some(live(&paula).await.unwrap()),
                false => None,
            };
            let output = payer.await.unwrap().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{place} {n}: {said}");
            filled += 20;
            until_filled(&paula, &name, filled, 0, true).await;
            drop((first, again));
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > 2, "died {deaths} times {place}");
    }
    let own = i64::try_from(filled).context("too much").unwrap();
    let runs = live(&paula).await.unwrap();
    until_owed(&paula, &ben, BREAD, own).await.unwrap();
    let account = paula.account(&ben, BREAD).await.unwrap();
    assert_eq!(amount(&account, "/promised_to_me").unwrap(), 0);
    runs.stop().await.unwrap();
}
