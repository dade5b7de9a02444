//! The roles of a plugin, and under what each is found: the twin of the plugin's `announce/roles.rs`, fixed in
//! `docs/spec/discovery.md`.

/// What a plugin can be to others, beside keeping their messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Knows who can pay whom.
    Router,
    /// Runs a log of preimages.
    WitnessLog,
    /// Cosigns logs of others.
    Cosigner,
    /// Watches logs, and knows which ones lied.
    Watchtower,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Router,
        Self::WitnessLog,
        Self::Cosigner,
        Self::Watchtower,
    ];

    /// Its name, as in `/v0/info`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::WitnessLog => "witness_log",
            Self::Cosigner => "cosigner",
            Self::Watchtower => "watchtower",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The text whose SHA-1 is [`Role::infohash`].
    #[must_use]
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Router => "atomicity router v0",
            Self::WitnessLog => "atomicity witness-log v0",
            Self::Cosigner => "atomicity cosigner v0",
            Self::Watchtower => "atomicity watchtower v0",
        }
    }

    /// Under what its providers are found on Mainline (BEP 5).
    #[must_use]
    pub const fn infohash(self) -> &'static [u8; 20] {
        match self {
            Self::Router => &[
                0x5b, 0x14, 0x2f, 0xeb, 0x47, 0x03, 0x49, 0xc8, 0x0b, 0x54, 0x70, 0x57, 0x54, 0xf3,
                0x1b, 0x6c, 0x78, 0xcc, 0x64, 0xc0,
            ],
            Self::WitnessLog => &[
                0x53, 0x59, 0x14, 0x40, 0x82, 0xef, 0xb0, 0x4e, 0xf4, 0x01, 0x61, 0x1e, 0x33, 0x34,
                0xce, 0xe4, 0x61, 0x5c, 0xae, 0x9c,
            ],
            Self::Cosigner => &[
                0x9e, 0x0e, 0x57, 0x68, 0x1f, 0x10, 0x03, 0x46, 0x9e, 0xb6, 0xa0, 0x15, 0xa4, 0x49,
                0x4e, 0xd0, 0xc7, 0x9a, 0x7e, 0xe1,
            ],
            Self::Watchtower => &[
                0xba, 0x40, 0xb2, 0x5b, 0x79, 0x19, 0x59, 0x05, 0xf9, 0xad, 0xde, 0xb4, 0x95, 0x63,
                0xb3, 0xe3, 0xa8, 0x50, 0x10, 0x69,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_infohashes_are_those_of_the_specification() {
        let written = [
            (Role::Router, "5b142feb470349c80b54705754f31b6c78cc64c0"),
            (Role::WitnessLog, "5359144082efb04ef401611e3334cee4615cae9c"),
            (Role::Cosigner, "9e0e57681f1003469eb6a015a4494ed0c79a7ee1"),
            (Role::Watchtower, "ba40b25b79195905f9addeb49563b3e3a8501069"),
        ];
        for (role, hex) in written {
            let bytes = role.infohash().iter();
            let ours = bytes.fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            assert_eq!(ours, hex, "{role:?}");
            let hashed = sha1_smol::Sha1::from(role.phrase()).digest();
            assert_eq!(hashed.to_string(), hex, "{role:?}");
        }
    }
}
