//! Whether a way that a router names, or the user, can be relied on to do what it should.

use std::collections::BTreeSet;

use atomicity_ledger::onion::MAX_HOPS;
use atomicity_ledger::{Unit, UserKey};

use super::Plan;
use super::fault::PaymentFault;
use super::ways::{MAX_PARTS, Need, Way, WayPart};

/// Whether a way leads to the payee, brings what is needed, and costs no more than allowed.
pub(super) fn check(me: UserKey, plan: &Plan, need: &Need, way: &Way) -> Result<(), PaymentFault> {
    let invalid = |why| Err(PaymentFault::RouteInvalid(why));
    if way.parts.is_empty() || way.parts.len() > MAX_PARTS {
        return invalid("it has no parts, or too many");
    }
    let (mut arrives, mut promised) = (0u64, 0u64);
    for part in &way.parts {
        if part.hops.is_empty() || part.hops.len() > MAX_HOPS {
            return invalid("a way has 1 to 10 hops");
        }
        if part.hops.last().is_none_or(|(user, _)| *user != plan.payee) {
            return invalid("it does not lead to the payee");
        }
        let users: BTreeSet<UserKey> = part.hops.iter().map(|(user, _)| *user).collect();
        if users.len() != part.hops.len() || users.contains(&me) {
            return invalid("somebody is on it twice");
        }
        if plan.avoid.iter().any(|user| users.contains(user)) {
            return invalid("it leads over somebody to be avoided");
        }
        let mut from = me;
        for (user, _) in &part.hops {
            if need.avoids(from, *user) {
                return invalid("it leads over an edge that failed");
            }
            from = *user;
        }
        check_amounts(plan, part)?;
        arrives = arrives.saturating_add(part.arrives());
        promised = promised.saturating_add(part.promised());
    }
    if let Some(via) = plan.via {
        let over = |part: &WayPart| part.hops.iter().any(|(user, _)| *user == via);
        if !way.parts.iter().all(over) {
            return invalid("it does not lead over whom you named");
        }
    }
    if arrives != need.amount {
        return invalid("another amount would arrive");
    }
    if let Some(pay) = &plan.pay {
        return match promised <= need.room {
            true => Ok(()),
            false => Err(cost_too_high(pay, Some(promised), need.room)),
        };
    }
    let fee = promised.saturating_sub(arrives);
    if fee > need.max_fee {
        return Err(fee_too_high(plan, Some(fee), need.max_fee));
    }
    Ok(())
}

/// Whether nobody would have to promise more than they are promised: where units are exchanged, at the rate that is named.
fn check_amounts(plan: &Plan, part: &WayPart) -> Result<(), PaymentFault> {
    let invalid = |why| Err(PaymentFault::RouteInvalid(why));
    let fits = part.exchange.as_ref().is_none_or(|exchange| {
        let (rate, at) = (&exchange.rate, exchange.at);
        (1..part.hops.len()).contains(&at)
            && Some(&rate.take) == plan.pay.as_ref()
            && rate.give == plan.unit
    });
    if part.exchange.is_some() != plan.pay.is_some() || !fits {
        return invalid("it is not in the units of this payment");
    }
    for (at, pair) in part.hops.windows(2).enumerate() {
        let &[(_, before), (_, onward)] = pair else {
            continue;
        };
        let here = part.exchange.as_ref().filter(|e| e.at == at + 1);
        let needed = match here {
            Some(exchange) if onward > exchange.rate.max => None,
            Some(exchange) => exchange.rate.taken(onward).ok(),
            None => Some(onward),
        };
        if needed.is_none_or(|needed| before < needed) {
            if here.is_some() {
                return Err(PaymentFault::RateChanged);
            }
            return invalid("a hop would have to promise more than it is promised");
        }
    }
    Ok(())
}

pub(super) fn cost_too_high(pay: &Unit, cost: Option<u64>, most: u64) -> PaymentFault {
    let words = |minor| format!("{} {}", pay.format_minor(minor), pay.code());
    PaymentFault::CostTooHigh {
        cost: cost.map_or_else(|| "more".to_owned(), words),
        most: words(most),
    }
}

pub(super) fn fee_too_high(plan: &Plan, fee: Option<u64>, most: u64) -> PaymentFault {
    let words = |minor| format!("{} {}", plan.unit.format_minor(minor), plan.unit.code());
    PaymentFault::FeeTooHigh {
        fee: fee.map_or_else(|| "more".to_owned(), words),
        most: words(most),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::{Amount, Keypair};

    use super::super::exchange::WayExchange;
    use super::*;

    fn user(n: u8) -> UserKey {
        Keypair::from_secret(&[n; 32]).user_key()
    }

    fn way(parts: &[&[(u8, u64)]]) -> Way {
        let part = |hops: &&[(u8, u64)]| WayPart {
            hops: hops
                .iter()
                .map(|(n, minor)| (user(*n), Amount::from_minor(*minor).unwrap()))
                .collect(),
            exchange: None,
        };
        Way {
            parts: parts.iter().map(part).collect(),
            exact: true,
        }
    }

    fn judged(way: &Way, change: impl FnOnce(&mut Plan, &mut Need)) -> Result<(), &'static str> {
        let mut plan = Plan {
            payee: user(9),
            unit: "BREAD/2".parse().unwrap(),
            amount: Amount::from_minor(500).unwrap(),
            most: Amount::from_minor(506).unwrap(),
            pay: None,
            invoice: None,
            memo: None,
            via: None,
            avoid: Vec::new(),
            routers: Vec::new(),
            along: None,
            deadline_ms: 60_000,
            logs: Vec::new(),
            until: 0,
            from_claim: false,
            spend: None,
        };
        let mut need = Need::all(&plan);
        change(&mut plan, &mut need);
        check(user(1), &plan, &need, way).map_err(|fault| fault.code())
    }

    #[test]
    fn only_what_brings_everything_to_the_payee_for_the_fee_allowed_counts() {
        let same = |_: &mut Plan, _: &mut Need| {};
        let good: &[(u8, u64)] = &[(2, 506), (3, 502), (9, 500)];
        assert_eq!(judged(&way(&[good]), same), Ok(()));
        let parts: &[&[(u8, u64)]] = &[&[(2, 202), (9, 200)], &[(3, 303), (9, 300)]];
        assert_eq!(judged(&way(parts), same), Ok(()));
        let bad: &[&[&[(u8, u64)]]] = &[
            // Nothing; not the payee; less; more; a hop twice; over the payer; a hop that gives more than it gets.
            &[],
            &[&[(2, 500), (3, 500)]],
            &[&[(2, 499), (9, 499)]],
            &[&[(2, 501), (9, 501)]],
            &[&[(2, 504), (3, 503), (2, 502), (9, 500)]],
            &[&[(2, 504), (1, 502), (9, 500)]],
            &[&[(2, 500), (3, 502), (9, 500)]],
            &[good, &[(2, 1), (9, 1)]],
        ];
        for parts in bad {
            assert_eq!(judged(&way(parts), same), Err("route_invalid"), "{parts:?}");
        }
        let dear = way(&[&[(2, 507), (9, 500)]]);
        assert_eq!(judged(&dear, same), Err("fee_too_high"));
    }

    #[test]
    fn where_units_are_exchanged_the_rate_must_be_met_and_the_bound_kept() {
        use atomicity_ledger::record::Rate;
        let rate = |num: u64| Rate {
            take: "USD/2".parse().unwrap(),
            give: "BREAD/2".parse().unwrap(),
            num: Amount::from_minor(num).unwrap(),
            den: Amount::from_minor(100).unwrap(),
            max: Amount::from_minor(1000).unwrap(),
        };
        // 3 exchanges: 502 and nothing of its own, times 1.08, is 542.16.
        let exchanged = |first: u64, num: u64, at: usize| {
            let mut way = way(&[&[(2, first + 1), (3, first), (4, 502), (9, 500)]]);
            let rate = rate(num);
            way.parts[0].exchange = Some(WayExchange { at, rate });
            way
        };
        let with = |most: u64| {
            move |p: &mut Plan, n: &mut Need| {
                p.pay = Some("USD/2".parse().unwrap());
                p.most = Amount::from_minor(most).unwrap();
                *n = Need::all(p);
            }
        };
        let judged = |way: &Way, most| judged(way, with(most));
        assert_eq!(judged(&exchanged(543, 108, 2), 544), Ok(()));
        assert_eq!(judged(&exchanged(543, 108, 2), 543), Err("cost_too_high"));
        let invalid = Err("route_invalid");
        let changed = Err("rate_changed");
        assert_eq!(judged(&exchanged(542, 108, 2), 1000), changed);
        assert_eq!(judged(&exchanged(543, 109, 2), 1000), changed);
        // More than is given at once.
        let mut narrow = exchanged(543, 108, 2);
        narrow.parts[0].exchange.as_mut().unwrap().rate.max = Amount::from_minor(501).unwrap();
        assert_eq!(judged(&narrow, 1000), changed);
        // Whoever else would have to exchange at that rate is promised too little.
        assert_eq!(judged(&exchanged(543, 108, 1), 1000), changed);
        for at in [0, 4] {
            assert_eq!(judged(&exchanged(543, 108, at), 1000), invalid, "{at}");
        }
        let mut none = exchanged(543, 108, 2);
        none.parts[0].exchange = None;
        assert_eq!(judged(&none, 1000), invalid);
        let mut other = exchanged(543, 108, 2);
        other.parts[0].exchange.as_mut().unwrap().rate.take = "EUR/2".parse().unwrap();
        assert_eq!(judged(&other, 1000), invalid);
        let same = |_: &mut Plan, _: &mut Need| {};
        assert_eq!(super::tests::judged(&exchanged(543, 108, 2), same), invalid);
    }

    #[test]
    fn what_the_payer_wants_of_the_way_is_kept() {
        let good = way(&[&[(2, 506), (3, 502), (9, 500)]]);
        let refused = Err("route_invalid");
        assert_eq!(judged(&good, |p, _| p.via = Some(user(3))), Ok(()));
        assert_eq!(judged(&good, |p, _| p.via = Some(user(4))), refused);
        assert_eq!(judged(&good, |p, _| p.avoid.push(user(3))), refused);
        for edge in [(1, 2), (2, 3), (3, 9)] {
            let edge = (user(edge.0), user(edge.1));
            assert_eq!(judged(&good, |_, n| n.avoid_edges.push(edge)), refused);
        }
        let back = (user(3), user(2));
        assert_eq!(judged(&good, |_, n| n.avoid_edges.push(back)), Ok(()));
    }
}
