//! The pages of the docs: every link to a file or a heading leads there, and every page stands in the summary of the site.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .unwrap()
}

fn pages_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages_below(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
}

fn pages() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    pages_below(&root().join("docs"), &mut found);
    found
}

/// A page without what is shown as code.
fn prose(page: &str) -> String {
    let mut inside = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if !inside {
            for (at, part) in line.split('`').enumerate() {
                text.push_str(if at % 2 == 0 { part } else { "code" });
            }
            text.push('\n');
        }
    }
    text
}

/// Where the links of a page lead.
fn links(page: &str) -> Vec<String> {
    let text = prose(page);
    let starts = text.match_indices("](").map(|(at, mark)| at + mark.len());
    starts
        .filter_map(|start| {
            let rest = &text[start..];
            Some(rest[..rest.find(')')?].to_owned())
        })
        .collect()
}

/// The names under which headings can be linked to.
fn headings(page: &str) -> BTreeSet<String> {
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        }
        let title = line.trim_start_matches('#');
        if !inside && line.starts_with('#') && title.starts_with(' ') {
            let title = title.trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.collect::<String>().replace(' ', "-"));
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut looked_at = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            looked_at += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() {
                page.clone()
            } else {
                page.parent().unwrap().join(path)
            };
            let there = target.exists()
                && (heading.is_empty()
                    || headings(&std::fs::read_to_string(&target).unwrap()).contains(heading));
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(looked_at > 100, "{looked_at}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_page_is_part_of_the_site() {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let linked: BTreeSet<PathBuf> = links(&summary)
        .iter()
        .map(|link| docs.join(link).canonicalize().unwrap())
        .collect();
    let missing: Vec<_> = pages()
        .into_iter()
        .filter(|page| page.file_name().unwrap() != "SUMMARY.md" && !linked.contains(page))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
