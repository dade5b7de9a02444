//! Exit codes of the command line.

/// After what an agent said no to.
pub(super) fn of_agent(code: &str) -> u8 {
    match code {
        "limit_exceeded"
        | "day_limit_exceeded"
        | "below_minimum"
        | "terms_refused"
        | "no_slot"
        | "not_releasable"
        | "total_overflow"
        | "channel_frozen"
        | "cap_above_authority" => 3,
        "agent_stopped"
        | "books_restored"
        | "book_not_acknowledged"
        | "no_pen"
        | "epoch_ended"
        | "key_revoked"
        | "authority_expired"
        | "not_authorized"
        | "book_not_for_agent" => 5,
        _ => 1,
    }
}

/// After what the agent of a payment account said no to.
pub(super) fn of_account(code: &str) -> u8 {
    match code {
        "account_day_limit_exceeded"
        | "account_limit_exceeded"
        | "unit_not_allowed"
        | "peer_not_allowed"
        | "target_not_allowed"
        | "too_many_spends" => 3,
        "account_restored"
        | "authority_not_yet_valid"
        | "not_an_account"
        | "payment_account_unknown" => 5,
        "revocation_unknown" => 4,
        other => of_agent(other),
    }
}
