//! The grants by which the agent writes its users' channel files: whether they are there, and for how long yet.

use pubky::GrantClaims;
use sqlx::ConnectOptions as _;

use super::Check;
use crate::clock::now_ms;
use crate::config::Config;
use crate::db::pool;
use crate::error::PluginError;

const NAME: &str = "storage_grants";
/// Most users whose grants are looked at.
const MAX_LOOKED_AT: i64 = 10_000;
/// Who has less than this left should renew it, in seconds.
const SOON_S: u64 = 14 * 86_400;

/// How many grants are as they should be, and how many are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    good: usize,
    missing: usize,
    unreadable: usize,
    expired: usize,
    soon: usize,
}

pub(super) async fn look(config: &Config) -> Option<Check> {
    if !config.agent.enabled {
        return None;
    }
    let now_s = u64::try_from(now_ms() / 1_000).unwrap_or(0);
    // Whatever else is wrong with the database stands in the check `agent`.
    let grants = read(config).await.ok()?;
    Some(judge(count(&grants, now_s)))
}

async fn read(config: &Config) -> Result<Vec<Option<String>>, PluginError> {
    let mut connection = pool::options(&config.database)?.connect().await?;
    let rows = sqlx::query_scalar!(
        "SELECT storage FROM agents WHERE status = 'active' ORDER BY owner LIMIT $1",
        MAX_LOOKED_AT
    )
    .fetch_all(&mut connection)
    .await?;
    Ok(rows)
}

fn count(grants: &[Option<String>], now_s: u64) -> Found {
    let mut found = Found::default();
    for grant in grants {
        let claims = grant.as_deref().map(GrantClaims::decode);
        let place = match claims {
            None => &mut found.missing,
            Some(Err(_)) => &mut found.unreadable,
            Some(Ok(claims)) if claims.exp <= now_s => &mut found.expired,
            Some(Ok(claims)) if claims.exp.saturating_sub(now_s) < SOON_S => &mut found.soon,
            Some(Ok(_)) => &mut found.good,
        };
        *place = place.saturating_add(1);
    }
    found
}

fn judge(found: Found) -> Check {
    let named = [
        (found.missing, "missing"),
        (found.expired, "expired"),
        (found.unreadable, "unreadable"),
        (found.soon, "expiring within two weeks"),
    ];
    let bad: Vec<String> = named
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if bad.is_empty() {
        return Check::ok(NAME, format!("{} users' grants are in force", found.good));
    }
    Check::warn(
        NAME,
        format!("{}, {} in force", bad.join(", "), found.good),
        "their channel files are not written to their homeservers: let these users run `atomicity agent on` again",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn all_is_well_only_if_every_grant_is() {
        let well = Found {
            good: 2,
            ..Found::default()
        };
        assert_eq!(judge(well).level, Level::Ok);
        for bad in [
            Found { missing: 1, ..well },
            Found { expired: 1, ..well },
            Found {
                unreadable: 1,
                ..well
            },
            Found { soon: 1, ..well },
        ] {
            assert_eq!(judge(bad).level, Level::Warn, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_grant_is_told_apart_from_none() {
        let found = count(&[None, Some("no grant".to_owned())], 0);
        assert_eq!((found.missing, found.unreadable), (1, 1));
    }
}
