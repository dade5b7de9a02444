//! `services` and `rate`.

use atomicity_client::ClientError;
use atomicity_client::net::Role;
use atomicity_client::wallet::{
    Rated, RatingView, Search, ServiceView, Stance, Wallet, parse_user, verdict_name,
};
use atomicity_ledger::record::{RatingKind, Verdict};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{Offer, Opinion, Rate, RatedAs, ServiceCommand, Services};
use crate::output::{error_value, spinner, time_text};

fn role_of(offer: Offer) -> Role {
    match offer {
        Offer::Router => Role::Router,
        Offer::Log => Role::WitnessLog,
        Offer::Cosigner => Role::Cosigner,
        Offer::Watchtower => Role::Watchtower,
    }
}

pub async fn run(context: &Context, args: Services) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let code = match args.command {
        None => list(context, &wallet, args.offer.map(role_of), args.known).await?,
        Some(ServiceCommand::Add { key }) => {
            decide(context, &wallet, &key, Some(Stance::Named)).await?
        }
        Some(ServiceCommand::Block { key }) => {
            decide(context, &wallet, &key, Some(Stance::Blocked)).await?
        }
        Some(ServiceCommand::Forget { key }) => decide(context, &wallet, &key, None).await?,
    };
    wallet.close().await;
    Ok(code)
}

async fn list(
    context: &Context,
    wallet: &Wallet,
    role: Option<Role>,
    known: bool,
) -> Result<u8, ClientError> {
    let roles = role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role]);
    let mut searches = Vec::new();
    if !known {
        let bar = spinner(context.out, "looking for services");
        // Friends may have changed their minds.
        wallet.read_ratings(true).await?;
        for role in roles {
            searches.push((role, wallet.find_services(role).await));
        }
        bar.finish_and_clear();
    }
    let services = wallet.services(role).await?;
    let values: Vec<Value> = services.iter().map(service_value).collect();
    let silent = !searches.is_empty() && searches.iter().all(|(_, search)| search.is_err());
    for (role, search) in &searches {
        if let Err(error) = search {
            let name = role.name();
            context.out.warn(&format!("{name}: {error}"));
        }
    }
    let search_values: Vec<Value> = searches
        .iter()
        .map(|(role, search)| search_value(*role, search))
        .collect();
    let value = json!({ "services": values, "searches": search_values });
    context.out.result(&value, || {
        if services.is_empty() {
            return "No service is known.".to_owned();
        }
        let texts: Vec<String> = services.iter().map(service_text).collect();
        texts.join("\n")
    });
    Ok(if silent { 4 } else { 0 })
}

fn search_value(role: Role, search: &Result<Search, ClientError>) -> Value {
    match search {
        Ok(search) => {
            let dropped = search.dropped.iter();
            let dropped: Vec<Value> = dropped
                .map(|d| json!({ "address": d.address, "code": d.code, "reason": d.reason }))
                .collect();
            json!({ "role": role.name(), "found": search.found, "dropped": dropped })
        }
        Err(error) => json!({ "role": role.name(), "error": error_value(error) }),
    }
}

fn stance_name(stance: Stance) -> &'static str {
    match stance {
        Stance::Named => "named",
        Stance::Blocked => "blocked",
    }
}

/// Quarters of a friend, as people count.
fn friends_text(quarters: i64) -> String {
    let whole = quarters / 4;
    match quarters % 4 {
        0 => whole.to_string(),
        1 => format!("{whole}.25"),
        2 => format!("{whole}.5"),
        _ => format!("{whole}.75"),
    }
}

fn service_value(service: &ServiceView) -> Value {
    let roles: serde_json::Map<String, Value> = service
        .roles
        .iter()
        .map(|(role, description)| (role.name().to_owned(), description.clone()))
        .collect();
    json!({
        "key": service.key,
        "stance": service.stance.map(stance_name),
        "roles": roles,
        "address": service.address,
        "version": service.version,
        "proven_at": service.proven_at,
        "latency_ms": service.latency_ms,
        "successes": service.successes,
        "failures": service.failures,
        "failed_at": service.failed_at,
        "rating": service.rating.map(verdict_name),
        "friends": {
            "good": friends_text(service.tally.good),
            "poor": friends_text(service.tally.poor),
            "block": friends_text(service.tally.block),
        },
        "excluded": service.excluded.map(|why| why.name()),
    })
}

fn service_text(service: &ServiceView) -> String {
    let mut lines = vec![service.key.to_z32()];
    let roles: Vec<&str> = service.roles.iter().map(|(role, _)| role.name()).collect();
    if !roles.is_empty() {
        lines.push(format!("  offers {}", roles.join(", ")));
    }
    if let Some(at) = service.proven_at {
        let latency = service.latency_ms.unwrap_or(0);
        lines.push(format!("  answered {} in {latency} ms", time_text(at)));
    }
    if service.failures > 0 {
        lines.push(format!(
            "  failed {} times of {}",
            service.failures,
            service.failures.saturating_add(service.successes)
        ));
    }
    let tally = service.tally;
    for (weight, word) in [
        (tally.good, "good"),
        (tally.poor, "poor"),
        (tally.block, "block"),
    ] {
        if weight > 0 {
            lines.push(format!("  friends say {word}: {}", friends_text(weight)));
        }
    }
    if let Some(rating) = service.rating {
        lines.push(format!("  you say {}", verdict_name(rating)));
    }
    if service.stance == Some(Stance::Named) {
        lines.push("  chosen by you".to_owned());
    }
    if let Some(why) = service.excluded {
        lines.push(format!("  NOT ASKED: {}", why.name().replace('_', " ")));
    }
    lines.join("\n")
}

async fn decide(
    context: &Context,
    wallet: &Wallet,
    key: &str,
    stance: Option<Stance>,
) -> Result<u8, ClientError> {
    let key = parse_user(key)?;
    let bar = spinner(context.out, "asking it");
    let decided = wallet.decide_service(&key, stance).await;
    bar.finish_and_clear();
    let service = decided?;
    let value = match &service {
        Some(service) => service_value(service),
        None => json!({ "key": key, "stance": null }),
    };
    context.out.result(&value, || match (&service, stance) {
        (Some(service), Some(_)) => service_text(service),
        _ => format!("{key} is as good as any other."),
    });
    Ok(0)
}

fn verdict_of(opinion: Opinion) -> Verdict {
    match opinion {
        Opinion::Good => Verdict::Good,
        Opinion::Poor => Verdict::Poor,
        Opinion::Block => Verdict::Block,
    }
}

fn kind_of(kind: RatedAs) -> RatingKind {
    match kind {
        RatedAs::Router => RatingKind::Router,
        RatedAs::Log => RatingKind::Log,
        RatedAs::Cosigner => RatingKind::Cosigner,
        RatedAs::Watchtower => RatingKind::Watchtower,
        RatedAs::User => RatingKind::User,
    }
}

fn rating_value(rating: &RatingView) -> Value {
    json!({
        "subject": rating.subject,
        "kind": rating.kind,
        "verdict": rating.verdict,
        "memo": rating.memo,
        "at": rating.at,
        "record": rating.record,
    })
}

pub async fn rate(context: &Context, args: Rate) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    let Some(key) = args.key else {
        let ratings = wallet.ratings().await?;
        let values: Vec<Value> = ratings.iter().map(rating_value).collect();
        context.out.result(&json!({ "ratings": values }), || {
            if ratings.is_empty() {
                return "You have rated nobody.".to_owned();
            }
            let texts = ratings
                .iter()
                .map(|r| format!("{} {}", r.subject, r.verdict));
            texts.collect::<Vec<_>>().join("\n")
        });
        wallet.close().await;
        return Ok(0);
    };
    let key = parse_user(&key)?;
    let rated = match args.verdict {
        Some(verdict) => {
            let kind = args.kind.map(kind_of);
            let verdict = verdict_of(verdict);
            wallet
                .rate(&key, verdict, kind, args.memo.as_deref())
                .await?
        }
        None => wallet.remove_rating(&key).await?,
    };
    let Rated { rating, fault, .. } = rated;
    if let Some(fault) = &fault {
        context
            .out
            .warn(&format!("not published yet: {}", fault.message));
    }
    let value = json!({
        "subject": key,
        "rating": rating.as_ref().map(rating_value),
        "published": fault.is_none(),
    });
    context.out.result(&value, || match &rating {
        Some(rating) => format!("Everybody can read that you find {key} {}.", rating.verdict),
        None => format!("You say nothing about {key} any more."),
    });
    wallet.close().await;
    Ok(0)
}
