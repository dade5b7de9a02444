//! Paths and bytes of tiles and bundles, with the examples of the specification.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use atomicity_witness_log::tile::*;
use atomicity_witness_log::tree::MAX_TREE_SIZE;
use proptest::prelude::*;

fn path(text: &str) -> TilePath {
    text.parse().unwrap()
}

#[test]
fn the_examples_of_the_specification() {
    // Index 1234067 is written x001/x234/067.
    assert_eq!(path("tile/0/x001/x234/067").index(), 1_234_067);
    assert_eq!(
        TilePath::new(TileKind::Entries, 1_234_067, 256)
            .unwrap()
            .to_string(),
        "tile/entries/x001/x234/067"
    );
    // A tree of 70,000: 273 full tiles and one of 112 at level 0, one full and one of 17 at level 1, one of 1 at level 2.
    let tiles: Vec<_> = changed_tiles(0, 70_000).collect();
    let of_level = |level| {
        let kind = TileKind::Hashes(level);
        tiles
            .iter()
            .filter(move |path| path.kind() == kind)
            .copied()
            .collect::<Vec<_>>()
    };
    assert_eq!(of_level(0).len(), 274);
    assert!(of_level(0)[..273].iter().all(TilePath::is_full));
    assert_eq!(of_level(0)[273].to_string(), "tile/0/273.p/112");
    assert_eq!(of_level(1), [path("tile/1/000"), path("tile/1/001.p/17")]);
    assert_eq!(of_level(2), [path("tile/2/000.p/1")]);
    assert!(of_level(3).is_empty());
    assert_eq!(tiles.last().unwrap().to_string(), "tile/entries/273.p/112");
    // A tree of 256: a full tile at level 0, one of width 1 at level 1.
    let tiles: Vec<_> = changed_tiles(0, 256).map(|path| path.to_string()).collect();
    assert_eq!(tiles, ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]);
}

#[test]
fn a_path_has_one_spelling() {
    for text in [
        "tile/0/000",
        "tile/7/000.p/1",
        "tile/entries/999.p/255",
        "tile/0/x001/000",
        "tile/entries/x123/x456/789",
    ] {
        assert_eq!(path(text).to_string(), text);
    }
    for text in [
        "",
        "tile",
        "tile/",
        "tile/0/",
        "tile/00/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001/x002",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "/tile/0/000",
        "tile/0/000 ",
        "tile/data/000",
        "tile/entries/+01",
        "tile/0/٠٠٠",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/7/256",
        "checkpoint",
    ] {
        assert!(text.parse::<TilePath>().is_err(), "{text}");
    }
}

#[test]
fn the_edge_has_one_tile_for_each_level() {
    let edge = |size| {
        edge_tiles(size)
            .map(|path| path.to_string())
            .collect::<Vec<_>>()
    };
    assert!(edge(0).is_empty());
    assert_eq!(edge(1), ["tile/0/000.p/1", "tile/entries/000.p/1"]);
    assert_eq!(
        edge(256),
        ["tile/0/000", "tile/1/000.p/1", "tile/entries/000"]
    );
    assert_eq!(
        edge(70_000),
        [
            "tile/0/273.p/112",
            "tile/1/001.p/17",
            "tile/2/000.p/1",
            "tile/entries/273.p/112"
        ]
    );
    assert_eq!(edge(MAX_TREE_SIZE).len(), 9);
}

#[test]
fn bundles_of_a_range_of_entries() {
    let of = |start, end, size| {
        bundles(start, end, size)
            .map(|path| path.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(0, 1, 10), ["tile/entries/000.p/10"]);
    assert_eq!(of(255, 257, 600), ["tile/entries/000", "tile/entries/001"]);
    assert_eq!(of(512, 600, 600), ["tile/entries/002.p/88"]);
    assert!(of(5, 5, 600).is_empty() && of(600, 700, 600).is_empty() && of(7, 3, 600).is_empty());
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0u8..8, index in any::<u64>(), width in 1u16..=256, entries in any::<bool>()) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
        let index = index >> 9 >> (if entries { 0 } else { 8 * u32::from(level) }).min(54);
        if let Ok(path) = TilePath::new(kind, index, width) {
            prop_assert_eq!(path.to_string().parse::<TilePath>().unwrap(), path);
        }
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..=256)) {
        let bytes = encode_bundle(&entries).unwrap();
        let path = TilePath::new(TileKind::Entries, 0, entries.len() as u16).unwrap();
        prop_assert_eq!(decode_bundle(&path, &bytes).unwrap(), entries.clone());
        prop_assert!(decode_bundle(&path, &bytes[..bytes.len() - 1]).is_err());
        prop_assert!(decode_bundle(&path, &[&bytes[..], &[0]].concat()).is_err());
        if entries.len() < 256 {
            let wider = TilePath::new(TileKind::Entries, 0, entries.len() as u16 + 1).unwrap();
            prop_assert!(decode_bundle(&wider, &bytes).is_err());
        }
    }

    #[test]
    fn tiles_have_32_bytes_for_each_hash(bytes in prop::collection::vec(any::<u8>(), 0..600), width in 1u16..20) {
        let path = TilePath::new(TileKind::Hashes(0), 0, width).unwrap();
        match decode_tile(&path, &bytes) {
            Ok(hashes) => prop_assert_eq!(encode_tile(&hashes), bytes),
            Err(_) => prop_assert_ne!(bytes.len(), usize::from(width) * 32),
        }
    }

    #[test]
    fn no_text_and_no_bytes_panic(text in ".{0,40}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = text.parse::<TilePath>();
        let _ = format!("tile/0/{text}").parse::<TilePath>();
        let _ = decode_bundle(&TilePath::new(TileKind::Entries, 0, 3).unwrap(), &bytes);
    }
}

#[test]
fn too_much_is_refused() {
    assert!(encode_bundle(&vec![[0u8; 1]; 257]).is_err());
    assert!(encode_bundle(&[vec![0u8; 65536]]).is_err());
    assert!(TilePath::new(TileKind::Hashes(8), 0, 1).is_err());
    assert!(TilePath::new(TileKind::Entries, u64::MAX, 1).is_err());
    assert!(TilePath::new(TileKind::Entries, 0, 0).is_err());
    assert!(TilePath::new(TileKind::Entries, 0, 257).is_err());
}
