//! The router: whether there is anybody to begin with, and whether it hears anything.

use sqlx::ConnectOptions as _;

use super::Check;
use crate::clock;
use crate::config::Config;
use crate::db::pool;
use crate::error::PluginError;
use crate::resolve::Resolver;

const NAME: &str = "router";
/// A router that read nobody for so long hears nothing, in milliseconds.
const DEAF_MS: i64 = 2 * 3_600_000;
/// Most seeds that are looked up.
const MAX_SEEDS: usize = 3;

/// What the tables say.
struct Found {
    users: i64,
    adverts: i64,
    newest: Option<i64>,
    accounts: bool,
}

pub(super) async fn look(config: &Config, resolver: &Resolver) -> Vec<Check> {
    if !config.router.enabled {
        return Vec::new();
    }
    let mut checks = vec![match tables(config).await {
        Ok(found) => judge(config, &found),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "look at the findings about the database",
        ),
    }];
    for seed in config.router.seeds.iter().take(MAX_SEEDS) {
        let home = resolver.homeserver_of(seed).await;
        checks.push(match home {
            Ok(Some(home)) => Check::ok("router_seed", format!("{seed} lives at {home}")),
            Ok(None) => Check::warn(
                "router_seed",
                format!("{seed} names no homeserver"),
                "take them out of router.seeds",
            ),
            Err(error) => Check::warn(
                "router_seed",
                format!("{seed}: {error}"),
                "see the findings about the DHT",
            ),
        });
    }
    checks
}

fn judge(config: &Config, found: &Found) -> Check {
    if found.users == 0 && config.router.seeds.is_empty() && !found.accounts {
        return Check::warn(
            NAME,
            "it has nobody to begin with",
            "name some users in router.seeds, or let users register",
        );
    }
    let heard = match found.newest {
        None => "it has read nobody yet".to_owned(),
        Some(at) => {
            let minutes = clock::now_ms().saturating_sub(at) / 60_000;
            format!("the last one was read {minutes} min ago")
        }
    };
    let detail = format!(
        "it knows {} users and {} advertisements; {heard}",
        found.users, found.adverts
    );
    let deaf = |at: i64| clock::now_ms().saturating_sub(at) > DEAF_MS;
    if found.newest.is_some_and(deaf) {
        let hint = "unless the plugin was stopped: look at outgoing UDP and TCP, and at atomicity_router_requests_total";
        Check::warn(NAME, detail, hint)
    } else {
        Check::ok(NAME, detail)
    }
}

async fn tables(config: &Config) -> Result<Found, PluginError> {
    let mut connection = pool::options(&config.database)?.connect().await?;
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM router_user) AS "users!",
                  (SELECT count(*) FROM router_advert WHERE NOT withdrawn) AS "adverts!",
                  (SELECT max(visited_at) FROM router_user) AS newest,
                  EXISTS (SELECT 1 FROM accounts WHERE closed_at IS NULL) AS "accounts!""#
    )
    .fetch_one(&mut connection)
    .await?;
    Ok(Found {
        users: row.users,
        adverts: row.adverts,
        newest: row.newest,
        accounts: row.accounts,
    })
}
