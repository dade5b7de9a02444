//! What became of a transaction that may have been sent.

use serde_json::json;

use super::answers::Known;
use super::rpc::says_unknown;
use super::{BitcoinCore, Draft};
use crate::rail::error::RailError;
use crate::rail::payment::{Failure, FailureReason, Proof, Receipt, Standing};

/// How deep another transaction must lie before it counts for having taken the inputs for good.
const DEEP: i64 = 6;
/// The most other transactions that are looked at.
const MAX_CONFLICTS: usize = 16;

impl BitcoinCore {
    pub(super) async fn standing(&self, draft: &Draft) -> Result<Standing, RailError> {
        let known: Known = match self
            .client
            .call("gettransaction", json!({ "txid": draft.txid }))
            .await
        {
            Ok(known) => known,
            Err(error) if says_unknown(&error) => return self.send(draft).await,
            Err(error) => return Err(error),
        };
        if known.confirmations >= i64::from(self.confirmations) {
            return Ok(Standing::Succeeded(Receipt {
                proof: Proof::Transaction(format!("{}:{}", draft.txid, draft.output)),
                fee: draft.fee,
            }));
        }
        if known.confirmations >= 0 {
            return Ok(Standing::InFlight);
        }
        self.replaced(draft, &known).await
    }

    /// The wallet knows nothing of it: it was never sent, or was lost. The same transaction can be mined only once.
    async fn send(&self, draft: &Draft) -> Result<Standing, RailError> {
        let params = json!([draft.transaction]);
        let txid: String = self.client.call("sendrawtransaction", params).await?;
        if txid == draft.txid {
            Ok(Standing::InFlight)
        } else {
            Err(RailError::AnswerMalformed("another transaction was sent"))
        }
    }

    /// Another transaction has taken its inputs.
    async fn replaced(&self, draft: &Draft, known: &Known) -> Result<Standing, RailError> {
        if known.walletconflicts.len() > MAX_CONFLICTS {
            return Err(RailError::Replaced);
        }
        let mut deepest = 0;
        for txid in &known.walletconflicts {
            let params = json!({ "txid": txid, "verbose": true });
            let other: Known = self.client.call("gettransaction", params).await?;
            if other.confirmations <= 0 {
                continue;
            }
            let decoded = other.decoded.ok_or(RailError::AnswerMalformed(
                "a transaction that is not decoded",
            ))?;
            let same = decoded.vout.iter();
            if same
                .map(|output| &output.script.hex)
                .any(|script| *script == draft.script)
            {
                // With a higher fee, say: the payee may have the money.
                return Err(RailError::Replaced);
            }
            deepest = deepest.max(other.confirmations);
        }
        if deepest < DEEP {
            return Ok(Standing::InFlight);
        }
        let why = "another transaction has spent its inputs";
        Ok(Standing::FailedForGood(Failure::new(
            FailureReason::Canceled,
            why,
        )))
    }
}
