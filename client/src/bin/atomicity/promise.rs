//! `pay`, `promises`, `secret`.

use std::time::Duration;

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    Direction, Hangs, PromiseTerms, PromiseView, SecretOrHash, standing_name,
};
use atomicity_ledger::pair::Standing;
use atomicity_ledger::{PaymentHash, RecordHash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Context;
use crate::args::{Pay, PromiseCommand, Promises, SecretCommand};
use crate::events::{event_text, event_value};
use crate::output::{delivery_name, delivery_words, minor_text, spinner, table, time_text};

/// Reads `90`, `90s`, `2m` or `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, text.get(number.len()..).unwrap_or("s")),
        None => (text, "s"),
    };
    let scale = match unit {
        "m" => 60,
        "h" => 3600,
        _ => 1,
    };
    let seconds = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale));
    match seconds {
        Some(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("write a time between 1s and 24h, such as 60s or 2m".to_owned()),
    }
}

/// Reads `10m`, `1h` or `30d`.
pub fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let bad = || "write a time between 1s and 365d, such as 10m, 1h or 30d".to_owned();
    let days = text.strip_suffix('d');
    if let Some(days) = days {
        let days = days.parse::<u64>().ok().filter(|n| (1..=365).contains(n));
        return days
            .map(|n| Duration::from_secs(n * 86_400))
            .ok_or_else(bad);
    }
    duration(text).map_err(|_| bad())
}

/// Reads 32 bytes in base64url or hex.
fn bytes32(text: &str) -> Result<[u8; 32], ClientError> {
    let text = text.trim();
    let found = if text.len() == 64 {
        let digits = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            let pair = std::str::from_utf8(pair).ok()?;
            pair.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
            u8::from_str_radix(pair, 16).ok()
        };
        digits.map(byte).collect::<Option<Vec<u8>>>()
    } else {
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
    };
    found
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| ClientError::Usage(format!("{text:?} is not 32 bytes in base64url or hex")))
}

fn hash(text: &str) -> Result<PaymentHash, ClientError> {
    Ok(PaymentHash::from_bytes(bytes32(text)?))
}

fn value(promise: &PromiseView) -> Value {
    let origins: Vec<&str> = promise
        .terms
        .logs
        .iter()
        .map(|log| log.origin.as_str())
        .collect();
    let direct = promise.terms.is_direct();
    json!({
        "promise": promise.id,
        "friend": promise.friend,
        "user": promise.user,
        "direction": promise.direction.as_str(),
        "unit": promise.unit,
        "amount": promise.amount.to_string(),
        "amount_text": minor_text(&promise.unit, promise.amount),
        "hash": promise.terms.hash,
        "logs": origins,
        "deadline": (!direct).then_some(promise.terms.deadline_ms),
        "standing": standing_name(promise.standing),
        "acknowledged": promise.acknowledged,
        "preimage": promise.preimage,
        "at": promise.at,
    })
}

pub async fn pay(context: &Context, args: Pay) -> Result<u8, ClientError> {
    let Some(on) = &args.on else {
        return crate::payment::pay(context, &args).await;
    };
    let on = hash(on)?;
    let wallet = context.wallet().await?;
    let contact = wallet.friend(&args.whom).await?;
    let amount = args.amount.as_deref().unwrap_or_default();
    let money = wallet.parse_money(amount).await?;
    let hangs = if args.shown {
        Hangs::Shown
    } else {
        Hangs::Logs {
            logs: args.logs,
            deadline: args.deadline,
        }
    };
    let bar = spinner(context.out, "reading the logs");
    let made = wallet
        .promise(&contact.user, money, PromiseTerms::on(on, hangs))
        .await;
    bar.finish_and_clear();
    let made = made?;
    let mut shown = value(&made.promise);
    shown["delivery"] = json!(delivery_name(made.delivery));
    let (friend, promise) = (&made.contact.name, &made.promise);
    context.out.result(&shown, || {
        let amount = minor_text(&promise.unit, promise.amount);
        let until = if promise.terms.is_direct() {
            format!("due when {friend} shows you the secret")
        } else {
            format!("due if the secret is published before {}", time_text(promise.terms.deadline_ms))
        };
        format!(
            "You promised {friend} {amount}, {until} ({}). Until it is decided, the amount is reserved.\n{}",
            delivery_words(made.delivery, friend),
            promise.id
        )
    });
    wallet.close().await;
    Ok(0)
}

pub async fn promises(context: &Context, args: Promises) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    if let Some(PromiseCommand::Release { id }) = args.command {
        let released = wallet.release_promise(id.parse::<RecordHash>()?).await?;
        context.out.result(&value(&released), || {
            let amount = minor_text(&released.unit, released.amount);
            format!(
                "You claim nothing any more under {}'s promise of {amount}.",
                released.friend
            )
        });
        wallet.close().await;
        return Ok(0);
    }
    let user = match &args.friend {
        Some(friend) => Some(wallet.friend(friend).await?.user),
        None => None,
    };
    let promises = wallet.promises(user.as_ref()).await?;
    let values: Vec<Value> = promises.iter().map(value).collect();
    context.out.result(&json!({ "promises": values }), || {
        if promises.is_empty() {
            return "Nobody has promised anything that is not settled.".to_owned();
        }
        let rows: Vec<Vec<String>> = promises.iter().map(row).collect();
        table(&["promise", "who", "amount", "standing", "until"], &rows)
    });
    wallet.close().await;
    Ok(0)
}

fn row(promise: &PromiseView) -> Vec<String> {
    let who = match promise.direction {
        Direction::Out => format!("you to {}", promise.friend),
        Direction::In => format!("{} to you", promise.friend),
    };
    let until = if promise.terms.is_direct() {
        "the secret is shown".to_owned()
    } else {
        time_text(promise.terms.deadline_ms)
    };
    let mut standing = standing_name(promise.standing).to_owned();
    if promise.standing == Standing::Undecided && !promise.acknowledged {
        standing.push_str(", not acknowledged yet");
    }
    vec![
        promise.id.to_string(),
        who,
        minor_text(&promise.unit, promise.amount),
        standing,
        until,
    ]
}

pub async fn secret(context: &Context, command: SecretCommand) -> Result<u8, ClientError> {
    match command {
        SecretCommand::New => {
            let wallet = context.wallet().await?;
            let secret = wallet.new_secret().await?;
            let value = json!({ "hash": secret.hash, "created_at": secret.created_at });
            context.out.result(&value, || secret.hash.to_string());
            wallet.close().await;
        }
        SecretCommand::List => list(context).await?,
        SecretCommand::Show { hash: wanted } => {
            let hash = hash(&wanted)?;
            let wallet = context.wallet().await?;
            let preimage = wallet.reveal_secret(&hash).await?;
            let value = json!({ "hash": hash, "preimage": preimage });
            context.out.result(&value, || preimage.to_string());
            wallet.close().await;
        }
        SecretCommand::Publish { secret, log } => publish(context, &secret, log).await?,
    }
    Ok(0)
}

async fn list(context: &Context) -> Result<(), ClientError> {
    let wallet = context.wallet().await?;
    let secrets = wallet.secrets().await?;
    let values: Vec<Value> = secrets
        .iter()
        .map(|secret| {
            json!({
                "hash": secret.hash,
                "created_at": secret.created_at,
                "published_at": secret.published_at,
            })
        })
        .collect();
    context.out.result(&json!({ "secrets": values }), || {
        if secrets.is_empty() {
            return "No secret is kept. Draw one with: atomicity secret new".to_owned();
        }
        let line = |secret: &atomicity_client::wallet::KeptSecret| match secret.published_at {
            Some(at) => format!("{}  published {}", secret.hash, time_text(at)),
            None => format!(
                "{}  kept since {}",
                secret.hash,
                time_text(secret.created_at)
            ),
        };
        secrets.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    wallet.close().await;
    Ok(())
}

async fn publish(context: &Context, secret: &str, log: Option<String>) -> Result<(), ClientError> {
    let secret = SecretOrHash::from_bytes(bytes32(secret)?);
    let wallet = context.wallet().await?;
    let bar = spinner(context.out, "waiting for the log's checkpoint");
    let published = wallet.publish_secret(secret, log.as_deref()).await;
    bar.finish_and_clear();
    let published = published?;
    let value = json!({
        "hash": published.hash,
        "log": published.log,
        "index": published.index,
        "time_ms": published.time_ms,
        "events": published.events.iter().map(event_value).collect::<Vec<_>>(),
    });
    context.out.result(&value, || {
        let where_to = match (&published.log, published.time_ms) {
            (Some(log), Some(at)) => format!("Published in {log} at {}.", time_text(at)),
            _ => "Shown to whoever had promised on it.".to_owned(),
        };
        let mut lines = vec![where_to];
        lines.extend(published.events.iter().map(event_text));
        lines.join("\n")
    });
    wallet.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_and_hashes_are_read_as_people_write_them() {
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("60s").unwrap(), Duration::from_secs(60));
        assert_eq!(duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(span("30d").unwrap(), Duration::from_secs(30 * 86_400));
        assert_eq!(span("1h").unwrap(), Duration::from_secs(3600));
        for bad in ["", "d", "0d", "366d", "25h"] {
            assert!(span(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "s", "-1s", "25h", "99999999999999999999m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        let bytes = [0xab; 32];
        assert_eq!(bytes32(&"ab".repeat(32)).unwrap(), bytes);
        assert_eq!(bytes32(&URL_SAFE_NO_PAD.encode(bytes)).unwrap(), bytes);
        for bad in ["", "ab", &"+1".repeat(32), &"zz".repeat(32)] {
            assert!(bytes32(bad).is_err(), "{bad}");
        }
    }
}
