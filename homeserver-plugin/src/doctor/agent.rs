//! The agent: whether its keys open, and whether there are connections enough for its workers.

use atomicity_ledger::UserKey;
use sqlx::ConnectOptions as _;

use super::Check;
use crate::agent::keys;
use crate::config::Config;
use crate::db::pool;
use crate::error::PluginError;

const NAME: &str = "agent";

/// What the tables say.
struct Found {
    users: i64,
    pairs: i64,
    sample: Option<(UserKey, Vec<u8>)>,
}

pub(super) async fn look(config: &Config, plugin: Option<&pubky::Keypair>) -> Vec<Check> {
    if !config.agent.enabled {
        return Vec::new();
    }
    let mut checks = Vec::new();
    let workers = u32::try_from(config.agent.workers).unwrap_or(u32::MAX);
    if config.database.max_connections <= workers {
        checks.push(Check::warn(
            "agent_connections",
            "its workers can take every connection of the pool, and requests wait",
            "set database.max_connections above agent.workers",
        ));
    }
    checks.push(match tables(config).await {
        Ok(found) => judge(&found, plugin),
        Err(error) => Check::fail(
            NAME,
            error.to_string(),
            "look at the findings about the database",
        ),
    });
    checks
}

fn judge(found: &Found, plugin: Option<&pubky::Keypair>) -> Check {
    let detail = format!("it keeps {} pairs of {} users", found.pairs, found.users);
    let opens = match (&found.sample, plugin) {
        (Some((owner, sealed)), Some(plugin)) => keys::open(plugin, *owner, sealed).is_ok(),
        _ => true,
    };
    if opens {
        Check::ok(NAME, detail)
    } else {
        Check::fail(
            NAME,
            format!("{detail}, and its keys do not open"),
            "they were sealed under another secret: put back the secret file that belongs to this database",
        )
    }
}

async fn tables(config: &Config) -> Result<Found, PluginError> {
    let mut connection = pool::options(&config.database)?.connect().await?;
    let counts = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM agents WHERE status = 'active') AS "users!",
                  (SELECT count(*) FROM agent_pairs WHERE status = 'kept') AS "pairs!""#
    )
    .fetch_one(&mut connection)
    .await?;
    let sample = sqlx::query!(
        r#"SELECT owner, sealed AS "sealed!" FROM agents WHERE status = 'active' AND sealed IS NOT NULL LIMIT 1"#
    )
    .fetch_optional(&mut connection)
    .await?;
    let sample = sample.and_then(|row| {
        let owner = UserKey::from_bytes(row.owner.try_into().ok()?).ok()?;
        Some((owner, row.sealed))
    });
    Ok(Found {
        users: counts.users,
        pairs: counts.pairs,
        sample,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;
    use crate::agent::keys::AgentKeys;

    #[test]
    fn keys_of_another_secret_are_a_failure() {
        let owner = Keypair::from_secret(&[1; 32]).user_key();
        let (plugin, other) = (pubky::Keypair::random(), pubky::Keypair::random());
        let sealed = keys::seal(&plugin, owner, &AgentKeys::draw(Vec::new())).unwrap();
        let found = Found {
            users: 1,
            pairs: 1,
            sample: Some((owner, sealed)),
        };
        assert!(judge(&found, Some(&plugin)).ok);
        assert!(!judge(&found, Some(&other)).ok);
    }
}
