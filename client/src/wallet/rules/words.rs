//! Rules in words.

use atomicity_ledger::policy::{Held, Who};
use sqlx::SqliteConnection;

use crate::error::ClientError;
use crate::store::{contacts, rules};

/// Why a rule gave somebody something, in a few words; `None` if the rule is gone.
pub(super) async fn why(
    conn: &mut SqliteConnection,
    held: Held,
) -> Result<Option<String>, ClientError> {
    let policy = rules::many(conn).await?;
    let Some(rule) = policy.rules().iter().find(|rule| rule.id == held.rule) else {
        return Ok(None);
    };
    let words = match (&rule.who, held.introducer) {
        (Who::FriendOf(_), Some(friend)) => {
            let contact = contacts::get(conn, &friend).await?;
            let name = contact.map_or_else(|| friend.to_z32(), |contact| contact.name);
            format!("friend of {name}")
        }
        (who, _) => about(conn, who).await?,
    };
    Ok(Some(words))
}

/// About whom a rule is, in a few words.
pub(super) async fn about(conn: &mut SqliteConnection, who: &Who) -> Result<String, ClientError> {
    Ok(match who {
        Who::Peer(user) | Who::FriendOf(Some(user)) => {
            let contact = contacts::get(conn, user).await?;
            let name = contact.map_or_else(|| user.to_z32(), |contact| contact.name);
            match who {
                Who::Peer(_) => name,
                _ => format!("friend of {name}"),
            }
        }
        Who::FriendOf(None) => "friend of a friend".to_owned(),
        Who::Tag(label) => format!("tagged {label}"),
        Who::Distance { hops: 1, .. } => "followed by you".to_owned(),
        Who::Distance { hops, .. } => format!("at most {hops} follows away"),
        Who::Anyone => "anyone".to_owned(),
    })
}
