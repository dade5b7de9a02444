//! Steps 21 and 22: a debt is paid off outside, and handed on.

use anyhow::{Context, Result};

use super::Stage;
use crate::coffee::{Coffee, USD, owe};
use crate::people::{Person, expect, string};
use crate::town::{befriend, invoice, live, pass_on, read_news, settle_at, until_owed};
use crate::wait;

/// Who has coffee.
pub struct Guests {
    hanna: Person,
    ivan: Person,
    /// What Ivan owes Hanna by now, in cents.
    owed: i64,
    /// The shop and its node, if there are btcd and lnd.
    _shop: Option<Coffee>,
}

impl Stage {
    fn guests(&self) -> Result<&Guests> {
        self.guests.as_ref().context("there are no guests")
    }

    pub(super) fn hanna_and_ivan(&self) -> Result<(&Person, &Person)> {
        let guests = self.guests()?;
        Ok((&guests.hanna, &guests.ivan))
    }

    /// Step 21.
    pub(super) async fn have_a_coffee(&mut self) -> Result<()> {
        let log = self.log.as_ref().context("there is no log")?;
        let h3 = self.h3.as_ref().context("there is no H3")?;
        let hanna = settle_at(&self.world, "hanna", (&self.h2, USD), log).await?;
        let ivan = settle_at(&self.world, "ivan", (h3, USD), log).await?;
        let coffee = Coffee::open(hanna.clone(), ivan.clone()).await?;
        let owed = match &coffee {
            Some(coffee) => {
                self.drink(coffee).await?;
                1_500
            }
            None => {
                self.say("Left out: there are no btcd and lnd here (`e2e/tools.sh lightning` builds them).");
                owe(&hanna, &ivan).await?;
                2_000
            }
        };
        self.guests = Some(Guests {
            hanna,
            ivan,
            owed,
            _shop: coffee,
        });
        Ok(())
    }

    async fn drink(&self, coffee: &Coffee) -> Result<()> {
        let (hanna, ivan) = (&coffee.hanna, &coffee.ivan);
        self.say(
            "A chain, and two Lightning nodes with a channel: one is Ivan's, one a coffee shop's.",
        );
        self.say("Ivan owes Hanna 20.00 USD. He pays what she asks for, at 1,000 sat for a dollar: `atomicity settle auto`.");
        let lightning = ["endpoint", "add", "btc-lightning-lnurl", "ivan@pay.example"];
        ivan.wallet().ok(&lightning).await?;
        coffee.allow().await?;
        let ivan_runs = live(ivan).await?;
        let bill = coffee.invoice(None).await?;
        self.say("The shop has never heard of us. It shows an invoice over 5,000 sat.");
        let settle = ["settle", "--anyone", "5.00 USD", "--invoice", bill.as_str()];
        let settle = [&settle[..], &["--memo", "coffee", "--wait", "3m"]].concat();
        let paid = hanna.wallet().ok(&settle).await?;
        expect(&paid, "/friend", "ivan")?;
        expect(&paid, "/stage", "booked")?;
        self.say("Hanna: `atomicity settle --anyone '5.00 USD' --invoice …` asks whom she trusts most of those who owe her");
        self.say("and can pay by Lightning. Ivan's node paid; the shop has its sats.");
        self.say(format!(
            "Her proof, which the shop knows too: {}",
            string(&paid, "/preimage")?
        ));
        until_owed(hanna, ivan, USD, 1_500).await?;
        wait::until("Ivan to know it", || async {
            let done = ivan.wallet().ok(&["settle", "list"]).await?;
            expect(&done, "/settlements/0/stage", "done")
        })
        .await?;
        self.say("Ivan owes her 15.00 USD: exactly 5.00 less.");
        ivan_runs.stop().await
    }

    /// Step 22.
    pub(super) async fn hand_a_claim_on(&mut self) -> Result<()> {
        let log = self.log.as_ref().context("there is no log")?;
        let jana = settle_at(&self.world, "jana", (&self.h2, USD), log).await?;
        let Guests {
            hanna, ivan, owed, ..
        } = self.guests()?;
        befriend(ivan, &jana, "50.00 USD/2").await?;
        pass_on(ivan, USD, "0.00").await?;
        let running = [live(ivan).await?, live(&jana).await?];
        let (link, _) = invoice(&jana, "10.00 USD/2", "a bicycle").await?;
        self.say("Hanna buys Jana's bicycle for 10.00, with what Ivan owes her: `atomicity reassign ivan LINK`.");
        let more = ["reassign", "ivan", &link, "--max-fee", "0.10"];
        let done = hanna.wallet().ok(&more).await?;
        expect(&done, "/kind", "reassigned")?;
        expect(&done, "/state", "paid")?;
        let promised: i64 = 1_000 + string(&done, "/fee")?.parse::<i64>()?;
        until_owed(&jana, ivan, USD, 1_000).await?;
        read_news(hanna, ivan).await?;
        until_owed(hanna, ivan, USD, owed - promised).await?;
        self.say(format!(
            "Ivan owes Jana 10.00 now, and Hanna {:.2}: both at once, or neither. Nobody owes anything new.",
            (owed - promised) as f64 / 100.0
        ));
        for wallet in running {
            wallet.stop().await?;
        }
        Ok(())
    }
}
