//! How a request stands, for people.

use atomicity_ledger::Timestamp;
use atomicity_ledger::record::{Goal, PaymentRequest, RequestState};

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// More is welcome.
    Open,
    /// What was asked for has come.
    Full,
    /// All of it is paid or being paid just now.
    Spoken,
    /// The payee took it back.
    Closed,
    /// Its time is over.
    Expired,
}

impl Standing {
    pub fn of(asked: &PaymentRequest, state: Option<&RequestState>, now: Timestamp) -> Self {
        let most = asked.amount.most().filter(|_| asked.every.is_none());
        let filled = state.map_or(0, |state| state.filled.minor());
        let reserved = state.map_or(0, |state| state.reserved.minor());
        match most.map(|most| most.minor()) {
            Some(most) if filled >= most => Self::Full,
            _ if asked.has_expired(now) => Self::Expired,
            Some(most) if filled.saturating_add(reserved) >= most => Self::Spoken,
            _ if state.is_some_and(|state| !state.open) => Self::Closed,
            _ => Self::Open,
        }
    }

    /// Its name for the script.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Full => "full",
            Self::Spoken => "spoken",
            Self::Closed => "closed",
            Self::Expired => "expired",
        }
    }

    /// What it means for who is asked.
    pub fn words(self, asked: &PaymentRequest) -> &'static str {
        match self {
            Self::Open => welcome(asked),
            Self::Full => "Full: all of it is paid. Thank you. Nothing more is needed.",
            Self::Spoken => {
                "All of it is paid or being paid just now. If a part is given up, it can be paid again."
            }
            Self::Closed => "Closed: who asked for it takes nothing more.",
            Self::Expired => "Over: its time has passed. Pay nothing more on it.",
        }
    }

    pub const ALL: [Self; 5] = [
        Self::Open,
        Self::Full,
        Self::Spoken,
        Self::Closed,
        Self::Expired,
    ];
}

/// Who may pay what, while it is open.
fn welcome(asked: &PaymentRequest) -> &'static str {
    let one = asked.payer.is_some();
    match &asked.amount {
        Goal::Exact(_) if asked.every.is_some() && one => {
            "Open: the one who is asked pays it each time it is due."
        }
        Goal::Exact(_) if asked.every.is_some() => {
            "Open: whoever wants to can pay it each time it is due."
        }
        Goal::Exact(_) if one => "Open: the one who is asked pays all of it at once.",
        Goal::Exact(_) => "Open: one payer pays all of it at once.",
        Goal::Target { .. } if one => "Open: the one who is asked can pay it in parts.",
        Goal::Target { .. } => "Open: whoever wants to can pay a part.",
        Goal::Open { .. } if one => {
            "Open: the one who is asked can pay as much and as often as they like."
        }
        Goal::Open { .. } => "Open: whoever wants to can pay, as much and as often as they like.",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::{Keypair, RecordId, UserKey};
    use serde_json::json;

    use super::*;

    fn asked(amount: serde_json::Value, expires: u64) -> PaymentRequest {
        serde_json::from_value(json!({
            "v": 1, "id": RecordId::from_entropy([1; 16]), "payee": payee(), "unit": "USD/2", "amount": amount, "targets": [],
            "expires": expires, "at": 1,
        }))
        .unwrap()
    }

    fn payee() -> UserKey {
        Keypair::from_secret(&[1; 32]).user_key()
    }

    fn state(filled: &str, reserved: &str, open: bool) -> RequestState {
        let hash = atomicity_ledger::RecordHash::of("x");
        serde_json::from_value(json!({
            "v": 1, "request": hash, "payee": payee(), "filled": filled, "reserved": reserved, "open": open, "serial": 1, "at": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_request_stands_as_its_payee_says_and_its_time_tells() {
        let now = Timestamp::from_millis(10).unwrap();
        let target = |expires| asked(json!({"target": {"amount": "100"}}), expires);
        let of = |asked: &PaymentRequest, said: Option<RequestState>| {
            Standing::of(asked, said.as_ref(), now)
        };
        assert_eq!(of(&target(20), None), Standing::Open);
        assert_eq!(
            of(&target(20), Some(state("60", "0", true))),
            Standing::Open
        );
        assert_eq!(
            of(&target(20), Some(state("60", "40", false))),
            Standing::Spoken
        );
        assert_eq!(
            of(&target(20), Some(state("100", "0", false))),
            Standing::Full
        );
        assert_eq!(
            of(&target(20), Some(state("60", "0", false))),
            Standing::Closed
        );
        assert_eq!(
            of(&target(10), Some(state("60", "0", true))),
            Standing::Expired
        );
        // Full stays full.
        assert_eq!(
            of(&target(10), Some(state("100", "0", false))),
            Standing::Full
        );
        let open = asked(json!({"open": {}}), 20);
        assert_eq!(of(&open, Some(state("100000", "0", true))), Standing::Open);
    }

    #[test]
    fn only_who_may_pay_a_part_is_told_so() {
        let target = asked(json!({"target": {"amount": "100"}}), 20);
        let exact = asked(json!({"exact": "100"}), 20);
        let addressed = |mut asked: PaymentRequest| {
            asked.payer = Some(Keypair::from_secret(&[2; 32]).user_key());
            asked
        };
        let words = |asked: &PaymentRequest| Standing::Open.words(asked);
        assert!(words(&target).contains("whoever wants to can pay a part"));
        assert!(words(&exact).contains("one payer pays all of it"));
        let (target, exact) = (addressed(target), addressed(exact));
        assert!(words(&target).contains("who is asked can pay it in parts"));
        assert!(words(&exact).contains("who is asked pays all of it"));
    }
}
