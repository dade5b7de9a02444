//! What the operator decides about pages.

use serde::{Deserialize, Serialize};

/// Pages for people.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// Whether the HTTP listener serves pages. They bear what users write, under the operator's name: so not unless wanted.
    pub enabled: bool,
    /// Whether there are pages about users without an account here too. Who they are and what they write is nobody's choice here.
    pub strangers: bool,
}
