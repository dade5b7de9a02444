//! Steps 13 to 15: Anna pays Dora, whom she does not know, over friends of friends.

use anyhow::{Context, Result, ensure};
use futures_util::try_join;
use serde_json::Value;

use super::{BREAD, Stage};
use crate::people::{Person, expect, string};
use crate::town::{befriend, indexer, invoice, live, pass_on, read_news, settle_at, until_owed};
use crate::watch::Watch;
use crate::{Plugin, wait};

/// Anna, who pays, Dora, who is paid, and who stands between them.
pub struct Strangers {
    pub(super) anna: Person,
    pub(super) ben: Person,
    pub(super) carl: Person,
    pub(super) dora: Person,
    pub(super) emma: Person,
    /// Finds ways.
    pub router: Plugin,
    /// Wallets that run: those of Ben, Carl and Emma, who pass on.
    running: Vec<Watch>,
}

impl Stage {
    pub(super) fn strangers(&self) -> Result<&Strangers> {
        self.strangers.as_ref().context("there are no strangers")
    }

    /// Step 13.
    pub(super) async fn find_a_way(&mut self) -> Result<()> {
        let log = self.log.as_ref().context("there is no log")?;
        let h3 = self.h3.as_ref().context("there is no H3")?;
        let at_h2 = (&self.h2, BREAD);
        let at_h3 = (h3, BREAD);
        let (anna, ben, carl, dora, emma) = try_join!(
            settle_at(&self.world, "anna", at_h2, log),
            settle_at(&self.world, "ben", at_h2, log),
            settle_at(&self.world, "carl", at_h3, log),
            settle_at(&self.world, "dora", at_h3, log),
            settle_at(&self.world, "emma", at_h3, log),
        )?;
        for (one, other) in [
            (&anna, &ben),
            (&ben, &carl),
            (&carl, &dora),
            (&anna, &emma),
            (&emma, &dora),
        ] {
            befriend(one, other, "20.00 BREAD/2").await?;
        }
        self.say("Anna and Ben live at H2, Carl, Dora and Emma at H3. Anna knows Ben and Emma; Dora knows Carl and Emma;");
        self.say(
            "Ben knows Carl. Friends let each other owe 20.00 BREAD. Anna and Dora have never met.",
        );
        for (person, fee) in [(&ben, "0.01"), (&carl, "0.01"), (&emma, "0.50")] {
            pass_on(person, BREAD, fee).await?;
        }
        // Whoever is to be reached publishes it too: a channel counts if both ends do.
        pass_on(&dora, BREAD, "0.01").await?;
        self.say("Ben and Carl pass on for 0.01 and a thousandth, Emma for 0.50; they publish that, Dora too.");
        let router = indexer(&self.world, &self.h2.homeserver, &[&ben, &emma]).await?;
        self.say(format!("A router begins to crawl: {}", router.key()));
        let found = wait::until("Anna to find the router on Mainline", || async {
            let found = anna.wallet().ok(&["services", "router"]).await?;
            let key = found.pointer("/services/0/key").and_then(Value::as_str);
            ensure!(key == Some(router.key()), "{found}");
            Ok(found)
        });
        let found = found.await?;
        ensure!(
            found.pointer("/services/0/proven_at").is_some(),
            "the router has not proven its key: {found}"
        );
        self.say("Nobody told Anna's wallet of it: it asked the DHT who is a router, and had it prove its key.");
        let running = vec![live(&ben).await?, live(&carl).await?, live(&emma).await?];
        self.strangers = Some(Strangers {
            anna,
            ben,
            carl,
            dora,
            emma,
            router,
            running,
        });
        self.pay_a_stranger().await
    }

    async fn pay_a_stranger(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, ben, carl, dora) = (&town.anna, &town.ben, &town.carl, &town.dora);
        let dora_runs = live(dora).await?;
        let (link, _) = invoice(dora, "5.00 BREAD/2", "a cake").await?;
        let dry = ["pay", link.as_str(), "--dry-run"];
        let ways = wait::until("the router to know the way over Ben and Carl", || async {
            let ways = anna.wallet().ok(&dry).await?;
            expect(&ways, "/ways/0/fee", "4")?;
            Ok(ways)
        });
        ways.await?;
        self.say("Dora's invoice is a link. `atomicity pay LINK --dry-run`: over Ben and Carl, for 0.04.");
        let paid = anna.wallet().ok(&["pay", &link]).await?;
        expect(&paid, "/state", "paid")?;
        expect(&paid, "/fee", "4")?;
        until_owed(dora, carl, BREAD, 500).await?;
        until_owed(carl, ben, BREAD, 502).await?;
        until_owed(ben, anna, BREAD, 504).await?;
        self.say("`atomicity pay LINK`: Anna owes Ben 5.04, Ben owes Carl 5.02, Carl owes Dora 5.00. Each earned 0.02.");
        let payment = string(&paid, "/payment")?;
        let receipt = anna.wallet().ok(&["receipt", &payment]).await?;
        let preimage = string(&receipt, "/preimage")?;
        ensure!(
            receipt
                .pointer("/proof/proof")
                .is_some_and(Value::is_string),
            "the receipt has no proof: {receipt}"
        );
        self.say(format!(
            "Anna's receipt: the secret {preimage}, and the log's proof of it."
        ));
        dora_runs.stop().await
    }

    /// Step 14.
    pub(super) async fn pay_around_a_refusal(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, dora) = (&town.anna, &town.dora);
        let dora_runs = live(dora).await?;
        let (link, _) = invoice(dora, "1.00 BREAD/2", "a bun").await?;
        pass_on(&town.carl, BREAD, "0.90").await?;
        self.say("Dora writes an invoice, which names Carl's fee. Carl asks 0.90 from now on.");
        let pay = ["pay", link.as_str(), "--max-fee", "0.60"];
        let paid = anna.wallet().ok(&pay).await?;
        expect(&paid, "/state", "paid")?;
        let parts = paid.pointer("/parts").and_then(Value::as_array);
        let parts = parts.context("no parts")?;
        let last = parts.last().context("no parts")?;
        expect(&paid, "/parts/0/failure", "fee_too_low")?;
        expect(&paid, "/parts/0/edge/0", town.carl.key())?;
        self.say("Carl said no, sealed so that only Anna can read it: his fee is higher now.");
        expect(last, "/hops/0", town.emma.key())?;
        expect(last, "/fate", "paid")?;
        until_owed(dora, &town.emma, BREAD, 100).await?;
        self.say("The same command found the way over Emma: all or nothing, never twice.");
        dora_runs.stop().await
    }

    /// Step 15.
    pub(super) async fn pay_who_sleeps(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, carl, dora) = (&town.anna, &town.carl, &town.dora);
        pass_on(&town.carl, BREAD, "0.01").await?;
        let allow = [
            "friend",
            "limit",
            "emma",
            "20.00 BREAD/2",
            "--unattended",
            "4.00",
        ];
        dora.wallet().ok(&allow).await?;
        read_news(dora, &town.emma).await?;
        self.say("Dora lets Emma take up to 4.00 for her while she is away. Then she switches her phone off.");
        let gift = [
            "pay",
            dora.key(),
            "3.00 BREAD/2",
            "--memo",
            "for the roof",
            "--max-fee",
            "1.00",
            "--avoid",
            "ben",
        ];
        let before = dora.account(&town.emma, BREAD).await?;
        wait::until("the allowance to arrive", || async {
            let paid = anna.wallet().ok(&gift).await?;
            expect(&paid, "/state", "paid")
        })
        .await?;
        self.say("Anna pays 3.00 to Dora's key. The payment is made although Dora sleeps.");
        let before = crate::people::amount(&before, "/net")?;
        wait::until("Dora to find herself paid", || async {
            dora.sync().await?;
            let line = dora.account(&town.emma, BREAD).await?;
            expect(&line, "/net", (before + 300).to_string())
        })
        .await?;
        self.say("Dora wakes up and finds herself paid: Emma owes her 3.00 more.");
        until_owed(dora, carl, BREAD, 500).await
    }

    /// Ends the wallets that ran for the strangers.
    pub(super) async fn rest_strangers(&mut self) -> Result<()> {
        if let Some(town) = &mut self.strangers {
            for watch in town.running.drain(..) {
                watch.stop().await?;
            }
        }
        Ok(())
    }
}
