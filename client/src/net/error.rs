//! What can go wrong between this device and the servers it talks to.

use std::time::Duration;

/// Errors of everything that touches the network. Each kind has a stable code: [`NetError::code`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// The server answered that there is nothing at this path. For a counterparty's file this means *no news*, never *deleted*.
    #[error("nothing is stored at {0}")]
    NotFound(String),
    /// No homeserver is published for this user.
    #[error("no homeserver is published for {0}")]
    NoHome(String),
    /// No connection, or one that broke off.
    #[error("{server} can't be reached: {reason}")]
    Unreachable {
        /// Whom we tried to reach.
        server: String,
        /// What happened.
        reason: String,
    },
    /// The server let the time run out.
    #[error("{server} did not answer within {after_ms} ms")]
    Timeout {
        /// Whom we asked.
        server: String,
        /// How long we waited, in milliseconds.
        after_ms: u64,
    },
    /// The answer is larger than what is accepted here.
    #[error("the answer of {server} is larger than {limit} bytes")]
    TooLarge {
        /// Who answered.
        server: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The published address is on this machine or in a private network.
    #[error("{server} points at an address that is not public ({address})")]
    RefusedAddress {
        /// Whose packet or URL it was.
        server: String,
        /// The refused address.
        address: String,
    },
    /// The server answered with a status that has no meaning of its own here.
    #[error("{server} answered {status}{}", detail_suffix(.detail))]
    HttpStatus {
        /// Who answered.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The first characters of the answer, or empty.
        detail: String,
    },
    /// A service gave a reason with a code of its own.
    #[error("{server} refuses: {detail}")]
    Refused {
        /// Who answered.
        server: String,
        /// The HTTP status.
        status: u16,
        /// The service's own code, such as `account_unknown`.
        code: &'static str,
        /// The service's words.
        detail: String,
    },
    /// The server asks us to come back later.
    #[error("{server} asks for patience: {detail} (again in {} s)", .retry_after.as_secs())]
    RateLimited {
        /// Who answered.
        server: String,
        /// `rate_limited`, `unavailable`, or the service's own code, such as `queue_full`.
        code: &'static str,
        /// The server's words, or a status line.
        detail: String,
        /// How long to wait.
        retry_after: Duration,
    },
    /// The answer does not say what it should.
    #[error("{server} answered something that can't be read: {reason}")]
    Malformed {
        /// Who answered.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument of ours can't be used: a path, a key, an address.
    #[error("{0}")]
    Invalid(String),
    /// The stored session is not one of ours.
    #[error("the stored session can't be read: {0}")]
    SessionUnreadable(&'static str),
    /// The homeserver no longer accepts the session: its grant was revoked or has expired.
    #[error("the session at {0} has ended: sign in again with the root key")]
    SessionEnded(String),
    /// The homeserver takes the grant, but each bearer for it was replaced before it could be used.
    #[error("other programs use the session at {0} so often that nothing else gets through")]
    SessionContested(String),
    /// The session may not do that.
    #[error("{server} does not allow that: {detail}")]
    Forbidden {
        /// Who answered.
        server: String,
        /// The server's words.
        detail: String,
    },
    /// Somebody else holds the write lock of this path.
    #[error("{0} is locked by another writer")]
    Locked(String),
    /// Our write lock on this path is gone.
    #[error("the write lock on {0} was lost")]
    LockLost(String),
    /// The homeserver has no room left for this user.
    #[error("the storage quota at {0} is used up")]
    QuotaExceeded(String),
    /// The public DHT (or the relays) gave no usable answer.
    #[error("the DHT can't be asked about {about}: {reason}")]
    Dht {
        /// Which key was looked up or published.
        about: String,
        /// What happened.
        reason: String,
    },
    /// A client could not be built from the configuration.
    #[error("the network can't be set up: {0}")]
    Setup(String),
}

fn detail_suffix(detail: &str) -> String {
    if detail.is_empty() {
        String::new()
    } else {
        format!(": {detail}")
    }
}

impl NetError {
    /// The stable, machine-readable name of this kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::NoHome(_) => "no_home",
            Self::Unreachable { .. } => "unreachable",
            Self::Timeout { .. } => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::RefusedAddress { .. } => "refused_address",
            Self::HttpStatus { .. } => "http_status",
            Self::Refused { code, .. } | Self::RateLimited { code, .. } => code,
            Self::Malformed { .. } => "malformed",
            Self::Invalid(_) => "invalid_argument",
            Self::SessionUnreadable(_) => "session_unreadable",
            Self::SessionEnded(_) => "session_ended",
            Self::SessionContested(_) => "session_contested",
            Self::Forbidden { .. } => "forbidden",
            Self::Locked(_) => "storage_locked",
            Self::LockLost(_) => "storage_lock_lost",
            Self::QuotaExceeded(_) => "quota_exceeded",
            Self::Dht { .. } => "dht_unavailable",
            Self::Setup(_) => "network_setup",
        }
    }

    /// Whether the network was at fault: nothing that was needed could be reached.
    #[must_use]
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Dht { .. }
        )
    }

    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::HttpStatus { status, .. } | Self::Refused { status, .. } => {
                *status >= 500 || *status == 408
            }
            Self::RateLimited { .. }
            | Self::Locked(_)
            | Self::LockLost(_)
            | Self::SessionContested(_) => true,
            _ => self.is_network(),
        }
    }

    /// Whether the server has no such route: it is of an earlier version.
    #[must_use]
    pub fn is_route_unknown(&self) -> bool {
        matches!(
            self,
            Self::HttpStatus { status: 404, .. }
                | Self::NotFound(_)
                | Self::Refused {
                    code: "route_unknown",
                    ..
                }
        )
    }

    /// How long the server asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }
}

/// The codes that a plugin may answer with. Anything else is reported as [`NetError::HttpStatus`], so that codes stay a closed set.
const SERVICE_CODES: &[&str] = &[
    "above_ceiling",
    "account_day_limit_exceeded",
    "account_disabled",
    "account_limit_exceeded",
    "account_moved",
    "account_restored",
    "account_unknown",
    "agent_stopped",
    "agent_unknown",
    "approval_malformed",
    "approval_unknown",
    "asset_unknown",
    "authority_expired",
    "authority_not_yet_valid",
    "below_minimum",
    "body_malformed",
    "body_too_large",
    "body_unreadable",
    "book_not_acknowledged",
    "book_not_for_agent",
    "books_restored",
    "bytes_malformed",
    "cap_above_authority",
    "catching_up",
    "channel_frozen",
    "cosigner_off",
    "cost_too_high",
    "cursor_invalid",
    "database_unavailable",
    "day_limit_exceeded",
    "delegation_malformed",
    "delegation_older",
    "delegation_unknown",
    "diary_invalid",
    "draining",
    "envelope_malformed",
    "epoch_ended",
    "fee_too_high",
    "file_unknown",
    "foreign_channel",
    "gave_up",
    "guest_part_ended",
    "guest_part_invalid",
    "guest_part_unknown",
    "guests_unwelcome",
    "hash_malformed",
    "id_malformed",
    "id_reused",
    "internal",
    "invoice_expired",
    "key_malformed",
    "key_revoked",
    "key_unknown",
    "keys_malformed",
    "layers_invalid",
    "limit_exceeded",
    "limit_invalid",
    "list_changed",
    "log_behind",
    "log_busy",
    "log_not_here",
    "log_stopped",
    "log_unknown",
    "min_index_ahead",
    "no_exchange",
    "no_pen",
    "no_route",
    "no_slot",
    "no_snapshot",
    "not_a_local_user",
    "not_an_account",
    "not_asked",
    "not_authorized",
    "not_in_log",
    "not_releasable",
    "nothing_yet",
    "out_of_range",
    "overloaded",
    "page_unknown",
    "pair_malformed",
    "pair_unknown",
    "pass_invalid",
    "path_malformed",
    "payment_account_unknown",
    "peer_not_allowed",
    "profile_unknown",
    "promise_unknown",
    "proof_expired",
    "proof_invalid",
    "proof_malformed",
    "proof_not_yet_valid",
    "proof_too_large",
    "proof_wrong_audience",
    "proposal_ended",
    "proposal_invalid",
    "proposal_unknown",
    "query_invalid",
    "question_invalid",
    "queue_full",
    "rate_limited",
    "record_too_large",
    "report_invalid",
    "request_closed",
    "request_expired",
    "request_timeout",
    "request_unknown",
    "returned_already",
    "revocation_unknown",
    "route_unknown",
    "router_off",
    "router_starting",
    "session_invalid",
    "settings_invalid",
    "signer_not_authorized",
    "snapshot_invalid",
    "snapshot_stale",
    "spend_elsewhere",
    "spend_ended",
    "spend_expired",
    "spend_malformed",
    "spend_too_long",
    "spend_unknown",
    "tag_unknown",
    "tags_malformed",
    "target_not_allowed",
    "terms_refused",
    "tile_unknown",
    "too_many_accounts",
    "too_many_agents",
    "too_many_approvals",
    "too_many_guest_parts",
    "too_many_ids",
    "too_many_notes",
    "too_many_pairs",
    "too_many_proposals",
    "too_many_spends",
    "too_many_streams",
    "too_many_tags",
    "too_many_ways",
    "too_narrow",
    "total_overflow",
    "unit_invalid",
    "unit_not_allowed",
    "units_too_many",
    "unknown_payee",
    "unknown_payer",
    "unknown_via",
    "until_invalid",
    "upstream_unavailable",
    "user_malformed",
    "verdict_unknown",
];

/// The known code equal to `code`, if any.
pub(crate) fn service_code(code: &str) -> Option<&'static str> {
    SERVICE_CODES.iter().copied().find(|known| *known == code)
}
