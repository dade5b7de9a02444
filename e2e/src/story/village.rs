//! Steps 1 to 5: milkman and baker.

use anyhow::{Result, ensure};
use futures_util::try_join;
use serde_json::Value;

use super::{BREAD, Stage};
use crate::people::{expect, string};

impl Stage {
    /// Step 1.
    pub(super) async fn meet(&mut self) -> Result<()> {
        try_join!(
            self.milkman.join(&self.h1, BREAD),
            self.baker.join(&self.h2, BREAD)
        )?;
        self.say(format!("The milkman at H1 is {}", self.milkman.key()));
        self.say(format!("The baker at H2 is   {}", self.baker.key()));
        try_join!(
            self.milkman.befriend(&self.baker),
            self.baker.befriend(&self.milkman)
        )?;
        self.say("Each added the other by that key: DHT, then homeserver, then profile.");
        Ok(())
    }

    /// Step 2.
    pub(super) async fn set_lines(&mut self) -> Result<()> {
        self.baker.trust(&self.milkman, "3.00 BREAD/2").await?;
        self.milkman.trust(&self.baker, "5.00 BREAD/2").await?;
        try_join!(self.milkman.sync(), self.baker.sync())?;
        let milkmans = self.milkman.account(&self.baker, BREAD).await?;
        expect(&milkmans, "/line_for_them", "500")?;
        expect(&milkmans, "/line_for_me", "300")?;
        let bakers = self.baker.account(&self.milkman, BREAD).await?;
        expect(&bakers, "/line_for_them", "300")?;
        expect(&bakers, "/line_for_me", "500")?;
        self.say(format!(
            "Both see both limits: the milkman may owe {}, the baker {}.",
            string(&milkmans, "/line_for_me_text")?,
            string(&milkmans, "/line_for_them_text")?,
        ));
        self.agree(0).await
    }

    /// Step 3.
    pub(super) async fn take_bread(&mut self) -> Result<()> {
        let given = self
            .milkman
            .give(&self.baker, "2.00 BREAD/2", "four loaves")
            .await?;
        expect(&given, "/amount", "200")?;
        expect(&given, "/net_after", "-200")?;
        expect(&given, "/delivery", "inbox")?;
        self.say("The milkman issued 2.00 BREAD; the plugin at H2 keeps it for the baker.");
        let before = self.baker.account(&self.milkman, BREAD).await?;
        expect(&before, "/net", "0")?;

        let news = self.baker.sync().await?;
        let payment = event(&news, "payment")?;
        expect(payment, "/user", self.milkman.key())?;
        expect(payment, "/amount", "200")?;
        expect(payment, "/memo", "four loaves")?;
        self.say("The baker came back and found it.");
        self.milkman.sync().await?;
        let after = self.milkman.account(&self.baker, BREAD).await?;
        expect(&after, "/unacknowledged", "0")?;
        self.agree(-200).await
    }

    /// Step 4.
    pub(super) async fn ask_too_much(&mut self) -> Result<()> {
        let before = try_join!(self.milkman.books(), self.baker.books())?;
        let refused = self
            .milkman
            .wallet()
            .fails(3, &["issue", "baker", "2.00 BREAD/2"])
            .await?;
        expect(&refused, "/code", "limit_exceeded")?;
        expect(&refused, "/limit/available", "100")?;
        self.say(format!("Refused: {}", string(&refused, "/message")?));

        let (mine, bakers) = try_join!(self.milkman.sync(), self.baker.sync())?;
        for news in [&mine, &bakers] {
            ensure!(
                event(news, "payment").is_err(),
                "something was paid: {news}"
            );
        }
        let after = try_join!(self.milkman.books(), self.baker.books())?;
        ensure!(
            before == after,
            "the books changed: {before:?} became {after:?}"
        );
        self.say("Nothing changed anywhere.");
        self.agree(-200).await
    }

    /// Step 5.
    pub(super) async fn take_milk(&mut self) -> Result<()> {
        let given = self
            .baker
            .give(&self.milkman, "2.50 BREAD/2", "milk for a week")
            .await?;
        expect(&given, "/net_after", "-50")?;
        self.say("The baker issued 2.50 BREAD: what the milkman owed is gone, the rest he owes.");
        self.milkman.sync().await?;
        self.baker.sync().await?;
        self.agree(50).await
    }
}

/// The first event of this kind in what `sync` said.
pub(super) fn event<'a>(news: &'a Value, kind: &str) -> Result<&'a Value> {
    let events = news
        .get("events")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let found = events
        .iter()
        .find(|event| event.get("event").and_then(Value::as_str) == Some(kind));
    found.ok_or_else(|| anyhow::anyhow!("no event {kind:?} in {news}"))
}
