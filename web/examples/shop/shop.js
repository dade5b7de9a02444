// A shop that shows a customer what they have here. Everything happens in the customer's browser: the shop's own server hands out
// these files and learns nothing.
//
// The module is the shop's own copy. A page that imports it from a plugin lets that plugin say what "checked" means.

import { Plugin, creditWith, formatAmount, newAppKey } from "../../atomicity.js";

/** In words, what `unchecked` names. */
const UNCHECKED = {
  revocation: "Whether you have taken your wallet's key back lately: your plugin says that you have not.",
  newest: "Whether your wallet has said something newer: your plugin would be the one to know.",
  content: "Whether your wallet's sums are right. Our own books say what we really owe you.",
};
const NOT_HERE = "This page can't read your credit here: ";

const at = (id) => document.getElementById(id);
const show = (id, isShown) => at(id).toggleAttribute("hidden", !isShown);

/** Who is signed in, or about to be: `{plugin, watch}`. */
let visit;

function tell(words) {
  at("error").textContent = words;
  show("error", true);
}

function fail(error) {
  show("credit", false);
  show("account", false);
  show("waiting", false);
  show("sign-in", true);
  tell(`${error.message} (${error.code ?? error.name})`);
}

/** `{"shop": "<our key>"}`, which is all that this page knows of us. */
async function readConfig() {
  try {
    const answer = await fetch("config.json");
    const { shop } = await answer.json();
    if (typeof shop === "string") return shop;
  } catch {
    // Said below.
  }
  throw new Error("the shop has not said whose page it is. Its owner puts {\"shop\": \"<key>\"} into config.json, beside this page.");
}

async function makeKey() {
  if (!isSecureContext) throw new Error("browsers keep keys only for pages that came over https. Open this one over https.");
  try {
    return await newAppKey();
  } catch {
    throw new Error("this browser knows no Ed25519. Chrome 137, Firefox 129, Safari 17, and those that came after them do.");
  }
}

function showCredit(credit, shop) {
  const lines = creditWith(credit, shop);
  const owed = lines.filter((line) => line.balance > 0n).map((line) => formatAmount(line.balance, line.unit));
  at("credit").textContent = owed.length > 0 ? `You have ${owed.join(" and ")} of credit here` : "You have no credit here yet";
  at("lines").replaceChildren(...lines.map(row));
  const time = new Date(credit.asOf);
  at("as-of").dateTime = time.toISOString();
  at("as-of").textContent = time.toLocaleString();
  at("checked").textContent =
    `That your key's word lets ${credit.proof.kid} keep your books (${credit.proof.authority.by}), and that this key signed these sums.`;
  at("unchecked").replaceChildren(...credit.proof.unchecked.map((what) => item(UNCHECKED[what] ?? what)));
  show("credit", true);
  show("account", true);
  show("waiting", false);
  show("sign-in", false);
}

/** `USD/2` is how programs write it: two decimal places, which the amounts show anyway. */
function row(line) {
  const tr = document.createElement("tr");
  const cells = [line.unit.split("/")[0], formatAmount(line.balance, line.unit), formatAmount(line.spendable, line.unit)];
  tr.replaceChildren(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return tr;
}

function item(text) {
  return Object.assign(document.createElement("li"), { textContent: text });
}

/** Whether the wallet has said anything: the stream of one that tells its plugin nothing stays silent. */
async function hasSaid(plugin) {
  try {
    await plugin.credit();
    return true;
  } catch (error) {
    if (error.code === "no_snapshot") return false;
    throw error;
  }
}

async function signIn(shop, keys) {
  const plugin = new Plugin(at("plugin").value);
  const watch = new AbortController();
  visit = { plugin, watch };
  await plugin.signIn(at("grant").value.trim(), keys);
  if (!(await hasSaid(plugin))) {
    show("sign-in", false);
    show("waiting", true);
  }
  const onState = (state) => {
    at("state").textContent = state === "live" ? "It changes here by itself." : "Your plugin is away just now; this may be old.";
  };
  for await (const credit of plugin.watchCredit({ signal: watch.signal, onState })) showCredit(credit, shop);
}

async function signOut() {
  const { plugin, watch } = visit;
  watch.abort();
  await plugin.signOut().catch(() => {});
  location.reload();
}

async function start() {
  const shop = await readConfig();
  const { keys, publicKey } = await makeKey();
  at("app-key").textContent = publicKey;
  at("command").textContent = `atomicity app grant ${publicKey}`;
  at("sign-in").addEventListener("submit", async (event) => {
    event.preventDefault();
    // Who presses twice signs in once.
    if (visit) return;
    show("error", false);
    try {
      await signIn(shop, keys);
    } catch (error) {
      visit?.watch.abort();
      visit?.plugin.signOut().catch(() => {});
      fail(error);
    }
    visit = undefined;
  });
  for (const button of document.querySelectorAll("button.sign-out")) button.addEventListener("click", signOut);
  show("sign-in", true);
}

start().catch((error) => tell(NOT_HERE + error.message));
