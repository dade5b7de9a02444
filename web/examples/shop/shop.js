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

const at = (id) => document.getElementById(id);
const show = (id, isShown) => at(id).toggleAttribute("hidden", !isShown);

/** `{"shop": "<our key>"}`, which is all that this page knows of us. */
const { shop } = await (await fetch("config.json")).json();
let watching;

function fail(error) {
  show("credit", false);
  show("account", false);
  show("sign-in", true);
  at("error").textContent = `${error.message} (${error.code ?? error.name})`;
  show("error", true);
}

function showCredit(credit) {
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
  show("sign-in", false);
}

function row(line) {
  const tr = document.createElement("tr");
  const cells = [line.unit, formatAmount(line.balance, line.unit), formatAmount(line.spendable, line.unit)];
  tr.replaceChildren(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return tr;
}

function item(text) {
  return Object.assign(document.createElement("li"), { textContent: text });
}

async function signIn(keys) {
  const plugin = new Plugin(at("plugin").value);
  await plugin.signIn(at("grant").value.trim(), keys);
  const watch = new AbortController();
  watching = { plugin, watch };
  const onState = (state) => {
    at("state").textContent = state === "live" ? "It changes here by itself." : "Your plugin is away just now; this may be old.";
  };
  for await (const credit of plugin.watchCredit({ signal: watch.signal, onState })) showCredit(credit);
}

const { keys, publicKey } = await newAppKey();
at("app-key").textContent = publicKey;
at("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  show("error", false);
  try {
    await signIn(keys);
  } catch (error) {
    watching?.watch.abort();
    fail(error);
  }
});
at("sign-out").addEventListener("click", async () => {
  watching.watch.abort();
  await watching.plugin.signOut().catch(() => {});
  location.reload();
});
show("sign-in", true);
