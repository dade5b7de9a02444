// Credit in web apps: what a user's plugin says of their credit, live, and checked here as far as a page can check it.
// One import, no dependency, no build step. docs/WEB-APPS.md shows how it is used.

import { verifyRecord } from "./authority.js";
import { events } from "./events.js";
import { toBase64url, toZ32, utf8 } from "./records.js";

export { events } from "./events.js";
export { decodeRecord, RecordError } from "./records.js";
export { verifyRecord } from "./authority.js";
export { TYPES } from "./types.js";

/** Most that is read of one answer, in characters: a page of channels has far less. */
const MAX_ANSWER = 4_000_000;
/** How long a request may take, in milliseconds. */
const PATIENCE = 20_000;

/** What a plugin answered instead of what was asked for. Decide by `code`; `message` is for people. */
export class PluginError extends Error {
  /**
   * @param {number} status the HTTP status, 0 if there was no answer
   * @param {string} code stable
   * @param {string} message
   * @param {number} [retryAfter] seconds after which another try makes sense
   */
  constructor(status, code, message, retryAfter) {
    super(message);
    this.name = "PluginError";
    Object.assign(this, { status, code, retryAfter });
  }
}

/**
 * One friend and one unit, as a wallet saw it. Amounts are whole minor units.
 * @typedef {object} Channel
 * @property {string} peer the friend's key
 * @property {string} unit such as `USD/2`
 * @property {bigint} balance what the friend owes the user; negative if the user owes
 * @property {bigint} accept how much the user lets the friend owe
 * @property {bigint} accepted_by_peer how much the friend lets the user owe
 * @property {boolean} frozen whether the friend's records contradict each other
 */

/**
 * What a wallet said of its books, checked.
 * @typedef {object} Credit
 * @property {number} asOf when the wallet made it, by its clock, Unix milliseconds
 * @property {Channel[]} channels
 * @property {import("./authority.js").Verified} proof the signed record, who was allowed to sign it, and what was not checked
 */

/** `KEY@URL`: a plugin's key, and where it is. */
const KEY_AND_URL = /^([ybndrfg8ejkmcpqxot1uwisza345h769]{52})@(.*)$/s;

/** A plugin at a web address, for one user or for nobody in particular. */
export class Plugin {
  #url;
  #key;
  #session;

  /**
   * @param {string} address such as `https://credit.example.org`; or, to sign in there, `KEY@https://credit.example.org`, as the user's
   *   wallet shows it
   * @param {{token: string, user: string}} [session] one that was opened before
   * @throws {PluginError} `address_invalid`, `address_insecure`
   */
  constructor(address, session) {
    const [, key, url] = KEY_AND_URL.exec(String(address).trim()) ?? [undefined, undefined, String(address).trim()];
    if (!URL.canParse(url)) {
      throw new PluginError(0, "address_invalid", "this is no address of a plugin: KEY@https://…, as the user's wallet shows it");
    }
    const parsed = new URL(url);
    const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(parsed.hostname);
    if (parsed.protocol !== "https:" && !(parsed.protocol === "http:" && isHere)) {
      throw new PluginError(0, "address_insecure", "a plugin is asked over https only: a session's token is a secret");
    }
    this.#url = parsed.href.replace(/\/+$/, "");
    this.#key = key;
    this.#session = session;
  }

  /** The user that is signed in, or undefined. */
  get user() {
    return this.#session?.user;
  }

  /** The session, to be kept by the app if it wants to: its token is a secret. */
  get session() {
    return this.#session && { ...this.#session };
  }

  /** Who the plugin is and what it offers. */
  info() {
    return this.#get("/v0/info");
  }

  /**
   * Opens a session for a user who has granted something to this app's key. The plugin's key must be known from elsewhere (`KEY@URL`): a
   * proof is good at the plugin that it names, so one that is made for whatever key an address claims to have lets that address use it
   * at another plugin.
   * @param {string} grant the Pubky grant, as the user's wallet or authenticator signed it
   * @param {CryptoKeyPair} keys the app's key that the grant names (`newAppKey`)
   * @throws {PluginError} `plugin_key_missing`, `plugin_foreign`, `grant_unreadable`, `answer_foreign`, or what the plugin answers
   */
  async signIn(grant, keys) {
    const { iss: user, jti } = claimsOf(grant);
    if (!this.#key) {
      throw new PluginError(0, "plugin_key_missing", "say which key the plugin has, as the user's wallet shows it: KEY@https://…");
    }
    const { plugin } = await this.info();
    if (plugin !== this.#key) throw new PluginError(0, "plugin_foreign", "at this address is another plugin than the one whose key was named");
    const proof = { grant, pop: await proveKey(jti, keys, this.#key) };
    const opened = await this.#ask("/v0/sessions", { method: "POST", body: { proof } });
    if (opened.user !== user) throw new PluginError(0, "answer_foreign", "the plugin opened a session for somebody else");
    this.#session = { token: opened.token, user: opened.user, expiresAt: opened.expires_at };
    return this.session;
  }

  /** Ends the session, here and at the plugin. */
  async signOut() {
    if (!this.#session) return;
    await this.#ask("/v0/sessions/current", { method: "DELETE" });
    this.#session = undefined;
  }

  /** Sums over all friends, unit by unit, as the plugin adds them up. What they are made of is in `credit`. */
  async balances() {
    const answer = await this.#get("/v0/me/balances");
    const sums = answer.balances.map((line) => ({
      unit: line.unit,
      net: BigInt(line.net),
      owedToMe: BigInt(line.owed_to_me),
      owedByMe: BigInt(line.owed_by_me),
      channels: line.channels,
    }));
    return { asOf: answer.as_of, balances: sums };
  }

  /**
   * What the user's wallet said last, checked here: the plugin can be late with it, it can't change it.
   * @returns {Promise<Credit>}
   */
  async credit() {
    return this.#checked(await this.#get("/v0/me/snapshot"));
  }

  /**
   * The same, now and whenever it changes. Goes on over interruptions; ends with `signal`, and throws when the session is over or the
   * plugin says something that does not hold.
   * @param {{signal?: AbortSignal, onState?: (state: "live" | "waiting") => void}} [given]
   * @returns {AsyncGenerator<Credit>}
   */
  async *watchCredit(given = {}) {
    let newest = -1;
    const open = (lastId, signal) => this.#open("/v0/me/snapshot/events", lastId, signal);
    for await (const event of events(open, given)) {
      if (event.name !== "snapshot") continue;
      const credit = await this.#checked(JSON.parse(event.data));
      // A plugin that goes back in time is not believed.
      if (credit.asOf <= newest) continue;
      newest = credit.asOf;
      yield credit;
    }
  }

  /**
   * Somebody's profile, checked here.
   * @param {string} user
   */
  async profile(user) {
    const { jws, signed_by: signer, stale } = await this.#get(`/v0/users/${user}/profile`);
    const credentials = await this.#credentials(user, signer);
    return { ...(await verifyRecord(jws, { type: "atomicity-profile", author: user, credentials })), stale };
  }

  /**
   * A public request to be paid and how far it is, both checked here.
   * @param {string} user who is to be paid
   * @param {string} id
   */
  async request(user, id) {
    const { jws, state_jws: stateJws, stale } = await this.#get(`/v0/users/${user}/requests/${id}`);
    const check = async (text, type) => {
      const signer = signerOf(text);
      return verifyRecord(text, { type, author: user, credentials: await this.#credentials(user, signer) });
    };
    const request = await check(jws, "atomicity-request");
    if (request.record.id !== id) throw new PluginError(0, "answer_foreign", "the plugin showed another request");
    const state = stateJws ? await check(stateJws, "atomicity-request-state") : undefined;
    if (state && state.record.request !== request.hash) throw new PluginError(0, "answer_foreign", "the state is of another request");
    return { request, state, stale };
  }

  async #checked({ snapshot, signed_by: signer }) {
    const author = this.user;
    if (!author) throw new PluginError(0, "not_signed_in", "nobody is signed in");
    const credentials = await this.#credentials(author, signer);
    const proof = await verifyRecord(snapshot, { type: "atomicity-snapshot", author, credentials });
    return { asOf: proof.record.at, channels: proof.record.channels, proof };
  }

  /** What the root says about a key: nothing is needed for the root itself. */
  async #credentials(user, signer) {
    if (user === signer) return [];
    try {
      const { records } = await this.#get(`/v0/users/${user}/delegations/${signer}`);
      return records;
    } catch (error) {
      if (error.code === "delegation_unknown") return [];
      throw error;
    }
  }

  #get(path) {
    return this.#ask(path, { method: "GET" });
  }

  async #ask(path, { method, body }) {
    const headers = { ...this.#authorization(), ...(body && { "content-type": "application/json" }) };
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await this.#fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
    const text = await readBounded(answer);
    return text === "" ? undefined : JSON.parse(text);
  }

  #open(path, lastId, signal) {
    const headers = { ...this.#authorization(), accept: "text/event-stream", ...(lastId && { "last-event-id": lastId }) };
    return this.#fetch(path, { method: "GET", headers, signal, cache: "no-store" });
  }

  #authorization() {
    return this.#session ? { authorization: `Bearer ${this.#session.token}` } : {};
  }

  async #fetch(path, options) {
    let answer;
    try {
      answer = await fetch(`${this.#url}${path}`, { ...options, credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new PluginError(0, "unreachable", "the plugin does not answer");
    }
    if (answer.ok) return answer;
    throw await problemOf(answer);
  }
}

async function problemOf(answer) {
  let problem = {};
  try {
    problem = JSON.parse(await readBounded(answer)) ?? {};
  } catch {
    // A proxy may have answered in its own words: the status says enough.
  }
  const retryAfter = Number(problem.retry_after_s ?? answer.headers.get("retry-after")) || undefined;
  const code = typeof problem.code === "string" ? problem.code : `http_${answer.status}`;
  return new PluginError(answer.status, code, String(problem.detail ?? answer.statusText), retryAfter);
}

async function readBounded(answer) {
  const decoder = new TextDecoder();
  let text = "";
  for (const reader = answer.body?.getReader(); reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    text += decoder.decode(value, { stream: true });
    if (text.length > MAX_ANSWER) {
      await reader.cancel();
      throw new PluginError(0, "answer_too_long", "the plugin's answer has no end");
    }
  }
  return text + decoder.decode();
}

function jsonPart(value) {
  return toBase64url(utf8(JSON.stringify(value)));
}

function partOf(jws, at) {
  return JSON.parse(atob(String(jws).split(".")[at].replaceAll("-", "+").replaceAll("_", "/")));
}

/** What a grant says, to sign in with it: the plugin is the one to check it. */
function claimsOf(grant) {
  try {
    const { iss, jti } = partOf(grant, 1);
    if (typeof iss === "string" && typeof jti === "string") return { iss, jti };
  } catch {
    // Said below.
  }
  throw new PluginError(0, "grant_unreadable", "this is no grant: copy all of it, from the first character to the last");
}

/** Who says that they signed: only to know whose word to ask for. */
function signerOf(jws) {
  return partOf(jws, 0).kid;
}

/**
 * A fresh key for this app, which never leaves the browser. Keep it in IndexedDB if it is to outlive the page.
 * @returns {Promise<{keys: CryptoKeyPair, publicKey: string}>} `publicKey`, in z-base-32, is what the user's authenticator grants to
 */
export async function newAppKey() {
  const keys = await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  const raw = new Uint8Array(await crypto.subtle.exportKey("raw", keys.publicKey));
  return { keys, publicKey: toZ32(raw) };
}

/** Proves to a plugin, once, that the app holds the key that the grant names. */
async function proveKey(gid, keys, audience) {
  const claims = {
    gid,
    iat: Math.floor(Date.now() / 1_000),
    nonce: toBase64url(crypto.getRandomValues(new Uint8Array(16))),
    data: { audience, purpose: "atomicity-session" },
  };
  const input = `${jsonPart({ alg: "EdDSA", typ: "pubky-custom-pop-v1" })}.${jsonPart(claims)}`;
  const signature = await crypto.subtle.sign({ name: "Ed25519" }, keys.privateKey, utf8(input));
  return `${input}.${toBase64url(new Uint8Array(signature))}`;
}

/**
 * What a user has with one friend, a shop say: one entry for each unit.
 * `spendable` is what can be paid there now: what the friend owes, and what they let the user owe.
 * @param {Credit} credit
 * @param {string} peer
 */
export function creditWith(credit, peer) {
  const channels = credit.channels.filter((channel) => channel.peer === peer);
  return channels.map((channel) => {
    const sum = channel.balance + channel.accepted_by_peer;
    return { ...channel, spendable: channel.frozen || sum < 0n ? 0n : sum };
  });
}

/**
 * Minor units as people read them, in their language: `1250n` of `USD/2` is "12.50 USD".
 * @param {bigint} minor
 * @param {string} unit
 * @param {string | string[]} [locale] that of the page if not given
 */
export function formatAmount(minor, unit, locale) {
  const [code, places = "0"] = unit.split("/");
  const digits = (minor < 0n ? -minor : minor).toString().padStart(Number(places) + 1, "0");
  const cut = digits.length - Number(places);
  const [whole, fraction] = [digits.slice(0, cut), digits.slice(cut)];
  const style = { numberingSystem: "latn", minimumFractionDigits: 1 };
  const point = new Intl.NumberFormat(locale, style).formatToParts(0.5).find((part) => part.type === "decimal");
  const grouped = new Intl.NumberFormat(locale, { numberingSystem: "latn" }).format(BigInt(whole));
  const sign = minor < 0n ? "\u2212" : "";
  return `${sign}${grouped}${fraction && (point?.value ?? ".") + fraction} ${code}`;
}
