//! `atomicity-contacts`: whom a user knows, so that a fresh wallet finds every peer again.

use serde::{Deserialize, Serialize};

use super::{ascending, rule};
use crate::error::LedgerError;
use crate::jws::{Record, Version};
use crate::key::UserKey;
use crate::seal::KeyId;
use crate::seq::Serial;
use crate::text::Name;
use crate::time::Timestamp;

/// The most contacts in one list; a longer list is split over pages.
pub const MAX_CONTACTS: usize = 256;
/// The most pages.
pub const MAX_PAGES: u16 = 256;

/// A page of a user's contact list. Sealed to the root and kept where only the user may read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contacts {
    /// Version 1.
    pub v: Version,
    /// Whose list.
    pub user: UserKey,
    /// Later lists have greater serials; all pages of one list bear the same.
    pub serial: Serial,
    /// Which page, from 0.
    pub page: u16,
    /// Of how many.
    pub pages: u16,
    /// Ascending by key.
    pub contacts: Vec<Contact>,
    /// When it was signed; information only.
    pub at: Timestamp,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Who.
    pub user: UserKey,
    /// What the list's owner calls them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// The number of the owner's encryption key that names the channel file now.
    pub own_key: KeyId,
    /// The number of the contact's encryption key that names it.
    pub their_key: KeyId,
}

impl Record for Contacts {
    const TYP: &'static str = "atomicity-contacts";

    fn author(&self) -> UserKey {
        self.user
    }

    fn check(&self) -> Result<(), LedgerError> {
        let rule = |holds, why| rule(Self::TYP, holds, why);
        rule(
            self.page < self.pages && self.pages <= MAX_PAGES,
            "page must be below pages, and pages at most 256",
        )?;
        rule(
            self.contacts.len() <= MAX_CONTACTS && ascending(&self.contacts, |c| c.user),
            "contacts must be at most 256, strictly ascending by key",
        )?;
        rule(
            self.contacts.iter().all(|c| c.user != self.user),
            "a user is no contact of themselves",
        )
    }
}
