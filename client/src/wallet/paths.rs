//! Where things lie on a user's homeserver, beside what the ledger names itself.

/// The mark that says which store keeps the books.
pub(crate) const GENERATION: &str = "/priv/atomicity/v0/generation";
/// Pages of the sealed contact list.
pub(crate) const CONTACTS: &str = "/priv/atomicity/v0/contacts/";
/// Name of the scope from which encryption file keys are derived.
const ENCRYPTION_KEYS: &str = "/priv/atomicity/v0/keys/x25519-";

/// One page of the contact list.
pub(crate) fn contacts_page(page: u16) -> String {
    format!("{CONTACTS}{page}")
}

/// The scope of the encryption file key `n`.
pub(crate) fn encryption_key(n: u32) -> String {
    format!("{ENCRYPTION_KEYS}{n}")
}
