//! Finding routes in made-up scale-free networks, beside LDK's `find_route` on the same network in the same run.
//!
//! Times are processor time of the one thread that works, so that whatever else the machine does is not counted.
//!
//! `cargo bench -p atomicity-routing` prints everything for 10 k users; `ATOMICITY_BENCH_USERS=100000,1000000` sets other sizes, and
//! `ATOMICITY_BENCH_LDK` up to which size LDK is asked as well (100,000 unless set; 0 for not at all), and `ATOMICITY_BENCH_STEPS` how
//! many steps a question may take where they are bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomicity_ledger::{Amount, Timestamp, Unit, UserKey};
use atomicity_routing::synthetic::{Channel, Fees, Numbers, adverts, key, scale_free};
use atomicity_routing::{Graph, Request, RouteError, Searcher};

const EACH: u32 = 5;

struct World {
    keys: Vec<UserKey>,
    channels: Vec<Channel>,
    unit: Unit,
    graph: Graph,
    pairs: Vec<(u32, u32, u64)>,
}

fn main() {
    let sizes = std::env::var("ATOMICITY_BENCH_USERS").unwrap_or_else(|_| "10000".into());
    let ldk_up_to: u32 = std::env::var("ATOMICITY_BENCH_LDK")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(100_000);
    for users in sizes
        .split(',')
        .filter_map(|size| size.trim().parse::<u32>().ok())
    {
        let resident = resident();
        let mut world = world(users, Fees::Varied);
        let size = world.graph.size(&world.unit);
        let count = world.channels.len();
        println!("\n{users} users, {count} channels, {} edges", size.edges);
        println!(
            "  memory: {} bytes per channel, users included; the process grew by {} per channel with keys and input",
            size.bytes / count,
            (resident_since(resident)) / count
        );
        updates(&mut world);
        let fees = ours(&world);
        if users <= ldk_up_to {
            ldk::compare(&world, &fees);
        }
        drop(world);
        for (name, fees) in [
            ("everybody asks the same", Fees::Equal),
            ("nobody asks anything", Fees::None),
        ] {
            if users <= 100_000 {
                println!("  where {name}:");
                ours(&self::world(users, fees));
            }
        }
    }
}

fn world(users: u32, fees: Fees) -> World {
    let keys: Vec<UserKey> = (0..u64::from(users)).map(key).collect();
    let channels = scale_free(users, EACH, fees, 42);
    let unit: Unit = "BREAD/2".parse().unwrap();
    let mut graph = Graph::new();
    let start = cpu();
    for advert in channels
        .iter()
        .flat_map(|channel| adverts(channel, &keys, &unit, 1))
    {
        graph.apply(&advert).unwrap();
    }
    let took = cpu() - start;
    println!(
        "\nbuilt advert by advert: {:.2} µs each",
        micros(took) / (2 * channels.len()) as f64
    );
    let mut numbers = Numbers(7);
    let questions = if users <= 100_000 { 5_000 } else { 2_000 };
    let pairs = (0..questions)
        .map(|_| {
            (
                numbers.below(users.into()) as u32,
                numbers.below(users.into()) as u32,
                numbers.octaves(6, 20),
            )
        })
        .filter(|(from, to, _)| from != to)
        .collect();
    World {
        keys,
        channels,
        unit,
        graph,
        pairs,
    }
}

/// New figures for random channels, and channels that close and open.
fn updates(world: &mut World) {
    let mut numbers = Numbers(99);
    let mut times = Vec::new();
    for round in 0..20_000u64 {
        let at = numbers.below(world.channels.len() as u64) as usize;
        let mut channel = world.channels[at];
        let original = adverts(&channel, &world.keys, &world.unit, 3 + 3 * round);
        channel.there.1 += 1 + numbers.below(5_000);
        channel.there.2 += numbers.below(500) as u32;
        let mut steps =
            vec![adverts(&channel, &world.keys, &world.unit, 1 + 3 * round).swap_remove(0)];
        let mut gone = adverts(&channel, &world.keys, &world.unit, 2 + 3 * round).swap_remove(1);
        (gone.send, gone.receive) = (None, None);
        steps.push(gone);
        steps.extend(original);
        for advert in steps {
            let start = cpu();
            world.graph.apply(&advert).unwrap();
            times.push(cpu() - start);
        }
    }
    print("  apply an advert", &mut times);
}

fn request(world: &World, from: u32, to: u32, minor: u64) -> Request {
    let key = |n: u32| world.keys[n as usize];
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let amount = Amount::from_minor(minor).unwrap();
    Request::new(
        key(from),
        key(to),
        world.unit.clone(),
        amount,
        Timestamp::from_millis(now).unwrap(),
    )
}

/// Returns the fees of each answer to the standard limit.
fn ours(world: &World) -> Vec<Option<u64>> {
    let mut searcher = Searcher::new();
    let cap = std::env::var("ATOMICITY_BENCH_STEPS").ok();
    let cap = cap.and_then(|n| n.parse().ok()).unwrap_or(USUAL_STEPS);
    let mut standard = Vec::new();
    for hops in [10, 6, 8, 20] {
        let free = asked(world, &mut searcher, hops, u64::MAX);
        let capped = asked(world, &mut searcher, hops, cap);
        let both = free.iter().zip(&capped);
        let inexact = capped.iter().filter(|answer| !answer.1).count();
        let missing = both
            .clone()
            .filter(|(a, b)| a.0.is_some() && b.0.is_none())
            .count();
        let dearer = both
            .filter(|(a, b)| matches!((a.0, b.0), (Some(a), Some(b)) if b > a))
            .count();
        println!(
            "    {inexact} not certain, of which {dearer} dearer and {missing} without the answer there is"
        );
        if hops == 10 {
            standard = free.into_iter().map(|answer| answer.0).collect();
        }
    }
    standard
}

/// As the router has it by default.
const USUAL_STEPS: u64 = 400_000;

/// Asks all questions with a limit on edges and one on steps. Returns of each the fees, and whether they are certain.
fn asked(
    world: &World,
    searcher: &mut Searcher,
    hops: usize,
    max_steps: u64,
) -> Vec<(Option<u64>, bool)> {
    let (mut times, mut steps, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    let (mut edges, mut none) = (0, 0);
    for warm in [true, false] {
        times.clear();
        steps.clear();
        answers.clear();
        (edges, none) = (0, 0);
        for (from, to, minor) in world.pairs.iter().take(if warm { 200 } else { usize::MAX }) {
            let mut request = request(world, *from, *to, *minor);
            request.max_hops = hops;
            request.max_steps = max_steps;
            let start = cpu();
            let route = searcher.find(&world.graph, &request);
            times.push(cpu() - start);
            steps.push(searcher.steps());
            match route {
                Ok(route) => {
                    assert_eq!(route.check(&world.graph, &request), Ok(()));
                    edges += route.hops().len();
                    answers.push((Some(route.fee()), route.exact()));
                }
                Err(why) => {
                    none += 1;
                    answers.push((None, why != RouteError::GaveUp));
                }
            }
        }
    }
    let name = match max_steps {
        u64::MAX => format!("  find, exact, at most {hops} edges"),
        _ => format!("    at most {max_steps} steps"),
    };
    print(&name, &mut times);
    steps.sort_unstable();
    let at = |share: f64| steps[((steps.len() - 1) as f64 * share) as usize];
    println!(
        "    {} questions, {none} without an answer, {:.1} edges a route; steps: p50 {}, p99 {}, most {}",
        answers.len(),
        edges as f64 / (answers.len() - none) as f64,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    answers
}

/// The processor time that this thread has used: other programs on the machine don't count.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| micros(times[((times.len() - 1) as f64 * share) as usize]);
    let mean = times.iter().map(|time| micros(*time)).sum::<f64>() / times.len() as f64;
    println!(
        "{what}: p50 {:.1} µs, p99 {:.1} µs, most {:.1} µs, mean {mean:.1} µs",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// Resident memory of this process in bytes, 0 where it can't be read.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}

fn resident_since(before: usize) -> usize {
    resident().saturating_sub(before)
}

mod ldk {
    use super::*;
    use lightning::bitcoin::Network;
    use lightning::bitcoin::constants::ChainHash;
    use lightning::bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use lightning::ln::msgs::UnsignedChannelUpdate;
    use lightning::routing::gossip::{NetworkGraph, NodeId};
    use lightning::routing::router::{PaymentParameters, Route, RouteParameters, find_route};
    use lightning::routing::scoring::FixedPenaltyScorer;
    use lightning::types::features::ChannelFeatures;
    use lightning::util::logger::{Logger, Record};

    static SILENT: Silent = Silent;
    struct Silent;
    impl Logger for Silent {
        fn log(&self, _: Record) {}
    }

    fn update(
        id: u64,
        back: bool,
        (cap, base, ppm): (u64, u64, u32),
        timestamp: u32,
    ) -> UnsignedChannelUpdate {
        UnsignedChannelUpdate {
            chain_hash: ChainHash::using_genesis_block(Network::Regtest),
            short_channel_id: id,
            timestamp,
            message_flags: 1,
            channel_flags: u8::from(back),
            cltv_expiry_delta: 1,
            htlc_minimum_msat: 1,
            htlc_maximum_msat: cap,
            fee_base_msat: base as u32,
            fee_proportional_millionths: ppm,
            excess_data: Vec::new(),
        }
    }

    pub fn compare(world: &World, fees: &[Option<u64>]) {
        let secp = Secp256k1::new();
        let point = |n: usize| {
            let mut bytes = [1u8; 32];
            bytes[24..].copy_from_slice(&(n as u64 + 1).to_be_bytes());
            PublicKey::from_secret_key(&secp, &SecretKey::from_slice(&bytes).unwrap())
        };
        let points: Vec<PublicKey> = (0..world.keys.len()).map(point).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs() as u32;
        let before = resident();
        let graph = NetworkGraph::new(Network::Regtest, &SILENT);
        for (id, channel) in world.channels.iter().enumerate() {
            let id = id as u64 + 1;
            let [a, b] = [channel.a, channel.b].map(|n| NodeId::from_pubkey(&points[n as usize]));
            let most = channel.there.0.max(channel.back.0).div_ceil(1000);
            graph
                .add_channel_from_partial_announcement(
                    id,
                    Some(most),
                    0,
                    ChannelFeatures::empty(),
                    a,
                    b,
                )
                .unwrap();
            graph
                .update_channel_unsigned(&update(id, false, channel.there, now - 100))
                .unwrap();
            graph
                .update_channel_unsigned(&update(id, true, channel.back, now - 100))
                .unwrap();
        }
        println!(
            "  LDK: the process grew by {} bytes per channel",
            resident_since(before) / world.channels.len()
        );
        let mut times = Vec::new();
        let mut numbers = Numbers(99);
        for _ in 0..20_000 {
            let at = numbers.below(world.channels.len() as u64);
            let update = update(
                at + 1,
                false,
                world.channels[at as usize].there,
                now - 50 + times.len() as u32 / 1_000,
            );
            let start = cpu();
            let _ = graph.update_channel_unsigned(&update);
            times.push(cpu() - start);
        }
        print("  LDK: apply an update", &mut times);
        routes(world, fees, &graph, &points);
    }

    fn routes(
        world: &World,
        fees: &[Option<u64>],
        graph: &NetworkGraph<&Silent>,
        points: &[PublicKey],
    ) {
        let scorer = FixedPenaltyScorer::with_penalty(0);
        let mut times = Vec::new();
        let (mut same, mut dearer, mut cheaper, mut none_here, mut none_there) = (0, 0, 0, 0, 0);
        let most = if world.keys.len() <= 20_000 {
            1_000
        } else {
            150
        };
        for ((from, to, minor), fee) in world.pairs.iter().zip(fees).take(most) {
            let mut payment = PaymentParameters::from_node_id(points[*to as usize], 1);
            payment.max_path_count = 1;
            payment.max_path_length = 10;
            payment.max_channel_saturation_power_of_half = 0;
            let mut wanted = RouteParameters::from_payment_params_and_value(payment, *minor);
            wanted.max_total_routing_fee_msat = None;
            let start = cpu();
            let route = find_route(
                &points[*from as usize],
                &wanted,
                graph,
                None,
                &SILENT,
                &scorer,
                &(),
                &[7; 32],
            );
            times.push(cpu() - start);
            match (
                route
                    .ok()
                    .and_then(|route| priced(world, *from, *minor, &route)),
                fee,
            ) {
                (Some(theirs), Some(ours)) if theirs == *ours => same += 1,
                (Some(theirs), Some(ours)) if theirs > *ours => dearer += 1,
                (Some(_), Some(_)) => cheaper += 1,
                (Some(_), None) => none_here += 1,
                (None, Some(_)) => none_there += 1,
                (None, None) => same += 1,
            }
        }
        print("  LDK: find_route, one path", &mut times);
        println!(
            "  its answers: {same} the same, {dearer} dearer, {cheaper} cheaper, {none_there} missing; ours missing: {none_here}"
        );
    }

    /// What a path of LDK costs by our rule, which rounds each fee up where LDK rounds it down.
    fn priced(world: &World, from: u32, minor: u64, route: &Route) -> Option<u64> {
        let mut node = from;
        let mut steps = Vec::new();
        for hop in &route.paths.first()?.hops {
            let channel = &world.channels[hop.short_channel_id as usize - 1];
            let there = channel.a == node;
            steps.push(if there { channel.there } else { channel.back });
            node = if there { channel.b } else { channel.a };
        }
        let mut needed = minor;
        for (_, base, ppm) in steps.iter().skip(1).rev() {
            needed += base + (needed * u64::from(*ppm)).div_ceil(1_000_000);
        }
        Some(needed - minor)
    }
}
