// Checks a proof that an entry is in a log: `c2sp.org/tlog-proof@v1` under a `c2sp.org/tlog-policy`. SHA-256 and Ed25519 are the browser's own.

import { number, time } from "./local.js";

const utf8 = new TextEncoder();
const HEADER = "c2sp.org/tlog-proof@v1";
const DASH = "\u2014 ";
const [ED25519, COSIGNATURE] = [1, 4];

/** What is wrong, in words for the reader. */
class Refused extends Error {}
const refuse = (why) => { throw new Refused(why); };

function base64(text) {
  // Only one spelling is right: what comes back must be the same.
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  } catch {
    refuse("something in it is no base64");
  }
  if (btoa(String.fromCharCode(...bytes)) !== text) refuse("something in it is no base64");
  return bytes;
}

function decimal(text) {
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text || "")) refuse("a number in it is none");
  return BigInt(text);
}

const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at]);
const joined = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
const bigEndian = (bytes) => bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);

/** A signed note: its text, and its signature lines. */
function readNote(note) {
  const split = note.lastIndexOf("\n\n");
  if (split < 0 || !note.endsWith("\n")) refuse("the checkpoint is no signed note");
  const text = note.slice(0, split + 1);
  const signatures = note.slice(split + 2, -1).split("\n").map((line) => {
    const [name, value, more] = line.slice(DASH.length).split(" ");
    if (!line.startsWith(DASH) || !name || !value || more !== undefined) refuse("a signature line is malformed");
    const bytes = base64(value);
    if (bytes.length < 5) refuse("a signature line is malformed");
    return { name, id: bytes.slice(0, 4), signature: bytes.slice(4) };
  });
  const [origin, size, root] = text.split("\n");
  return { text, signatures, origin, size: decimal(size), root: base64(root || "") };
}

function readProof(proof) {
  const split = proof.indexOf("\n\n");
  if (split < 0) refuse("it is no proof: there is no empty line in it");
  const lines = proof.slice(0, split).split("\n");
  if (lines.shift() !== HEADER) refuse(`it does not begin with ${HEADER}`);
  const extra = lines[0] && lines[0].startsWith("extra ") ? base64(lines.shift().slice(6)) : null;
  const index = (lines.shift() || "").match(/^index (.*)$/);
  if (!index) refuse("it does not say which entry it is about");
  const path = lines.map(base64);
  if (path.length > 64 || path.some((hash) => hash.length !== 32)) refuse("its hashes are malformed");
  if (!extra) refuse("it does not bring the entry along");
  return { extra, index: decimal(index[1]), path, note: readNote(proof.slice(split + 2)) };
}

/** `<name>+<key id in hex>+<base64 of type and key>`. */
async function readKey(text, kind) {
  const parts = text.split("+");
  const name = parts[0];
  const material = base64(parts.slice(2).join("+"));
  if (parts.length < 3 || !name || material.length !== 33 || material[0] !== kind) refuse(`“${name}” in the policy has no usable key`);
  const id = (await sha256(utf8.encode(`${name}\n`), material)).slice(0, 4);
  const hex = [...id].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (hex !== parts[1]) refuse(`the key of “${name}” in the policy was changed`);
  return { name, id, public: material.slice(1) };
}

async function readPolicy(text) {
  const policy = { logs: [], cosigners: new Map(), groups: new Map(), quorum: null };
  for (const line of text.split("\n")) {
    const [kind, ...words] = line.split(/[ \t]+/).filter((word) => word);
    if (!kind || kind.startsWith("#")) continue;
    if (kind === "log") policy.logs.push(await readKey(words[0] || "", ED25519));
    else if (kind === "witness") policy.cosigners.set(words[0], await readKey(words[1] || "", COSIGNATURE));
    else if (kind === "group") policy.groups.set(words[0], { enough: words[1], members: words.slice(2) });
    else if (kind === "quorum" && policy.quorum === null) policy.quorum = words[0];
    else refuse(`“${kind}” is no line of a policy`);
  }
  if (policy.quorum === null) refuse("the policy does not say how many cosigners are enough");
  return policy;
}

async function signedBy(key, message, signature) {
  const imported = await crypto.subtle.importKey("raw", key.public, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, utf8.encode(message));
}

/** All signature lines that name this key; one that is bad spoils the whole. The newest time of a cosignature, 0n for a log's, or null. */
async function check(note, key, kind) {
  let newest = null;
  for (const line of note.signatures) {
    if (line.name !== key.name || !same(line.id, key.id)) continue;
    let [at, signature, message] = [0n, line.signature, note.text];
    if (kind === COSIGNATURE) {
      at = bigEndian(line.signature.slice(0, 8));
      signature = line.signature.slice(8);
      message = `cosignature/v1\ntime ${at}\n${note.text}`;
    }
    if (!(await signedBy(key, message, signature))) refuse(`the signature of ${key.name} is bad`);
    if (newest === null || at > newest) newest = at;
  }
  return newest;
}

function isEnough(policy, signed, name, depth = 0) {
  if (name === "none") return true;
  if (policy.cosigners.has(name)) return signed.has(name);
  const group = policy.groups.get(name);
  if (!group || depth > 16) refuse("the policy names somebody who is not in it");
  const wanted = { any: 1, all: group.members.length }[group.enough] ?? Number(decimal(group.enough));
  if (wanted < 1 || wanted > group.members.length) refuse("the policy asks for more cosigners than there are");
  return group.members.filter((member) => isEnough(policy, signed, member, depth + 1)).length >= wanted;
}

/** The root to which the path leads (RFC 9162, 2.1.3.2). */
async function rootOf(leaf, index, size, path) {
  if (index >= size) refuse("the entry lies beyond the end of the checkpoint");
  let [hash, at, last] = [leaf, index, size - 1n];
  for (const sibling of path) {
    if (last === 0n) refuse("it has more hashes than the tree has levels");
    if (at % 2n === 1n || at === last) {
      hash = await sha256([1], sibling, hash);
      while (at % 2n === 0n && at !== 0n) [at, last] = [at / 2n, last / 2n];
    } else {
      hash = await sha256([1], hash, sibling);
    }
    [at, last] = [at / 2n, last / 2n];
  }
  if (last !== 0n) refuse("it has fewer hashes than the tree has levels");
  return hash;
}

/** What the entry says. */
function words(entry) {
  const at = entry.length >= 9 ? time(new Date(Number(bigEndian(entry.slice(1, 9)))), true) : "";
  if (entry[0] === 0 && entry.length === 9) return `it is a tick of ${at}`;
  if (entry[0] === 1 && entry.length === 41) return `it is a secret, published ${at}`;
  return refuse("the entry is nothing that a log may hold");
}

/** Checks everything, and tells each step. */
async function verify(proofText, policyText, tell) {
  const proof = readProof(proofText);
  const policy = await readPolicy(policyText);
  tell(`Entry ${number(String(proof.index))}: ${words(proof.extra)}.`);
  const leaf = await sha256([0], proof.extra);
  const { note } = proof;
  if (!same(await rootOf(leaf, proof.index, note.size, proof.path), note.root)) {
    refuse("its hashes do not lead to the root of the checkpoint: this entry is not in that tree");
  }
  tell(`${proof.path.length} hashes lead from it to the root of a tree of ${number(String(note.size))} entries.`);
  const log = policy.logs.find((key) => key.name === note.origin);
  if (!log) refuse(`the policy does not name the log ${note.origin}`);
  if ((await check(note, log, ED25519)) === null) refuse("the log has not signed this root");
  tell(`${log.name} signed this root.`);
  const signed = new Set();
  for (const [name, key] of policy.cosigners) {
    const at = await check(note, key, COSIGNATURE);
    if (at === null) continue;
    signed.add(name);
    tell(`${key.name} cosigned it, ${time(new Date(Number(at) * 1000), true)}.`);
  }
  if (!isEnough(policy, signed, policy.quorum)) refuse("too few cosigners signed this root");
  tell(policy.quorum === "none" ? "No cosigner is asked for by this policy." : "These are enough by this policy.");
}

const form = document.getElementById("check");
const steps = document.getElementById("steps");
const outcome = document.getElementById("outcome");

function finish(text, good) {
  outcome.textContent = text;
  outcome.className = good ? "good" : "bad";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  steps.replaceChildren();
  const tell = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    steps.append(item);
  };
  if (!globalThis.crypto || !crypto.subtle) {
    finish("Your browser checks nothing on pages that came over plain HTTP. Open this one over HTTPS.", false);
    return;
  }
  // A field gives line breaks in one spelling, but what was pasted may lack the last one.
  const text = (id) => `${document.getElementById(id).value.trimEnd()}\n`;
  try {
    await verify(text("proof"), text("policy"), tell);
    finish("The proof holds.", true);
  } catch (error) {
    if (error instanceof Refused) finish(`Refused: ${error.message}.`, false);
    else if (error && error.name === "NotSupportedError") finish("Your browser does not know Ed25519 yet: it could not check the signatures.", false);
    else finish("Refused: it is no proof.", false);
  }
});
outcome.textContent = "";
