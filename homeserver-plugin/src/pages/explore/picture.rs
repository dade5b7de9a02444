//! The graph around a user, drawn as rings: the user in the middle, friends round it, their friends outside.

use std::collections::{BTreeMap, BTreeSet};
use std::f64::consts::TAU;

use atomicity_ledger::UserKey;
use maud::{Markup, html};

use crate::pages::text;

/// Width and height, in units of the picture.
const SIDE: f64 = 800.0;
/// Radii of the two rings.
const INNER: f64 = 190.0;
const OUTER: f64 = 330.0;
/// Most characters of a name in the picture.
const NAME: usize = 14;

/// A user in the picture.
#[derive(Clone, Debug)]
pub struct Node {
    /// What they call themselves, or the beginning of their key.
    pub name: String,
    /// Where a click leads.
    pub link: String,
    /// Who they are.
    pub key: UserKey,
}

/// A place in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spot {
    x: f64,
    y: f64,
}

impl Spot {
    /// On a ring, by the share of the circle from the top.
    fn on(radius: f64, share: f64) -> Self {
        let angle = share * TAU;
        Self {
            x: SIDE / 2.0 + radius * angle.sin(),
            y: SIDE / 2.0 - radius * angle.cos(),
        }
    }
}

/// Where everybody is. Friends have the same distance from each other, and their friends lie behind them.
fn places(middle: &Node, friends: &[(Node, Vec<Node>)]) -> BTreeMap<UserKey, Spot> {
    let mut places = BTreeMap::new();
    places.insert(middle.key, Spot::on(0.0, 0.0));
    let sector = 1.0 / ratio(friends.len().max(1));
    for (at, (friend, theirs)) in friends.iter().enumerate() {
        let begin = ratio(at) * sector;
        places.insert(friend.key, Spot::on(INNER, begin + sector / 2.0));
        // Few friends have much room: theirs stay near them all the same.
        let room = sector.min(0.25);
        let from = begin + (sector - room) / 2.0;
        for (nth, other) in theirs.iter().enumerate() {
            let share = (ratio(nth) + 0.5) / ratio(theirs.len());
            places.insert(other.key, Spot::on(OUTER, from + share * room));
        }
    }
    places
}

/// Counts in a picture are small.
fn ratio(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The picture. `lines` are pairs of users with a channel between them.
pub fn draw(
    middle: &Node,
    friends: &[(Node, Vec<Node>)],
    lines: &BTreeSet<(UserKey, UserKey)>,
) -> Markup {
    let places = places(middle, friends);
    let ends = lines
        .iter()
        .filter_map(|(from, to)| Some((places.get(from)?, places.get(to)?)));
    html! {
        svg.graph viewBox={ "0 0 " (SIDE) " " (SIDE) } role="group" aria-label={ "Who is around " (text::plain(&middle.name, text::LINE)) } {
            @for (from, to) in ends {
                line x1=(round(from.x)) y1=(round(from.y)) x2=(round(to.x)) y2=(round(to.y)) {}
            }
            @for (friend, theirs) in friends {
                @for other in theirs { (person(other, &places, "far")) }
                (person(friend, &places, "near"))
            }
            (person(middle, &places, "middle"))
        }
    }
}

fn person(node: &Node, places: &BTreeMap<UserKey, Spot>, class: &str) -> Markup {
    let Some(spot) = places.get(&node.key) else {
        return Markup::default();
    };
    let radius = match class {
        "middle" => 26,
        "near" => 20,
        _ => 14,
    };
    let (x, y) = (round(spot.x), round(spot.y));
    let below = round(spot.y + f64::from(radius) + 20.0);
    html! {
        a href=(node.link) class=(class) {
            // Named in full: who reads the picture aloud has room for it.
            title { (text::plain(&node.name, text::LINE)) }
            circle cx=(x) cy=(y) r=(radius) {}
            text x=(x) y=(below) text-anchor="middle" { (text::plain(&node.name, NAME)) }
        }
    }
}

/// Whole units are exact enough.
fn round(length: f64) -> String {
    format!("{length:.0}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use atomicity_ledger::Keypair;

    use super::*;

    fn node(n: u8, name: &str) -> Node {
        Node {
            name: name.to_owned(),
            link: "/x".to_owned(),
            key: Keypair::from_secret(&[n; 32]).user_key(),
        }
    }

    #[test]
    fn everybody_is_inside_the_picture_and_nobody_on_somebody_else() {
        let friends: Vec<(Node, Vec<Node>)> = (0..16u8)
            .map(|n| {
                let theirs = (0..4u8).map(|m| node(50 + n * 4 + m, "x")).collect();
                (node(1 + n, "x"), theirs)
            })
            .collect();
        let places = places(&node(200, "me"), &friends);
        let spots: Vec<&Spot> = places.values().collect();
        assert_eq!(spots.len(), 81);
        for (at, one) in spots.iter().enumerate() {
            assert!(one.x > 30.0 && one.x < SIDE - 30.0 && one.y > 30.0 && one.y < SIDE - 50.0);
            for other in &spots[at + 1..] {
                let distance = (one.x - other.x).hypot(one.y - other.y);
                assert!(distance > 24.0, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn names_in_pictures_are_text() {
        let friend = node(2, "</svg><script>alert(1)</script>");
        let me = node(1, "\u{202e}me");
        let lines = BTreeSet::from([(me.key, friend.key)]);
        let drawn = draw(&me, &[(friend, Vec::new())], &lines).into_string();
        assert_eq!(drawn.matches("</svg>").count(), 1);
        assert!(!drawn.contains("<script") && !drawn.contains('\u{202e}'));
        assert_eq!(drawn.matches("<line").count(), 1);
        assert_eq!(drawn.matches("<circle").count(), 2);
    }
}
