// Follows a guest's part: asks the server how far it is, and puts what is new in place of what stands there.

import { copying, localize } from "./local.js";

const part = document.getElementById("guest");
const { source, waited, lasts } = part.dataset;
const OFTEN = 2000;
const SELDOM = 60000;
/** After so long a wallet that has not answered is called silent. */
const PATIENCE = 30000;
/** Longer than that no timer runs. */
const LONGEST = 2147483647;
let etag = "";
let pause = OFTEN;
let timer = 0;
let state = part.dataset.state;

const show = (id, shown) => {
  const element = document.getElementById(id);
  if (element) element.hidden = !shown;
};

function after(ms, what) {
  setTimeout(what, Math.min(Math.max(ms, 0), LONGEST));
}

/** What changes by time alone. */
function tick(waitedMs, lastsMs) {
  after(PATIENCE - waitedMs, () => show("silent", true));
  if (!lastsMs) return;
  after(lastsMs, () => {
    if (state !== "offered") return;
    show("pay", false);
    show("late", true);
  });
}

/** Reads the page again. The place that screen readers listen to stays; what it says is new. */
async function reread() {
  const answer = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" } });
  if (!answer.ok) throw new Error(String(answer.status));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("guest");
  if (!fresh) throw new Error("no part");
  for (const id of ["what", "stands", "how"]) {
    const to = document.getElementById(id);
    const from = page.getElementById(id);
    if (!to || !from) continue;
    to.replaceChildren(...document.importNode(from, true).childNodes);
    localize(to);
    copying(to);
  }
  state = fresh.dataset.state;
  part.dataset.state = state;
  tick(Number(fresh.dataset.waited), Number(fresh.dataset.lasts));
}

async function ask() {
  const answer = await fetch(source, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store" });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  const view = await answer.json();
  if (view.state !== state) await reread();
  etag = answer.headers.get("etag") || "";
}

function live(words) {
  const place = document.getElementById("live");
  if (place.textContent !== words) place.textContent = words;
}

async function round() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      await ask();
      // Money that comes late still counts.
      pause = state === "ended" ? SELDOM / 2 : OFTEN;
      live(state === "paid" || state === "refused" ? "" : "What is new shows here by itself.");
    } catch {
      pause = Math.min(pause * 2, SELDOM);
      live("This server does not answer just now; it is asked again.");
    }
  }
  if (state !== "paid" && state !== "refused") timer = setTimeout(round, pause);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden && state !== "paid" && state !== "refused") round(); });
tick(Number(waited), Number(lasts));
round();
