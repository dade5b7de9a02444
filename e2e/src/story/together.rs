//! Step 23: a bill that several pay together.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Stage;
use crate::coffee::USD;
use crate::people::{expect, string};
use crate::town::{befriend, live, pass_on, settle_at, until_owed};
use crate::wait;

impl Stage {
    /// Step 23.
    pub(super) async fn share_a_bill(&mut self) -> Result<()> {
        let log = self.log_of_all()?;
        let (hanna, ivan) = self.hanna_and_ivan()?;
        let kuno = settle_at(&self.world, "kuno", (&self.h2, USD), log).await?;
        befriend(ivan, &kuno, "50.00 USD/2").await?;
        for person in [hanna, ivan] {
            pass_on(person, USD, "0.00").await?;
        }
        let running = [live(hanna).await?, live(ivan).await?];
        let owed: i64 = string(&hanna.account(ivan, USD).await?, "/net")?.parse()?;

        let bill = ["request", "new", "27.00 USD/2", "--together"];
        let more = ["--memo", "dinner", "--or", "cash=at-the-table"];
        let made = hanna.wallet().ok(&[&bill[..], &more].concat()).await?;
        let (link, name) = (string(&made, "/link")?, string(&made, "/request")?);
        self.say("Dinner for ten was 30.00 USD, and Hanna paid. `atomicity request new '27.00 USD' --together` makes a link and a QR code.");

        let pay = ["request", "pay", &link, "15.00"];
        let paid = ivan.wallet().ok(&pay).await?;
        expect(&paid, "/stage", "paid")?;
        self.say("Ivan, her friend, opens it and pays 15.00 in credit.");
        let cash = ["request", "received", &name, "2.00 USD/2", "--from", "Lea"];
        hanna.wallet().ok(&cash).await?;
        self.say("Lea has no wallet: she leaves 2.00 at the table, and Hanna notes it.");
        let pay = ["request", "pay", &link, "12.00", "--max-fee", "1.00"];
        let paid = wait::until("a way over Ivan", || async { kuno.wallet().ok(&pay).await });
        let paid = paid.await?;
        expect(&paid, "/stage", "paid")?;
        expect(&paid, "/amount", "1000")?;
        self.say("Kuno, whom Hanna has never met, wants to pay 12.00: 10.00 are left, and he pays those, over Ivan.");
        let full = wait::until("the bill to be full", || async {
            let now = hanna.wallet().ok(&["request", "show", &name]).await?;
            expect(&now, "/filled", "2700")?;
            expect(&now, "/open", false)?;
            Ok(now)
        });
        let full = full.await?;
        let parts = full.pointer("/parts").and_then(Value::as_array);
        ensure!(parts.is_some_and(|parts| parts.len() == 2), "{full}");
        until_owed(hanna, ivan, USD, owed + 2_500).await?;
        self.say("All 27.00 are there, never a cent more: nobody can pay any more of it.");
        for wallet in running {
            wallet.stop().await?;
        }
        Ok(())
    }
}
