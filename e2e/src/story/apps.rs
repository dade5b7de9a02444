//! Steps 24 and 25: an app spends for somebody, and an agent is dismissed.

use anyhow::Result;

use super::{BREAD, Stage};
use crate::people::{Person, expect};
use crate::town::{befriend, engage, read_news, settle_at, until_owed};
use crate::wait;

impl Stage {
    /// Step 24.
    pub(super) async fn let_an_app_spend(&mut self) -> Result<()> {
        let (log, h4) = (self.log_of_all()?, self.h4()?);
        let emma = &self.strangers()?.emma;
        let kim = settle_at(&self.world, "kim", (h4, BREAD), log).await?;
        befriend(emma, &kim, "20.00 BREAD/2").await?;
        engage(&kim, &["--until", "30d"], &[emma]).await?;
        let shop = self.world.wallet("shop")?;
        let file = self.world.new_path("shop.key").display().to_string();
        let new = ["account", "new", "web shop", "--key-file", &file];
        let terms = ["--per-day", "5.00 BREAD/2", "--to", "emma"];
        let made = kim.wallet().ok(&[&new[..], &terms].concat()).await?;
        expect(&made, "/state", "active")?;
        self.say("Kim lets a web shop spend 5.00 a day with Emma: `atomicity account new 'web shop' --per-day '5.00 BREAD' --to emma`.");
        self.say("The shop has a key of its own, and nothing else of hers.");
        let spend = ["account", "spend", "--key-file", &file, "--to", emma.key()];
        let spend = |amount| [&spend[..], &["--amount", amount]].concat();
        let paid = shop.ok(&spend("4.00 BREAD/2")).await?;
        expect(&paid, "/state", "paid")?;
        emma.sync().await?;
        read_news(&kim, emma).await?;
        until_owed(emma, &kim, BREAD, 400).await?;
        self.say("It spends 4.00 while Kim's phone is off: her agent checks the limits and signs.");
        let much = shop.fails(3, &spend("2.00 BREAD/2")).await?;
        expect(&much, "/code", "account_day_limit_exceeded")?;
        self.say("Another 2.00 would be too much for a day: refused.");
        let ended = ["account", "revoke", "web shop"];
        let ended = kim.wallet().ok(&ended).await?;
        expect(&ended, "/state", "revoked")?;
        let next = shop.fails(5, &spend("0.50 BREAD/2")).await?;
        expect(&next, "/code", "key_revoked")?;
        self.say(
            "Kim takes the key back: `atomicity account revoke 'web shop'`. The next spend fails.",
        );
        self.kim = Some(kim);
        Ok(())
    }

    /// Step 25.
    pub(super) async fn dismiss_an_agent(&mut self) -> Result<()> {
        let kim: &Person = self.kim()?;
        let emma = &self.strangers()?.emma;
        let ended = kim.wallet().ok(&["agent", "revoke"]).await?;
        expect(&ended, "/ended", true)?;
        expect(&ended, "/friends/0/by", "root")?;
        self.say("Kim trusts the plugin no more: `atomicity agent revoke`. Her root key says so to the world,");
        self.say("and nothing that the agent would sign from now on counts.");
        wait::until("Emma to accept the new epoch", || async {
            read_news(kim, emma).await?;
            kim.wallet().ok(&["issue", "emma", "1.00 BREAD/2"]).await
        })
        .await?;
        read_news(kim, emma).await?;
        until_owed(emma, kim, BREAD, 500).await?;
        self.say("Her own device keeps the books in a new epoch: she gives Emma 1.00 by hand. All totals went on.");
        Ok(())
    }
}
