//! Step 7: a lost laptop.

use anyhow::{Context, Result, ensure};
use atomicity_ledger::seal::Envelope;
use futures_util::try_join;
use serde_json::Value;

use super::{BREAD, Stage};
use crate::Wallet;
use crate::people::{self, Person, expect, string};
use crate::thief::Thief;

impl Stage {
    /// Step 7.
    pub(super) async fn lose_laptop(&mut self) -> Result<()> {
        self.buy_eggs().await?;
        let paper = self.world.new_path("root-key-on-a-stick.pkarr");
        std::fs::copy(self.baker.wallet().root_file(), &paper)?;
        let stolen = self.baker.wallet().copy_to(self.world.new_path("stolen"))?;
        let thief = self.baker.with(stolen);
        self.say("The laptop is gone. The baker still has the file with the encrypted root key.");

        // Until the baker acts, whoever has the laptop is the baker, within the limits.
        thief.give(&self.milkman, "0.30 BREAD/2", "cream").await?;
        self.milkman.sync().await?;
        thief
            .wallet()
            .fails(3, &["issue", "milkman", "90 BREAD/2"])
            .await?;
        self.say(
            "The thief takes cream for 0.30 on the baker's name; more than the limit he cannot.",
        );

        let lab = thief.wallet().copy_to(self.world.new_path("thief's-lab"))?;
        self.thief_exceeds_the_line(&lab).await?;
        let books = thief.nets().await?;
        self.recover(&paper.to_string_lossy(), &books).await?;
        self.wait_for_peers().await?;
        self.thief_tries(&thief, &lab).await?;

        self.baker
            .give(&self.milkman, "0.20 BREAD/2", "butter")
            .await?;
        self.milkman.sync().await?;
        self.baker.sync().await?;
        self.say("With the new book key the baker takes butter for 0.20.");
        self.agree(100).await
    }

    /// So that there is more than one balance to recover.
    async fn buy_eggs(&self) -> Result<()> {
        let e = self.six.iter().find(|person| person.name() == "E");
        let Some(e) = e else {
            anyhow::bail!("where is E?")
        };
        e.wallet().ok(&["unit", "open", BREAD]).await?;
        try_join!(e.befriend(&self.baker), self.baker.befriend(e))?;
        e.trust(&self.baker, "4.00 BREAD/2").await?;
        try_join!(e.sync(), self.baker.sync())?;
        self.baker.give(e, "1.20 BREAD/2", "eggs").await?;
        e.sync().await?;
        self.baker.sync().await?;
        let text = people::agree(e, &self.baker, BREAD, 120).await?;
        self.say(format!("The baker buys eggs from E for 1.20. {text}"));
        Ok(())
    }

    /// A new device, with nothing but the root key.
    async fn recover(&mut self, root_file: &str, books: &[(String, String, i64)]) -> Result<()> {
        let lost_key = self.book_key(&self.baker).await?;
        let wallet = self
            .baker
            .wallet()
            .on_a_new_device(self.world.new_path("new-laptop"));
        self.baker = self.baker.with(wallet);
        let plugin = self.h2.plugin.key();
        let recover = ["recover", "--root-file", root_file, "--plugin", plugin];
        let recovered = self.baker.wallet().ok(&recover).await?;
        expect(&recovered, "/user", self.baker.key())?;
        let new_key = string(&recovered, "/book_key")?;
        ensure!(new_key != lost_key, "the book key is the stolen one");
        let revoked = recovered.get("revoked").and_then(Value::as_array);
        ensure!(
            revoked.is_some_and(|keys| keys.contains(&Value::from(lost_key.as_str()))),
            "the stolen book key is not revoked: {recovered}"
        );
        let found = self.baker.nets().await?;
        ensure!(found == books, "recovered {found:?} instead of {books:?}");
        self.say(format!(
            "A fresh wallet recovered all {} balances.",
            found.len()
        ));

        let waiting = ["issue", "milkman", "0.01 BREAD/2"];
        let refused = self.baker.wallet().fails(5, &waiting).await?;
        expect(&refused, "/code", "waiting_for_ack")?;
        self.say("It signs nothing before the friends have acknowledged its new book.");
        Ok(())
    }

    async fn wait_for_peers(&self) -> Result<()> {
        self.milkman.sync().await?;
        if let Some(e) = self.six.iter().find(|person| person.name() == "E") {
            e.sync().await?;
        }
        self.baker.sync().await?;
        let about = self
            .baker
            .wallet()
            .ok(&["friend", "inspect", "milkman"])
            .await?;
        expect(&about, "/state", "active")?;
        expect(&about, "/my_book/acknowledged", true)?;
        let epoch = about
            .pointer("/my_book/epoch")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        ensure!(epoch > 0, "the book goes on in the old epoch: {about}");
        expect(&about, "/my_book/key", self.book_key(&self.baker).await?)?;
        self.say(format!(
            "They have: the books go on in epoch {epoch}, with a fresh book key."
        ));
        self.agree(80).await
    }

    /// With a program of their own the thief signs more than the milkman's line: he gives it back.
    async fn thief_exceeds_the_line(&self, lab: &Wallet) -> Result<()> {
        let before = self.milkman.nets().await?;
        let mut program = Thief::open(lab.home()).await?;
        let forged = program
            .forge_without_limit(self.milkman.key(), BREAD, 9_000)
            .await?;
        program.close().await?;
        let delivered = self.send_to_milkman(&forged).await?;
        ensure!(delivered > 0, "the thief's state was not delivered");
        let news = self.milkman.sync().await?;
        let back = event(&news, "paid_back").context("nothing was paid back")?;
        expect(back, "/user", self.baker.key())?;
        expect(back, "/amount", "9000")?;
        let after = self.milkman.nets().await?;
        ensure!(
            before == after,
            "the milkman accepted more than his line: {before:?} became {after:?}"
        );
        self.say(
            "Signed by other means, 90.00 reach the milkman: above his line, he gives them back.",
        );
        Ok(())
    }

    /// Puts envelopes into the milkman's inbox, as anybody can; how many the plugin took.
    async fn send_to_milkman(&self, envelopes: &[Envelope]) -> Result<u64> {
        let (plugin, milkman) = (self.h1.plugin.http_url(), self.milkman.key());
        let inbox = format!("{plugin}/v0/inbox/{milkman}");
        let client = reqwest::Client::new();
        let mut delivered = 0_u64;
        for envelope in envelopes {
            let posted = client.post(&inbox).json(envelope).send().await?;
            delivered += u64::from(posted.status() == reqwest::StatusCode::CREATED);
        }
        Ok(delivered)
    }

    /// After the acknowledgement the laptop is worth nothing.
    async fn thief_tries(&self, thief: &Person, lab: &Wallet) -> Result<()> {
        let before = self.milkman.books().await?;
        let refused = thief
            .wallet()
            .fails(5, &["issue", "milkman", "0.50 BREAD/2"])
            .await?;
        self.say(format!(
            "The thief's wallet refuses to sign: {}",
            string(&refused, "/message")?
        ));

        // So the thief writes a program of their own, which signs.
        let mut program = Thief::open(lab.home()).await?;
        let forged = program.forge(self.milkman.key(), BREAD, 50).await?;
        program.close().await?;
        let delivered = self.send_to_milkman(&forged).await?;
        ensure!(delivered > 0, "the thief's records were not even delivered");
        let news = self.milkman.sync().await?;
        let read = news
            .pointer("/inbox/read")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        ensure!(
            read >= delivered,
            "the milkman did not read what the thief sent: {news}"
        );
        // Judged, not just passed over: the state belongs to an epoch that has ended.
        let judged = event(&news, "error").with_context(|| format!("nothing refused: {news}"))?;
        expect(judged, "/code", "epoch_ended")?;
        let refused = news.get("refused").and_then(Value::as_u64);
        ensure!(refused > Some(0), "nothing was refused: {news}");

        let after = self.milkman.books().await?;
        ensure!(
            before == after,
            "the thief changed the books: {before} became {after}"
        );
        self.say("The thief signs 0.50 by other means and sends it: nothing of it counts.");
        Ok(())
    }

    async fn book_key(&self, person: &Person) -> Result<String> {
        string(&person.wallet().ok(&["whoami"]).await?, "/book_key")
    }
}

/// The first event of this kind among the news.
fn event<'a>(news: &'a Value, kind: &str) -> Option<&'a Value> {
    let events = news.get("events")?.as_array()?;
    let is_it = |event: &&Value| event.get("event").and_then(Value::as_str) == Some(kind);
    events.iter().find(is_it)
}
