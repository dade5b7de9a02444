//! A payment over two friends whose payer, first hop, or payee dies between any two of its commits: before one, having done what came
//! before it, or after one, having done nothing since. Whoever comes back finds what was begun; the payment is made everywhere or nowhere,
//! and nothing stays reserved.

use anyhow::ensure;
use atomicity_e2e::people::{Person, amount, string};
use atomicity_e2e::town::{Town, befriend, invoice, live, over, pass_on};
use atomicity_e2e::wait;

use crate::common::{BREAD, commits};

/// More commits than a payment has on either side.
const MOST: usize = 40;

struct Row {
    town: Town,
    people: [Person; 4],
    /// What Dora was paid so far.
    paid: i64,
    /// What Ben and Carl earned so far, each.
    fees: i64,
}

impl Row {
    async fn new() -> Self {
        let town = Town::found(BREAD).await.unwrap();
        let anna = town.person("anna", 0).await.unwrap();
        let ben = town.person("ben", 0).await.unwrap();
        let carl = town.person("carl", 1).await.unwrap();
        let dora = town.person("dora", 1).await.unwrap();
        for (one, other) in [(&anna, &ben), (&ben, &carl), (&carl, &dora)] {
            befriend(one, other, "20.00 BREAD/2").await.unwrap();
        }
        for hop in [&ben, &carl] {
            pass_on(hop, BREAD, "0.01").await.unwrap();
        }
        Self {
            town,
            people: [anna, ben, carl, dora],
            paid: 0,
            fees: 0,
        }
    }

    /// Until everything is decided: the payment is made, or given up, everywhere. All but the payer and whoever stands at `dies` are
    /// running, and hear of it by themselves.
    async fn over(&mut self, invoice: &str, dies: usize) -> bool {
        let [anna, _, _, dora] = &self.people;
        wait::until("the payment to be decided", || async {
            anna.sync().await?;
            let list = anna.wallet().ok(&["payments"]).await?;
            let text = list.to_string();
            ensure!(!text.contains(r#""state":"open""#), "{text}");
            Ok(())
        })
        .await
        .unwrap();
        let list = dora.wallet().ok(&["invoices"]).await.unwrap();
        let all = list["invoices"].as_array().unwrap();
        let mine = all.iter().find(|one| one["invoice"] == invoice).unwrap();
        let paid = mine["state"] == "paid";
        if paid {
            self.paid += 10;
            // A fixed cent and a thousandth, rounded up.
            self.fees += 2;
        }
        wait::until("books that agree, with nothing reserved", || async {
            anna.sync().await?;
            if dies != 0 {
                self.people[dies].sync().await?;
            }
            self.agree().await
        })
        .await
        .unwrap();
        paid
    }

    /// Whether all books say what was paid so far, and nothing more.
    async fn agree(&self) -> anyhow::Result<()> {
        let [anna, ben, carl, dora] = &self.people;
        let expected = [
            (ben, anna, self.paid + 2 * self.fees),
            (carl, ben, self.paid + self.fees),
            (dora, carl, self.paid),
        ];
        for (one, other, owed) in expected {
            let (mine, theirs) =
                tokio::try_join!(one.account(other, BREAD), other.account(one, BREAD))?;
            ensure!(amount(&mine, "/net")? == owed, "{owed} is not in {mine}");
            ensure!(
                amount(&theirs, "/net")? == -owed,
                "{owed} is not in {theirs}"
            );
            for key in ["promised_to_me", "promised_to_them", "due_to_me"] {
                let key = format!("/{key}");
                ensure!(string(&mine, &key)? == "0", "{key} in {mine}");
                ensure!(string(&theirs, &key)? == "0", "{key} in {theirs}");
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_who_dies_at_any_commit_pays_once_or_not_at_all() {
    let mut row = Row::new().await;
    let mut running = Vec::new();
    for hop in &row.people[1..] {
        running.push(live(hop).await.unwrap());
    }
    let along = over(&[&row.people[1], &row.people[2], &row.people[3]]);
    for place in ["before_commit", "after_commit"] {
        let mut deaths = 0;
        for n in commits(place, MOST) {
            let (link, name) = invoice(&row.people[3], "0.10 BREAD/2", "bread")
                .await
                .unwrap();
            let dying = row.people[0].wallet().dying(place, n, row.town.world.dir());
            let run = dying
                .run(&["pay", &link, "--along", &along, "--max-fee", "0.05"])
                .await
                .unwrap();
            let died = run.code.is_none();
            assert!(died || run.code == Some(0), "{run}");
            let paid = row.over(&name, 0).await;
            assert!(paid || died, "{place} {n}: {run}");
            if !died {
                break;
            }
            deaths += 1;
        }
        println!("died {deaths} times {place}");
        assert!(deaths > 3 && deaths < MOST, "died {deaths} times {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_that_dies_at_any_commit_keeps_its_fee_and_nothing_else() {
    comes_back(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_who_dies_at_any_commit_is_paid() {
    comes_back(3).await;
}

/// Whoever stands there dies at each commit, and comes back; each time the payment is made.
async fn comes_back(at: usize) {
    let mut row = Row::new().await;
    let mut running = Vec::new();
    for other in [1, 2, 3] {
        if other != at {
            running.push(live(&row.people[other]).await.unwrap());
        }
    }
    let along = over(&[&row.people[1], &row.people[2], &row.people[3]]);
    let armed = row.town.world.new_path("armed");
    for place in ["before_commit", "after_commit"] {
        let mut deaths = 0;
        for n in commits(place, MOST) {
            let (link, name) = invoice(&row.people[3], "0.10 BREAD/2", "bread")
                .await
                .unwrap();
            let dies = row.people[at].clone();
            let mut first = dies
                .wallet()
                .dying(place, n, &armed)
                .watch(&[])
                .await
                .unwrap();
            std::fs::write(&armed, b"").unwrap();
            let pay = [
                "--json",
                "pay",
                &link,
                "--along",
                &along,
                "--max-fee",
                "0.05",
            ];
            let payer = row.people[0].wallet().command(&pay).output();
            let payer = tokio::spawn(payer);
            // Who dies comes back; who does not sees the payment end without it.
            while first.runs().unwrap() && !payer.is_finished() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            let again = if first.runs().unwrap() {
                None
            } else {
                Some(live(&dies).await.unwrap())
            };
            let output = payer.await.unwrap().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(row.over(&name, at).await, "{place} {n}: {said}");
            // It may also have been while it was booked.
            let died = !first.runs().unwrap();
            std::fs::remove_file(&armed).unwrap();
            drop((first, again));
            if !died {
                break;
            }
            deaths += 1;
        }
        println!("died {deaths} times {place}");
        assert!(deaths > 3 && deaths < MOST, "died {deaths} times {place}");
    }
}
