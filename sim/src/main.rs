//! Plays seeds and says what came of them.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use atomicity_sim::{Stats, run};
use clap::Parser;

/// Plays the simulator: many users, several logs, and whoever lies among them. Ends with 1 if anything happened that must not.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plays this one alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
    /// Goes on for so many minutes, however many seeds that takes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Goes on after a violation.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let begin = Instant::now();
    let (from, seeds) = match args.seed {
        Some(seed) => (seed, 1),
        None if args.minutes.is_some() => (args.from, u64::MAX),
        None => (args.from, args.seeds),
    };
    let until = args
        .minutes
        .map(|minutes| Duration::from_secs(60 * minutes));
    let (mut stats, mut played, mut violated) = (Stats::default(), 0_u64, 0_u64);
    let mut digests = String::new();
    for seed in from..from.saturating_add(seeds) {
        if until.is_some_and(|until| begin.elapsed() > until) {
            break;
        }
        let report = run(seed, args.trace);
        played += 1;
        stats.add(&report.stats);
        digests.clone_from(&report.digest);
        print_all(&report.trace);
        if report.violations.is_empty() {
            continue;
        }
        violated += 1;
        println!("seed {seed}: {}", report.violations.join("; "));
        println!("  again: atomicity-sim --seed {seed} --trace");
        if !args.keep_going {
            break;
        }
    }
    summary(&stats, played, violated, begin.elapsed());
    if played == 1 {
        println!("digest {digests}");
    }
    if violated == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints the lines until nobody reads any more.
fn print_all(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
}

fn summary(stats: &Stats, played: u64, violated: u64, took: Duration) {
    let seconds = took.as_secs_f64().max(0.001);
    let rate = |count: u64| count as f64 / seconds;
    println!(
        "{played} seeds in {seconds:.1} s, {violated} with violations; {} payments ({:.0}/s), {} faults ({:.0}/s)",
        stats.payments,
        rate(stats.payments),
        stats.faults(),
        rate(stats.faults()),
    );
    println!(
        "records {}: lost {}, repeated {}, out of turn {}, refused {}; crashes {}, epochs {}; promises booked {}, expired {}",
        stats.records,
        stats.dropped,
        stats.repeated,
        stats.reordered,
        stats.refused,
        stats.crashes,
        stats.epochs,
        stats.merged,
        stats.expired,
    );
    println!(
        "hops: passed on {}, other ways {}, promises shown to payers {}, exchanged {}; circles {}, passed on for nothing {}",
        stats.relays, stats.retries, stats.shown, stats.exchanged, stats.circles, stats.cleared,
    );
    println!(
        "logs: faults {}, caught {}, published and expired by proof with the culprit named {}; users: lies {}, channels frozen {}",
        stats.log_faults, stats.forks_seen, stats.convictions, stats.lies, stats.frozen,
    );
}
