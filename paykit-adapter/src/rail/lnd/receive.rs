//! Being paid by an lnd node's invoices.

use atomicity_ledger::{PaymentHash, Preimage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::json;

use super::answers::{InvoiceAnswer, MadeInvoice, says_no_invoice};
use super::http::Lines;
use super::{Lnd, hash_path};
use crate::rail::bolt11::Bolt11;
use crate::rail::error::RailError;
use crate::rail::invoices::{InvoiceState, Invoices, NewInvoice};
use crate::rail::payment::to_hex;

/// How far a watched invoice was followed.
enum Watch {
    Begin,
    Going(Lines),
    Over,
}

impl Lnd {
    async fn make_invoice(&self, wanted: &NewInvoice) -> Result<Bolt11, RailError> {
        let mut body = json!({
            "value_msat": wanted.amount.get().to_string(),
            "memo": wanted.memo,
            "expiry": wanted.expiry.as_secs().to_string(),
            // Channels that are not public can be found through hints in the invoice only.
            "private": true,
        });
        let path = match wanted.hold {
            Some(hash) => {
                body["hash"] = STANDARD.encode(hash.as_bytes()).into();
                "/v2/invoices/hodl"
            }
            None => "/v1/invoices",
        };
        let made = self.client.ask((Method::POST, path), Some(&body)).await?;
        let made = MadeInvoice::read(&made)?;
        let invoice = Bolt11::parse(&made.payment_request, self.network)?;
        let as_wanted = invoice.amount() == wanted.amount
            && wanted.hold.is_none_or(|hash| hash == invoice.hash());
        if !as_wanted {
            let why = "an invoice that is not what was asked for";
            return Err(RailError::AnswerMalformed(why));
        }
        Ok(invoice)
    }

    async fn ask_invoice(&self, hash: PaymentHash) -> Result<Option<InvoiceState>, RailError> {
        let path = format!("/v1/invoice/{}", to_hex(hash.as_bytes()));
        match self.client.ask((Method::GET, &path), None).await {
            Ok(body) => InvoiceAnswer::read(&body)?.state().map(Some),
            Err(error) if says_no_invoice(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn next_state(
        &self,
        hash: PaymentHash,
        watch: Watch,
    ) -> Option<(Result<InvoiceState, RailError>, Watch)> {
        let mut lines = match watch {
            Watch::Over => return None,
            Watch::Going(lines) => lines,
            Watch::Begin => {
                let path = hash_path("/v2/invoices/subscribe", hash);
                match self.client.follow((Method::GET, &path)).await {
                    Ok(lines) => lines,
                    Err(error) => return Some((Err(error), Watch::Over)),
                }
            }
        };
        let line = lines.expect_next().await;
        let state = line.and_then(|line| InvoiceAnswer::read(&line)?.state());
        let watch = match &state {
            Ok(state) if !state.is_final() => Watch::Going(lines),
            _ => Watch::Over,
        };
        Some((state, watch))
    }
}

impl Invoices for Lnd {
    fn new_invoice<'a>(
        &'a self,
        wanted: &'a NewInvoice,
    ) -> BoxFuture<'a, Result<Bolt11, RailError>> {
        self.make_invoice(wanted).boxed()
    }

    fn look_up_invoice(
        &self,
        hash: PaymentHash,
    ) -> BoxFuture<'_, Result<Option<InvoiceState>, RailError>> {
        self.ask_invoice(hash).boxed()
    }

    fn watch_invoice(&self, hash: PaymentHash) -> BoxStream<'_, Result<InvoiceState, RailError>> {
        stream::unfold(Watch::Begin, move |watch| self.next_state(hash, watch)).boxed()
    }

    fn settle_invoice(&self, preimage: Preimage) -> BoxFuture<'_, Result<(), RailError>> {
        async move {
            let body = json!({"preimage": STANDARD.encode(preimage.as_bytes())});
            let request = (Method::POST, "/v2/invoices/settle");
            self.client.ask(request, Some(&body)).await.map(drop)
        }
        .boxed()
    }

    fn cancel_invoice(&self, hash: PaymentHash) -> BoxFuture<'_, Result<(), RailError>> {
        async move {
            let body = json!({"payment_hash": STANDARD.encode(hash.as_bytes())});
            let request = (Method::POST, "/v2/invoices/cancel");
            self.client.ask(request, Some(&body)).await.map(drop)
        }
        .boxed()
    }
}
