//! What people type in or paste, however they came by it.

use atomicity_ledger::UserKey;
use atomicity_ledger::link::Link;

/// A user's key: alone, as Pubky writes it (`pubky…`, `pubky://…`, `pk:…`), or in a link of this system (`atomicity:…`) that leads to a
/// user, as the code on a user's page does. `None` if it is none of these.
#[must_use]
pub fn key(typed: &str) -> Option<UserKey> {
    let typed = typed.trim();
    if let Ok(Link::User(link)) = typed.parse::<Link>() {
        return Some(link.user);
    }
    let bare = ["pubky://", "pk://", "pk:"]
        .iter()
        .find_map(|scheme| typed.strip_prefix(scheme))
        .unwrap_or(typed)
        .trim_end_matches('/');
    let short = bare.strip_prefix("pubky").filter(|rest| rest.len() == 52);
    short.unwrap_or(bare).parse().ok()
}

#[cfg(test)]
mod tests {
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn a_key_is_read_however_it_was_copied() {
        let user = Keypair::from_secret(&[7; 32]).user_key();
        for written in [
            format!("{user}"),
            format!(" {user}\n"),
            format!("pubky{user}"),
            format!("pubky://{user}/"),
            format!("pk:{user}"),
            format!("pk://{user}/"),
            format!("atomicity:{user}"),
            format!("ATOMICITY:{user}?unit=USD/2&amount=5.00"),
        ] {
            assert_eq!(key(&written), Some(user), "{written}");
        }
        for other in [
            "",
            "x",
            "atomicity:",
            "//evil.example",
            "/u/x",
            "http://a",
            "pubky",
        ] {
            assert_eq!(key(other), None, "{other}");
        }
    }
}
