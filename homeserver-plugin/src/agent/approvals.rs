//! Requests that recur and that a user lets the agent pay: what is taken, and whose word on it counts.

use atomicity_ledger::authority::{Credentials, Purpose, delegation_path};
use atomicity_ledger::record::{Goal, Inbox, PaymentRequest, ReplyTo};
use atomicity_ledger::{Amount, RecordHash, Signed, SignerKey, UserKey};

use super::keeper::Keeper;
use super::{change, lookup, refused};
use crate::error::PluginError;
use crate::state::AppState;

fn malformed(detail: impl Into<String>) -> PluginError {
    PluginError::BadRequest {
        code: "approval_malformed",
        detail: detail.into(),
    }
}

fn no(code: &'static str, detail: &str) -> PluginError {
    PluginError::Refused {
        code,
        detail: detail.to_owned(),
    }
}

/// There is no such approval.
#[must_use]
pub fn unknown() -> PluginError {
    PluginError::NotFound {
        code: "approval_unknown",
        detail: "this request was not handed over to the agent",
    }
}

/// What each turn of a request asks for.
///
/// # Errors
/// `approval_malformed` for a request that does not recur.
pub fn amount(asked: &PaymentRequest) -> Result<Amount, PluginError> {
    match (&asked.every, &asked.amount) {
        (Some(_), Goal::Exact(amount)) => Ok(*amount),
        _ => Err(malformed("this request does not recur")),
    }
}

/// Reads a request that the user wants the agent to pay, each turn for at most `up_to`.
///
/// # Errors
/// `approval_malformed`, `not_asked`, `above_ceiling`, `request_expired`.
pub fn read(
    owner: UserKey,
    hash: RecordHash,
    request: &str,
    (up_to, first_turn): (Amount, u32),
) -> Result<Signed<PaymentRequest>, PluginError> {
    let signed: Signed<PaymentRequest> =
        Signed::decode(request).map_err(|error| malformed(error.to_string()))?;
    if signed.hash() != hash {
        return Err(malformed("the request has another hash"));
    }
    let asked = signed.record();
    let amount = amount(asked)?;
    let count = asked.every.as_ref().and_then(|every| every.count);
    if count.is_some_and(|count| first_turn >= count) {
        return Err(malformed("there are not so many turns"));
    }
    if !asked.asks(owner) {
        return Err(no("not_asked", "somebody else is asked to pay"));
    }
    if amount > up_to {
        return Err(no(
            "above_ceiling",
            "it asks for more than one turn may cost",
        ));
    }
    if asked.has_expired(change::now()) {
        return Err(no("request_expired", "nothing of it is paid any more"));
    }
    Ok(signed)
}

/// Whether a key may say for `user` how they are paid, by what they publish now.
///
/// # Errors
/// What is wrong with the key; [`PluginError::Upstream`] if the user's homeserver can't be asked.
pub async fn authorized(
    state: &AppState,
    user: &UserKey,
    key: SignerKey,
) -> Result<(), PluginError> {
    if key.is_root_of(user) {
        return Ok(());
    }
    let now = change::now();
    let mut known = Credentials::new(*user);
    if let Some(found) = lookup::read(state, user, &delegation_path(&key)).await? {
        let learnt = known.learn(found.trim(), now);
        learnt.map_err(|error| refused(&error))?;
    }
    let judged = known.judge(key, Purpose::Receive, now);
    judged.map(|_| ()).map_err(|error| refused(&error))
}

/// Where payees leave their answers for the agent.
///
/// # Errors
/// [`PluginError::Internal`].
pub fn reply_to(state: &AppState, keeper: &Keeper) -> Result<ReplyTo, PluginError> {
    let key = state.keypair.public_key().z32();
    let plugin = key.parse();
    let plugin = plugin
        .map_err(|error: atomicity_ledger::LedgerError| PluginError::Internal(error.to_string()))?;
    let url = state.config.http.public_url.as_ref();
    Ok(ReplyTo {
        key: keeper.reply.public(),
        inbox: Inbox {
            plugin,
            url: url.and_then(|url| url.as_str().parse().ok()),
        },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::jws::Version;
    use atomicity_ledger::record::{Every, Period};
    use atomicity_ledger::{Keypair, RecordId, Timestamp};

    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn rent(change: impl FnOnce(&mut PaymentRequest)) -> Signed<PaymentRequest> {
        let (payee, payer) = (
            Keypair::from_secret(&[1; 32]),
            Keypair::from_secret(&[2; 32]),
        );
        let now = change::now();
        let mut request = PaymentRequest {
            v: Version,
            id: RecordId::from_entropy([3; 16]),
            payee: payee.user_key(),
            payer: Some(payer.user_key()),
            unit: "USD/2".parse().unwrap(),
            amount: Goal::Exact(Amount::from_minor(500).unwrap()),
            targets: vec![],
            memo: None,
            every: Some(Every {
                period: Period::Month,
                from: now,
                count: Some(3),
            }),
            expires: now.plus_millis(400 * DAY_MS),
            at: now,
        };
        change(&mut request);
        Signed::sign(request, &payee).unwrap()
    }

    fn code(request: &Signed<PaymentRequest>, up_to: u64, first: u32) -> &'static str {
        let payer = Keypair::from_secret(&[2; 32]).user_key();
        let up_to = Amount::from_minor(up_to).unwrap();
        match read(payer, request.hash(), request.jws(), (up_to, first)) {
            Ok(_) => "taken",
            Err(error) => error.code(),
        }
    }

    #[test]
    fn what_may_not_be_paid_is_refused_with_its_reason() {
        assert_eq!(code(&rent(|_| ()), 500, 2), "taken");
        assert_eq!(code(&rent(|_| ()), 499, 0), "above_ceiling");
        assert_eq!(code(&rent(|_| ()), 500, 3), "approval_malformed");
        let once = rent(|request| request.every = None);
        assert_eq!(code(&once, 500, 0), "approval_malformed");
        let anybody = rent(|request| request.payer = None);
        assert_eq!(code(&anybody, 500, 0), "taken");
        let other = Keypair::from_secret(&[4; 32]).user_key();
        let others = rent(|request| request.payer = Some(other));
        assert_eq!(code(&others, 500, 0), "not_asked");
        let past = rent(|request| {
            let every = request.every.as_mut().unwrap();
            every.from = Timestamp::from_millis(0).unwrap();
            request.expires = Timestamp::from_millis(DAY_MS).unwrap();
        });
        assert_eq!(code(&past, 500, 0), "request_expired");
    }

    #[test]
    fn another_request_under_the_same_name_is_none() {
        let (one, other) = (
            rent(|_| ()),
            rent(|request| request.memo = "x".parse().ok()),
        );
        let payer = Keypair::from_secret(&[2; 32]).user_key();
        let terms = (Amount::from_minor(500).unwrap(), 0);
        let refused = read(payer, one.hash(), other.jws(), terms);
        assert_eq!(refused.unwrap_err().code(), "approval_malformed");
    }
}
