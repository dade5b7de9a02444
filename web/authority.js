// Who may sign for whom: docs/spec/records.md, "Who may sign". A root speaks for itself; any other key needs a delegation or a Pubky
// grant of the root, which the caller brings along. There are no chains.

import { RecordError, decodeRecord, hashOf, holds, keyBytes, parseJson, readHeader, splitCompact } from "./records.js";

const BASE = "/pub/atomicity/v0";

/**
 * @typedef {object} Authority
 * @property {"root" | "delegation" | "grant"} by whose word lets the key sign
 * @property {number} [until] when that word ends, Unix milliseconds
 */

/**
 * What no page can find out from the records alone. Say so to your users where it matters.
 *
 * - `revocation`: whether the root has taken the key's authority back. Only what was brought along was looked at.
 * - `newest`: whether there is a newer record of the same kind.
 * - `book`: whether this key keeps the books towards this friend now, and what was acknowledged: that takes both sides' records.
 * - `content`: whether what the record says of the world is so (that a balance is right, that something was paid outside).
 * - `limits`: whether the payment account covers this payee and unit, and has enough left, on this day and in all.
 * @typedef {"revocation" | "newest" | "book" | "content" | "limits"} Unchecked
 */

/**
 * @typedef {import("./records.js").Decoded & {author: string, authority: Authority, unchecked: Unchecked[]}} Verified
 */

/** In whose name each type speaks, and what its key must be good for. `peer` names the member with the other user. */
const books = (author, peer) => ({ author, purpose: "book", peer, unchecked: ["revocation", "newest", "book"] });
const report = (author, ...more) => ({ author, purpose: "report", unchecked: ["revocation", "newest", ...more] });
const receive = (author, ...more) => ({ author, purpose: "receive", unchecked: ["revocation", "newest", ...more] });
const rootOnly = (author) => ({ author, purpose: "root", unchecked: ["newest"] });
const PURPOSES = {
  "atomicity-state": books("from", "to"),
  "atomicity-payment": books("from", "to"),
  "atomicity-credit-line": books("from", "to"),
  "atomicity-refusal": books("from", "to"),
  "atomicity-ack": books("from", "to"),
  "atomicity-book": books("from", "to"),
  "atomicity-conditional-iou": books("from", "to"),
  "atomicity-release": books("from", "to"),
  "atomicity-publication": books("from", "to"),
  "atomicity-view": books("from", "to"),
  "atomicity-reply": books("from", "to"),
  "atomicity-advert": books("from", "to"),
  "atomicity-endpoints": books("from", "to"),
  "atomicity-settlement": books("holder", "issuer"),
  "atomicity-settlement-answer": books("from", "to"),
  "atomicity-settlement-withdrawal": books("from", "to"),
  "atomicity-delegation": rootOnly("root"),
  "atomicity-contacts": report("user"),
  "atomicity-profile": { author: "user", purpose: "profile", unchecked: ["revocation", "newest"] },
  "atomicity-revocation": { author: "root", purpose: "revoke", unchecked: [] },
  "atomicity-snapshot": report("user", "content"),
  "atomicity-diary": report("user", "content"),
  "atomicity-manifest": report("user", "content"),
  "atomicity-rates": report("from"),
  "atomicity-rating": report("from", "content"),
  "atomicity-part": report("from"),
  "atomicity-invoice": receive("payee"),
  "atomicity-request": receive("payee"),
  "atomicity-request-state": receive("payee", "content"),
  "atomicity-part-answer": receive("from"),
  "atomicity-spend": { author: "owner", purpose: "request", unchecked: ["revocation", "limits"] },
  "atomicity-pass": { author: "owner", purpose: "request", unchecked: ["revocation"] },
};

/**
 * Checks a record as far as a page can: form, signature, members, and that the key was allowed to sign for the user. What was not
 * checked is in `unchecked`.
 * @param {string} jws the compact form
 * @param {object} [given]
 * @param {string} [given.type] the type that it must have
 * @param {string} [given.author] the user in whose name it must speak
 * @param {string[]} [given.credentials] delegations, grants and revocations of that user, as the root signed them
 * @param {number} [given.now] the time to judge at, Unix milliseconds
 * @returns {Promise<Verified>}
 * @throws {RecordError}
 */
export async function verifyRecord(jws, { type, author, credentials = [], now = Date.now() } = {}) {
  const decoded = await decodeRecord(jws, type);
  const { author: member, purpose, peer, unchecked } = PURPOSES[decoded.typ];
  const user = decoded.record[member];
  if (author !== undefined && author !== user) {
    throw new RecordError("not_authorized", `the record speaks for ${user}, not for ${author}`);
  }
  const asked = { key: decoded.kid, purpose, peer: peer && decoded.record[peer], revoked: decoded.record.key };
  const authority = judge(user, asked, await learn(user, credentials, now), now);
  const open = authority.by === "root" ? unchecked.filter((what) => what !== "revocation") : unchecked;
  return { ...decoded, author: user, authority, unchecked: [...open] };
}

/** Reads what the root signed about its keys. What is not this user's, or badly signed, is refused: it should not have come along. */
async function learn(user, credentials, now) {
  const known = { delegations: [], grants: [], revocations: [] };
  const revocations = [];
  for (const jws of credentials) {
    const grant = await readGrant(jws);
    if (grant) {
      if (grant.iss !== user) throw new RecordError("not_authorized", "a grant is another user's");
      known.grants.push(grant);
      continue;
    }
    const decoded = await decodeRecord(jws);
    if (decoded.record.root !== user) throw new RecordError("not_authorized", `${decoded.typ} is no word of this user about a key`);
    if (decoded.typ === "atomicity-revocation") revocations.push(decoded);
    else if (decoded.kid !== user) throw new RecordError("not_authorized", "only the root key delegates");
    else known.delegations.push(decoded.record);
  }
  for (const { kid, record } of revocations) {
    // A grant that has ended since could revoke when it did; one that had not begun could not.
    judge(user, { key: kid, purpose: "revoke", revoked: record.key }, known, Math.min(record.at, now));
    known.revocations.push(record);
  }
  return known;
}

/** @returns {Authority} */
function judge(user, asked, known, now) {
  if (asked.key === user) return { by: "root" };
  const refuse = (code, why) => new RecordError(code, `${asked.key} ${why}`);
  if (asked.purpose === "root") throw refuse("not_authorized", "is not the root key, which alone may sign this");
  if (known.revocations.some((record) => record.key === asked.key && record.grant === undefined)) {
    throw refuse("key_revoked", "was revoked");
  }
  let why = refuse("not_authorized", "is named by no delegation and no grant that was brought along");
  for (const { by, begins, ends, fault } of words(asked, known)) {
    if (fault) why = refuse(fault.code, fault.why);
    else if (now < begins) why = refuse("authority_not_yet_valid", "may not sign yet");
    else if (now >= ends) why = refuse("authority_expired", "may sign no longer");
    else return { by, until: ends };
  }
  throw why;
}

/** The delegation in force and the grants for the key, each with what stands in the way. */
function* words(asked, known) {
  // A delegation that exists but does not hold says more than a grant that does not: it comes last.
  for (const grant of known.grants.filter((one) => one.cnf === asked.key)) {
    const fault = grantFault(grant, asked, known.revocations);
    yield { by: "grant", begins: grant.iat * 1_000, ends: grant.exp * 1_000, fault };
  }
  const delegations = known.delegations.filter((one) => one.key === asked.key);
  const newest = delegations.reduce((best, one) => (best && best.serial >= one.serial ? best : one), undefined);
  if (newest) yield { by: "delegation", begins: newest.not_before, ends: newest.not_after, fault: delegationFault(newest, asked) };
}

function delegationFault({ scopes, peers }, { purpose, peer }) {
  const enough = { book: ["book"], report: ["book"], receive: ["book", "receive"], request: ["book", "request"] }[purpose];
  const no = (why) => ({ code: "not_authorized", why });
  if (!enough) return no("has a delegation, which does not cover this");
  if (!enough.some((scope) => scopes.includes(scope))) return no(`has a delegation without the scope ${enough.at(-1)}`);
  if (purpose === "book" && peers && !peers.includes(peer)) return no("has a delegation that does not cover this friend");
  return undefined;
}

function grantFault(grant, { key, purpose, revoked }, revocations) {
  const path = { profile: `${BASE}/profile`, revoke: `${BASE}/revoke/${revoked}` }[purpose] ?? `${BASE}/book/${key}`;
  const names = (capability) => {
    const at = capability.lastIndexOf(":");
    return at >= 0 && capability.slice(0, at) === path && capability.slice(at + 1).includes("w");
  };
  if (!grant.caps.some(names)) return { code: "not_authorized", why: "has a grant that does not name the file which stands for this" };
  if (revocations.some((record) => record.grant === grant.jti)) return { code: "key_revoked", why: "had a grant, which was revoked" };
  return undefined;
}

/** A Pubky grant, its signature checked; undefined if this is none. */
async function readGrant(jws) {
  const { input, signature, header, payload } = splitCompact(jws);
  let members;
  try {
    members = readHeader(header, ["alg", "typ"]);
  } catch {
    return undefined;
  }
  if (members.alg !== "EdDSA" || members.typ !== "pubky-grant") throw new RecordError("wrong_type", "this is no Pubky grant");
  const grant = readClaims(payload);
  const key = keyBytes(grant.iss);
  keyBytes(grant.cnf);
  if (!(await holds({ input, signature, key }))) throw new RecordError("signature_invalid", "the grant's signature does not hold");
  return { ...grant, hash: await hashOf(jws) };
}

function readClaims(payload) {
  const claims = { iss: "string", client_id: "string", caps: "list", cnf: "string", jti: "string", iat: "number", exp: "number" };
  const found = parseJson(payload);
  const fits = ([name, kind]) =>
    kind === "list" ? Array.isArray(found.get(name)) && found.get(name).every((one) => typeof one === "string")
      : typeof found.get(name) === kind && !Number.isNaN(found.get(name));
  if (!(found instanceof Map) || found.size !== 7 || !Object.entries(claims).every(fits)) {
    throw new RecordError("payload_invalid", "these are not the claims of a grant");
  }
  return Object.fromEntries(found);
}
