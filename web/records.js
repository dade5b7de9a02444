// Records as they are signed: form, key, signature, members. The rules are those of docs/spec/records.md, in the same order and with
// the same codes. Which members a type has is in types.js; whether the key was allowed to sign is in authority.js.

import { checkRules, readPayload } from "./types.js";

/** The most bytes that a record may have in compact form. */
export const MAX_RECORD_BYTES = 65_536;

const PRIME = 2n ** 255n - 19n;
const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const CURVE_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
const Z32 = "ybndrfg8ejkmcpqxot1uwisza345h769";
const B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/** The y coordinates of the eight points of small order: anybody can sign for such a key. */
const SMALL_ORDER = new Set([
  0n,
  1n,
  PRIME - 1n,
  littleEndian(hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")),
  littleEndian(hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")),
]);
/** X25519 keys that agree on nothing but zeros with everybody. */
const SEALS_NOTHING = new Set([
  0n,
  1n,
  PRIME - 1n,
  PRIME,
  PRIME + 1n,
  littleEndian(hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")),
  littleEndian(hex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")),
]);

/** Why a record is refused. `code` is stable; the message is for people who look for the fault. */
export class RecordError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "RecordError";
    this.code = code;
  }
}

/**
 * A record whose form and signature hold.
 * @typedef {object} Decoded
 * @property {string} typ its type, such as `atomicity-snapshot`
 * @property {string} kid the key that signed, z-base-32
 * @property {string} hash SHA-256 of the compact form, base64url
 * @property {string} jws the compact form
 * @property {any} record its members. Amounts, totals, balances and IOU numbers are BigInt, everything else is as in JSON.
 */

/**
 * Reads a record and checks form, signature, members, and what must hold between them. Not whether the key may sign for the user:
 * that is `verifyRecord`.
 * @param {string} jws the compact form
 * @param {string} [type] the type that it must have
 * @returns {Promise<Decoded>}
 * @throws {RecordError} with the code of the first check that fails
 */
export async function decodeRecord(jws, type) {
  const parts = splitRecord(jws, type);
  if (!(await holds(parts))) throw new RecordError("signature_invalid", `the signature of ${parts.header.typ} does not hold`);
  const nested = [];
  const record = readPayload(parts.header.typ, parts.payload, (inner, innerType) => readInner(inner, innerType, nested));
  for (const inner of nested) {
    if (!(await holds(inner))) throw new RecordError("payload_invalid", "the record inside bears no good signature");
  }
  checkRules(parts.header.typ, record);
  return { typ: parts.header.typ, kid: parts.header.kid, hash: await hashOf(jws), jws, record };
}

/** A record inside another one: all but its signature, which is left in `nested` to be checked. */
function readInner(jws, type, nested) {
  const parts = splitRecord(jws, type);
  nested.push(parts);
  const record = readPayload(type, parts.payload, (inner, innerType) => readInner(inner, innerType, nested));
  checkRules(type, record);
  return { jws, kid: parts.header.kid, record };
}

function splitRecord(jws, type) {
  const { input, signature, header, payload } = splitCompact(jws);
  const members = readHeader(header, ["alg", "typ", "kid"]);
  if (members.alg !== "EdDSA") throw new RecordError("header_invalid", "alg must be EdDSA");
  const key = keyBytes(members.kid, "header_invalid");
  if (!readPayload.knows(members.typ)) throw new RecordError("unknown_type", `nobody knows the type ${shorten(members.typ)}`);
  if (type !== undefined && members.typ !== type) {
    throw new RecordError("wrong_type", `expected ${type}, found ${shorten(members.typ)}`);
  }
  return { input, signature, key, header: members, payload };
}

/** Takes a compact JWS apart. */
export function splitCompact(jws) {
  if (typeof jws !== "string") throw new RecordError("jws_malformed", "a record is text");
  if (utf8(jws).length > MAX_RECORD_BYTES) throw new RecordError("record_too_large", `more than ${MAX_RECORD_BYTES} bytes`);
  const parts = jws.split(".");
  const bytes = parts.map(fromBase64url);
  if (parts.length !== 3 || bytes.includes(undefined) || bytes[2].length !== 64) {
    throw new RecordError("jws_malformed", "three parts in base64url, the last of 64 bytes, with dots between");
  }
  return { input: `${parts[0]}.${parts[1]}`, header: bytes[0], payload: bytes[1], signature: bytes[2] };
}

/** The header's members, which must be exactly these, all of them text. */
export function readHeader(bytes, names) {
  const header = bytes[0] === 0x7b ? tryJson(bytes) : undefined;
  const isRight =
    header instanceof Map && header.size === names.length && names.every((name) => typeof header.get(name) === "string");
  if (!isRight) throw new RecordError("header_invalid", `the header is an object with ${names.join(", ")}`);
  return Object.fromEntries(header);
}

function tryJson(bytes) {
  try {
    return parseJson(bytes);
  } catch {
    return undefined;
  }
}

/** Whether the signature holds, strictly: S below the order of the group, no point of small order, one encoding of each point. */
export async function holds({ input, signature, key }) {
  const [r, s] = [signature.slice(0, 32), signature.slice(32)];
  if (littleEndian(s) >= GROUP_ORDER) return false;
  const y = littleEndian(r) % 2n ** 255n;
  if (y >= PRIME || SMALL_ORDER.has(y)) return false;
  const imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return crypto.subtle.verify({ name: "Ed25519" }, imported, signature, utf8(input));
}

/** SHA-256 of a compact form, base64url. */
export async function hashOf(jws) {
  return toBase64url(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(jws))));
}

/** Keys that were checked before: a list of channels names the same friends again and again. */
const checkedKeys = new Map();

/** The 32 bytes of an Ed25519 key in z-base-32: one spelling, a point of the curve, not of small order. */
export function keyBytes(text, code = "payload_invalid") {
  const known = checkedKeys.get(text);
  if (known) return known;
  const bytes = fromZ32(text);
  const y = bytes && littleEndian(bytes) % 2n ** 255n;
  if (!bytes || y >= PRIME || SMALL_ORDER.has(y) || !isOnCurve(y)) {
    throw new RecordError(code, `${shorten(text)} is no key: 52 characters of z-base-32 that name a point`);
  }
  if (checkedKeys.size >= 4_096) checkedKeys.clear();
  checkedKeys.set(text, bytes);
  return bytes;
}

/** Whether this is an X25519 key in z-base-32 that something can be sealed to. */
export function isEncryptionKey(text) {
  const bytes = fromZ32(text);
  return bytes !== undefined && !SEALS_NOTHING.has(littleEndian(bytes) % 2n ** 255n);
}

/** RFC 8032 §5.1.3: there is an x for this y if (y² − 1) / (d·y² + 1) is a square. */
function isOnCurve(y) {
  const square = (y * y) % PRIME;
  const value = ((square - 1n + PRIME) * (CURVE_D * square + 1n)) % PRIME;
  return value === 0n || power(value, (PRIME - 1n) / 2n) === 1n;
}

function power(base, exponent) {
  let result = 1n;
  for (let rest = exponent, factor = base; rest > 0n; rest >>= 1n, factor = (factor * factor) % PRIME) {
    if (rest & 1n) result = (result * factor) % PRIME;
  }
  return result;
}

function fromZ32(text) {
  if (typeof text !== "string" || text.length !== 52) return undefined;
  let value = 0n;
  for (const char of text) {
    const digit = Z32.indexOf(char);
    if (digit < 0) return undefined;
    value = value * 32n + BigInt(digit);
  }
  // 52 characters carry 260 bits: the last four are zero in the one spelling that counts.
  if (value % 16n !== 0n) return undefined;
  return hex((value / 16n).toString(16).padStart(64, "0"));
}

/** 32 bytes in z-base-32. */
export function toZ32(bytes) {
  let value = BigInt(`0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`) * 16n;
  let text = "";
  for (let place = 0; place < 52; place += 1, value /= 32n) text = Z32[Number(value % 32n)] + text;
  return text;
}

/** Bytes of base64url without padding and without stray bits; undefined if it is none. */
export function fromBase64url(text) {
  if (text.length % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((text.length * 3) / 4));
  let [bits, held, at] = [0, 0, 0];
  for (const char of text) {
    const digit = B64.indexOf(char);
    if (digit < 0) return undefined;
    held = (held << 6) | digit;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at] = held >> bits;
      at += 1;
      held &= (1 << bits) - 1;
    }
  }
  return held === 0 ? bytes : undefined;
}

/** Bytes as base64url without padding. */
export function toBase64url(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const [a, b, c] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    text += B64[a >> 2] + B64[((a & 3) << 4) | ((b ?? 0) >> 4)];
    if (b !== undefined) text += B64[((b & 15) << 2) | ((c ?? 0) >> 6)];
    if (c !== undefined) text += B64[c & 63];
  }
  return text;
}

/** Text as UTF-8. */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

function hex(text) {
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function littleEndian(bytes) {
  return bytes.reduceRight((value, byte) => value * 256n + BigInt(byte), 0n);
}

function shorten(text) {
  return JSON.stringify(String(text).slice(0, 64));
}

const NUMBER = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const SPACE = /[ \t\n\r]*/y;
const MAX_DEPTH = 32;

/**
 * JSON, strictly: objects become Maps and name nothing twice, whole numbers from 0 become numbers (BigInt above 2^53 − 1), other numbers
 * NaN, since no record has any.
 */
export function parseJson(bytes) {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  let at = 0;
  const fail = () => {
    throw new RecordError("payload_invalid", `no JSON at character ${at}`);
  };
  const take = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found === undefined) return fail();
    at += found.length;
    return found;
  };
  const sign = (char) => {
    take(SPACE);
    if (text[at] !== char) return false;
    at += 1;
    return true;
  };
  const string = () => {
    take(SPACE);
    const begin = at;
    if (text[at] !== '"') fail();
    for (at += 1; text[at] !== '"'; at += text[at] === "\\" ? 2 : 1) if (at >= text.length) fail();
    at += 1;
    // The engine's own reader knows all about what stands between two quotes.
    const value = JSON.parse(text.slice(begin, at));
    return value.isWellFormed() ? value : fail();
  };
  const list = (depth, end, one) => {
    if (sign(end)) return;
    do one(depth + 1);
    while (sign(","));
    if (!sign(end)) fail();
  };
  const value = (depth) => {
    take(SPACE);
    if (depth > MAX_DEPTH) fail();
    if (sign("{")) {
      const map = new Map();
      list(depth, "}", (deeper) => {
        const name = string();
        if (map.has(name) || !sign(":")) fail();
        map.set(name, value(deeper));
      });
      return map;
    }
    if (sign("[")) {
      const items = [];
      list(depth, "]", (deeper) => items.push(value(deeper)));
      return items;
    }
    if (text[at] === '"') return string();
    for (const [word, meaning] of [["true", true], ["false", false], ["null", null]]) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    const number = take(NUMBER);
    if (!/^[0-9]+$/.test(number)) return Number.NaN;
    return Number.isSafeInteger(Number(number)) ? Number(number) : BigInt(number);
  };
  const found = value(0);
  take(SPACE);
  return at === text.length ? found : fail();
}
