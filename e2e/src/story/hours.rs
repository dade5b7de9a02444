//! Step 6: six people.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;

use super::{HOURS, Stage};
use crate::people::{self, Person, amount, string};

/// Who owes whom how many hours.
const DEBTS: [(char, char, u32); 5] = [
    ('A', 'B', 5),
    ('A', 'C', 4),
    ('D', 'A', 10),
    ('E', 'A', 2),
    ('B', 'F', 8),
];

/// What each comes out with, in hundredths of an hour.
const OUTCOME: [(char, i64); 6] = [
    ('A', 300),
    ('B', -300),
    ('C', 400),
    ('D', -1000),
    ('E', -200),
    ('F', 800),
];

impl Stage {
    /// Step 6.
    pub(super) async fn trade_hours(&mut self) -> Result<()> {
        let mut six = Vec::new();
        for (name, _) in OUTCOME {
            six.push(Person::new(&self.world, &name.to_string())?);
        }
        let sites = [&self.h1, &self.h2].into_iter().cycle();
        try_join_all(
            six.iter_mut()
                .zip(sites)
                .map(|(person, site)| person.join(site, HOURS)),
        )
        .await?;
        self.say("A, C and E live at H1; B, D and F at H2.");

        // Each wallet does one thing at a time; different people act at once.
        try_join_all(six.iter().map(|me| async {
            for friend in friends(&six, me)? {
                me.befriend(friend).await?;
                me.trust(friend, "20 HOUR/2").await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        try_join_all(six.iter().map(Person::sync)).await?;
        self.say("Each lets each friend owe 20 hours.");

        for (debtor, creditor, hours) in DEBTS {
            let (debtor, creditor) = (find(&six, debtor)?, find(&six, creditor)?);
            debtor
                .give(creditor, &format!("{hours} HOUR/2"), "help")
                .await?;
            self.say(format!(
                "{} owes {} {hours}.",
                debtor.name(),
                creditor.name()
            ));
        }
        // Once for the news, once more for the acknowledgements.
        for _ in 0..2 {
            try_join_all(six.iter().map(Person::sync)).await?;
        }
        self.check_hours(&six).await?;
        self.six = six;
        Ok(())
    }

    async fn check_hours(&self, six: &[Person]) -> Result<()> {
        for (debtor, creditor, hours) in DEBTS {
            let owed = -i64::from(hours) * 100;
            people::agree(find(six, debtor)?, find(six, creditor)?, HOURS, owed).await?;
        }
        let mut sum = 0_i64;
        let mut said = Vec::new();
        for (name, expected) in OUTCOME {
            let person = find(six, name)?;
            let sheet = person.wallet().ok(&["balance", "--unit", HOURS]).await?;
            let totals = sheet
                .get("totals")
                .and_then(Value::as_array)
                .context("no totals")?;
            ensure!(totals.len() == 1, "{name} should have one total: {sheet}");
            let net = amount(&sheet, "/totals/0/net")?;
            ensure!(
                net == expected,
                "{name} should come out at {expected}, but is at {net}"
            );
            sum = sum.checked_add(net).context("overflow")?;
            said.push(format!("{name} {}", string(&sheet, "/totals/0/net_text")?));
        }
        ensure!(sum == 0, "the sum is {sum}");
        self.say(format!("{}. The sum is 0.", said.join(", ")));
        Ok(())
    }
}

fn find(six: &[Person], name: char) -> Result<&Person> {
    let found = six.iter().find(|person| person.name().chars().eq([name]));
    found.with_context(|| format!("who is {name}?"))
}

/// Those with whom `me` has a debt, either way.
fn friends<'a>(six: &'a [Person], me: &Person) -> Result<Vec<&'a Person>> {
    let mut found = Vec::new();
    for (debtor, creditor, _) in DEBTS {
        let (debtor, creditor) = (find(six, debtor)?, find(six, creditor)?);
        if debtor.name() == me.name() {
            found.push(creditor);
        } else if creditor.name() == me.name() {
            found.push(debtor);
        }
    }
    Ok(found)
}
