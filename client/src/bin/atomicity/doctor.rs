//! `doctor`

use atomicity_client::ClientError;
use serde_json::{Value, json};

use crate::Context;

pub async fn run(context: &Context) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let found = wallet.diagnose().await?;
    let checks: Vec<Value> = found
        .checks
        .iter()
        .map(|check| {
            json!({
                "check": check.name,
                "ok": check.ok,
                "detail": check.detail,
                "hint": check.hint,
            })
        })
        .collect();
    let value = json!({ "ok": found.ok(), "checks": checks });
    context.out.result(&value, || {
        let lines = found.checks.iter().map(|check| {
            let mark = if check.ok { "ok  " } else { "BAD " };
            let hint = check
                .hint
                .as_deref()
                .filter(|hint| !hint.is_empty())
                .map(|hint| format!("\n      {hint}"))
                .unwrap_or_default();
            format!("{mark} {}: {}{hint}", check.name, check.detail)
        });
        lines.collect::<Vec<_>>().join("\n")
    });
    wallet.close().await;
    Ok(if found.ok() { 0 } else { 1 })
}
