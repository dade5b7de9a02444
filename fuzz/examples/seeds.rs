//! Writes the first inputs of each fuzz target, made of the golden vectors, into `corpus/`.

use std::fs;
use std::path::Path;

use atomicity_fuzz::{TYPES, key, seed, unsign};
use atomicity_ledger::channel_file::ChannelFile;
use atomicity_ledger::{Timestamp, UserKey, evidence};
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;

fn read(name: &str) -> Result<Value, Failure> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../ledger/testdata")
        .join(name);
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write(target: &str, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(name), bytes)?)
}

fn texts(vectors: &Value) -> Vec<String> {
    let list = vectors.as_array().into_iter().flatten();
    list.filter_map(|vector| vector["jws"].as_str().map(str::to_owned))
        .collect()
}

/// A grant of the baker to the baker's book key.
fn grant() -> Vec<u8> {
    let book_key = key(3).signer_key().to_string();
    let claims = serde_json::json!({
        "iss": key(2).user_key().to_string(),
        "client_id": "atomicity.example",
        "caps": [format!("/pub/atomicity/v0/book/{book_key}:rw")],
        "cnf": book_key,
        "jti": "qqqqqqqqqqqqqqqqqqqqqg",
        "iat": 1_767_225_600,
        "exp": 1_830_297_600,
    });
    seed(12, 2, claims.to_string().as_bytes())
}

/// The milkman's delegation, first book, and first state.
fn opening(milkman: UserKey, baker: UserKey) -> Vec<Vec<u8>> {
    let (milkman, baker) = (milkman.to_string(), baker.to_string());
    let book_key = key(1).signer_key().to_string();
    let delegation = serde_json::json!({
        "v": 1, "root": milkman, "key": book_key, "scopes": ["book"],
        "limits": [{"unit": "BREAD/2", "per_peer": "10000"}],
        "not_before": 1_767_225_600_000u64, "not_after": 1_798_761_600_000u64, "serial": 1,
    });
    let book = serde_json::json!({
        "v": 1, "from": milkman, "to": baker, "epoch": 0, "key": book_key, "after": [],
        "cap": [{"unit": "BREAD/2", "debt": "10000"}], "at": 1_767_225_600_500u64,
    });
    let state = |seq: u64, issued: &str| {
        serde_json::json!({
            "v": 1, "from": milkman, "to": baker, "unit": "BREAD/2", "epoch": 0, "seq": seq,
            "issued": issued, "merged": "0", "returned": "0", "next": "0", "open": [],
            "at": 1_767_225_601_000u64,
        })
    };
    let place = |typ: &str| TYPES.iter().position(|known| *known == typ).unwrap_or(0);
    let by_book_key =
        |typ, json: serde_json::Value| seed(place(typ), 1, json.to_string().as_bytes());
    vec![
        seed(
            place("atomicity-delegation"),
            0,
            delegation.to_string().as_bytes(),
        ),
        by_book_key("atomicity-book", book),
        by_book_key("atomicity-state", state(1, "200")),
        by_book_key("atomicity-state", state(3, "450")),
    ]
}

/// Each vector of the log, behind the byte that says how it is to be read.
fn write_log_seeds() -> Result<(), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../witness-log/testdata/vectors");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kinds: &[u8] = match name.as_str() {
            "checkpoint" => &[1, 2],
            "tombstone" => &[1, 3],
            "policy" => &[4],
            "publication.tlog-proof" => &[5, 6],
            "add-checkpoint.request" | "add-checkpoint.response" | "follower.bin" => &[9],
            name if name.starts_with("expiry") => &[7],
            name if name.starts_with("fork") => &[8],
            _ => &[0, 10],
        };
        let bytes = fs::read(entry.path())?;
        for kind in kinds {
            let seed = [&[*kind], bytes.as_slice()].concat();
            write("log_decode", &format!("{name}-{kind}"), &seed)?;
        }
    }
    Ok(())
}

/// Invoices in links, their payloads behind the byte that names the signer, and questions to a user.
fn write_link_seeds(records: &[String]) -> Result<(), Failure> {
    let place = TYPES.iter().position(|typ| *typ == "atomicity-invoice");
    let invoices = records.iter().filter_map(|jws| {
        let seed = unsign(jws)?;
        let typ = usize::from(*seed.first()?) % TYPES.len();
        (Some(typ) == place).then_some((jws, seed))
    });
    for (n, (jws, seed)) in invoices.enumerate() {
        let link = format!("atomicity:{jws}");
        write("link_parse", &format!("text-{n}"), link.as_bytes())?;
        let payload = seed.get(1..).unwrap_or_default();
        write("link_parse", &format!("payload-{n}"), payload)?;
    }
    let query = "amount=5.00&unit=USD/2&memo=two%20br%C3%B6tchen";
    write("link_parse", "query", query.as_bytes())
}

fn main() -> Result<(), Failure> {
    let records = texts(&read("records.json")?);
    let refused = texts(&read("refused.json")?);
    for (n, jws) in records.iter().chain(&refused).enumerate() {
        write("record_decode", &format!("text-{n}"), jws.as_bytes())?;
        if let Some(seed) = unsign(jws) {
            write("record_decode", &format!("payload-{n}"), &seed)?;
        }
    }
    write_link_seeds(&records)?;
    let (milkman, baker) = (key(0).user_key(), key(2).user_key());
    let between: Vec<&String> = records
        .iter()
        .filter(|jws| ChannelFile::collect(milkman, baker, [jws]).is_ok())
        .collect();
    let mut lines: Vec<Vec<u8>> = between.iter().filter_map(|jws| unsign(jws)).collect();
    lines.push(grant());
    write("record_decode", "payload-grant", &grant())?;
    let file = ChannelFile::collect(milkman, baker, &between)?.encode()?;
    write("channel_file", "json", &file)?;
    write("channel_file", "records", &lines.join(&b'\n'))?;
    let at = Timestamp::from_millis(1_767_312_000_000)?;
    let owned: Vec<String> = between.iter().map(|jws| (*jws).clone()).collect();
    let bundle = evidence::export(baker, milkman, &owned, None, &key(2), at)?;
    write("evidence_verify", "text", bundle.as_bytes())?;
    write("evidence_verify", "records", &lines.join(&b'\n'))?;
    // What the peer says comes in the order in which it can be taken: delegations, books, the rest.
    write("pair_receive", "records", &lines.join(&b'\n'))?;
    write(
        "pair_receive",
        "opening",
        &opening(milkman, baker).join(&b'\n'),
    )?;
    write_log_seeds()?;
    for hops in [0, 3, 9] {
        write(
            "onion_open",
            &format!("whole-{hops}"),
            &[hops, 0, 0, 0, b'h', b'i'],
        )?;
        write(
            "onion_open",
            &format!("spoilt-{hops}"),
            &[hops, hops, 200, 1, 0xff, 5],
        )?;
    }
    let seals = read("seals.json")?;
    for name in ["envelope_known", "envelope_stranger"] {
        write(
            "envelope_open",
            name,
            seals[name]["envelope"].to_string().as_bytes(),
        )?;
        write(
            "envelope_open",
            "parcel",
            seals[name]["parcel"].to_string().as_bytes(),
        )?;
    }
    Ok(())
}
