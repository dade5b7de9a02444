// Keeps a page of the wallet current: when the server says that something changed, the page is read again and its live parts are
// put in place of those that stand there. Forms that somebody fills in are left alone.

import { localize } from "./local.js";

let reading = false;
let again = false;

async function refresh() {
  if (reading) {
    again = true;
    return;
  }
  reading = true;
  do {
    again = false;
    try {
      const answer = await fetch(location.href, { cache: "no-store", headers: { accept: "text/html" } });
      if (!answer.ok) continue;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (page.getElementById("stage") || page.querySelector('form[action="/wallet/login"]')) {
        location.reload();
        return;
      }
      for (const part of document.querySelectorAll("[data-live]")) {
        const fresh = page.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
        if (!fresh || part.contains(document.activeElement)) continue;
        const element = document.importNode(fresh, true);
        localize(element);
        if (element.outerHTML !== part.outerHTML) part.replaceWith(element);
      }
    } catch {
      // The stream says when there is something again.
    }
  } while (again);
  reading = false;
}

function listen() {
  const events = new EventSource("/wallet/events");
  events.addEventListener("changed", refresh);
  events.addEventListener("ended", () => {
    events.close();
    location.assign("/wallet");
  });
}

if (document.querySelector("[data-live]")) listen();
