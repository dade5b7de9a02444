//! Step 9: a homeserver goes away.

use std::sync::atomic::Ordering;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;

use super::{BREAD, Stage};
use crate::people::{Person, Site, expect};
use crate::wait;

impl Stage {
    /// Step 9.
    pub(super) async fn move_house(&mut self) -> Result<()> {
        self.h3 = Some(Site::open(&self.world, "h3").await?);
        let mut running = self.baker.wallet().watch(&["--poll", "1"]).await?;
        self.say("The baker's wallet runs (`atomicity watch`) and is not restarted from here on.");
        let before = self.all_nets().await?;

        self.h1.homeserver.stop().await?;
        self.h1.plugin.stop().await?;
        self.say("H1 and its plugin are stopped.");
        self.move_milkman().await?;
        let after = self.all_nets().await?;
        ensure!(
            before == after,
            "balances changed: {before:?} became {after:?}"
        );
        self.say("Nobody's balance changed.");

        let given = self
            .milkman
            .give(&self.baker, "0.40 BREAD/2", "a roll")
            .await?;
        expect(&given, "/delivery", "inbox")?;
        let heard = running
            .next("that the milkman paid from his new home", |event| {
                event.get("event").and_then(Value::as_str) == Some("payment")
            })
            .await?;
        expect(&heard, "/user", self.milkman.key())?;
        expect(&heard, "/amount", "40")?;
        self.say("The milkman issued 0.40 from H3, and the running baker heard it.");

        // Nobody but the running wallet could bring anything to the new inbox.
        self.wait_for_answer().await?;
        self.say("The running wallet found the milkman at H3 and answered into his inbox there.");

        let before = self.bread_of(&self.milkman).await?;
        let milk = [
            "issue",
            "milkman",
            "0.10 BREAD/2",
            "--memo",
            "a glass of milk",
            "--no-wait",
        ];
        let queued = self.baker.wallet().ok(&milk).await?;
        expect(&queued, "/delivery", "queued")?;
        wait::until("the running baker to send the payment", || async {
            self.milkman.sync().await?;
            let net = self.bread_of(&self.milkman).await?;
            ensure!(net == before + 10, "the milkman is still owed {net}");
            Ok(())
        })
        .await?;
        self.say("The baker issued 0.10; the running wallet sent it, and the milkman has it.");
        running.stop().await?;
        self.baker.sync().await?;
        self.agree(before + 10).await
    }

    async fn move_milkman(&mut self) -> Result<()> {
        let Some(new) = &self.h3 else {
            anyhow::bail!("there is no H3");
        };
        let home = new.homeserver.z32();
        let moved = self
            .milkman
            .wallet()
            .ok(&["move", &home, "--plugin", new.plugin.key()])
            .await?;
        expect(&moved, "/from", self.h1.homeserver.z32())?;
        expect(&moved, "/to", home.as_str())?;
        self.say("The milkman moved to H3: same key, same books, another homeserver.");

        let key = pubky::PublicKey::try_from_z32(self.milkman.key())
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let found = self.world.sdk()?.get_homeserver_of(&key).await?;
        ensure!(
            found.as_ref() == Some(&new.homeserver.key()),
            "the DHT says {found:?}"
        );
        Ok(())
    }

    /// The milkman reads his new inbox until the running baker's acknowledgement is there.
    async fn wait_for_answer(&self) -> Result<()> {
        let read = std::sync::atomic::AtomicU64::new(0);
        wait::until("the running baker to write to H3", || async {
            let news = self.milkman.sync().await?;
            let new = news
                .pointer("/inbox/read")
                .and_then(Value::as_u64)
                .unwrap_or(0);
            let all = read.fetch_add(new, Ordering::Relaxed) + new;
            ensure!(all > 0, "nothing came to the new inbox");
            let line = self.milkman.account(&self.baker, BREAD).await?;
            expect(&line, "/unacknowledged", "0")
        })
        .await
    }

    async fn all_nets(&self) -> Result<Vec<Vec<(String, String, i64)>>> {
        let people = [&self.milkman, &self.baker].into_iter().chain(&self.six);
        try_join_all(people.map(Person::nets)).await
    }

    async fn bread_of(&self, person: &Person) -> Result<i64> {
        let line = person.account(&self.baker, BREAD).await?;
        crate::people::amount(&line, "/net")
    }
}
