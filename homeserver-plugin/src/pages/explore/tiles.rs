//! The tiles of hashes of a log's tree (`c2sp.org/tlog-tiles`): which there are, what stands in one, and where it leads in the level above.

use atomicity_witness_log::tile::{TILE_WIDTH, TileKind, decode_tile};
use atomicity_witness_log::tree::node_hash;
use atomicity_witness_log::{Hash, HashSource as _, TilePath, TileSet};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::source::{Source, damaged, no_tile};
use crate::error::PluginError;
use crate::http::extract::QueryParams;
use crate::pages::{Page, frame, layout, text};
use crate::state::AppState;

/// Tiles of each level that the page of all levels shows.
const FEW: u64 = 6;
/// Tiles that the page of one level shows.
const MANY: u64 = 64;

/// One level of tiles under a published checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    /// 0 is that of the entries' own hashes.
    number: u8,
    /// Its hashes, at least one.
    hashes: u64,
}

impl Level {
    /// A level of the tree with `size` entries, if it has that.
    fn of(size: u64, number: u8) -> Option<Self> {
        let hashes = size.checked_shr(8 * u32::from(number)).unwrap_or(0);
        // Above these no tile has a name.
        let named = TilePath::new(TileKind::Hashes(number), 0, 1).is_ok();
        (hashes > 0 && named).then_some(Self { number, hashes })
    }

    fn all(size: u64) -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map_while(move |number| Self::of(size, number))
    }

    fn tiles(self) -> u64 {
        self.hashes.div_ceil(TILE_WIDTH)
    }

    /// A tile of it, as wide as it is in this tree.
    fn tile(self, index: u64) -> Option<TilePath> {
        let before = index.checked_mul(TILE_WIDTH)?;
        let width = self.hashes.checked_sub(before)?.min(TILE_WIDTH);
        let width = u16::try_from(width).ok()?;
        TilePath::new(TileKind::Hashes(self.number), index, width).ok()
    }
}

/// How many entries lie under one hash of a level.
fn under(level: u8) -> u64 {
    1_u64.checked_shl(8 * u32::from(level)).unwrap_or(u64::MAX)
}

/// The first and the last entry under a tile of this level.
fn span(level: u8, path: &TilePath) -> (u64, u64) {
    let end = path.start().saturating_add(u64::from(path.width()));
    let (first, end) = (
        path.start().saturating_mul(under(level)),
        end.saturating_mul(under(level)),
    );
    (first, end.saturating_sub(1))
}

/// The page of a tile.
fn address(source: &Source, path: &TilePath) -> String {
    format!("/explore/logs/{}/{path}", source.name)
}

/// The page of a level.
fn level_address(source: &Source, level: u8) -> String {
    format!("/explore/logs/{}/tiles?level={level}", source.name)
}

/// Which level, and from which tile on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// All if absent.
    level: Option<u8>,
    /// Any tile of the level: those around it are shown. The newest if absent.
    from: Option<u64>,
}

/// `GET /explore/logs/{log}/tiles`: all levels with their newest tiles, or one level.
///
/// # Errors
/// `log_unknown`, `query_invalid`, `tile_unknown`, [`PluginError::Database`].
pub async fn list(
    State(state): State<AppState>,
    Path(name): Path<String>,
    QueryParams(query): QueryParams<Begin>,
) -> Result<Page, PluginError> {
    let source = Source::open(&state, &name).await?;
    let content = match query.level {
        None => levels(&source),
        Some(number) => {
            let level = Level::of(source.size(), number).ok_or_else(no_tile)?;
            let newest = level.tiles().saturating_sub(1);
            one_level(&source, level, query.from.unwrap_or(newest).min(newest))
        }
    };
    let title = format!("Tiles of {}", text::plain(source.key.name(), text::LINE));
    let content = html! {
        h1 { (text::foreign(&title, 200)) }
        p.lead {
            "The hashes of the log’s tree, up to 256 in each tile. In level 0 stands the hash of each entry; in every level above, the hash of \
             each full tile below it. Programs that check the log read these."
        }
        (content)
    };
    Ok(layout(&frame(&title, ""), content))
}

fn levels(source: &Source) -> Markup {
    html! {
        nav aria-label="Around" {
            ul {
                li { a href={ "/explore/logs/" (source.name) } { "Back to the log" } }
            }
        }
        @if source.size() == 0 { p { "None is published yet." } }
        @for level in Level::all(source.size()) {
            section.card aria-labelledby={ "level-" (level.number) } {
                h2 id={ "level-" (level.number) } { "Level " (level.number) }
                (described(level))
                (table(source, level, (0..level.tiles()).rev().take(usize::try_from(FEW).unwrap_or(0))))
                @if level.tiles() > FEW {
                    p { a href=(level_address(source, level.number)) { "All tiles of level " (level.number) } }
                }
            }
        }
    }
}

fn one_level(source: &Source, level: Level, from: u64) -> Markup {
    let start = from - from % MANY;
    let end = start.saturating_add(MANY).min(level.tiles());
    let here = level_address(source, level.number);
    html! {
        nav aria-label="Earlier and later" {
            ul {
                li { a href={ "/explore/logs/" (source.name) "/tiles" } { "All levels" } }
                @if let Some(before) = start.checked_sub(1) { li { a href={ (here) "&from=" (before) } { "Earlier" } } }
                @if end < level.tiles() { li { a href={ (here) "&from=" (end) } { "Later" } } }
            }
        }
        section.card aria-labelledby="level" {
            h2 id="level" { "Level " (level.number) }
            (described(level))
            (table(source, level, start..end))
        }
    }
}

fn described(level: Level) -> Markup {
    html! {
        p {
            (text::count(level.hashes)) @if level.hashes == 1 { " hash" } @else { " hashes" }
            @if level.number == 0 { " of one entry each" } @else { " over " (text::count(under(level.number))) " entries each" }
            ", in " (text::count(level.tiles())) @if level.tiles() == 1 { " tile." } @else { " tiles." }
        }
    }
}

fn table(source: &Source, level: Level, indexes: impl Iterator<Item = u64>) -> Markup {
    let tiles = indexes.filter_map(|index| level.tile(index));
    html! {
        div.scroll tabindex="0" role="region" aria-label={ "Tiles of level " (level.number) } {
            table {
                thead { tr { th scope="col" { "Tile" } th scope="col" { "Hashes" } th scope="col" { "Over entries" } th scope="col" { "As bytes" } } }
                tbody {
                    @for path in tiles {
                        @let (first, last) = span(level.number, &path);
                        tr {
                            td.number { a href=(address(source, &path)) { (path.index()) } }
                            td { (path.width()) @if path.is_full() { ", full" } @else { " of 256" } }
                            td { (first) " to " (last) }
                            td { a href={ (source.tiles_url()) "/" (path) } { (path) } }
                        }
                    }
                }
            }
        }
    }
}

/// Where a full tile stands in the level above.
struct Above {
    /// In which tile.
    path: TilePath,
    /// As which hash of that level: there are as many as tiles below.
    number: u64,
    /// What its hashes come to.
    root: Hash,
    /// Whether that is what stands there.
    agrees: bool,
}

/// `GET /explore/logs/{log}/tile/{path}`: a tile of hashes. A bundle of entries is shown as its entries.
///
/// # Errors
/// `log_unknown`, `tile_unknown`, [`PluginError::Database`].
pub async fn page(
    State(state): State<AppState>,
    Path((name, path)): Path<(String, String)>,
) -> Result<Response, PluginError> {
    let source = Source::open(&state, &name).await?;
    let path: TilePath = format!("tile/{path}").parse().map_err(|_| no_tile())?;
    let TileKind::Hashes(level) = path.kind() else {
        let entries = format!(
            "/explore/logs/{}/entries?from={}",
            source.name,
            path.start()
        );
        return Ok(Redirect::to(&entries).into_response());
    };
    let bytes = source.tile(&state, &path).await?;
    let hashes = decode_tile(&path, &bytes).map_err(|error| damaged(&error))?;
    let above = above(&state, &source, (level, &path), &bytes).await?;
    let title = format!("Tile {} of level {level}", path.index());
    let content = html! {
        h1 { (title) }
        p { "of " a href={ "/explore/logs/" (source.name) "/tiles" } { (text::foreign(source.key.name(), text::LINE)) } }
        (facts(&source, level, &path))
        (upwards(&source, level, above.as_ref()))
        (listed(&source, level, &path, &hashes))
    };
    Ok(layout(&frame(&title, ""), content).into_response())
}

async fn above(
    state: &AppState,
    source: &Source,
    (level, path): (u8, &TilePath),
    bytes: &[u8],
) -> Result<Option<Above>, PluginError> {
    let next = level.checked_add(1);
    let next = next.and_then(|next| Level::of(source.size(), next));
    let next = next.and_then(|next| next.tile(path.index() / TILE_WIDTH));
    let (Some(next), Some(root)) = (next, root_of(level, path, bytes)) else {
        return Ok(None);
    };
    let there = source.tile(state, &next).await?;
    let there = decode_tile(&next, &there).map_err(|error| damaged(&error))?;
    let at = usize::try_from(path.index() % TILE_WIDTH).unwrap_or(usize::MAX);
    Ok(there.get(at).map(|hash| Above {
        path: next,
        number: path.index(),
        root,
        agrees: *hash == root,
    }))
}

/// What the hashes of a full tile come to; none for another.
fn root_of(level: u8, path: &TilePath, bytes: &[u8]) -> Option<Hash> {
    let mut set = TileSet::new();
    set.insert(path, bytes).ok()?;
    let below = level.checked_mul(8)?.checked_add(7)?;
    let left = path.index().checked_mul(2)?;
    let half = |index| set.hash(below, index).ok();
    Some(node_hash(&half(left)?, &half(left.checked_add(1)?)?))
}

fn facts(source: &Source, level: u8, path: &TilePath) -> Markup {
    let (first, last) = span(level, path);
    let newest = Level::of(source.size(), level).and_then(|level| level.tile(path.index()));
    let grown = newest.filter(|newest| newest.width() > path.width());
    html! {
        section.card aria-labelledby="tile" {
            h2 id="tile" { "The tile" }
            dl {
                dt { "Hashes" }
                dd { (path.width()) @if path.is_full() { ": it is full, and never changes" } @else { " of 256: it grows with the log" } }
                dt { "Over the entries" } dd { (text::count(first)) " to " (text::count(last)) }
                dt { "As bytes" } dd { a href={ (source.tiles_url()) "/" (path) } { (source.tiles_url()) "/" (path) } }
            }
            @if let Some(grown) = grown {
                p { "It has grown since: " a href=(address(source, &grown)) { "as it is now" } "." }
            }
        }
    }
}

fn upwards(source: &Source, level: u8, above: Option<&Above>) -> Markup {
    let next = u16::from(level) + 1;
    html! {
        section.card aria-labelledby="above" {
            h2 id="above" { "In the level above" }
            @match above {
                None => p { "Nothing yet: a tile has a hash there once it is full. Until then its own hashes are what the root is computed from." },
                Some(above) => {
                    @let at = &above.path;
                    p { "All 256 hashes, in pairs and pairs of pairs, come to" }
                    p { code { (above.root) } }
                    p {
                        @if above.agrees {
                            span.good { "That is what stands" }
                        } @else {
                            span.bad { "That is not what stands" }
                        }
                        " in level " (next) ", in " a href={ (address(source, at)) "#h" (above.number) } { "tile " (at.index()) } ", as hash " (above.number) "."
                    }
                },
            }
        }
    }
}

fn listed(source: &Source, level: u8, path: &TilePath, hashes: &[Hash]) -> Markup {
    let below = |index: u64| match level.checked_sub(1) {
        None => Some(format!("/explore/logs/{}/entries/{index}", source.name)),
        Some(below) => {
            let full = u16::try_from(TILE_WIDTH).ok()?;
            let path = TilePath::new(TileKind::Hashes(below), index, full).ok()?;
            Some(address(source, &path))
        }
    };
    html! {
        section.card aria-labelledby="hashes" {
            h2 id="hashes" { "The hashes" }
            p {
                @if level == 0 { "Each with the number of its entry." }
                @else { "Each with the number of the tile below that it stands for." }
            }
            ul.plain {
                @for (index, hash) in (path.start()..).zip(hashes) {
                    li id={ "h" (index) } { a href=[below(index)] { (index) } " " code { (hash) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_witness_log::tile::edge_tiles;
    use atomicity_witness_log::{MemoryTree, tile::encode_tile};

    use super::*;

    #[test]
    fn the_levels_are_those_of_the_tree() {
        for size in [
            0,
            1,
            255,
            256,
            257,
            65_535,
            65_536,
            16_777_216 + 300,
            u64::MAX >> 1,
        ] {
            let edge: Vec<TilePath> = edge_tiles(size)
                .filter(|path| path.kind() != TileKind::Entries)
                .collect();
            let newest: Vec<TilePath> = Level::all(size)
                .map(|level| level.tile(level.tiles() - 1).unwrap())
                .collect();
            assert_eq!(newest, edge, "{size}");
            for level in Level::all(size) {
                assert_eq!(level.tile(level.tiles()), None, "{size}");
                assert!(level.tiles() == 1 || level.tile(0).unwrap().is_full());
            }
        }
    }

    #[test]
    fn a_tile_tells_which_entries_it_is_over() {
        let span_of = |text: &str, level| span(level, &text.parse().unwrap());
        assert_eq!(span_of("tile/0/001.p/44", 0), (256, 299));
        assert_eq!(span_of("tile/1/000.p/1", 1), (0, 255));
        assert_eq!(span_of("tile/1/001", 1), (65_536, 131_071));
    }

    #[test]
    fn a_full_tile_comes_to_the_hash_above_it_and_no_other_does() {
        let mut tree = MemoryTree::default();
        for n in 0..600_u32 {
            tree.push(atomicity_witness_log::tree::leaf_hash(&n.to_be_bytes()));
        }
        let bytes = |path: &TilePath| {
            let numbers = path.start()..path.start() + u64::from(path.width());
            encode_tile(
                &numbers
                    .map(|n| tree.hash(0, n).unwrap())
                    .collect::<Vec<_>>(),
            )
        };
        let level = Level::of(600, 0).unwrap();
        for index in [0, 1] {
            let path = level.tile(index).unwrap();
            assert_eq!(root_of(0, &path, &bytes(&path)), tree.hash(8, index).ok());
        }
        let partial = level.tile(2).unwrap();
        assert_eq!(root_of(0, &partial, &bytes(&partial)), None);
    }
}
