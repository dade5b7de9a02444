//! Our clock beside the clocks of those whom this service talks to anyway: proofs and deadlines are judged by it.

use std::time::SystemTime;

use futures_util::future::join_all;
use url::Url;

use super::{Check, Level};
use crate::config::Config;
use crate::resolve::Resolver;
use crate::resolve::call::Call;

const NAME: &str = "clock";
/// Clocks that differ by more than this make proofs look old or early, in seconds.
const SKEW_WARN_S: i64 = 30;
const SKEW_FAIL_S: i64 = 120;
/// Most others that are asked.
const MAX_OTHERS: usize = 8;
/// Any answer has a date; what else it says is not looked at.
const MAX_ANSWER: usize = 256 * 1024;

/// How far somebody's clock is ahead of ours, in seconds.
struct Reading {
    whose: String,
    ahead_s: i64,
}

impl Reading {
    fn of(whose: &str, theirs: SystemTime, ours: SystemTime) -> Self {
        let seconds = |gap: std::time::Duration| i64::try_from(gap.as_secs()).unwrap_or(i64::MAX);
        let ahead_s = match theirs.duration_since(ours) {
            Ok(ahead) => seconds(ahead),
            Err(behind) => seconds(behind.duration()).saturating_neg(),
        };
        Self {
            whose: whose.to_owned(),
            ahead_s,
        }
    }
}

pub(super) async fn look(
    config: &Config,
    resolver: &Resolver,
    homeserver: Option<SystemTime>,
) -> Option<Check> {
    let asked = others(config).into_iter().map(|url| async move {
        let call = Call {
            url: &url,
            body: None,
            max_bytes: MAX_ANSWER,
        };
        let date = resolver.call(&call).await.ok()?.date?;
        let host = url.host_str().unwrap_or_default();
        let whose = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        Some(Reading::of(&whose, date, SystemTime::now()))
    });
    let at_home = homeserver.map(|date| Reading::of("the homeserver", date, SystemTime::now()));
    let mut readings: Vec<Reading> = join_all(asked).await.into_iter().flatten().collect();
    let is_alone = readings.is_empty() && !config.network.testnet;
    readings.extend(at_home);
    let found = judge(&mut readings);
    if is_alone {
        Some(not_compared(found))
    } else {
        found
    }
}

/// What is known where no other machine said what time it is: the homeserver may be on this one, and as wrong.
fn not_compared(found: Option<Check>) -> Check {
    match found {
        Some(check) if check.level != Level::Ok => check,
        _ => Check::warn(
            NAME,
            "not compared with any other machine: none that was asked has answered",
            "let HTTPS out, or see by yourself that this machine keeps time by NTP (timedatectl): proofs are judged by the clock",
        ),
    }
}

/// Servers that the configuration names, and relays that every wallet knows: whoever names none has the homeserver beside it to ask, which has the same clock.
fn others(config: &Config) -> Vec<Url> {
    let mut urls: Vec<Url> = config.network.relays.clone();
    if let (true, Ok(cosigners)) = (config.witness_log.enabled, config.witness_log.cosigners()) {
        urls.extend(cosigners.into_iter().map(|(_, url)| url));
    }
    if config.cosigner.enabled {
        urls.extend(config.cosigner.logs.iter().map(|log| log.url.clone()));
    }
    if config.watchtower.enabled {
        urls.extend(
            config
                .watchtower
                .logs
                .iter()
                .filter_map(|log| log.url.clone()),
        );
        urls.extend(config.watchtower.peers.iter().cloned());
    }
    urls.sort();
    urls.dedup();
    urls.truncate(MAX_OTHERS);
    if !config.network.testnet {
        let known = pkarr::DEFAULT_RELAYS.iter();
        urls.extend(known.filter_map(|relay| relay.parse().ok()));
        urls.sort();
        urls.dedup();
    }
    urls
}

/// The middle of what others say counts, so that one wrong clock among several does no harm; of two, the one that differs more.
fn judge(readings: &mut [Reading]) -> Option<Check> {
    readings.sort_by_key(|reading| reading.ahead_s);
    let upper = readings.get(readings.len() / 2)?;
    let lower = readings.get(readings.len().saturating_sub(1) / 2)?;
    let middle = if upper.ahead_s.abs() >= lower.ahead_s.abs() {
        upper.ahead_s
    } else {
        lower.ahead_s
    };
    let all: Vec<String> = readings
        .iter()
        .map(|reading| format!("{} {:+} s", reading.whose, reading.ahead_s))
        .collect();
    let side = if middle > 0 { "slow" } else { "fast" };
    let hint = if readings.len() == 1 {
        "let both machines keep time by NTP (timedatectl set-ntp true): proofs are judged by the clock"
    } else {
        "let this machine keep time by NTP (timedatectl set-ntp true): proofs are judged by the clock"
    };
    let skew = middle.saturating_abs();
    let apart = format!("{skew} s {side}: {}", all.join(", "));
    Some(if skew >= SKEW_FAIL_S {
        Check::fail(NAME, apart, hint)
    } else if skew >= SKEW_WARN_S {
        Check::warn(NAME, apart, hint)
    } else {
        Check::ok(NAME, format!("as others have it: {}", all.join(", ")))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn found(ahead: &[i64]) -> Check {
        let ours = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut readings: Vec<Reading> = ahead
            .iter()
            .map(|seconds| {
                let gap = Duration::from_secs(seconds.unsigned_abs());
                let theirs = if *seconds < 0 { ours - gap } else { ours + gap };
                Reading::of("somebody", theirs, ours)
            })
            .collect();
        judge(&mut readings).unwrap()
    }

    #[test]
    fn a_clock_is_judged_in_both_directions() {
        for (seconds, level) in [
            (0, Level::Ok),
            (29, Level::Ok),
            (31, Level::Warn),
            (119, Level::Warn),
            (121, Level::Fail),
        ] {
            assert_eq!(found(&[seconds]).level, level, "{seconds} s slow");
            assert_eq!(found(&[-seconds]).level, level, "{seconds} s fast");
        }
    }

    #[test]
    fn one_wrong_clock_among_several_counts_for_nothing_and_of_two_it_counts() {
        assert_eq!(found(&[0, 1, 900]).level, Level::Ok);
        assert_eq!(found(&[-900, 0, 1]).level, Level::Ok);
        assert_eq!(found(&[0, 500, 501]).level, Level::Fail);
        // The homeserver on the same machine is as wrong as this service is.
        assert_eq!(found(&[0, 500]).level, Level::Fail);
        assert_eq!(found(&[-500, 0]).level, Level::Fail);
        assert!(judge(&mut []).is_none());
    }

    #[test]
    fn outside_of_tests_somebody_on_another_machine_is_asked() {
        let mut config = Config::default();
        let hosts = |config: &Config| {
            let urls = others(config).into_iter();
            urls.map(|url| url.host_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(hosts(&config), ["pkarr.pubky.app", "pkarr.pubky.org"]);
        config.network.relays = vec!["https://pkarr.pubky.app".parse().unwrap()];
        assert_eq!(hosts(&config).len(), 2, "nobody is asked twice");
        config.network.relays.clear();
        config.network.testnet = true;
        assert!(hosts(&config).is_empty());
    }

    #[test]
    fn a_clock_that_only_this_machine_agrees_with_is_told() {
        for agreed in [None, Some(found(&[0]))] {
            let check = not_compared(agreed);
            assert_eq!(check.level, Level::Warn);
            assert!(check.detail.contains("not compared"), "{check:?}");
        }
        assert_eq!(not_compared(Some(found(&[500]))).level, Level::Fail);
    }
}
