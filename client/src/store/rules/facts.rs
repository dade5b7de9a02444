//! What is known about people whom rules may be about: own tags, the word of friends, and who follows whom.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;
use atomicity_ledger::policy::Facts;
use sqlx::SqliteConnection;

use crate::error::ClientError;
use crate::store::{from_sql, parse_own, to_sql};

/// How long the word of a friend counts who can't be asked again, milliseconds.
pub(crate) const WORD_STANDS_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What is known of somebody. Only what was read lately enough counts, and only the word of friends whom no rule let in.
pub(crate) async fn of(conn: &mut SqliteConnection, user: &UserKey) -> Result<Facts, ClientError> {
    let key = user.to_string();
    let tags = sqlx::query!(
        r#"SELECT label AS "label!" FROM own_tag WHERE user = ? AND label IS NOT NULL LIMIT 256"#,
        key
    )
    .fetch_all(&mut *conn)
    .await?;
    let since = to_sql(crate::net::now_ms().saturating_sub(WORD_STANDS_MS));
    let vouching = sqlx::query!(
        "SELECT friend FROM vouch WHERE user = ? AND good = 1 AND checked_at >= ?
            AND friend IN (SELECT user FROM contact WHERE status = 'friend')
            AND friend NOT IN (SELECT user FROM let_in) AND friend NOT IN (SELECT user FROM blocked)
         ORDER BY friend LIMIT 256",
        key,
        since
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(Facts {
        tags: tags
            .iter()
            .map(|row| parse_own(&row.label, "a tag"))
            .collect::<Result<_, _>>()?,
        introducers: vouching
            .iter()
            .map(|row| parse_own(&row.friend, "a friend's key"))
            .collect::<Result<_, _>>()?,
        ways: ways(conn, &key).await?,
    })
}

/// The ways from the user to somebody along who follows whom, the short ones first; at most 256.
async fn ways(
    conn: &mut SqliteConnection,
    user: &str,
) -> Result<BTreeSet<Vec<UserKey>>, ClientError> {
    let rows = sqlx::query!(
        r#"WITH me AS (SELECT value AS user FROM setting WHERE name = 'user')
           SELECT NULL AS "first: String", NULL AS "second: String", 0 AS "between!: i64" FROM follow AS a, me
               WHERE a.friend = me.user AND a.user = ?1
           UNION ALL
           SELECT a.user, NULL, 1 FROM me JOIN follow AS a ON a.friend = me.user JOIN follow AS b ON b.friend = a.user
               WHERE b.user = ?1 AND a.user != ?1 AND a.user NOT IN (SELECT user FROM blocked)
           UNION ALL
           SELECT a.user, b.user, 2 FROM me JOIN follow AS a ON a.friend = me.user JOIN follow AS b ON b.friend = a.user
               JOIN follow AS c ON c.friend = b.user
               WHERE c.user = ?1 AND a.user != ?1 AND b.user NOT IN (?1, me.user)
                   AND a.user NOT IN (SELECT user FROM blocked) AND b.user NOT IN (SELECT user FROM blocked)
           LIMIT 256"#,
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let between = [row.first, row.second].into_iter().flatten();
            between
                .map(|user| parse_own(&user, "whom somebody follows"))
                .collect()
        })
        .collect()
}

/// Notes what a friend says about somebody now.
pub(crate) async fn put_vouch(
    conn: &mut SqliteConnection,
    friend: &UserKey,
    user: &UserKey,
    good: bool,
    now: u64,
) -> Result<(), ClientError> {
    let (friend, user, now) = (friend.to_string(), user.to_string(), to_sql(now));
    sqlx::query!(
        "INSERT INTO vouch (friend, user, good, checked_at) VALUES (?, ?, ?, ?)
         ON CONFLICT (friend, user) DO UPDATE SET good = excluded.good, checked_at = excluded.checked_at",
        friend,
        user,
        good,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// When the word of a friend about somebody was read last.
pub(crate) async fn word_read(
    conn: &mut SqliteConnection,
    friend: &UserKey,
    user: &UserKey,
) -> Result<Option<u64>, ClientError> {
    let (friend, user) = (friend.to_string(), user.to_string());
    let row = sqlx::query!(
        "SELECT checked_at FROM vouch WHERE friend = ? AND user = ?",
        friend,
        user
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| from_sql(row.checked_at)))
}

/// When those follows were read that were not read the longest.
pub(crate) async fn oldest_follows(
    conn: &mut SqliteConnection,
) -> Result<Option<u64>, ClientError> {
    let row = sqlx::query!("SELECT read_at FROM follows_read ORDER BY read_at LIMIT 1")
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| from_sql(row.read_at)))
}

/// The files of the user's own tags that are known.
pub(crate) async fn tag_files(
    conn: &mut SqliteConnection,
) -> Result<BTreeSet<String>, ClientError> {
    let rows = sqlx::query!("SELECT id FROM own_tag")
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Keeps what a file says: whom it tags with what, or that it tags nobody.
pub(crate) async fn put_tag(
    conn: &mut SqliteConnection,
    file: &str,
    tag: Option<(UserKey, String)>,
) -> Result<(), ClientError> {
    let (user, label) = tag.map(|(user, label)| (user.to_string(), label)).unzip();
    sqlx::query!(
        "INSERT INTO own_tag (id, user, label) VALUES (?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET user = excluded.user, label = excluded.label",
        file,
        user,
        label
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets a tag whose file is gone.
pub(crate) async fn remove_tag(conn: &mut SqliteConnection, file: &str) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM own_tag WHERE id = ?", file)
        .execute(conn)
        .await?;
    Ok(())
}

/// When somebody's follows were read for the rules.
pub(crate) async fn follows_read(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<u64>, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!("SELECT read_at FROM follows_read WHERE user = ?", user)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| from_sql(row.read_at)))
}

/// Notes that somebody's follows were read.
pub(crate) async fn note_follows_read(
    conn: &mut SqliteConnection,
    user: &UserKey,
    now: u64,
) -> Result<(), ClientError> {
    let (user, now) = (user.to_string(), to_sql(now));
    sqlx::query!(
        "INSERT INTO follows_read (user, read_at) VALUES (?, ?)
         ON CONFLICT (user) DO UPDATE SET read_at = excluded.read_at",
        user,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets whom people follow who could not be read for too long.
pub(crate) async fn forget_follows(
    conn: &mut SqliteConnection,
    before: u64,
) -> Result<(), ClientError> {
    let before = to_sql(before);
    sqlx::query!(
        "DELETE FROM follow WHERE friend IN (SELECT user FROM follows_read WHERE read_at < ?)",
        before
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("DELETE FROM follows_read WHERE read_at < ?", before)
        .execute(conn)
        .await?;
    Ok(())
}

/// Whom somebody follows, as it was read last.
pub(crate) async fn follows_of(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Vec<UserKey>, ClientError> {
    let user = user.to_string();
    let rows = sqlx::query!(
        "SELECT user FROM follow WHERE friend = ? ORDER BY user LIMIT 256",
        user
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| parse_own(&row.user, "whom somebody follows"))
        .collect()
}

/// When somebody was last looked at, and how often.
pub(crate) async fn looked_at(
    conn: &mut SqliteConnection,
    user: &UserKey,
) -> Result<Option<(u64, u64)>, ClientError> {
    let user = user.to_string();
    let row = sqlx::query!("SELECT at, looks FROM looked_at WHERE user = ?", user)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| (from_sql(row.at), from_sql(row.looks))))
}

/// Notes a look at somebody.
pub(crate) async fn note_look(
    conn: &mut SqliteConnection,
    user: &UserKey,
    now: u64,
) -> Result<(), ClientError> {
    let (user, now) = (user.to_string(), to_sql(now));
    sqlx::query!(
        "INSERT INTO looked_at (user, at, looks) VALUES (?, ?, 1)
         ON CONFLICT (user) DO UPDATE SET at = excluded.at, looks = looks + 1",
        user,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Looks at everybody again: the rules have changed.
pub(crate) async fn look_again(conn: &mut SqliteConnection) -> Result<(), ClientError> {
    sqlx::query!("DELETE FROM looked_at").execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;
    use crate::store::contacts::{self, Contact, ContactStatus};
    use crate::store::rules::{self, grants};
    use crate::store::{Store, ratings, settings};

    fn key(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    async fn friend(conn: &mut SqliteConnection, n: u8) {
        let mut contact = Contact::new(key(n), 1);
        contact.status = ContactStatus::Friend;
        contact.name = n.to_string();
        contacts::put(conn, &contact).await.unwrap();
    }

    #[tokio::test]
    async fn only_the_fresh_word_of_ones_own_friends_counts() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let now = crate::net::now_ms();
        for n in [1, 2, 3, 4, 5] {
            friend(conn, n).await;
        }
        // 1 vouches; 2 was let in by a rule; 3 is blocked; 4 was silent too long; 5 took it back; 6 is nobody.
        for n in [1, 2, 3, 4, 5, 6] {
            let at = if n == 4 {
                now - WORD_STANDS_MS - 60_000
            } else {
                now
            };
            put_vouch(conn, &key(n), &key(9), true, at).await.unwrap();
        }
        grants::let_in(conn, &key(2), 1, now).await.unwrap();
        rules::set_blocked(conn, &key(3), true, now).await.unwrap();
        put_vouch(conn, &key(5), &key(9), false, now).await.unwrap();
        let facts = of(conn, &key(9)).await.unwrap();
        assert_eq!(facts.introducers, [key(1)].into());
        assert_eq!(of(conn, &key(8)).await.unwrap(), Facts::default());
    }

    #[tokio::test]
    async fn every_way_over_at_most_two_people_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("w")).await.unwrap();
        let mut tx = store.write().await.unwrap();
        let conn = tx.conn();
        let me = key(100);
        settings::set(conn, settings::USER, &me.to_string())
            .await
            .unwrap();
        let follows: [(UserKey, &[u8]); 5] = [
            (me, &[1, 2, 3]),
            (key(1), &[9, 4]),
            (key(2), &[4]),
            (key(4), &[9]),
            (key(3), &[9]),
        ];
        for (who, whom) in follows {
            let whom: Vec<UserKey> = whom.iter().map(|n| key(*n)).collect();
            ratings::set_follows(conn, &who, &whom).await.unwrap();
        }
        rules::set_blocked(conn, &key(3), true, 1).await.unwrap();
        let facts = of(conn, &key(9)).await.unwrap();
        let expected: BTreeSet<Vec<UserKey>> =
            [vec![key(1)], vec![key(1), key(4)], vec![key(2), key(4)]].into();
        assert_eq!(facts.ways, expected);
        let near = of(conn, &key(1)).await.unwrap();
        assert_eq!(near.ways, [vec![]].into());
    }
}
