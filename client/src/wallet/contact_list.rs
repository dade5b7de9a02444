//! The contact list on the homeserver: signed, sealed to the root, rewritten on every change. A fresh wallet with only the root key
//! finds everybody again by it.

use atomicity_ledger::record::{self, Contacts};
use atomicity_ledger::seal::{
    KeyId, MAX_PRIVATE_FILE_BYTES, PrivateKey, open_private, seal_private,
};
use atomicity_ledger::{Keypair, LedgerError, Name, Serial, Signed, UserKey};

use super::access::Keys;
use super::{Wallet, directory, entropy, now, paths};
use crate::error::ClientError;
use crate::net::NetError;
use crate::net::session::HomeSession;
use crate::store::contacts::{self, Contact, ContactStatus};
use crate::store::settings;

/// Contacts on one page.
const PAGE: usize = 256;
/// Pages at most.
const MAX_PAGES: u16 = 256;

impl Wallet {
    /// Writes the contact list if it is behind. Removed friends stay on it: their books are kept.
    pub(crate) async fn write_contact_list(
        &self,
        session: &HomeSession,
    ) -> Result<(), ClientError> {
        if !self.is_stale(settings::CONTACTS_STALE).await? {
            return Ok(());
        }
        let mut conn = self.store().read().await?;
        let keys = Keys::load(&mut conn, self.user()).await?;
        let mut known = contacts::list(&mut conn, ContactStatus::Friend).await?;
        known.extend(contacts::list(&mut conn, ContactStatus::Removed).await?);
        let before = settings::number(&mut conn, settings::CONTACTS_PAGES, 0).await?;
        drop(conn);
        known.sort_by_key(|contact| contact.user);
        let pages = sign_pages(self.user(), &keys, &known)?;
        for (path, sealed) in &pages {
            session.put(path, sealed.clone()).await?;
        }
        let count = pages.len() as u64;
        for page in count..before {
            let page = u16::try_from(page).unwrap_or(MAX_PAGES);
            session.delete(&paths::contacts_page(page)).await?;
        }
        let mut tx = self.store().write().await?;
        settings::set(tx.conn(), settings::CONTACTS_PAGES, &count.to_string()).await?;
        settings::set(tx.conn(), settings::CONTACTS_STALE, "0").await?;
        tx.commit().await
    }
}

/// The pages of the list, sealed, with their paths; one empty page if there is nobody.
fn sign_pages(
    me: UserKey,
    keys: &Keys,
    known: &[Contact],
) -> Result<Vec<(String, Vec<u8>)>, ClientError> {
    let entries = known
        .iter()
        .map(|contact| entry(keys, contact))
        .collect::<Result<Vec<_>, _>>()?;
    let chunks: Vec<&[record::Contact]> = if entries.is_empty() {
        vec![&[]]
    } else {
        entries.chunks(PAGE).collect()
    };
    let pages = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
    let now = now();
    let serial = Serial::new(now.millis())?;
    let mut sealed = Vec::new();
    for (page, contacts) in (0..pages).zip(chunks) {
        let list = Contacts {
            v: Default::default(),
            user: me,
            serial,
            page,
            pages,
            contacts: contacts.to_vec(),
            at: now,
        };
        let signed = Signed::sign(list, &keys.pen)?;
        let path = paths::contacts_page(page);
        let body = seal_private(&keys.private, &path, entropy(), signed.jws().as_bytes())?;
        sealed.push((path, body));
    }
    Ok(sealed)
}

/// What the list says about a contact.
pub(crate) fn entry(keys: &Keys, contact: &Contact) -> Result<record::Contact, ClientError> {
    let their_key = directory::peer_keys(contact)?
        .first()
        .map_or(KeyId::ROOT, |(id, _)| *id);
    Ok(record::Contact {
        user: contact.user,
        // A name that a record can't hold is only a name: it is left out.
        name: contact.name.parse::<Name>().ok(),
        own_key: keys.current()?.id(),
        their_key,
    })
}

/// Reads the whole list back.
///
/// # Errors
/// [`ClientError::Net`] if a page can't be fetched, [`ClientError::Ledger`] if one can't be opened or is not the user's.
pub(crate) async fn read(
    session: &HomeSession,
    root: &Keypair,
) -> Result<Vec<record::Contact>, ClientError> {
    let key = PrivateKey::of_root(root)?;
    let me = root.user_key();
    let mut found = Vec::new();
    let mut page = 0;
    loop {
        let path = paths::contacts_page(page);
        let sealed = match session.get(&path, MAX_PRIVATE_FILE_BYTES).await {
            Ok(sealed) => sealed,
            Err(NetError::NotFound(_)) => return Ok(found),
            Err(error) => return Err(error.into()),
        };
        let opened = open_private(&key, &path, &sealed)?;
        let jws = std::str::from_utf8(&opened).map_err(|_| ClientError::Malformed {
            what: "the contact list".to_owned(),
            why: "it is no text".to_owned(),
        })?;
        // Only the user's own wallets can seal such a page, so whichever book key signed it speaks for the user.
        let list: Signed<Contacts> = Signed::decode(jws)?;
        if list.record().user != me || list.record().page != page {
            return Err(LedgerError::ForeignChannel.into());
        }
        found.extend(list.record().contacts.iter().cloned());
        page += 1;
        if page >= list.record().pages.min(MAX_PAGES) {
            return Ok(found);
        }
    }
}
