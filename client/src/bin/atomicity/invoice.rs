//! `invoice`, `invoices`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{InvoiceKeeper, InvoiceTerms, InvoiceView};
use atomicity_ledger::{Memo, RecordId};
use serde_json::{Value, json};

use crate::Context;
use crate::args::Invoice;
use crate::identity::qr;
use crate::output::{minor_text, spinner, table, time_text};

fn amount_text(invoice: &InvoiceView) -> String {
    match invoice.amount {
        Some(amount) => minor_text(&invoice.unit, amount),
        None => format!("any amount of {}", invoice.unit),
    }
}

fn value(invoice: &InvoiceView) -> Value {
    json!({
        "invoice": invoice.id.to_string(),
        "hash": invoice.hash,
        "unit": invoice.unit,
        "amount": invoice.amount.map(|amount| amount.to_string()),
        "amount_text": amount_text(invoice),
        "memo": invoice.memo.as_ref().map(Memo::as_str),
        "state": invoice.state.as_str(),
        "kept_by": invoice.kept_by.as_str(),
        "preimage": invoice.preimage.map(|preimage| preimage.to_string()),
        "received": invoice.received.to_string(),
        "received_text": minor_text(&invoice.unit, invoice.received),
        "hints": invoice.hints,
        "link": invoice.link,
        "expires_at": invoice.expires_at,
        "created_at": invoice.created_at,
        "ended_at": invoice.ended_at,
    })
}

pub async fn create(context: &Context, args: Invoice) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    // `invoice 5 USD` and `invoice "5 USD"` are the same.
    let words = args.words.join(" ");
    let (unit, amount) = if args.open {
        (wallet.parse_unit(&words).await?, None)
    } else {
        let money = wallet.parse_money(&words).await?;
        (money.unit, Some(money.amount))
    };
    let mut terms = InvoiceTerms::new(unit, amount);
    terms.memo = args.memo.map(|memo| memo.parse()).transpose()?;
    terms.expires_in = args.expires;
    terms.kept_by = args.kept_by.map(|who| match who.as_str() {
        "agent" => InvoiceKeeper::Agent,
        _ => InvoiceKeeper::Device,
    });
    let bar = spinner(context.out, "asking friends whether they pass payments on");
    let made = wallet.create_invoice(terms).await;
    bar.finish_and_clear();
    let made = made?;
    context.out.result(&value(&made), || {
        let who = match made.kept_by {
            InvoiceKeeper::Agent => "Your agent takes the payment: this device may be off.",
            InvoiceKeeper::Device => {
                "Leave `atomicity watch` running, or sync when the payment comes."
            }
        };
        let (amount, until) = (amount_text(&made), time_text(made.expires_at));
        let mut lines = vec![format!("{amount}, until {until}. {who}")];
        // One that is too long for a code is still a link.
        lines.extend((!args.no_qr).then(|| qr(&made.link)).flatten());
        lines.push(made.link.clone());
        lines.join("\n")
    });
    wallet.close().await;
    Ok(0)
}

/// `invoices`, of one alone.
pub async fn show(context: &Context, id: &str) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let invoice = wallet.invoice(&id.parse::<RecordId>()?).await?;
    context
        .out
        .result(&value(&invoice), || invoice.link.clone());
    wallet.close().await;
    Ok(0)
}

pub async fn list(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let invoices = wallet.invoices().await?;
    let values: Vec<Value> = invoices.iter().map(value).collect();
    context.out.result(&json!({ "invoices": values }), || {
        if invoices.is_empty() {
            return "No invoices. Make one with: atomicity invoice \"5.00 …\"".to_owned();
        }
        let row = |invoice: &InvoiceView| {
            vec![
                invoice.id.to_string(),
                amount_text(invoice),
                invoice.state.as_str().to_owned(),
                invoice.kept_by.as_str().to_owned(),
                minor_text(&invoice.unit, invoice.received),
                time_text(invoice.expires_at),
                invoice.memo.as_ref().map_or("", Memo::as_str).to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = invoices.iter().map(row).collect();
        let header = [
            "invoice", "amount", "state", "kept by", "received", "until", "memo",
        ];
        table(&header, &rows)
    });
    wallet.close().await;
    Ok(0)
}
