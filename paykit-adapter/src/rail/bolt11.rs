//! Lightning invoices, read and bounded.

use std::fmt;
use std::str::FromStr;

use atomicity_ledger::{PaymentHash, Timestamp};
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};
use serde::{Deserialize, Serialize};

use super::error::{RailError, bounded};
use super::msat::Msat;
use super::payment::{Failure, FailureReason, Order, PaymentId, Quote};

/// The longest invoice that is read, in bytes: what lnd reads.
pub const MAX_INVOICE_LENGTH: usize = 7089;

/// Which Lightning network. An invoice is of exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LightningNetwork {
    /// The real one, with real money.
    #[default]
    Bitcoin,
    /// Bitcoin's public test network.
    Testnet,
    /// The public test network whose blocks are signed.
    Signet,
    /// A private network of tests.
    Regtest,
    /// A private network of tests, of btcd.
    Simnet,
}

impl LightningNetwork {
    fn currency(self) -> Currency {
        match self {
            Self::Bitcoin => Currency::Bitcoin,
            Self::Testnet => Currency::BitcoinTestnet,
            Self::Signet => Currency::Signet,
            Self::Regtest => Currency::Regtest,
            Self::Simnet => Currency::Simnet,
        }
    }

    /// Its name in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bitcoin => "bitcoin",
            Self::Testnet => "testnet",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
            Self::Simnet => "simnet",
        }
    }
}

impl fmt::Display for LightningNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LightningNetwork {
    type Err = RailError;

    fn from_str(text: &str) -> Result<Self, RailError> {
        use LightningNetwork::{Bitcoin, Regtest, Signet, Simnet, Testnet};
        [Bitcoin, Testnet, Signet, Regtest, Simnet]
            .into_iter()
            .find(|network| network.as_str() == text)
            .ok_or_else(|| {
                RailError::ConfigInvalid(format!("{:?} is no Lightning network", bounded(text)))
            })
    }
}

/// A BOLT11 invoice of fixed amount. Its signature was checked. It may have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bolt11 {
    text: String,
    hash: PaymentHash,
    amount: Msat,
    expires_at: Timestamp,
    payee: String,
    memo: Option<String>,
}

impl Bolt11 {
    /// Reads an invoice, with or without `lightning:` before it.
    ///
    /// # Errors
    /// If it is malformed, of another network, or of no fixed amount.
    pub fn parse(text: &str, network: LightningNetwork) -> Result<Self, RailError> {
        if text.len() > MAX_INVOICE_LENGTH {
            return Err(RailError::TooLarge {
                limit: MAX_INVOICE_LENGTH,
            });
        }
        let text = text.trim();
        let text = match text.split_once(':') {
            Some((scheme, invoice)) if scheme.eq_ignore_ascii_case("lightning") => invoice,
            _ => text,
        };
        let invoice: Bolt11Invoice = text
            .parse()
            .map_err(|why| RailError::TargetMalformed(bounded(&format!("{why}"))))?;
        if invoice.currency() != network.currency() {
            return Err(RailError::TargetUnsupported(
                "the invoice is of another network",
            ));
        }
        let amount = invoice
            .amount_milli_satoshis()
            .filter(|msat| *msat > 0)
            .ok_or(RailError::TargetUnsupported(
                "the invoice does not say how much it asks for",
            ))?;
        let payee = invoice.payee_pub_key().copied();
        let payee = payee.unwrap_or_else(|| invoice.recover_payee_pub_key());
        let memo = match invoice.description() {
            Bolt11InvoiceDescriptionRef::Direct(words) => {
                Some(bounded(&words.to_string())).filter(|words| !words.is_empty())
            }
            Bolt11InvoiceDescriptionRef::Hash(_) => None,
        };
        Ok(Self {
            text: text.to_owned(),
            hash: PaymentHash::from_bytes(*invoice.payment_hash().as_ref()),
            amount: Msat::new(amount)?,
            expires_at: expiry(&invoice)?,
            payee: payee.to_string(),
            memo,
        })
    }

    /// The invoice itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it is paid against.
    #[must_use]
    pub fn hash(&self) -> PaymentHash {
        self.hash
    }

    /// How much it asks for; more than nothing.
    #[must_use]
    pub fn amount(&self) -> Msat {
        self.amount
    }

    /// When it can no longer be paid.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether it can no longer be paid at `now`.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// The public key of the node that is paid, in hex.
    #[must_use]
    pub fn payee(&self) -> &str {
        &self.payee
    }

    /// What it is for, as its maker wrote it.
    #[must_use]
    pub fn memo(&self) -> Option<&str> {
        self.memo.as_deref()
    }

    /// What it asks for, if it can still be paid at `now`.
    ///
    /// # Errors
    /// [`RailError::TargetExpired`].
    pub fn quote(&self, now: Timestamp) -> Result<Quote, RailError> {
        if self.is_expired(now) {
            return Err(RailError::TargetExpired);
        }
        Ok(Quote {
            id: Some(self.hash.into()),
            amount: Some(self.amount.to_money()?),
            expires_at: Some(self.expires_at),
            payee: Some(self.payee.clone()),
            memo: self.memo.clone(),
        })
    }
}

/// The invoice of an order, if it may be sent.
pub(crate) fn sendable(
    order: &Order,
    network: LightningNetwork,
    now: Timestamp,
) -> Result<Bolt11, Failure> {
    let unusable =
        |why: &dyn fmt::Display| Failure::new(FailureReason::TargetUnusable, &why.to_string());
    let invoice = Bolt11::parse(&order.target, network).map_err(|why| unusable(&why))?;
    if PaymentId::from(invoice.hash()) != order.id {
        return Err(unusable(&"the invoice has another payment hash"));
    }
    let amount = Msat::from_money(&order.amount).map_err(|why| unusable(&why))?;
    if amount != invoice.amount() {
        return Err(unusable(&"the invoice asks for another amount"));
    }
    let late = |why| Err(Failure::new(FailureReason::TooLate, why));
    if invoice.is_expired(now) {
        return late("the invoice has expired");
    }
    if now >= order.deadline {
        return late("the deadline has passed");
    }
    Ok(invoice)
}

fn expiry(invoice: &Bolt11Invoice) -> Result<Timestamp, RailError> {
    let millis = invoice
        .expires_at()
        .and_then(|since_epoch| u64::try_from(since_epoch.as_millis()).ok())
        .ok_or_else(|| RailError::TargetMalformed("its expiry is out of range".to_owned()))?;
    Ok(Timestamp::saturating_from_millis(millis))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use bitcoin::hashes::{Hash as _, sha256};
    use bitcoin::secp256k1::{Secp256k1, SecretKey};
    use lightning_invoice::{InvoiceBuilder, PaymentSecret};

    use super::*;

    const MADE: u64 = 1_800_000_000;

    /// An invoice of regtest that was made then, good for a minute, on the hash of 32 times 7.
    pub(crate) fn invoice_at(seconds: u64, msat: u64) -> String {
        invoice_made(seconds, Currency::Regtest, Some(msat))
    }

    fn invoice(currency: Currency, msat: Option<u64>) -> String {
        invoice_made(MADE, currency, msat)
    }

    fn invoice_made(made: u64, currency: Currency, msat: Option<u64>) -> String {
        let mut invoice = InvoiceBuilder::new(currency)
            .description("a coffee".to_owned())
            .payment_hash(sha256::Hash::hash(&[7; 32]))
            .payment_secret(PaymentSecret([1; 32]))
            .duration_since_epoch(Duration::from_secs(made))
            .expiry_time(Duration::from_secs(60))
            .min_final_cltv_expiry_delta(40);
        if let Some(msat) = msat {
            invoice = invoice.amount_milli_satoshis(msat);
        }
        let key = SecretKey::from_slice(&[9; 32]).unwrap();
        let invoice =
            invoice.build_signed(|hash| Secp256k1::new().sign_ecdsa_recoverable(hash, &key));
        invoice.unwrap().to_string()
    }

    #[test]
    fn an_invoice_says_what_it_asks_for() {
        let text = invoice(Currency::Simnet, Some(150_000));
        let read = Bolt11::parse(&text, LightningNetwork::Simnet).unwrap();
        let expected = atomicity_ledger::Preimage::from_bytes([7; 32]).hash();
        assert_eq!(read.hash(), expected);
        assert_eq!(read.amount().get(), 150_000);
        let end = Timestamp::saturating_from_millis((MADE + 60) * 1000);
        assert_eq!(read.expires_at(), end);
        let before = Timestamp::saturating_from_millis(end.millis() - 1);
        let quote = read.quote(before).unwrap();
        assert_eq!(quote.memo.as_deref(), Some("a coffee"));
        assert_eq!(quote.amount.unwrap().to_string(), "0.00000150000 BTC");
        assert!(matches!(read.quote(end), Err(RailError::TargetExpired)));
        for same in [
            text.to_uppercase(),
            format!("LIGHTNING:{text}"),
            format!(" {text}\n"),
        ] {
            let again = Bolt11::parse(&same, LightningNetwork::Simnet).unwrap();
            assert_eq!(again.hash(), read.hash());
        }
    }

    #[test]
    fn what_cannot_be_paid_is_refused() {
        let network = LightningNetwork::Bitcoin;
        let code = |text: &str| Bolt11::parse(text, network).unwrap_err().code();
        assert_eq!(
            code(&invoice(Currency::Simnet, Some(1))),
            "target_unsupported"
        );
        assert_eq!(
            code(&invoice(Currency::Bitcoin, None)),
            "target_unsupported"
        );
        let good = invoice(Currency::Bitcoin, Some(1000));
        assert!(Bolt11::parse(&good, network).is_ok());
        // One letter of the signed part changed: the checksum no longer fits.
        let at = good.len() / 2;
        let letter = if &good[at..=at] == "q" { "p" } else { "q" };
        let forged = format!("{}{letter}{}", &good[..at], &good[at + 1..]);
        assert_eq!(code(&forged), "target_malformed");
        assert_eq!(code(""), "target_malformed");
        assert_eq!(code("lno1qcp4256ypq"), "target_malformed");
        assert_eq!(
            code(&"l".repeat(MAX_INVOICE_LENGTH + 1)),
            "rail_answer_too_large"
        );
    }
}
