//! Codes to be scanned, drawn as one path.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// The light border that scanners need, in modules.
const QUIET: usize = 4;

/// `text` as a picture; nothing if it is too long for one. `label` says what it holds to who can't see it.
#[must_use]
pub fn code(text: &str, label: &str) -> Option<Markup> {
    // What is shown on a screen is not torn or dirty: the least correction makes the largest modules.
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let side = width.saturating_add(2 * QUIET);
    let path = path(&code.to_colors(), width);
    Some(html! {
        svg.qr viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(label) {
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path) fill="#000" shape-rendering="crispEdges" {}
        }
    })
}

/// Runs of dark modules, row by row.
fn path(modules: &[Color], width: usize) -> String {
    let mut path = String::new();
    for (y, row) in modules.chunks(width.max(1)).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, other| one == other) {
            if run.first() == Some(&Color::Dark) {
                let (at, down, length) = (x + QUIET, y + QUIET, run.len());
                // Writing to a string does not fail.
                let _ = write!(path, "M{at} {down}h{length}v1h-{length}z");
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_code_has_every_dark_module_and_no_other() {
        let code = QrCode::with_error_correction_level("pubky", EcLevel::L).unwrap();
        let dark = code
            .to_colors()
            .iter()
            .filter(|color| **color == Color::Dark)
            .count();
        let path = path(&code.to_colors(), code.width());
        let runs = path.split('M').skip(1);
        let drawn: usize = runs
            .map(|run| {
                run.split_once('h')
                    .unwrap()
                    .1
                    .split_once('v')
                    .unwrap()
                    .0
                    .parse::<usize>()
                    .unwrap()
            })
            .sum();
        assert_eq!(drawn, dark);
    }

    #[test]
    fn what_is_too_long_has_no_code() {
        assert!(code(&"x".repeat(2_900), "").is_some());
        assert!(code(&"x".repeat(3_000), "").is_none());
    }
}
