// Keeps a page of the wallet current: when the server says that something changed, the page is read again and its live parts are
// put in place of those that stand there. What somebody fills in or marks is left alone until they are done.

import { localize } from "./local.js";

/** First and longest wait before the server is asked again, and how long it may be away before the page says so, in milliseconds. */
const FIRST = 1000;
const LONGEST = 60000;
const UNSAID = 3000;

/** The newest page that was read, and what each live part was made of. */
let newest = null;
const made = new Map();

let reading = false;
let again = false;
/** When a page is read again that could not be. */
let retry = null;
let pause = FIRST;

async function read() {
  const answer = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" } });
  if (answer.status === 401) {
    location.assign(`/wallet?next=${encodeURIComponent(location.pathname + location.search)}`);
    return;
  }
  if (!answer.ok) throw new Error(`${answer.status}`);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (page.getElementById("stage") || page.querySelector('form[action="/wallet/login"]')) {
    location.reload();
    return;
  }
  newest = page;
  apply();
}

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  do {
    again = false;
    try {
      clearTimeout(retry);
      await read();
      pause = FIRST;
    } catch {
      pause = Math.min(2 * pause, LONGEST);
      retry = setTimeout(refresh, pause);
    }
  } while (again);
  reading = false;
}

/** Whether somebody fills something in here, or marks it to copy it. */
function busy(part) {
  const focused = document.activeElement;
  if (part.contains(focused) && focused.matches("input, textarea, select")) return true;
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}

/** What tells a thing to open from the others in its part. */
function keyOf(details) {
  return details.dataset.key ?? details.querySelector("summary")?.textContent;
}

/** What tells links, buttons and things to open apart, so that they are found again in a newer page. */
function mark(element) {
  const form = element.closest("form");
  const fields = form ? [...form.elements].filter((field) => field.type === "hidden").map((field) => field.value) : [];
  const details = element.closest("details");
  return [element.tagName, element.getAttribute("href"), details && keyOf(details), form?.getAttribute("action"), ...fields].join(" ");
}

/** Puts `fresh` in the place of `part`; what is open stays open, and the focus where it is. */
function replace(part, fresh) {
  const opened = new Map([...part.querySelectorAll("details")].map((one) => [keyOf(one), one.open]));
  for (const one of fresh.querySelectorAll("details")) one.open = opened.get(keyOf(one)) ?? one.open;
  const focused = part.contains(document.activeElement) ? mark(document.activeElement) : null;
  part.replaceWith(fresh);
  if (focused === null) return;
  const same = [...fresh.querySelectorAll("a[href], button, summary")].find((one) => mark(one) === focused);
  same?.focus({ preventScroll: true });
}

/** Brings the live parts up to the newest page that was read. */
function apply() {
  if (!newest) return;
  for (const part of document.querySelectorAll("[data-live]")) {
    const name = part.dataset.live;
    const fresh = newest.querySelector(`[data-live="${CSS.escape(name)}"]`);
    if (!fresh || made.get(name) === fresh.outerHTML || busy(part)) continue;
    made.set(name, fresh.outerHTML);
    const element = document.importNode(fresh, true);
    localize(element);
    if (element.outerHTML !== part.outerHTML) replace(part, element);
  }
}

/** What was left alone follows once nobody is busy with it. */
function follow() {
  let timer = null;
  for (const event of ["selectionchange", "focusout"]) {
    document.addEventListener(event, () => {
      clearTimeout(timer);
      timer = setTimeout(apply, 300);
    });
  }
}

/** Says whether the page is kept current. Browsers and screen readers are told of it once it lasts. */
function teller() {
  const place = document.createElement("p");
  place.className = "offline";
  place.setAttribute("role", "status");
  place.setAttribute("aria-live", "polite");
  document.querySelector("main").append(place);
  let timer = null;
  return (live) => {
    if (!live) {
      timer ??= setTimeout(() => { place.textContent = "Not live just now: what is shown may be old."; }, UNSAID);
      return;
    }
    clearTimeout(timer);
    timer = null;
    place.textContent = "";
  };
}

function listen(tell, wait) {
  const events = new EventSource("/wallet/events");
  events.addEventListener("open", () => {
    wait = FIRST;
    tell(true);
  });
  events.addEventListener("changed", refresh);
  events.addEventListener("ended", () => {
    events.close();
    location.assign("/wallet");
  });
  events.addEventListener("error", () => {
    tell(false);
    // A connection that broke the browser makes again by itself; after another answer than the stream it gives up.
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(() => listen(tell, Math.min(2 * wait, LONGEST)), wait * (0.75 + Math.random() / 2));
    // The reason may be that the session is over.
    refresh();
  });
}

if (document.querySelector("[data-live]")) {
  follow();
  listen(teller(), FIRST);
}
