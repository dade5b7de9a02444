//! What operators read: the answers of the plugin in words.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use atomicity_plugin::admin::accounts::{AccountDetail, AccountLine};
use atomicity_plugin::admin::http::{AccountsList, AuditPage, Drain, NewPassword, SignaturesPage};
use atomicity_plugin::admin::status::AdminStatus;

/// A time, as mail and web servers write it.
fn time(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    UNIX_EPOCH
        .checked_add(since)
        .map_or_else(|| ms.to_string(), httpdate::fmt_http_date)
}

fn maybe(ms: Option<i64>) -> String {
    ms.map_or_else(|| "never".to_owned(), time)
}

fn size(bytes: i64) -> String {
    format!("{:.1} MiB", mebibytes(u64::try_from(bytes).unwrap_or(0)))
}

fn mebibytes(bytes: u64) -> f64 {
    // A tenth is all that is shown.
    let tenths = u32::try_from(bytes / (1024 * 1024 / 10)).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

/// Lines with a word in front. Writing to a text does not fail.
struct Lines(String);

impl Lines {
    fn line(&mut self, word: &str, text: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{word:<12} {text}");
    }
}

/// How the plugin stands.
pub fn status(status: &AdminStatus) -> String {
    let mut lines = Lines(String::new());
    let state = match status.obstacle.as_deref() {
        None => "serving".to_owned(),
        Some(why) => format!("NOT READY: {why}"),
    };
    lines.line("plugin", format!("{} ({})", status.plugin, status.version));
    lines.line("state", format!("{state}, {} live streams", status.streams));
    let accounts = &status.accounts;
    lines.line(
        "accounts",
        format!(
            "{} open, {} closed, {} switched off; {} sessions",
            accounts.open, accounts.closed, accounts.disabled, accounts.sessions
        ),
    );
    lines.line(
        "inboxes",
        format!(
            "{} envelopes, {}; the oldest of {}",
            accounts.queued,
            size(accounts.queued_bytes),
            maybe(accounts.oldest_at)
        ),
    );
    if let Some(agents) = &status.agents {
        lines.line(
            "agents",
            format!(
                "{} active, {} stopped; {} pairs, {} being worked on, {} signatures in a day",
                agents.active, agents.stopped, agents.pairs, agents.working, agents.signed_in_a_day
            ),
        );
        lines.line(
            "",
            format!(
                "{} records held, {} parcels to send, {} promises, {} spends open",
                agents.held, agents.to_send, agents.promises, agents.spends
            ),
        );
    }
    if let Some(log) = &status.log {
        lines.line(
            "log",
            format!(
                "{}: {}; {} of {} entries published, the newest of {}",
                log.origin,
                log.status,
                log.published_size,
                log.size,
                maybe(log.newest_at)
            ),
        );
        lines.line(
            "",
            format!(
                "{} of {} cosigners must sign; {} tombstones",
                log.quorum,
                log.cosigners.len(),
                log.tombstones
            ),
        );
        for cosigner in &log.cosigners {
            let outcome = cosigner.outcome.as_deref().unwrap_or("not asked yet");
            lines.line(
                "cosigner",
                format!(
                    "{}: {outcome} ({}); last cosigned: {}",
                    cosigner.name,
                    maybe(cosigner.asked_at),
                    maybe(cosigner.cosigned_at)
                ),
            );
        }
    }
    for log in &status.followed {
        let buried = if log.buried { ", buried" } else { "" };
        lines.line(
            "follows",
            format!(
                "{}: {} entries, {} cosigned, the newest of {}, {} proofs of lies{buried}",
                log.origin,
                log.size,
                log.cosigned_size,
                maybe(log.newest_at),
                log.proofs
            ),
        );
    }
    if let Some(router) = &status.router {
        lines.line(
            "crawl",
            format!(
                "{} of {} users read, {} due, {} failing; {} homeservers, {} failing; {} adverts, {} exchange",
                router.visited,
                router.users,
                router.due,
                router.failing,
                router.homeservers,
                router.failing_homeservers,
                router.adverts,
                router.rates
            ),
        );
    }
    let database = &status.database;
    lines.line(
        "database",
        format!(
            "Postgres {}, schema {} of {}, {}, {} connections ({} idle)",
            database.version,
            database.schema,
            database.schema_known,
            size(database.bytes),
            database.connections,
            database.idle
        ),
    );
    for disk in &status.disks {
        let free = mebibytes(disk.free_bytes);
        lines.line("disk", format!("{free:.0} MiB free in {}", disk.path));
    }
    for limit in &status.limits {
        lines.line("limit", format!("{} = {}", limit.name, limit.value));
    }
    lines.0
}

fn state(account: &AccountLine) -> String {
    match (&account.disabled_why, account.closed_at) {
        (Some(why), _) => format!("switched off: {why}"),
        (None, Some(at)) => format!("closed since {}", time(at)),
        (None, None) => "open".to_owned(),
    }
}

/// A page of accounts, a line each.
pub fn accounts(page: &AccountsList) -> String {
    let line = |account: &AccountLine| {
        let agent = account.agent.as_deref().unwrap_or("none");
        format!(
            "{}  {} envelopes, agent {agent}, {}\n",
            account.user,
            account.queued,
            state(account)
        )
    };
    page.items.iter().map(line).collect()
}

/// One account.
pub fn account(account: &AccountDetail) -> String {
    let mut lines = Lines(String::new());
    let line = &account.line;
    lines.line("account", &line.user);
    lines.line("state", state(line));
    lines.line("since", time(line.registered_at));
    lines.line(
        "inbox",
        format!(
            "{} envelopes ({} of strangers), {}; the oldest of {}; {} friends may write",
            line.queued,
            account.strangers,
            size(line.queued_bytes),
            maybe(account.oldest_at),
            account.tags
        ),
    );
    lines.line("sessions", account.sessions);
    lines.line("snapshot", maybe(account.snapshot_at));
    let Some(work) = &account.agent_work else {
        lines.line("agent", "none");
        return lines.0;
    };
    let status = line.agent.as_deref().unwrap_or_default();
    let why = work.why.as_deref().unwrap_or_default();
    lines.line("agent", format!("{status} {why}").trim_end());
    lines.line("until", time(work.until));
    lines.line(
        "keeps",
        format!(
            "{} pairs; {} records held, {} parcels to send, {} promises, {} spends open",
            work.pairs, work.held, work.to_send, work.promises, work.spends
        ),
    );
    for signed in &work.signed {
        lines.line(
            "signed",
            format!(
                "{} × {}, last {}",
                signed.count,
                signed.what,
                time(signed.last_at)
            ),
        );
    }
    lines.0
}

/// What an agent signed.
pub fn signatures(page: &SignaturesPage) -> String {
    let mut text = String::new();
    for one in &page.items {
        let peer = one.peer.as_deref().unwrap_or("?");
        let amount = one.amount.as_deref().unwrap_or("");
        let unit = one.unit.as_deref().unwrap_or("");
        let line = format!(
            "{}  {}  {} towards {peer} {amount} {unit}",
            one.id,
            time(one.at),
            one.what
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// What operators did.
pub fn actions(page: &AuditPage) -> String {
    let mut text = String::new();
    for action in &page.items {
        let subject = action.subject.as_deref().unwrap_or("");
        let line = format!(
            "{}  {}  {} {subject} {} ({} {})",
            action.id,
            time(action.at),
            action.action,
            action.detail,
            action.via,
            action.address
        );
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// Whether new work is refused.
pub fn drain(drain: &Drain) -> String {
    if drain.draining {
        "no new work is taken; what is open is finished. `admin drain --end` takes it back, and so does a restart\n".to_owned()
    } else {
        "new work is taken\n".to_owned()
    }
}

/// The password alone, for scripts and for the clipboard.
pub fn password(password: &NewPassword) -> String {
    format!("{}\n", password.password)
}
