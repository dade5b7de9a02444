//! `rule …`, `block` and `unblock`: whom the user lets owe, without adding them, and with whom they deal at all.

use atomicity_client::ClientError;
use atomicity_client::wallet::{
    GrantView, RuleView, Trial, TriedRule, Wallet, WalletEvent, parse_user,
};
use atomicity_ledger::policy::{Forward, Rule, Weight, Who};
use atomicity_ledger::{Amount, Total, Unit, UserKey};
use serde_json::{Value, json};

use crate::Context;
use crate::args::{Block, RuleAdd, RuleCommand, Says};
use crate::events::{event_text, event_value};
use crate::output::minor_text;

pub async fn run(context: &Context, command: RuleCommand) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match command {
        RuleCommand::Add(add) => added(context, &wallet, add).await?,
        RuleCommand::List => list(context, &wallet).await?,
        RuleCommand::Remove { rule } => {
            let events = wallet.remove_rule(rule).await?;
            let value = json!({ "rule": rule, "removed": true, "events": values(&events) });
            context
                .out
                .result(&value, || told(format!("Rule {rule} is gone."), &events));
        }
        RuleCommand::Try { who } => {
            let user = somebody(&wallet, &who).await?;
            let trial = wallet.try_rules(&user).await?;
            tried(context, &wallet, &trial).await?;
        }
        RuleCommand::Apply => {
            let events = wallet.apply_rules(true).await?;
            let value = json!({ "events": values(&events) });
            context.out.result(&value, || match events.is_empty() {
                true => "Nothing has changed.".to_owned(),
                false => told(String::new(), &events).trim_start().to_owned(),
            });
        }
    }
    wallet.close().await;
    Ok(0)
}

pub async fn block(context: &Context, args: &Block, blocked: bool) -> Result<u8, ClientError> {
    let wallet = context.wallet().await?;
    match &args.who {
        Some(who) => {
            let user = somebody(&wallet, who).await?;
            let changed = wallet.set_blocked(&user, blocked).await?;
            let name = wallet.name_of(&user).await?;
            let value = json!({ "user": user, "blocked": blocked, "changed": changed });
            context.out.result(&value, || match blocked {
                true => format!("{name} is blocked. What is owed stays owed."),
                false => format!("{name} is not blocked."),
            });
        }
        None if blocked => {
            let all = wallet.blocked().await?;
            let values: Vec<Value> = all
                .iter()
                .map(|(user, contact, at)| {
                    let name = contact.as_ref().map(|contact| &contact.name);
                    json!({ "user": user, "name": name, "since": at })
                })
                .collect();
            context.out.result(&json!({ "blocked": values }), || {
                let name = |contact: &Option<_>, user: &UserKey| match contact {
                    Some(atomicity_client::wallet::Contact { name, .. }) => {
                        format!("{name} ({user})")
                    }
                    None => user.to_string(),
                };
                let lines: Vec<String> = all.iter().map(|(user, c, _)| name(c, user)).collect();
                match lines.is_empty() {
                    true => "Nobody is blocked.".to_owned(),
                    false => lines.join("\n"),
                }
            });
        }
        None => return Err(ClientError::Usage("say whom: a name or a key".to_owned())),
    }
    wallet.close().await;
    Ok(0)
}

/// A friend by name, or anybody by key.
async fn somebody(wallet: &Wallet, who: &str) -> Result<UserKey, ClientError> {
    match parse_user(who) {
        Ok(user) => Ok(user),
        Err(_) => Ok(wallet.friend(who).await?.user),
    }
}

async fn added(context: &Context, wallet: &Wallet, add: RuleAdd) -> Result<(), ClientError> {
    let (who, says, per_friend) = match add {
        RuleAdd::FriendOf {
            friend,
            says,
            per_friend,
        } => {
            let friend = match friend.as_str() {
                "any" => None,
                name => Some(wallet.friend(name).await?.user),
            };
            (Who::FriendOf(friend), says, per_friend)
        }
        RuleAdd::Tag { tag, says } => (Who::Tag(tag.parse()?), says, Vec::new()),
        RuleAdd::Distance {
            hops,
            weight,
            weigh,
            says,
        } => {
            let mut weights = std::collections::BTreeMap::new();
            for one in &weigh {
                let (user, weight) = one.rsplit_once('=').ok_or_else(|| {
                    ClientError::Usage(format!("{one:?}: write a name or key, = and a percentage"))
                })?;
                weights.insert(somebody(wallet, user).await?, percent(weight)?);
            }
            let weight = percent(&weight)?;
            let who = Who::Distance {
                hops,
                weight,
                weights,
            };
            (who, says, Vec::new())
        }
        RuleAdd::Anyone { says } => (Who::Anyone, says, Vec::new()),
    };
    let rule = rule_of(wallet, who, &says, &per_friend).await?;
    let (id, events) = wallet.add_rule(&rule, says.before).await?;
    let views = wallet.rules().await?;
    let view = views.iter().find(|view| view.rule.id == id);
    let view = view.ok_or_else(|| ClientError::Internal("the rule is gone".to_owned()))?;
    let mut value = rule_value(wallet, view).await?;
    if let Value::Object(map) = &mut value {
        map.insert("events".to_owned(), json!(values(&events)));
    }
    let words = rule_words(view);
    context.out.result(&value, || told(words, &events));
    Ok(())
}

async fn rule_of(
    wallet: &Wallet,
    who: Who,
    says: &Says,
    per_friend: &[String],
) -> Result<Rule, ClientError> {
    let mut each = says.each.clone();
    each.retain(|word| word != "each");
    let unit = match &says.unit {
        Some(unit) => Some(wallet.parse_unit(unit).await?),
        None => None,
    };
    let (accept, unit) = match (each.join(" "), unit) {
        (text, Some(unit)) if text.is_empty() => (None, unit),
        (text, None) if text.is_empty() => {
            return Err(ClientError::Usage(
                "say how much each may owe you, such as 20 USD/2, or the unit with --unit"
                    .to_owned(),
            ));
        }
        (text, Some(unit)) => (Some(amount(wallet, &text, &unit).await?), unit),
        (text, None) => {
            let (minor, unit) = wallet.parse_limit(&text).await?;
            (Some(Total::from_minor(minor)?), unit)
        }
    };
    let some = async |words: &[String]| match words.is_empty() {
        true => Ok::<_, ClientError>(None),
        false => Ok(Some(amount(wallet, &words.join(" "), &unit).await?)),
    };
    let cap = some(&says.total).await?;
    let per_introducer = match &who {
        Who::FriendOf(_) if accept.is_some() => some(per_friend).await?.or(cap),
        _ => None,
    };
    let forward = match some(&says.forward).await? {
        _ if says.no_forward => Some(Forward::Refuse),
        Some(base) => Some(Forward::Pass {
            min: Amount::from_minor(1)?,
            base,
            ppm: says.ppm,
        }),
        None => None,
    };
    let issue = some(&says.issue).await?;
    Ok(Rule {
        accept,
        issue,
        forward,
        cap,
        per_introducer,
        ..Rule::about(who, unit.clone())
    })
}

/// Money in a unit that is known: with the unit or without.
async fn amount(wallet: &Wallet, text: &str, unit: &Unit) -> Result<Total, ClientError> {
    let minor = if text.contains(char::is_whitespace) {
        let (minor, named) = wallet.parse_limit(text).await?;
        if named != *unit {
            return Err(ClientError::Usage(format!(
                "one rule is about one unit: {unit}, not {named}"
            )));
        }
        minor
    } else {
        unit.parse_minor(text)?
    };
    Ok(Total::from_minor(minor)?)
}

/// `50%`, or `12.5`.
fn percent(text: &str) -> Result<Weight, ClientError> {
    let refuse = || ClientError::Usage(format!("{text:?}: write a percentage, such as 50%"));
    let number = text.trim().trim_end_matches('%').trim_end();
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 4 || !digits(whole) || !digits(part) {
        return Err(refuse());
    }
    let millionths: u32 = format!("{whole}{part:0<4}").parse().map_err(|_| refuse())?;
    Weight::from_millionths(millionths).map_err(|_| refuse())
}

async fn list(context: &Context, wallet: &Wallet) -> Result<(), ClientError> {
    let views = wallet.rules().await?;
    let mut values = Vec::new();
    for view in &views {
        values.push(rule_value(wallet, view).await?);
    }
    context.out.result(&json!({ "rules": values }), || {
        let lines: Vec<String> = views.iter().map(rule_words).collect();
        match lines.is_empty() {
            true => "No rules: only friends whom you gave a limit may owe you. Begin with: atomicity rule add friend-of … 20 USD/2 each --total 200 USD/2".to_owned(),
            false => lines.join("\n"),
        }
    });
    Ok(())
}

async fn rule_value(wallet: &Wallet, view: &RuleView) -> Result<Value, ClientError> {
    let rule = &view.rule;
    let minor = |total: Option<Total>| total.map(|total| total.minor().to_string());
    let mut by_friend = Vec::new();
    for (user, taken) in &view.used.by_introducer {
        let name = wallet.name_of(user).await?;
        by_friend.push(json!({ "user": user, "friend": name, "taken": taken.to_string() }));
    }
    Ok(json!({
        "rule": rule.id,
        "about": view.about,
        "who": rule.who,
        "unit": rule.unit,
        "each": minor(rule.accept),
        "total": minor(rule.cap),
        "per_friend": minor(rule.per_introducer),
        "issue": minor(rule.issue),
        "forward": rule.forward,
        "taken": view.used.taken.to_string(),
        "people": view.used.people,
        "by_friend": by_friend,
    }))
}

fn rule_words(view: &RuleView) -> String {
    format!("{}. {}", view.rule.id, rule_says(view))
}

/// A rule without its number.
pub fn rule_says(view: &RuleView) -> String {
    let rule = &view.rule;
    let money = |total: Total| minor_text(&rule.unit, total.minor());
    let mut says = Vec::new();
    if let Some(each) = rule.accept {
        says.push(format!("each may owe you {}", money(each)));
    }
    if let Who::Distance { weight, .. } = rule.who
        && weight != Weight::FULL
    {
        says.push(format!(
            "{}% of it for every person between",
            percentage(weight)
        ));
    }
    if let Some(cap) = rule.cap {
        let (taken, people) = (minor_text(&rule.unit, view.used.taken), view.used.people);
        let whom = if people == 1 { "person" } else { "people" };
        says.push(format!(
            "all together {} ({taken} taken by {people} {whom})",
            money(cap)
        ));
    }
    if let Some(per) = rule.per_introducer.filter(|per| Some(*per) != rule.cap) {
        says.push(format!("{} on the word of one friend", money(per)));
    }
    if let Some(issue) = rule.issue {
        says.push(format!("you will owe each at most {}", money(issue)));
    }
    match rule.forward {
        None => {}
        Some(Forward::Refuse) => says.push("nothing is passed on to them".to_owned()),
        Some(Forward::Pass { base, ppm, .. }) => says.push(format!(
            "payments are passed on to them for {} and {ppm} of a million",
            money(base)
        )),
    }
    format!("{} in {}: {}", view.about, rule.unit, says.join(", "))
}

fn percentage(weight: Weight) -> String {
    let (whole, part) = (weight.millionths() / 10_000, weight.millionths() % 10_000);
    let text = format!("{whole}.{part:04}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

async fn tried(context: &Context, wallet: &Wallet, trial: &Trial) -> Result<(), ClientError> {
    let name = wallet.name_of(&trial.user).await?;
    let mut vouching = Vec::new();
    for friend in &trial.facts.introducers {
        vouching.push(wallet.name_of(friend).await?);
    }
    let value = json!({
        "user": trial.user,
        "name": name,
        "blocked": trial.blocked,
        "tags": trial.facts.tags,
        "vouched_by": trial.facts.introducers,
        "ways": trial.facts.ways,
        "rules": trial.rules.iter().map(tried_value).collect::<Vec<_>>(),
        "granted": grants_value(&trial.granted),
    });
    context.out.result(&value, || {
        let mut lines = vec![known_words(trial, &name, &vouching)];
        lines.extend(trial.rules.iter().map(tried_words));
        if !trial.blocked && !trial.rules.iter().any(|rule| rule.decides) {
            lines.push("No rule lets them owe you anything.".to_owned());
        }
        lines.extend(trial.granted.iter().map(|granted| {
            format!(
                "They have a line of {} now.",
                minor_text(&granted.unit, granted.line)
            )
        }));
        lines.join("\n")
    });
    Ok(())
}

fn known_words(trial: &Trial, name: &str, vouching: &[String]) -> String {
    let facts = &trial.facts;
    let mut known = Vec::new();
    if trial.blocked {
        known.push("blocked by you".to_owned());
    }
    if !vouching.is_empty() {
        known.push(format!("vouched for by {}", vouching.join(", ")));
    }
    if !facts.tags.is_empty() {
        let tags: Vec<&str> = facts.tags.iter().map(|tag| tag.as_str()).collect();
        known.push(format!("tagged {} by you", tags.join(", ")));
    }
    match facts.ways.iter().map(Vec::len).min() {
        None => {}
        Some(0) => known.push("followed by you".to_owned()),
        Some(between) => known.push(format!("{} follows away", between + 1)),
    }
    match known.is_empty() {
        true => format!("{name}: nothing is known that a rule could ask about."),
        false => format!("{name}: {}.", known.join("; ")),
    }
}

fn tried_words(tried: &TriedRule) -> String {
    let number = match tried.rule.id {
        0 => "your word".to_owned(),
        id => format!("{id}."),
    };
    let verdict = match (&tried.found, tried.most) {
        (None, _) => "is not about them".to_owned(),
        (Some(_), None) => "is about them".to_owned(),
        (Some(_), Some(most)) => format!("lets them owe {}", minor_text(&tried.rule.unit, most)),
    };
    let mark = if tried.decides { "  <- decides" } else { "" };
    format!(
        "{number} {} in {}: {verdict}{mark}",
        tried.about, tried.rule.unit
    )
}

fn tried_value(tried: &TriedRule) -> Value {
    json!({
        "rule": tried.rule.id,
        "about": tried.about,
        "unit": tried.rule.unit,
        "matches": tried.found.is_some(),
        "weight_millionths": tried.found.as_ref().map(|found| found.weight.millionths()),
        "vouched_by": tried.found.as_ref().map(|found| &found.introducers),
        "most": tried.most.map(|most| most.to_string()),
        "decides": tried.decides,
    })
}

/// What rules gave somebody, as JSON.
pub fn grants_value(granted: &[GrantView]) -> Vec<Value> {
    let value = |one: &GrantView| {
        json!({
            "unit": one.unit,
            "rule": one.rule,
            "why": one.why,
            "line": one.line.to_string(),
            "line_text": minor_text(&one.unit, one.line),
        })
    };
    granted.iter().map(value).collect()
}

fn values(events: &[WalletEvent]) -> Vec<Value> {
    events.iter().map(event_value).collect()
}

fn told(mut text: String, events: &[WalletEvent]) -> String {
    for event in events {
        text.push('\n');
        text.push_str(&event_text(event));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn percentages_are_read_exactly() {
        let millionths = |text| percent(text).map(Weight::millionths).ok();
        assert_eq!(millionths("50%"), Some(500_000));
        assert_eq!(millionths("12.5"), Some(125_000));
        assert_eq!(millionths("0.0001%"), Some(1));
        assert_eq!(millionths("100 %"), Some(1_000_000));
        for bad in ["", "%", "101%", "1000", "-5%", "0.00001", "5.%5", "fifty"] {
            assert_eq!(millionths(bad), None, "{bad}");
        }
        assert_eq!(percentage(percent("12.5%").unwrap()), "12.5");
        assert_eq!(percentage(Weight::FULL), "100");
    }
}
