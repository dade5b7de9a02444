//! `issue`, `balance`, `history`.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    ChannelState, ChannelView, Direction, HistoryItem, HistoryQuery, IssueOptions, totals,
};
use atomicity_ledger::{Balance as Net, Memo};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{Balance, History, Issue};
use crate::output::{
    channel_value, delivery_name, delivery_words, minor_text, state_name, table, time_text,
};

/// The columns of a table of channels.
pub const CHANNEL_HEADER: [&str; 6] = [
    "friend",
    "balance",
    "they may owe",
    "you may owe",
    "you can pay",
    "",
];

pub async fn issue(context: &Context, args: Issue) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let contact = wallet.friend(&args.friend).await?;
    let money = wallet.parse_money(&args.amount).await?;
    let memo: Option<Memo> = args.memo.map(|memo| memo.parse()).transpose()?;
    let reference: Option<Memo> = args.reference.map(|text| text.parse()).transpose()?;
    let mut options = IssueOptions::described(memo, reference);
    if args.no_wait {
        options = options.committed_only();
    }
    let issued = wallet.issue(&contact.user, money, options).await?;
    let (unit, net) = (&issued.money.unit, issued.channel.net);
    let friend = &issued.contact.name;
    let value = json!({
        "payment": issued.payment.to_string(),
        "friend": friend,
        "user": issued.contact.user,
        "unit": unit,
        "amount": issued.money.amount.minor().to_string(),
        "amount_text": issued.money.to_string(),
        "seq": issued.seq.to_string(),
        "net_after": net.minor().to_string(),
        "net_after_text": unit.format_balance(net),
        "delivery": delivery_name(issued.delivery),
    });
    context.out.result(&value, || {
        format!(
            "You gave {friend} {} ({}). {}",
            issued.money,
            delivery_words(issued.delivery, friend),
            net_words(&issued.channel),
        )
    });
    wallet.close().await;
    Ok(0)
}

/// Who owes whom, in words.
fn net_words(view: &ChannelView) -> String {
    let amount = minor_text(&view.unit, view.net.minor().unsigned_abs());
    match view.net.minor() {
        0 => format!("You and {} are even in {}.", view.friend, view.unit),
        net if net > 0 => format!("{} owes you {amount}.", view.friend),
        _ => format!("You owe {} {amount}.", view.friend),
    }
}

/// One line of a table of channels.
pub fn channel_row(view: &ChannelView) -> Vec<String> {
    let text = |minor| minor_text(&view.unit, minor);
    let mut marks = Vec::new();
    if view.state != ChannelState::Active {
        marks.push(state_name(view.state).replace('_', " "));
    }
    let beyond = [
        (view.due_to_me, "owed to you, not booked yet"),
        (view.due_to_them, "you owe, not booked yet"),
        (view.promised_to_me, "promised to you"),
        (view.promised_to_them, "promised by you"),
    ];
    for (minor, what) in beyond.into_iter().filter(|(minor, _)| *minor > 0) {
        marks.push(format!("{} {what}", text(minor)));
    }
    if view.unacknowledged > 0 {
        marks.push(format!(
            "{} not acknowledged yet",
            text(view.unacknowledged)
        ));
    }
    if view.pending > 0 {
        marks.push(format!("{} records pending", view.pending));
    }
    vec![
        view.friend.clone(),
        view.unit.format_balance(view.net),
        text(view.line_for_them),
        view.line_for_me.map_or_else(|| "-".to_owned(), text),
        text(view.can_issue),
        marks.join(", "),
    ]
}

pub async fn balance(context: &Context, args: Balance) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let user = match &args.friend {
        Some(friend) => Some(wallet.friend(friend).await?.user),
        None => None,
    };
    let unit = match &args.unit {
        Some(unit) => Some(wallet.parse_unit(unit).await?),
        None => None,
    };
    let views = wallet.balances(user.as_ref(), unit.as_ref()).await?;
    let sums = totals(&views);
    let sum_values: Vec<Value> = sums
        .iter()
        .map(|sum| {
            json!({
                "unit": sum.unit,
                "net": sum.net.to_string(),
                "net_text": sum_text(sum),
                "owed_to_me": sum.owed_to_me.to_string(),
                "owed_by_me": sum.owed_by_me.to_string(),
            })
        })
        .collect();
    let value = json!({
        "user": wallet.user(),
        "as_of": now_ms(),
        "balances": views.iter().map(channel_value).collect::<Vec<_>>(),
        "totals": sum_values,
    });
    context.out.result(&value, || {
        if views.is_empty() {
            return "Nobody owes anybody anything yet.".to_owned();
        }
        let rows: Vec<Vec<String>> = views.iter().map(channel_row).collect();
        let mut text = table(&CHANNEL_HEADER, &rows);
        text.push_str("\n\nA positive balance is owed to you.");
        for sum in &sums {
            text.push_str(&format!(" In all: {}.", sum_text(sum)));
        }
        text
    });
    wallet.close().await;
    Ok(0)
}

fn sum_text(sum: &atomicity_client::wallet::UnitTotal) -> String {
    match i64::try_from(sum.net) {
        Ok(net) => sum.unit.format_balance(Net::from_minor(net)),
        Err(_) => format!("{} minor units of {}", sum.net, sum.unit),
    }
}

pub fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

pub async fn history(context: &Context, args: History) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let user = match &args.friend {
        Some(friend) => Some(wallet.friend(friend).await?.user),
        None => None,
    };
    let unit = match &args.unit {
        Some(unit) => Some(wallet.parse_unit(unit).await?),
        None => None,
    };
    let query = HistoryQuery {
        user,
        unit,
        before: args.before,
        limit: args.limit,
    };
    let items = wallet.history(&query).await?;
    let full = items.len() == args.limit as usize;
    let next = items.last().filter(|_| full).map(|item| item.id);
    let mut values = Vec::new();
    let mut lines = Vec::new();
    for item in &items {
        let friend = match &item.user {
            Some(user) => Some(wallet.name_of(user).await?),
            None => None,
        };
        values.push(item_value(item, friend.as_deref()));
        lines.push(item_text(item, friend.as_deref()));
    }
    context
        .out
        .result(&json!({ "items": values, "next": next }), || {
            if lines.is_empty() {
                "Nothing happened yet.".to_owned()
            } else {
                lines.join("\n")
            }
        });
    wallet.close().await;
    Ok(0)
}

fn amount_text(item: &HistoryItem) -> Option<String> {
    Some(minor_text(item.unit.as_ref()?, item.amount?))
}

fn item_value(item: &HistoryItem, friend: Option<&str>) -> Value {
    json!({
        "id": item.id,
        "at": item.at,
        "friend": friend,
        "user": item.user,
        "unit": item.unit,
        "kind": item.kind,
        "direction": item.direction.map(Direction::as_str),
        "amount": item.amount.map(|amount| amount.to_string()),
        "amount_text": amount_text(item),
        "memo": item.memo,
        "ref": item.reference,
        "status": item.status,
        "payment": item.payment,
        "epoch": item.epoch,
        "seq": item.seq.map(|seq| seq.to_string()),
        "note": item.note,
    })
}

fn item_text(item: &HistoryItem, friend: Option<&str>) -> String {
    let friend = friend.unwrap_or("you");
    let amount = amount_text(item).unwrap_or_default();
    let outward = item.direction == Some(Direction::Out);
    let what = match item.kind.as_str() {
        "payment" if outward => format!("you gave {friend} {amount}"),
        "payment" => format!("{friend} gave you {amount}"),
        "refusal" if outward => format!("you gave {amount} back to {friend}: above your limit"),
        "refusal" => format!("{friend} gave {amount} back: above their limit"),
        "line" if outward => format!("you let {friend} owe you up to {amount}"),
        "line" => format!("{friend} lets you owe up to {amount}"),
        "promised" if outward => format!("you promised {friend} {amount}"),
        "promised" => format!("{friend} promised you {amount}"),
        "due" => format!("{amount} that {friend} had promised is due"),
        "merged" if outward => {
            format!("{amount} that you had promised {friend} was due and is booked")
        }
        "merged" => format!("{friend} booked {amount} that was due to you"),
        "expired" if outward => {
            format!("your promise of {amount} to {friend} has expired, by proof")
        }
        "expired" => format!("{friend}'s promise of {amount} has expired, by proof"),
        "released" if outward => format!("{friend} gave up your promise of {amount}"),
        "released" => format!("you gave up {friend}'s promise of {amount}"),
        "spend" => format!("{friend} is to be paid {amount}"),
        "published" => format!("you published a secret on which a promise of {friend} hung"),
        "log_caught" => "a log was caught in a lie".to_owned(),
        kind => format!("{kind} {friend} {amount}").trim_end().to_owned(),
    };
    let mut text = format!("{:>6}  {}  {what}", item.id, time_text(item.at));
    if let Some(status) = item
        .status
        .as_deref()
        .filter(|status| *status != "received")
    {
        text.push_str(&format!(" [{status}]"));
    }
    for extra in [&item.memo, &item.reference, &item.note]
        .into_iter()
        .flatten()
    {
        text.push_str(&format!(" - {extra}"));
    }
    text
}
