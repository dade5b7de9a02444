//! Listings of a folder in which every file is named after a key.

use std::collections::BTreeSet;

use atomicity_ledger::UserKey;

use super::{Broken, Visitor};
use crate::resolve::Fetched;
use crate::resolve::at::Fault;

/// Names asked for at once.
const PAGE: usize = 500;
/// Longest page: each name with its folder takes less than 200 bytes.
const MAX_PAGE_BYTES: usize = PAGE * 200;
/// Pages that are read although they bring nothing new.
const MAX_IDLE_PAGES: u32 = 2;

impl Visitor<'_> {
    /// The keys after which the files in `folder` are named, at most `most`. A folder that is not there is empty.
    pub(super) async fn list(&mut self, folder: &str, most: usize) -> Result<Vec<UserKey>, Broken> {
        let mut found = BTreeSet::new();
        let mut cursor: Option<String> = None;
        let mut idle = 0;
        while found.len() < most {
            let limit = PAGE.min(most);
            let mut target = format!("{folder}?limit={limit}");
            if let Some(cursor) = &cursor {
                target.push_str("&cursor=");
                target.push_str(cursor);
            }
            let body = match self.get(&target, None, MAX_PAGE_BYTES).await? {
                Fetched::Found { body, .. } => body,
                Fetched::NotFound => break,
                Fetched::NotModified => return Err(Fault::Malformed.into()),
            };
            let body = std::str::from_utf8(&body).map_err(|_| Fault::Malformed)?;
            let before = found.len();
            let (mut lines, mut last) = (0, None);
            for line in body.lines().filter(|line| !line.is_empty()).take(limit) {
                lines += 1;
                last = name(line, &self.user, folder);
                let key = last.and_then(|name| name.parse::<UserKey>().ok());
                if let Some(key) = key.filter(|key| *key != self.user) {
                    found.insert(key);
                }
            }
            // A server that says the same again and again does not end by itself.
            idle = if found.len() == before { idle + 1 } else { 0 };
            let next = last.map(|name| format!("{}{folder}{name}", self.user));
            if lines < limit || next.is_none() || next == cursor || idle > MAX_IDLE_PAGES {
                break;
            }
            cursor = next;
        }
        Ok(found.into_iter().take(most).collect())
    }
}

/// The file's name in a line of a listing, if it is in the folder that was asked for.
fn name<'a>(line: &'a str, user: &UserKey, folder: &str) -> Option<&'a str> {
    let path = line.strip_prefix("pubky://")?;
    let path = path.strip_prefix(user.to_z32().as_str())?;
    let name = path.strip_prefix(folder)?;
    (!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    #[test]
    fn only_names_in_the_folder_of_the_user_count() {
        let user = Keypair::from_secret(&[1; 32]).user_key();
        let folder = "/pub/atomicity/v0/routes/";
        let line = |rest: &str| format!("pubky://{user}{rest}");
        let named = |line: &str| name(line, &user, folder).map(str::to_owned);
        let good = line(&format!("{folder}abc"));
        assert_eq!(named(&good), Some("abc".to_owned()));
        for wrong in [
            line(folder),
            line(&format!("{folder}a/b")),
            line(&format!("{folder}a&cursor=x")),
            line("/pub/other/abc"),
            format!("https://{user}{folder}abc"),
            good.replace(&user.to_z32(), "someoneelse"),
        ] {
            assert_eq!(named(&wrong), None, "{wrong}");
        }
    }
}
