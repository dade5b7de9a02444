//! Logs of other implementations are read, and ours are read by them.
//!
//! `testdata/tessera` was written by `interop/go` with Tessera and the signers of transparency-dev/formats; that program also checks what
//! the crate writes. It is run here if there is a Go toolchain that has its modules at hand; nothing is fetched.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use atomicity_witness_log::checkpoint::cosign;
use atomicity_witness_log::leaf::preimage_hash;
use atomicity_witness_log::tile::{TilePlan, bundles, decode_bundle};
use atomicity_witness_log::tree::{
    CompactRange, RangeSource, leaf_hash, prove_consistency, prove_inclusion, verify_consistency,
    verify_inclusion,
};
use atomicity_witness_log::*;
use common::*;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

/// A directory as the Go program reads and writes it.
struct Dir {
    root: PathBuf,
    policy: Policy,
    head: CheckedCheckpoint,
    earlier: SignedCheckpoint,
}

impl Dir {
    fn open(root: PathBuf) -> Self {
        let policy = Policy::parse(&fs::read(root.join("policy")).unwrap()).unwrap();
        let note = SignedNote::parse(&fs::read(root.join("log/checkpoint")).unwrap()).unwrap();
        let head = policy.check(&note).unwrap();
        let earlier = fs::read(root.join("earlier-checkpoint")).unwrap();
        let earlier = SignedCheckpoint::parse(&earlier).unwrap();
        earlier.verify_log(head.log_key()).unwrap();
        Self {
            root,
            policy,
            head,
            earlier,
        }
    }

    fn read(&self, path: &TilePath) -> Option<Vec<u8>> {
        fs::read(self.root.join("log").join(path.to_string())).ok()
    }

    fn entries(&self, start: u64, end: u64) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for path in bundles(start, end, end) {
            let bytes = self.read(&path).expect("the bundle of a published size");
            let entries = (path.start()..).zip(decode_bundle(&path, &bytes).unwrap());
            all.extend(
                entries
                    .filter(|(at, _)| *at >= start)
                    .map(|(_, entry)| entry.to_vec()),
            );
        }
        all
    }

    /// Makes something from the tiles that it needs.
    fn with_tiles<T>(&self, size: u64, make: impl Fn(&dyn HashSource) -> Result<T, LogError>) -> T {
        let plan = TilePlan::new(size);
        make(&plan).unwrap();
        let mut set = TileSet::new();
        for path in plan.tiles() {
            let bytes = self
                .read(&path)
                .unwrap_or_else(|| panic!("{path} is missing"));
            set.insert(&path, &bytes).unwrap();
        }
        make(&set).unwrap()
    }

    /// Reads everything there is, in every way there is.
    fn check(&self) {
        let (head, old) = (self.head.checkpoint(), self.earlier.checkpoint());
        let entries = self.entries(0, head.size);
        assert_eq!(MemoryTree::from_entries(&entries).root(), head.root);
        for index in [0, 1, old.size - 1, old.size, head.size / 2, head.size - 1] {
            let path =
                self.with_tiles(head.size, |tiles| prove_inclusion(&tiles, index, head.size));
            let leaf = leaf_hash(&entries[index as usize]);
            verify_inclusion(&leaf, index, head.size, &path, &head.root).unwrap();
        }
        let proof = self.with_tiles(head.size, |tiles| {
            prove_consistency(&tiles, old.size, head.size)
        });
        verify_consistency(old.size, head.size, &proof, &old.root, &head.root).unwrap();
        self.follow();
        self.judge(&entries);
        let state = LogState::restore(head, |path| self.read(path)).unwrap();
        assert_eq!((state.size(), state.root()), (head.size, head.root));
    }

    fn follow(&self) {
        let (head, old) = (self.head.checkpoint(), self.earlier.checkpoint());
        let mut follower = Follower::new(self.head.log_key().clone());
        let first = self.entries(0, old.size);
        follower.advance(self.earlier.note(), &first, None).unwrap();
        let second = self.entries(old.size, head.size);
        follower.advance(self.head.note(), &second, None).unwrap();
        assert_eq!(follower.root(), head.root);
    }

    /// The proof of publication holds; and for the rest of the log, one of expiry can be made.
    fn judge(&self, entries: &[Vec<u8>]) {
        let head = self.head.checkpoint();
        let text = fs::read(self.root.join("publication.tlog-proof")).unwrap();
        let proof = PublicationProof::parse(&text).unwrap();
        assert_eq!(proof.to_string().into_bytes(), text);
        let hash = preimage_hash(proof.leaf().preimage().unwrap());
        let index = proof.tlog_proof().index;
        let in_time = LogTerms {
            policy: &self.policy,
            origin: &head.origin,
            hash: &hash,
            from_size: index.saturating_sub(9),
            deadline_ms: proof.leaf().time_ms(),
        };
        assert_eq!(proof.verify(&in_time).unwrap().index, index);
        let too_late = LogTerms {
            from_size: index + 1,
            ..in_time
        };
        assert_eq!(proof.verify(&too_late), Err(LogError::BeforeWindow));
        let leaves: Vec<_> = entries
            .iter()
            .map(|entry| Leaf::decode(entry).unwrap())
            .collect();
        let from = index as usize + 1;
        let range = self.with_tiles(head.size, |tiles| {
            CompactRange::from_source(&tiles, from as u64)
        });
        let later = leaves[from..].iter().map(Leaf::hash).collect();
        let late = (from..)
            .find(|at| leaves[*at].time_ms() > in_time.deadline_ms)
            .unwrap();
        let window = leaves[from..=late].to_vec();
        let source = RangeSource::new(range.clone(), later);
        let expiry = ExpiryProof::build(range, window, &source, self.head.note().clone()).unwrap();
        assert_eq!(expiry.verify(&too_late).unwrap().index, late as u64);
    }
}

/// Writes a log of this size as the Go program reads it, its cosigners with addresses (which that implementation asks for).
fn write_log(root: &Path, batches: &[usize], proven: u64) {
    let keys: Vec<_> = (0..3)
        .map(|n| {
            (
                cosigner_key(n).verifier(),
                Some(format!("https://cosigner.example/{n}")),
            )
        })
        .collect();
    let log = [(
        log_key().verifier(),
        Some("https://log.example/one".to_owned()),
    )];
    let policy = Policy::from_parts(&log, &keys, 2).unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    put("policy", policy.as_bytes());
    let mut state = LogState::new(ORIGIN);
    let mut leaves = Vec::new();
    let mut tree = MemoryTree::new();
    for (step, count) in (1..).zip(batches) {
        let first = leaves.len() as u64;
        let preimages: Vec<_> = (first..first + *count as u64).map(preimage).collect();
        let batch = state.append(&preimages, NOW + step * 1000).unwrap();
        for (path, bytes) in &batch.resources {
            put(&format!("log/{path}"), bytes);
        }
        let mut signed = SignedCheckpoint::new(batch.checkpoint.sign(&log_key()).unwrap()).unwrap();
        if usize::try_from(step).unwrap() < batches.len() {
            put("earlier-checkpoint", signed.note().to_string().as_bytes());
        }
        let lines = [0, 2].map(|n| cosign(&signed, &cosigner_key(n), NOW / 1000 + step).unwrap());
        signed.add(&lines).unwrap();
        put("log/checkpoint", signed.note().to_string().as_bytes());
        batch.leaves.iter().for_each(|leaf| tree.push(leaf.hash()));
        leaves.extend(batch.leaves);
    }
    let note = SignedNote::parse(&fs::read(root.join("log/checkpoint")).unwrap()).unwrap();
    let proof = PublicationProof::build(&tree, proven, leaves[proven as usize], note).unwrap();
    put("publication.tlog-proof", proof.to_string().as_bytes());
}

#[test]
fn a_log_that_tessera_wrote_is_read() {
    Dir::open(testdata("tessera")).check();
}

#[test]
fn a_log_that_we_wrote_is_read() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), &[3, 0, 300, 1000, 0, 7], 200);
    Dir::open(dir.path().to_owned()).check();
}

/// Builds the Go program without the network; none if that can't be done here.
fn go_program(target: &Path) -> Option<Command> {
    let go = std::env::var_os("GO").unwrap_or_else(|| "go".into());
    let program = target.join("interop");
    let built = Command::new(go)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go"))
        .env("GOPROXY", "off")
        .env("GOFLAGS", "-mod=readonly")
        .env("GOTOOLCHAIN", "local")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .output();
    match built {
        Ok(output) if output.status.success() => Some(Command::new(program)),
        Ok(output) => {
            eprintln!(
                "SKIPPED: the Go program does not build here: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            None
        }
        Err(error) => {
            eprintln!("SKIPPED: no Go toolchain: {error}");
            None
        }
    }
}

#[test]
fn go_implementations_read_our_log_and_we_read_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut go) = go_program(dir.path()) else {
        return;
    };
    // Three levels of tiles.
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    write_log(&ours, &[255, 60_000, 0, 5_600, 70], 54_321);
    fs::create_dir_all(&theirs).unwrap();
    for (action, path) in [("check", &ours), ("make", &theirs), ("check", &theirs)] {
        let program = go.get_program().to_owned();
        go = Command::new(program);
        let output = go.arg(action).arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(action == "make" || said.lines().count() == 5, "{said}");
    }
    Dir::open(ours.clone()).check();
    Dir::open(theirs).check();
    // What they accept must depend on every byte.
    for name in [
        "log/tile/0/100",
        "log/tile/entries/100",
        "log/checkpoint",
        "publication.tlog-proof",
        "earlier-checkpoint",
    ] {
        let path = ours.join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = bad.len() - 20;
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        let program = go.get_program().to_owned();
        go = Command::new(program);
        assert!(
            !go.arg("check")
                .arg(&ours)
                .output()
                .unwrap()
                .status
                .success(),
            "{name}"
        );
        fs::write(&path, good).unwrap();
    }
}
