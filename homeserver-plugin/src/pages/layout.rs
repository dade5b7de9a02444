//! What all pages have in common.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::asset::asset;

/// What a page may load and do: its own style and scripts, requests to its own server, forms to it. Nothing inline, nothing foreign.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                          base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// What stands around the content of a page.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the page is about; the browser shows it with the name of the site.
    pub title: &'a str,
    /// Where the site begins, and its name.
    pub home: (&'a str, &'a str),
    /// Where else one can go: path and words.
    pub links: &'a [(&'a str, &'a str)],
    /// The path of this page, to mark it among the links.
    pub here: &'a str,
    /// The scripts that it needs, by their names in the sources.
    pub modules: &'a [&'a str],
}

/// A finished page.
#[derive(Clone, Debug)]
pub struct Page {
    status: StatusCode,
    html: String,
}

impl Page {
    /// The same page as the answer to something that went otherwise.
    #[must_use]
    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// What it says.
    #[must_use]
    pub fn html(&self) -> &str {
        &self.html
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.html).into_response();
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "no-cache"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // With `no-referrer`, browsers send forms with `Origin: null`, and over plain http nothing else tells that they are ours.
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::VARY, "accept"),
        ] {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// What stands below every page for everybody.
const FOOT: &str = "Credit between people. What is shown here was signed by those it is about, or is marked otherwise.";

/// Puts `content` into its frame. It begins with a heading of the first level.
#[must_use]
pub fn layout(frame: &Frame<'_>, content: Markup) -> Page {
    layout_above(frame, content, FOOT)
}

/// The same with other words below it.
#[must_use]
pub fn layout_above(frame: &Frame<'_>, content: Markup, foot: &str) -> Page {
    let (home, site) = frame.home;
    let title = match frame.title {
        "" => site.to_owned(),
        title => format!("{title} – {site}"),
    };
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="stylesheet" href=(asset("style.css"));
                // No request for an icon that is not there.
                link rel="icon" href="data:,";
                @for module in frame.modules {
                    script type="module" src=(asset(module)) {}
                }
            }
            body {
                a.skip href="#content" { "To the content" }
                header.top {
                    div.wide {
                        a.home href=(home) { (mark()) span { (site) } }
                        (links(frame))
                    }
                }
                main.wide id="content" tabindex="-1" { (content) }
                footer.wide { p { (foot) } }
            }
        }
    };
    Page {
        status: StatusCode::OK,
        html: html.into_string(),
    }
}

fn links(frame: &Frame<'_>) -> Markup {
    html! {
        @if !frame.links.is_empty() {
            nav aria-label="Pages" {
                ul {
                    @for (path, words) in frame.links {
                        li {
                            a href=(path) aria-current=[(*path == frame.here).then_some("page")] { (words) }
                        }
                    }
                }
            }
        }
    }
}

/// Two circles that overlap: what two people have in common.
fn mark() -> Markup {
    html! {
        svg viewBox="0 0 32 20" width="32" height="20" aria-hidden="true" {
            circle cx="11" cy="10" r="8" {}
            circle cx="21" cy="10" r="8" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame<'_> = Frame {
        title: "<script>alert(1)</script>",
        home: ("/", "Site"),
        links: &[("/", "Home"), ("/x", "X")],
        here: "/x",
        modules: &["local.js"],
    };

    #[test]
    fn whatever_is_put_in_is_text() {
        let page = layout(
            &FRAME,
            html! { h1 title=("\"><b>") { ("<img src=x onerror=alert(1)>") } },
        );
        assert!(!page.html().contains("<script>alert"));
        assert!(!page.html().contains("<img"));
        assert!(!page.html().contains("\"><b>"));
        assert!(
            page.html()
                .contains("&lt;script&gt;alert(1)&lt;/script&gt; – Site")
        );
    }

    #[test]
    fn nothing_is_inline_and_the_policy_needs_no_exception() {
        let page = layout(&FRAME, html! { h1 { "x" } });
        for inline in [" style=", "<style", "onclick=", "javascript:"] {
            assert!(!page.html().contains(inline), "{inline}");
        }
        assert_eq!(page.html().matches("<script").count(), 1);
        assert_eq!(page.html().matches("aria-current=\"page\"").count(), 1);
        assert!(!POLICY.contains("unsafe"));
    }
}
