// Keeps a bill up to date: asks the server every few seconds, slower while nobody looks or nothing answers.

import { amount, decimal, time } from "./local.js";

const bill = document.getElementById("bill");
const { source, places, unit, expires } = bill.dataset;
const OFTEN = 3000;
const SELDOM = 60000;
let etag = "";
let pause = OFTEN;
let timer = 0;

const put = (id, text) => {
  const element = document.getElementById(id);
  if (element && element.textContent !== text) element.textContent = text;
};
const money = (minor) => amount(decimal(minor, Number(places)), unit);

function standing(request, state) {
  const most = request.every || !request.amount ? null : BigInt(request.amount);
  const filled = BigInt(state ? state.filled : 0);
  const reserved = BigInt(state ? state.reserved : 0);
  if (most !== null && filled >= most) return "full";
  if (Date.now() >= Number(expires)) return "expired";
  if (most !== null && filled + reserved >= most) return "spoken";
  return state && !state.open ? "closed" : "open";
}

function show({ request, state, stale }) {
  const filled = BigInt(state ? state.filled : 0);
  put("filled", money(filled.toString()));
  put("reserved", money(state ? state.reserved : "0"));
  if (request.amount && !request.every) {
    const most = BigInt(request.amount);
    put("left", money((most > filled ? most - filled : 0n).toString()));
    const rest = most - filled - BigInt(state ? state.reserved : 0);
    put("room", money((rest > 0n ? rest : 0n).toString()));
    document.getElementById("bar").value = Number((filled * 1000n) / most);
  }
  if (state) put("said", time(new Date(state.at), true));
  const now = standing(request, state);
  for (const words of document.querySelectorAll("[data-standing]")) words.hidden = words.dataset.standing !== now;
  for (const part of document.querySelectorAll("[data-while]")) part.hidden = part.dataset.while !== now;
  document.getElementById("stale").hidden = !stale;
}

async function ask() {
  const headers = etag ? { "If-None-Match": etag } : {};
  const answer = await fetch(source, { headers, cache: "no-store" });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(String(answer.status));
  etag = answer.headers.get("etag") || "";
  show(await answer.json());
}

async function round() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      await ask();
      pause = OFTEN;
      put("live", "What is new shows here by itself.");
    } catch {
      pause = Math.min(pause * 2, SELDOM);
      put("live", "This server does not answer just now; it is asked again.");
    }
  }
  timer = setTimeout(round, pause);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) round(); });
round();
