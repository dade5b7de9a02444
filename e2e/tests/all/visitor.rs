//! Somebody who looks at a page in every way in which it can be bad.

use std::path::PathBuf;

use atomicity_e2e::World;
use atomicity_e2e::browser::{Browser, tool};
use atomicity_e2e::programs::source_tree;
use serde_json::Value;

/// A phone, in pixels.
pub const PHONE: (u32, u32) = (360, 740);
/// The most bytes of a first view, with all that it loads.
const MOST: u64 = 100_000;
/// What can be reached by the Tab key: of the buttons of one choice, the one that is chosen.
const REACHABLE: &str = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex=\"0\"]')]\
    .filter((e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled && (e.type !== 'radio' || e.checked))";
/// How many of them are tried.
const TABS: usize = 60;

/// Where pictures of pages go, if they are wanted.
fn pictures() -> Option<PathBuf> {
    std::env::var_os("ATOMICITY_PICTURES").map(|dir| source_tree().join(dir))
}

/// A browser, and what looks for barriers.
pub struct Visitor {
    pub browser: Browser,
    /// Whether pictures are taken, if they are wanted: the docs don't show every page.
    pub camera: bool,
    axe: String,
}

impl Visitor {
    /// A visitor with a fresh browser; `None` if there is none here, or nothing that looks for barriers.
    pub async fn come(world: &World) -> Option<Self> {
        let browser = Browser::start(world).await.unwrap()?;
        let file = tool("axe").await.unwrap()?;
        let axe = std::fs::read_to_string(file).unwrap();
        Some(Self {
            browser,
            camera: true,
            axe,
        })
    }

    /// What stands in the first thing that `selector` names; nothing if there is none.
    pub async fn text(&mut self, selector: &str) -> String {
        let words = format!("document.querySelector({selector:?})?.innerText ?? ''");
        let found = self.browser.eval(&words).await.unwrap();
        found.as_str().unwrap().to_owned()
    }

    /// What a phone reads that is held before the code which `selector` names, as it is on the screen.
    pub async fn scan(&mut self, selector: &str) -> String {
        let seen = self.browser.brightness(selector).await;
        let (width, height, bytes) = seen.unwrap();
        let mut picture =
            rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| bytes[y * width + x]);
        let codes = picture.detect_grids();
        assert_eq!(codes.len(), 1, "{selector}: codes are seen");
        codes[0].decode().unwrap().1
    }

    /// The number that an expression of the page comes to.
    pub async fn number(&mut self, expression: &str) -> u64 {
        let found = self.browser.eval(expression).await.unwrap();
        found.as_f64().unwrap() as u64
    }

    /// Goes to a page and looks at it in every way in which a page can be bad.
    pub async fn inspect(&mut self, url: &str, name: &str) {
        let (width, height) = PHONE;
        self.browser.resize(width, height).await.unwrap();
        self.browser.prefer_dark(false).await.unwrap();
        self.browser.complaints();
        self.browser.goto(url).await.unwrap();
        self.arrives(name).await;
        self.look(name).await;
        self.without_scripts(url, name).await;
    }

    /// The same for what stands there now and would be gone if it were loaded again: an answer to a form, or what a script made. It is not
    /// asked how it came, nor what it says without scripts. What the browser complained of since it was asked last counts.
    pub async fn inspect_here(&mut self, name: &str) {
        let (width, height) = PHONE;
        self.browser.resize(width, height).await.unwrap();
        self.look(name).await;
    }

    /// In light and dark, with everything unfolded, by keyboard.
    async fn look(&mut self, name: &str) {
        self.browser.prefer_dark(false).await.unwrap();
        self.narrow(name).await;
        self.unfold(true).await;
        self.narrow(&format!("{name} unfolded")).await;
        self.barriers(name).await;
        let light = self.ground().await;
        self.browser.prefer_dark(true).await.unwrap();
        assert_ne!(self.ground().await, light, "{name} is not dark");
        self.barriers(&format!("{name} in the dark")).await;
        self.by_keyboard(name).await;
        self.unfold(false).await;
        self.photograph(name).await;
        self.browser.prefer_dark(false).await.unwrap();
        assert_eq!(self.browser.complaints(), [""; 0], "{name}");
    }

    /// Opens what is folded, or folds again what this has opened.
    async fn unfold(&mut self, open: bool) {
        let fold = if open {
            "document.querySelectorAll('details:not([open])').forEach((e) => { e.open = true; e.toggleAttribute('data-unfolded', true); })"
        } else {
            "document.querySelectorAll('details[data-unfolded]').forEach((e) => { e.open = false; e.removeAttribute('data-unfolded'); })"
        };
        self.browser.eval(fold).await.unwrap();
    }

    /// No wider than the window.
    async fn narrow(&mut self, name: &str) {
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(self.number(wide).await, 0, "{name} scrolls sideways");
    }

    /// Small, and without a jump.
    async fn arrives(&mut self, name: &str) {
        let weight = "performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'))\
            .filter((e) => !e.name.includes('/v0/')).reduce((sum, e) => sum + e.decodedBodySize, 0)";
        let weight = self.number(weight).await;
        assert!((1_000..MOST).contains(&weight), "{name} has {weight} bytes");
        let jumps = "new Promise((done) => { const seen = []; \
            const watch = new PerformanceObserver((list) => seen.push(...list.getEntries())); \
            watch.observe({type: 'layout-shift', buffered: true}); \
            setTimeout(() => { seen.push(...watch.takeRecords()); \
                done(1000 * seen.reduce((sum, e) => sum + (e.hadRecentInput ? 0 : e.value), 0)); }, 200); })";
        let jumps = self.number(jumps).await;
        assert!(jumps < 20, "{name} jumps by {jumps} thousandths");
    }

    async fn ground(&mut self) -> Value {
        let ground = "getComputedStyle(document.body).backgroundColor";
        self.browser.eval(ground).await.unwrap()
    }

    /// What keeps people from using the page, as axe finds it.
    async fn barriers(&mut self, name: &str) {
        self.browser
            .eval(&format!("{}\n;0", self.axe))
            .await
            .unwrap();
        let found = "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})\
            .then((r) => r.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' ')))";
        let found = self.browser.eval(found).await.unwrap();
        assert_eq!(found, serde_json::json!([]), "{name}");
    }

    /// Everything that does something is reached by the Tab key, and one sees where one is.
    async fn by_keyboard(&mut self, name: &str) {
        let count = self.number(&format!("{REACHABLE}.length")).await as usize;
        // A field that had the focus at once leaves its mark, from where Tab goes on: it is to begin above.
        let above = "document.body.tabIndex = -1; document.body.focus(); \
            document.body.removeAttribute('tabindex'); document.activeElement.blur(); window.scrollTo(0, 0)";
        self.browser.eval(above).await.unwrap();
        for nth in 0..count.min(TABS) {
            self.browser.press("Tab").await.unwrap();
            let here = format!("{REACHABLE}.indexOf(document.activeElement)");
            let here = self.browser.eval(&here).await.unwrap();
            assert_eq!(here, nth, "{name}: the {nth}th thing is passed over");
            let outline = "getComputedStyle(document.activeElement).outlineStyle";
            assert_eq!(self.browser.eval(outline).await.unwrap(), "solid", "{name}");
        }
    }

    /// The page says the same to who has no scripts.
    async fn without_scripts(&mut self, url: &str, name: &str) {
        let heading = self.text("h1").await;
        self.browser.scripts(false).await.unwrap();
        self.browser.goto(url).await.unwrap();
        assert_eq!(self.text("h1").await, heading, "{name}");
        assert!(self.text("main").await.len() > heading.len() + 20, "{name}");
        self.browser.scripts(true).await.unwrap();
    }

    /// A picture for the docs: on a phone, in light, if pictures are wanted.
    async fn photograph(&mut self, name: &str) {
        let Some(dir) = pictures().filter(|_| self.camera) else {
            return;
        };
        std::fs::create_dir_all(&dir).unwrap();
        self.browser.prefer_dark(false).await.unwrap();
        self.browser.resize(420, 900).await.unwrap();
        self.browser
            .eval("document.activeElement.blur(); window.scrollTo(0, 0)")
            .await
            .unwrap();
        let file = dir.join(format!("page-{name}.webp"));
        self.browser.photograph(&file).await.unwrap();
    }
}
