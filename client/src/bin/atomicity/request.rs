//! `request …`: asking to be paid, and paying what others ask for.

pub mod guests;
mod show;

use std::io::IsTerminal as _;

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    PayOptions, PayProgress, RequestProgress, RequestTerms, RequestView, Wallet, parse_user,
};
use atomicity_ledger::record::{Every, Goal, Period, Target};
use atomicity_ledger::{Amount, Memo, Money, RecordId, Timestamp, Unit, UserKey};
use serde_json::{Value, json};
use url::Url;

use self::show::{
    approval_row, approval_value, approved_text, part_value, revoked_text, text, value, words,
};
use crate::Context;
use crate::amounts::minor_in;
use crate::args::{RequestCommand, RequestNew, RequestPay};
use crate::identity::qr;
use crate::output::{day_millis, minor_text, spinner, table};
use crate::pay::now_ms;

pub async fn run(context: &Context, command: RequestCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let code = match command {
        RequestCommand::New(args) => new(context, &wallet, &args).await,
        RequestCommand::List => list(context, &wallet).await,
        RequestCommand::Show { request } => show(context, &wallet, &request).await,
        RequestCommand::Pay(args) => pay(context, &wallet, &args).await,
        RequestCommand::Cancel { id } => {
            let view = wallet.cancel_request(&name(&id)?).await?;
            context.out.result(&value(&view), || text(&view));
            Ok(0)
        }
        RequestCommand::Received {
            id,
            amount,
            by,
            from,
        } => {
            let money = wallet.parse_money(&amount).await?;
            let from = from.as_deref();
            let view = wallet.note_received(&name(&id)?, &money, &by, from).await?;
            context.out.result(&value(&view), || text(&view));
            Ok(0)
        }
        RequestCommand::Approve {
            request,
            up_to,
            until,
            skip_missed,
        } => {
            let up_to = wallet.parse_money(&up_to).await?;
            let until = until.as_deref().map(day).transpose()?;
            let view = wallet
                .approve_request(&request, &up_to, until, skip_missed)
                .await?;
            context
                .out
                .result(&approval_value(&view), || approved_text(&view, now_ms()));
            Ok(0)
        }
        RequestCommand::Guests { rails, only, off } => {
            guests::run(context, &wallet, (&rails, only.as_deref()), off).await
        }
        RequestCommand::Approvals => approvals(context, &wallet).await,
        RequestCommand::Revoke { request } => {
            let view = wallet.revoke_approval(&request).await?;
            context
                .out
                .result(&approval_value(&view), || revoked_text(&view));
            Ok(0)
        }
    };
    wallet.close().await;
    code
}

fn name(id: &str) -> Result<RecordId, ClientError> {
    Ok(id.trim().parse::<RecordId>()?)
}

fn day(text: &str) -> Result<Timestamp, ClientError> {
    let usage = || ClientError::Usage(format!("{text:?}: write a day such as 2031-12-24"));
    Ok(Timestamp::from_millis(day_millis(text).ok_or_else(usage)?)?)
}

/// Reads `method=value`.
pub fn way(text: &str) -> Result<Target, ClientError> {
    let usage = || ClientError::Usage(format!("{text:?}: write METHOD=VALUE, such as cash=later"));
    let (method, value) = text.split_once('=').ok_or_else(usage)?;
    Ok(Target {
        method: method.trim().parse()?,
        value: value.trim().parse()?,
    })
}

async fn user(wallet: &Wallet, text: &str) -> Result<UserKey, ClientError> {
    match parse_user(text) {
        Ok(user) => Ok(user),
        Err(_) => Ok(wallet.friend(text).await?.user),
    }
}

fn bound(unit: &Unit, text: Option<&str>) -> Result<Option<Amount>, ClientError> {
    let minor = text.map(|text| unit.parse_minor(text)).transpose()?;
    Ok(minor.map(Amount::from_minor).transpose()?)
}

async fn terms(wallet: &Wallet, args: &RequestNew) -> Result<RequestTerms, ClientError> {
    // `request new 5 USD` and `request new "5 USD"` are the same.
    let words = args.words.join(" ");
    let (unit, amount) = if args.open {
        (wallet.parse_unit(&words).await?, None)
    } else {
        let money = wallet.parse_money(&words).await?;
        (money.unit, Some(money.amount))
    };
    let min = bound(&unit, args.min.as_deref())?;
    let max = bound(&unit, args.max.as_deref())?;
    let goal = match amount {
        None => Goal::Open { min, max },
        Some(amount) if args.together => Goal::Target { amount, min },
        Some(amount) if min.is_none() => Goal::Exact(amount),
        Some(_) => {
            let why = "--min goes with --together or --open: an exact amount is paid at once";
            return Err(ClientError::Usage(why.to_owned()));
        }
    };
    let mut terms = RequestTerms::new(unit, goal);
    terms.payer = match &args.to {
        Some(who) => Some(user(wallet, who).await?),
        None => None,
    };
    terms.targets = args
        .ways
        .iter()
        .map(|text| way(text))
        .collect::<Result<_, _>>()?;
    terms.memo = args.memo.as_deref().map(str::parse::<Memo>).transpose()?;
    if let Some(period) = &args.every {
        terms.every = Some(Every {
            period: match period.as_str() {
                "day" => Period::Day,
                "week" => Period::Week,
                _ => Period::Month,
            },
            from: match &args.from {
                Some(text) => day(text)?,
                None => Timestamp::from_millis(now_ms())?,
            },
            count: args.count,
        });
    }
    terms.expires_in = args.expires;
    terms.hold = args.hold;
    Ok(terms)
}

async fn new(context: &Context, wallet: &Wallet, args: &RequestNew) -> Result<u8, ClientError> {
    let terms = terms(wallet, args).await?;
    let made = wallet.ask_to_be_paid(terms).await?;
    let page = wallet.request_page(&made).await?;
    context.out.result(&with_page(&made, page.as_ref()), || {
        let mut lines = vec![text(&made)];
        // The camera of any phone opens a page. One that is too long for a code is still a link.
        let scanned = page.as_ref().map_or(made.link.as_str(), Url::as_str);
        lines.extend((!args.no_qr).then(|| qr(scanned)).flatten());
        lines.extend(page.as_ref().map(page_line));
        lines.push(made.link.clone());
        lines.push("Leave `atomicity watch` running: it answers whoever wants to pay.".to_owned());
        lines.join("\n")
    });
    Ok(0)
}

async fn show(context: &Context, wallet: &Wallet, request: &str) -> Result<u8, ClientError> {
    let view = wallet.request(request).await?;
    let page = wallet.request_page(&view).await?;
    context.out.result(&with_page(&view, page.as_ref()), || {
        let mut lines = vec![text(&view)];
        if let Some(page) = &page {
            lines.push(page_line(page));
            // For who stands beside; whoever reads this in a file can't scan it.
            let open = view.open == Some(true) && std::io::stdout().is_terminal();
            lines.extend(open.then(|| qr(page.as_str())).flatten());
        }
        lines.join("\n")
    });
    Ok(0)
}

/// A request as JSON, with its page.
fn with_page(view: &RequestView, page: Option<&Url>) -> Value {
    let mut shown = value(view);
    shown["page"] = json!(page.map(Url::as_str));
    shown
}

/// Where who has no wallet sees a request.
fn page_line(page: &Url) -> String {
    format!("page      {page} (for everybody: also for who has no wallet)")
}

async fn list(context: &Context, wallet: &Wallet) -> Result<u8, ClientError> {
    let all = wallet.requests().await?;
    let values: Vec<Value> = all.iter().map(value).collect();
    context.out.result(&json!({ "requests": values }), || {
        if all.is_empty() {
            return "Nobody asks for anything. Ask with: atomicity request new \"5.00 …\""
                .to_owned();
        }
        let rows: Vec<Vec<String>> = all.iter().map(words).collect();
        let header = [
            "request", "who", "asks for", "paid", "state", "until", "memo",
        ];
        table(&header, &rows)
    });
    Ok(0)
}

async fn pay(context: &Context, wallet: &Wallet, args: &RequestPay) -> Result<u8, ClientError> {
    let asked = wallet.request(&args.request).await?;
    let unit = asked.unit.clone();
    let money = match args.amount.as_deref().map(str::trim) {
        // A bare number is in the request's unit.
        Some(text) if !text.contains(char::is_whitespace) => Some(Money {
            amount: Amount::from_minor(unit.parse_minor(text)?)?,
            unit: unit.clone(),
        }),
        Some(text) => Some(
            Money::parse(text, std::slice::from_ref(&unit)).or(wallet.parse_money(text).await)?,
        ),
        None => None,
    };
    let mut options = PayOptions::default();
    options.max_fee = match &args.max_fee {
        Some(text) => Some(minor_in(&unit, text)?),
        None => None,
    };
    options.routers.clone_from(&args.routers);
    if !args.along.is_empty() {
        let mut along = Vec::new();
        for text in &args.along {
            along.push(user(wallet, text).await?);
        }
        options.along = Some(along);
    }
    options.deadline = args.deadline;
    let bar = spinner(context.out, "asking the payee");
    let done = wallet
        .pay_request(
            &args.request,
            money.as_ref(),
            &options,
            args.wait,
            |step| match step {
                RequestProgress::Asking => bar.set_message("asking the payee"),
                RequestProgress::Granted(amount) => {
                    bar.set_message(format!("{} are kept for you", minor_text(&unit, amount)));
                }
                RequestProgress::Paying(PayProgress::Searching) => {
                    bar.set_message("looking for ways");
                }
                RequestProgress::Paying(_) => bar.set_message("paying"),
                _ => {}
            },
        )
        .await;
    bar.finish_and_clear();
    let part = done?;
    let mut shown = part_value(&unit, &part);
    shown["request"] = json!(asked.id.to_string());
    shown["unit"] = json!(unit);
    context.out.result(&shown, || {
        format!("Paid: {}.", minor_text(&unit, part.amount))
    });
    Ok(0)
}

async fn approvals(context: &Context, wallet: &Wallet) -> Result<u8, ClientError> {
    // What the agent paid of it, if it can be asked.
    if let Err(error) = wallet.refresh_approvals().await {
        context
            .out
            .warn(&format!("your agent was not asked: {error}"));
    }
    let all = wallet.approvals().await?;
    let values: Vec<Value> = all.iter().map(approval_value).collect();
    context.out.result(&json!({ "approvals": values }), || {
        if all.is_empty() {
            return "Nothing is paid without asking you.".to_owned();
        }
        let rows: Vec<Vec<String>> = all.iter().map(approval_row).collect();
        let header = [
            "request",
            "to",
            "each time",
            "up to",
            "paid",
            "by",
            "next",
            "",
        ];
        table(&header, &rows)
    });
    Ok(0)
}
