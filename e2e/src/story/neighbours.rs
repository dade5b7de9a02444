//! Steps 16 to 20: what else people do for each other over friends: parts, an agent, a circle of debts, a friend's word, another unit.

use anyhow::{Context, Result, ensure};
use futures_util::try_join;
use serde_json::Value;

use super::{BREAD, HOURS, Stage};
use crate::people::{Person, amount, expect, string};
use crate::town::{agents, befriend, engage, invoice, live, pass_on, read_news, settle_at};
use crate::wait;

/// What `one` is owed by `other`, in minor units, as `one` has it.
async fn owed(one: &Person, other: &Person) -> Result<i64> {
    amount(&one.account(other, BREAD).await?, "/net")
}

/// Waits until `one` is owed `expected` by `other`, as far as `one` knows once the news are read.
async fn until_owed(one: &Person, other: &Person, expected: i64) -> Result<()> {
    wait::until("a balance", || async {
        one.sync().await?;
        let found = owed(one, other).await?;
        let (one, other) = (one.name(), other.name());
        ensure!(
            found == expected,
            "{one} is owed {found} by {other}, not {expected}"
        );
        Ok(())
    })
    .await
}

impl Stage {
    /// Step 16.
    pub(super) async fn pay_in_parts(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, carl, dora, emma) = (&town.anna, &town.carl, &town.dora, &town.emma);
        let dora_runs = live(dora).await?;
        let before = owed(dora, carl).await? + owed(dora, emma).await?;
        let (link, _) = invoice(dora, "14.00 BREAD/2", "a feast").await?;
        let pay = ["pay", link.as_str(), "--max-fee", "2.00"];
        let dry = [&pay[..], &["--dry-run"]].concat();
        wait::until("a way in two parts", || async {
            let ways = anna.wallet().ok(&dry).await?;
            let parts = ways.pointer("/ways/0/parts").and_then(Value::as_array);
            ensure!(parts.is_some_and(|parts| parts.len() == 2), "{ways}");
            Ok(())
        })
        .await?;
        self.say("A feast costs 14.00. Neither Ben nor Emma is good for that much any more.");
        let paid = anna.wallet().ok(&pay).await?;
        expect(&paid, "/state", "paid")?;
        wait::until("both parts to be booked", || async {
            let now = owed(dora, carl).await? + owed(dora, emma).await?;
            ensure!(now == before + 1_400, "Dora is owed {now}");
            Ok(())
        })
        .await?;
        self.say("The same command paid in two parts on one secret: Dora publishes it only when she holds both.");
        dora_runs.stop().await
    }

    /// Step 17.
    pub(super) async fn leave_it_to_an_agent(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, dora) = (&town.anna, &town.dora);
        let log = self.log_of_all()?;
        let h4 = agents(&self.world, ["h4", "agents"], log).await?;
        let gina = settle_at(&self.world, "gina", (&h4, BREAD), log).await?;
        for friend in [anna, dora] {
            befriend(friend, &gina, "20.00 BREAD/2").await?;
        }
        pass_on(&gina, BREAD, "0.01").await?;
        let limits = ["--until", "30d", "--per-day", "50.00 BREAD"];
        engage(&gina, &limits, &[anna, dora]).await?;
        self.say("Gina, at H4, is a friend of both. `atomicity agent on --until 30d --per-day '50 BREAD'`: the plugin");
        self.say(
            "keeps her books within that, under a key of its own. Then she switches her phone off.",
        );
        let dora_runs = live(dora).await?;
        let (link, _) = invoice(dora, "2.00 BREAD/2", "a pie").await?;
        let pay = ["pay", link.as_str(), "--via", "gina", "--max-fee", "0.20"];
        let paid = wait::until("a way over Gina", || async {
            let paid = anna.wallet().ok(&pay).await?;
            expect(&paid, "/state", "paid")?;
            Ok(paid)
        })
        .await?;
        expect(&paid, "/fee", "2")?;
        dora_runs.stop().await?;
        until_owed(&gina, anna, 202).await?;
        until_owed(&gina, dora, -200).await?;
        let signed = gina.wallet().ok(&["agent", "log"]).await?;
        let signed = signed.pointer("/items").and_then(Value::as_array);
        let signed = signed.context("no journal")?.len();
        self.say(format!("Anna pays Dora 2.00 over her. Gina wakes up and finds 0.02 earned, and each of the {signed}"));
        self.say("signatures that her agent made: `atomicity agent log`.");
        gina.wallet().ok(&["agent", "off"]).await?;
        let given = wait::until("Gina's own device to keep the books", || async {
            read_news(&gina, dora).await?;
            gina.give(dora, "0.50 BREAD/2", "by hand").await
        });
        given.await?;
        until_owed(dora, &gina, 250).await?;
        self.say(
            "`atomicity agent off`: her phone keeps the books again, and nothing of it was lost.",
        );
        self.h4 = Some(h4);
        Ok(())
    }

    /// Step 18.
    pub(super) async fn clear_a_circle(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (anna, ben, carl, dora) = (&town.anna, &town.ben, &town.carl, &town.dora);
        befriend(anna, dora, "20.00 BREAD/2").await?;
        dora.give(anna, "6.00 BREAD/2", "flowers").await?;
        read_news(anna, dora).await?;
        self.say("Anna and Dora meet at last. Dora buys flowers for 6.00: everybody owes somebody in a circle.");
        // Each is owed by the next, and the last by the first.
        let circle = [(anna, dora), (dora, carl), (carl, ben), (ben, anna)];
        let before = debts(&circle).await?;
        for person in [anna, ben, carl, dora] {
            let agreed = person.wallet().ok(&["forward", "clear", BREAD]).await?;
            expect(&agreed, "/clearing/0", BREAD)?;
        }
        self.say("All four agree to clear: `atomicity forward clear BREAD/2`. It tells the world roughly what is owed.");
        wait::until("the router to see the circle", || async {
            let found = anna.wallet().ok(&["clear", BREAD, "--dry-run"]).await?;
            expect(&found, "/circles/0/amount", "500")
        })
        .await?;
        let dora_runs = live(dora).await?;
        let done = anna.wallet().ok(&["clear", BREAD]).await?;
        expect(&done, "/circles/0/state", "cleared")?;
        expect(&done, "/cleared/0/amount", "500")?;
        let anna_runs = live(anna).await?;
        let expected = before.map(|debt| debt - 500);
        wait::until("all four debts to have fallen", || async {
            let now = debts(&circle).await?;
            ensure!(now == expected, "{now:?}, not {expected:?}");
            Ok(())
        })
        .await?;
        self.say("`atomicity clear BREAD/2`: each of the four debts fell by 5.00, and nobody paid a fee.");
        try_join!(dora_runs.stop(), anna_runs.stop())?;
        Ok(())
    }

    /// Step 19.
    pub(super) async fn take_noras_word(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (ben, carl, dora) = (&town.ben, &town.carl, &town.dora);
        let log = self.log_of_all()?;
        let h3 = self.h3.as_ref().context("there is no H3")?;
        let (nora, xaver) = try_join!(
            settle_at(&self.world, "nora", (&self.h2, BREAD), log),
            settle_at(&self.world, "xaver", (h3, BREAD), log),
        )?;
        carl.trust(ben, "50.00 BREAD/2").await?;
        dora.trust(carl, "50.00 BREAD/2").await?;
        read_news(carl, dora).await?;
        self.say("Carl lets Ben owe 50.00 from now on, and Dora lets Carl: the ways are wider.");
        ben.befriend(&nora).await?;
        let rule = [
            "rule",
            "add",
            "friend-of",
            "nora",
            "5",
            BREAD,
            "each",
            "--total",
            "8",
            BREAD,
        ];
        let rule = ben.wallet().ok(&rule).await?;
        expect(&rule, "/about", "friend of nora")?;
        self.say("Nora is new; Ben trusts her judgement: `atomicity rule add friend-of nora 5 BREAD/2 each --total 8`.");
        xaver.befriend(ben).await?;
        xaver.sync().await?;
        let word = ["rate", xaver.key(), "good", "--as", "user"];
        nora.wallet().ok(&word).await?;
        self.say("Xaver, whom Ben does not know, says hello. Nora publishes that he is good.");
        wait::until("Ben to let Xaver in", || async {
            ben.wallet().ok(&["rule", "apply"]).await?;
            xaver.sync().await?;
            let sheet = xaver.wallet().ok(&["balance", "ben"]).await?;
            expect(&sheet, "/balances/0/line_for_me", "500")
        })
        .await?;
        self.say("By the rule Xaver may owe Ben 5.00. All whom Nora vouches for together: 8.00, and never more.");
        let dora_runs = live(dora).await?;
        let before = (owed(dora, carl).await?, owed(carl, ben).await?);
        let (link, _) = invoice(dora, "2.00 BREAD/2", "a coffee").await?;
        let paid = wait::until("a way over Ben and Carl", || async {
            let pay = ["pay", &link, "--max-fee", "0.04"];
            let paid = xaver.wallet().ok(&pay).await?;
            expect(&paid, "/state", "paid")?;
            Ok(paid)
        })
        .await?;
        expect(&paid, "/fee", "4")?;
        until_owed(dora, carl, before.0 + 200).await?;
        until_owed(carl, ben, before.1 + 202).await?;
        until_owed(ben, &xaver, 204).await?;
        self.say("He buys a coffee for 2.00 from Dora, who takes what Carl is good for: Xaver owes Ben 2.04.");
        let list = ben.wallet().ok(&["rule", "list"]).await?;
        let taken = string(&list, "/rules/0/taken")?;
        ensure!(taken == "500", "{list}");
        dora_runs.stop().await
    }

    /// Step 20.
    pub(super) async fn pay_with_hours(&mut self) -> Result<()> {
        let town = self.strangers()?;
        let (ben, carl, dora) = (&town.ben, &town.carl, &town.dora);
        let fritz = settle_at(&self.world, "fritz", (&self.h2, HOURS), self.log_of_all()?).await?;
        ben.wallet().ok(&["unit", "open", HOURS]).await?;
        befriend(&fritz, ben, "10.00 HOUR/2").await?;
        let offer = [
            "exchange", "offer", "4", BREAD, "for", "1", HOURS, "--max", "10",
        ];
        ben.wallet().ok(&offer).await?;
        self.say("Fritz counts in hours. Ben, his friend, takes 1 HOUR for 4 BREAD: `atomicity exchange offer`.");
        let dora_runs = live(dora).await?;
        let before = (owed(dora, carl).await?, owed(carl, ben).await?);
        let (link, _) = invoice(dora, "2.00 BREAD/2", "a loaf").await?;
        let pay = ["pay", link.as_str(), "--with", HOURS];
        let dry = [&pay[..], &["--dry-run"]].concat();
        // 2.00 and Carl's 0.02, and as much for Ben: 2.04 BREAD are 0.51 HOUR.
        wait::until("a way over Ben's exchange", || async {
            let ways = fritz.wallet().ok(&dry).await?;
            expect(&ways, "/ways/0/promised", "51")
        })
        .await?;
        self.say("Dora's loaf costs 2.00 BREAD. `atomicity pay LINK --with HOUR/2 --dry-run` shows rate and cost: 0.51 HOUR.");
        let paid = [&pay[..], &["--yes", "--max", "0.51"]].concat();
        let paid = fritz.wallet().ok(&paid).await?;
        expect(&paid, "/state", "paid")?;
        until_owed(dora, carl, before.0 + 200).await?;
        until_owed(carl, ben, before.1 + 202).await?;
        wait::until("Fritz's hours", || async {
            ben.sync().await?;
            let hours = amount(&ben.account(&fritz, HOURS).await?, "/net")?;
            ensure!(hours == 51, "Ben is owed {hours}");
            Ok(())
        })
        .await?;
        self.say(
            "Fritz owes Ben 0.51 HOUR, Ben owes Carl 2.02 BREAD more, and Dora is owed her 2.00.",
        );
        dora_runs.stop().await
    }
}

/// What each of these is owed by the other.
async fn debts(circle: &[(&Person, &Person); 4]) -> Result<[i64; 4]> {
    let [a, b, c, d] = circle;
    let all = try_join!(
        owed(a.0, a.1),
        owed(b.0, b.1),
        owed(c.0, c.1),
        owed(d.0, d.1)
    )?;
    Ok([all.0, all.1, all.2, all.3])
}
