//! Step 8: evidence.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use atomicity_ledger::{LedgerError, evidence};
use serde_json::Value;

use super::{BREAD, Stage};
use crate::Wallet;
use crate::people::{amount, expect, string};

/// Flipping every byte of the file takes too long here; the ledger's own tests do.
const STRIDE: usize = 11;

impl Stage {
    /// Step 8.
    pub(super) async fn go_to_court(&mut self) -> Result<()> {
        let file = self.world.new_path("evidence");
        let name = file.to_str().context("not a path in UTF-8")?.to_owned();
        let exported = self
            .baker
            .wallet()
            .ok(&["evidence", "export", "milkman", "--out", &name])
            .await?;
        expect(&exported, "/user", self.milkman.key())?;
        let records = exported
            .get("records")
            .and_then(Value::as_u64)
            .context("no count")?;
        self.say(format!("The baker exported {records} signed records."));

        // A third person: no wallet, no account, no network needed.
        let judge = self.world.wallet("judge")?;
        let verdict = judge.ok(&["evidence", "verify", &name]).await?;
        expect(&verdict, "/valid", true)?;
        expect(&verdict, "/records", records)?;
        self.check_verdict(&verdict).await?;

        let flipped = self.flip_in_records(&judge, &file).await?;
        self.say(format!(
            "With one byte flipped, each of {flipped} records was named and refused."
        ));
        let good = std::fs::read(&file)?;
        let flipped = tokio::task::spawn_blocking(move || flip_everywhere(&good)).await??;
        self.say(format!(
            "So it went with {flipped} bytes all over the file."
        ));
        Ok(())
    }

    async fn check_verdict(&self, verdict: &Value) -> Result<()> {
        let nets = verdict
            .get("net")
            .and_then(Value::as_array)
            .context("no net")?;
        let net = nets
            .iter()
            .find(|net| net.get("unit") == Some(&Value::from(BREAD)));
        let net = net.with_context(|| format!("nothing about {BREAD} in {verdict}"))?;
        let line = self.baker.account(&self.milkman, BREAD).await?;
        let owed = amount(&line, "/net")?;
        let (creditor, debtor) = match owed {
            0.. => (&self.baker, &self.milkman),
            _ => (&self.milkman, &self.baker),
        };
        expect(net, "/creditor", creditor.key())?;
        expect(net, "/debtor", debtor.key())?;
        expect(net, "/amount", owed.unsigned_abs().to_string())?;
        self.say(format!(
            "A third person without a wallet checked them: the {} owes the {} {}.",
            debtor.name(),
            creditor.name(),
            string(net, "/amount_text")?,
        ));
        Ok(())
    }

    /// Flips one byte in the middle of each record and asks the judge. How many records there were.
    async fn flip_in_records(&self, judge: &Wallet, file: &Path) -> Result<usize> {
        let good = std::fs::read(file)?;
        let bad_file = self.world.new_path("forged-evidence");
        let bad_name = bad_file.to_str().context("not a path in UTF-8")?.to_owned();
        let mut flipped = 0;
        let mut start = 0;
        for line in good.split_inclusive(|byte| *byte == b'\n') {
            let middle = start + line.len() / 2;
            start += line.len();
            // Records are JWS in compact form, whose header always begins so.
            let is_record = line.windows(3).any(|part| part == b"eyJ");
            if !is_record {
                continue;
            }
            let mut bad = good.clone();
            let byte = bad.get_mut(middle).context("an empty line")?;
            *byte ^= 1;
            std::fs::write(&bad_file, &bad)?;
            let error = judge.fails(1, &["evidence", "verify", &bad_name]).await?;
            let number = error.get("record").and_then(Value::as_u64);
            let number = number.with_context(|| format!("no record is named in {error}"))?;
            let kind = string(&error, "/type")?;
            let message = string(&error, "/message")?;
            ensure!(
                message.contains(&number.to_string()) && message.contains(&kind),
                "the message does not name record {number} ({kind}): {message}"
            );
            flipped += 1;
        }
        ensure!(flipped > 0, "the bundle holds no records");
        Ok(flipped)
    }
}

/// Flips one byte in [`STRIDE`] in turn. How many that were.
fn flip_everywhere(good: &[u8]) -> Result<usize> {
    evidence::verify(good, None)?;
    let mut bad = good.to_vec();
    let places = (0..good.len()).step_by(STRIDE);
    for at in places.clone() {
        let flip = |bytes: &mut [u8]| bytes.get_mut(at).map(|byte| *byte ^= 1);
        flip(&mut bad);
        match evidence::verify(&bad, None) {
            Err(LedgerError::EvidenceInvalid { typ, .. }) => ensure!(!typ.is_empty()),
            other => bail!("byte {at} was flipped, and the check said {other:?}"),
        }
        flip(&mut bad);
    }
    Ok(places.count())
}
