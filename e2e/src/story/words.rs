//! Step 26: what people say of services.

use anyhow::{Context, Result, ensure};
use atomicity_ledger::Signed;
use atomicity_ledger::record::Rating;
use serde_json::Value;

use super::Stage;
use crate::people::{expect, string};
use crate::wait;

impl Stage {
    /// Step 26.
    pub(super) async fn say_what_is_good(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, emma, router) = (&town.anna, &town.emma, &town.router);
        let memo = "found every way so far";
        let rate = [
            "rate",
            router.key(),
            "good",
            "--as",
            "router",
            "--memo",
            memo,
        ];
        let rated = emma.wallet().ok(&rate).await?;
        expect(&rated, "/published", true)?;
        let seen = wait::until("Emma's word to reach Anna", || async {
            let seen = anna.wallet().ok(&["services", "router"]).await?;
            expect(&seen, "/services/0/key", router.key())?;
            expect(&seen, "/services/0/friends/good", "1")?;
            Ok(seen)
        });
        seen.await?;
        self.say("Emma says that the router is good: `atomicity rate KEY good`. Anna's wallet counts the word of a friend.");
        let url = format!("{}/v0/index/ratings/{}", router.http_url(), router.key());
        let index = wait::until("the indexer to have read it", || async {
            let index: Value = reqwest::get(&url).await?.json().await?;
            expect(&index, "/counts/0/verdict", "good")?;
            Ok(index)
        });
        let index = index.await?;
        let jws = string(&index, "/items/0/jws")?;
        let signed: Signed<Rating> = Signed::decode(&jws)?;
        let by = signed.record().from.to_z32();
        ensure!(by == emma.key(), "{by} is not Emma");
        self.say("The plugin, router and watchtower in one, is an indexer too: it shows the rating to everybody, with Emma's signature.");
        let blocked = ["services", "block", router.key()];
        anna.wallet().ok(&blocked).await?;
        let known = ["services", "router", "--known"];
        let known = anna.wallet().ok(&known).await?;
        let services = known.pointer("/services").and_then(Value::as_array);
        let one = services.and_then(|all| all.iter().find(|one| one["key"] == router.key()));
        expect(
            one.context("the router is not known")?,
            "/excluded",
            "blocked_by_you",
        )?;
        self.say("Whom Anna blocks herself is not asked any more, whatever others say.");
        Ok(())
    }
}
