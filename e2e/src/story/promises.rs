//! Steps 10 to 12: promises that hang on what a log shows.

use anyhow::{Context, Result, ensure};
use futures_util::try_join;

use super::village::event;
use super::{BREAD, Stage};
use crate::lying_log::{LyingLog, Story};
use crate::people::{amount, expect, string};
use crate::promises::{
    Cosigned, introduce_liar, kinds, new_secret, promise, proof_against, until_standing,
};
use crate::wait;

impl Stage {
    /// What the milkman is owed, in minor units.
    async fn milkmans_net(&self) -> Result<i64> {
        let line = self.milkman.account(&self.baker, BREAD).await?;
        amount(&line, "/net")
    }

    /// Step 10.
    pub(super) async fn publish_in_time(&mut self) -> Result<()> {
        let log = Cosigned::start(&self.world, "log", 3600).await?;
        self.say(format!("A log begins: {}", log.origin()));
        let (known, _) = try_join!(log.introduce(&self.milkman), log.introduce(&self.baker))?;
        self.say(format!(
            "Both rely on it by its policy: {}.",
            string(&known, "/quorum")?
        ));
        let before = self.milkmans_net().await?;
        let hash = new_secret(&self.baker).await?;
        let terms = (hash.as_str(), log.origin(), 60);
        promise(&self.milkman, &self.baker, "0.30 BREAD/2", terms).await?;
        self.say(format!(
            "The milkman promises 0.30 BREAD on the secret with the hash {hash}."
        ));
        let news = self.baker.sync().await?;
        expect(event(&news, "promised")?, "/hash", hash.as_str())?;
        let line = self.baker.account(&self.milkman, BREAD).await?;
        expect(&line, "/promised_to_me", "30")?;
        self.say("The baker holds the promise. Nothing is owed by it yet.");

        let publish = ["secret", "publish", hash.as_str()];
        let published = self.baker.wallet().ok(&publish).await?;
        let index = published.get("index").context("no index")?;
        self.say(format!(
            "The baker publishes the secret: entry {index} of the log, with a proof."
        ));
        let line = self.baker.account(&self.milkman, BREAD).await?;
        expect(&line, "/due_to_me", "30")?;
        self.say("It is due, whether the milkman books it or not: the proof is evidence.");
        let news = self.milkman.sync().await?;
        event(&news, "merged")?;
        self.baker.sync().await?;
        self.milkman.sync().await?;
        self.agree(before - 30).await?;
        self.log = Some(log);
        Ok(())
    }

    /// Step 11.
    pub(super) async fn let_expire(&mut self) -> Result<()> {
        let log = self.log.as_ref().context("there is no log")?;
        let before = self.milkmans_net().await?;
        let free = self.milkman.account(&self.baker, BREAD).await?;
        let hash = new_secret(&self.baker).await?;
        let terms = (hash.as_str(), log.origin(), 4);
        let name = promise(&self.milkman, &self.baker, "0.20 BREAD/2", terms).await?;
        self.baker.sync().await?;
        let reserved = self.milkman.account(&self.baker, BREAD).await?;
        ensure!(
            amount(&reserved, "/can_issue")? == amount(&free, "/can_issue")? - 20,
            "nothing was reserved: {reserved}"
        );
        self.say("The milkman promises 0.20 BREAD for four seconds: so much is reserved.");
        let over = (
            &["expired", "released", "gone"][..],
            &["released", "gone"][..],
        );
        until_standing(&self.milkman, &self.baker, &name, over).await?;
        for person in [&self.milkman, &self.baker] {
            let told = kinds(person).await?;
            ensure!(
                told.iter()
                    .any(|kind| kind == "expired" || kind == "released"),
                "{} knows nothing of it: {told:?}",
                person.name()
            );
        }
        self.say("Nobody published it. Both read the entries of the log up to the first one after the deadline:");
        self.say("that the secret is not among them is the proof. The baker gives the promise up.");
        let after = self.milkman.account(&self.baker, BREAD).await?;
        expect(&after, "/can_issue", string(&free, "/can_issue")?)?;
        self.say("What was reserved is free again.");
        self.agree(before).await
    }

    /// Step 12.
    pub(super) async fn catch_a_liar(&mut self) -> Result<()> {
        let liar = LyingLog::start("liar.example/log").await?;
        let vkey = liar.vkey();
        let origin = vkey.name();
        let before = self.milkmans_net().await?;
        let (mut one, mut other) = (Story::default(), Story::default());
        one.preimage([1; 32])?;
        one.tick()?;
        other.preimage([2; 32])?;
        other.tick()?;
        liar.tell(&one)?;
        introduce_liar(&self.world, &self.milkman, &liar).await?;
        liar.tell(&other)?;
        introduce_liar(&self.world, &self.baker, &liar).await?;
        self.say(format!(
            "The log {origin} shows the milkman one history, the baker another."
        ));
        liar.tell(&one)?;
        let hash = new_secret(&self.baker).await?;
        let terms = (hash.as_str(), origin, 30);
        let name = promise(&self.milkman, &self.baker, "0.10 BREAD/2", terms).await?;
        liar.tell(&other)?;
        self.say("The milkman promises on it, and shows the checkpoint that he relied on.");
        wait::until("the baker to see through it", || async {
            self.baker.sync().await?;
            let told = kinds(&self.baker).await?;
            ensure!(
                told.iter().any(|kind| kind == "log_caught"),
                "only {told:?}"
            );
            Ok(())
        })
        .await?;
        let (proof, words) = proof_against(&self.baker, origin).await?;
        self.say(format!("The baker's wallet compares: {words}."));
        self.say(format!(
            "The proof has {} bytes and names the key {}",
            proof.encode().len(),
            proof.key()
        ));
        let pay = [
            "pay",
            "milkman",
            "0.10 BREAD/2",
            "--on",
            &hash,
            "--log",
            origin,
        ];
        let refused = self.baker.wallet().fails(3, &pay).await?;
        expect(&refused, "/code", "log_refused")?;
        self.say(format!("From now on: {}", string(&refused, "/message")?));

        let file = self.world.new_path("proof-against-a-log");
        let file = file.to_str().context("a path that is no text")?;
        let write = ["log", "proof", origin, "--out", file];
        self.baker.wallet().ok(&write).await?;
        let refuse = ["log", "refuse", origin, "--proof", file];
        let convinced = self.milkman.wallet().ok(&refuse).await?;
        expect(&convinced, "/usable", false)?;
        self.say("The proof convinces the milkman as well: it stands on the log's own signatures.");
        self.baker
            .wallet()
            .run(&["promises", "release", &name])
            .await?;
        self.milkman.sync().await?;
        self.baker.sync().await?;
        let line = self.milkman.account(&self.baker, BREAD).await?;
        expect(&line, "/promised_to_them", "0")?;
        self.say("The baker gives up what the milkman had promised on it.");
        self.agree(before).await
    }
}
