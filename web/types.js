// The members of each type of record, and what must hold between them, as docs/spec/records.md and the pages that it names have it.

import { RecordError, fromBase64url, isEncryptionKey, keyBytes, parseJson, utf8 } from "./records.js";

const MAX_MINOR = 2n ** 63n - 1n;
const MAX_JSON = Number.MAX_SAFE_INTEGER;
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
const LIGHTNING = "btc-lightning-bolt11";

// ---------------------------------------------------------------------------------------------------------------------------------
// Kinds of values: each takes what JSON gave and returns what a record holds, or refuses.

function refuse(what) {
  throw new RecordError("payload_invalid", what);
}

const checked = (what, isRight, convert = (value) => value) => (value) => isRight(value) ? convert(value) : refuse(what);
const text = (what, isRight, convert) => checked(what, (value) => typeof value === "string" && isRight(value), convert);
const integer = (most) => checked(`a whole number up to ${most}`, (value) => typeof value === "number" && value <= most);
const bytes = (length) => text(`${length} bytes in base64url`, (value) => fromBase64url(value)?.length === length);
const words = (most) => text(`1 to ${most} bytes without control characters`, (value) => fits(value, most) && !CONTROLS.test(value));
const word = (...choices) => text(`one of ${choices.join(", ")}`, (value) => choices.includes(value));
const minor = (least) => text(`a decimal number from ${least} to 2^63 - 1`, (value) => isMinor(value, least), BigInt);

function fits(value, most) {
  const length = utf8(value).length;
  return length >= 1 && length <= most;
}

function isMinor(value, least) {
  return /^(0|[1-9][0-9]{0,18})$/.test(value) && BigInt(value) >= least && BigInt(value) <= MAX_MINOR;
}

const version = checked("version 1", (value) => value === 1);
const key = (value) => typeof value === "string" && keyBytes(value) ? value : refuse("a key is text");
const sealingKey = text("an encryption key", isEncryptionKey);
const unit = text("a unit", (value) => /^[A-Z][A-Z0-9]{0,16}(\/([1-9]|1[0-8]))?$/.test(value));
const asset = text("an asset", (value) => /^[A-Z][A-Z0-9]{0,16}$/.test(value));
const amount = minor(1n);
const total = minor(0n);
const balance = text("a balance", (value) => value !== "-0" && isMinor(value.replace(/^-/, ""), 0n), BigInt);
const decimal = text("a decimal number", (value) => /^(0|[1-9][0-9]{0,18})(\.[0-9]{0,17}[1-9])?$/.test(value));
const counter = integer(MAX_JSON);
const epoch = integer(2 ** 31 - 1);
const time = counter;
const u16 = integer(2 ** 16 - 1);
const u32 = integer(2 ** 32 - 1);
// Above 2^53 - 1 it is a contradiction, not another form.
const u64 = checked("a whole number below 2^64", (value) => Number.isInteger(value) || (typeof value === "bigint" && value < 2n ** 64n));
const hash = bytes(32);
const id = bytes(16);
const yesOrNo = checked("true or false", (value) => typeof value === "boolean");
const memo = words(512);
const address = words(512);
const name = words(64);
const method = text("a method", (value) => /^[A-Za-z0-9._-]{1,64}$/.test(value));
const proofText = text("text of a log", (value) => fits(value, 16_384) && !/[\u0000-\u0009\u000b-\u001f\u007f]/.test(value));
const layers = text("sealed layers", (value) => /^[A-Za-z0-9_-]{1,11264}$/.test(value));
const anyText = text("text", () => true);

const list = (kind) => checked("a list", Array.isArray, (items) => items.map(kind));
const optional = (kind) => Object.assign((value) => kind(value), { optional: true });

const object = (members) => (value) => {
  if (!(value instanceof Map)) refuse("an object belongs here");
  for (const given of value.keys()) if (!Object.hasOwn(members, given)) refuse(`no member is called ${given.slice(0, 64)}`);
  const record = {};
  for (const [member, kind] of Object.entries(members)) {
    if (value.has(member)) record[member] = kind(value.get(member));
    else if (!kind.optional) refuse(`${member} is missing`);
  }
  return record;
};

/** One of several, named by the one member of an object, or by a word. */
const choice = (kinds, ...bare) => (value) => {
  if (bare.includes(value)) return { [value]: {} };
  if (!(value instanceof Map) || value.size !== 1) refuse("an object with one member belongs here");
  const [[which, inner]] = value;
  if (!Object.hasOwn(kinds, which)) refuse(`nothing is called ${which.slice(0, 64)}`);
  return { [which]: kinds[which](inner) };
};

// ---------------------------------------------------------------------------------------------------------------------------------
// The types.

const between = { v: version, from: key, to: key };
const target = object({ method, value: words(4_096) });
const pays = object({ asset, amount: decimal });
const reason = word(
  "expired", "unit_unknown", "no_claim", "claim_smaller", "rate_off", "no_method", "target_malformed", "amount_differs", "hash_used",
  "id_used", "release_missing", "release_differs", "not_allowed", "busy", "rail_failed", "withdrawn",
);
const totals = { unit, issued: total, merged: total, returned: total, next: total };

// Set while one payload is read: reading is not interrupted.
let readInner;
const invoice = (value) => typeof value === "string" ? readInner(value, "atomicity-invoice") : refuse("an invoice is text");

const plainWord = text("1 to 32 lower-case letters and _", (value) => /^[a-z_]{1,32}$/.test(value));
const diaryEntry = object({
  at: time, kind: plainWord, direction: optional(word("out", "in")), peer: optional(key), unit: optional(unit), amount: optional(total),
  memo: optional(memo), id: optional(id), status: optional(plainWord), until: optional(time), receipt: optional(words(4_096)),
});

const types = {
  "atomicity-state": {
    ...between, unit, epoch, seq: counter, issued: total, merged: total, returned: total, next: total, open: list(total), at: time,
  },
  "atomicity-payment": {
    v: version, id, from: key, to: key, unit, epoch, seq: counter, amount, ref: optional(memo), memo: optional(memo), at: time,
  },
  "atomicity-credit-line": {
    ...between, unit, epoch, seq: counter, accept: total, min_amount: amount, max_deadline_s: u32, slots: u16,
    unattended: optional(object({ amount, logs: list(address), until: time })), logs_refused: list(address), expires: optional(time),
    at: time,
  },
  "atomicity-refusal": {
    ...between, unit, epoch, after_seq: counter, to_seq: counter, amount, returned: total, own_epoch: epoch, own_seq: counter, at: time,
  },
  "atomicity-ack": {
    ...between,
    items: list(choice({
      state: object({ unit, epoch, seq: counter, hash, returned: total, clear: yesOrNo }),
      iou: object({ hash }),
      book: object({ hash, held: list(hash), base: list(object(totals)) }),
    })),
    at: time,
  },
  "atomicity-book": {
    ...between, epoch, key, after: list(object({ ...totals, epoch, seq: counter, open: list(total) })),
    cap: list(object({ unit, debt: total })), at: time,
  },
  "atomicity-delegation": {
    v: version, root: key, key, scopes: list(word("book", "receive", "request", "rails")), peers: optional(list(key)),
    limits: list(object({ unit, per_peer: total, per_day: optional(total) })), not_before: time, not_after: time, serial: counter,
  },
  "atomicity-revocation": { v: version, root: key, key, grant: optional(id), at: time },
  "atomicity-profile": {
    v: version, user: key, serial: counter, name: optional(name), encryption: list(object({ n: u32, key: sealingKey })),
    inboxes: list(object({ plugin: key, url: optional(address) })), units: list(unit), logs_trusted: list(address),
    logs_refused: list(address), page: optional(yesOrNo), at: time,
  },
  "atomicity-contacts": {
    v: version, user: key, serial: counter, page: u16, pages: u16,
    contacts: list(object({ user: key, name: optional(name), own_key: u32, their_key: u32 })), at: time,
  },
  "atomicity-snapshot": {
    v: version, user: key, at: time,
    channels: list(object({ peer: key, unit, balance, accept: total, accepted_by_peer: total, frozen: yesOrNo })),
  },
  "atomicity-diary": { v: version, user: key, at: time, waiting: list(diaryEntry), past: list(diaryEntry) },
  "atomicity-manifest": { v: version, user: key, peer: key, records: list(object({ typ: anyText, hash })), note: optional(memo), at: time },
  "atomicity-conditional-iou": {
    ...between, unit, epoch, number: total, amount,
    terms: object({ hash, logs: list(object({ origin: address, policy_hash: hash, from_size: u64 })), deadline_ms: u64 }),
    onward: optional(layers), at: time,
  },
  "atomicity-release": {
    ...between, unit, epoch, number: total, iou: hash, reason: word("expired", "limit", "log", "onward", "declined"),
    failure: optional(layers), at: time,
  },
  "atomicity-publication": {
    ...between, iou: hash, preimage: hash, proof: optional(object({ policy: proofText, proof: proofText })), at: time,
  },
  "atomicity-view": { ...between, checkpoints: list(proofText), at: time },
  "atomicity-invoice": {
    v: version, id, payee: key, unit, amount: optional(amount), hash,
    logs: list(object({ origin: address, policy_hash: hash, url: optional(address) })), logs_refused: list(address),
    hints: list(object({ peer: key, capacity: amount, base: total, ppm: u32 })), expires: time, memo: optional(memo), at: time,
  },
  "atomicity-advert": {
    ...between, serial: counter,
    units: list(object({
      unit, send: optional(object({ capacity: amount, min: amount, base: total, ppm: u32 })),
      receive: optional(object({ capacity: amount })), clears: optional(choice({ owed: amount, owes: amount })),
    })),
    slots: optional(u16), max_deadline_s: u32, expires: time, at: time,
  },
  "atomicity-rates": {
    v: version, from: key, serial: counter, rates: list(object({ take: unit, give: unit, num: amount, den: amount, max: amount })),
    expires: time, at: time,
  },
  "atomicity-rating": {
    v: version, from: key, subject: key, kind: word("router", "log", "watchtower", "cosigner", "user"),
    verdict: word("good", "poor", "block"), serial: counter, memo: optional(memo), at: time,
  },
  "atomicity-reply": { ...between, iou: hash, body: layers, at: time },
  "atomicity-endpoints": {
    ...between, serial: counter,
    endpoints: list(object({ method, value: words(4_096), min: optional(decimal), max: optional(decimal) })), expires: optional(time),
    at: time,
  },
  "atomicity-settlement": {
    v: version, id, holder: key, issuer: key, unit, amount, targets: list(target), pays: optional(pays), release: optional(hash),
    claim: optional(object({ epoch, seq: counter, hash })), memo: optional(memo), expires: time, at: time,
  },
  "atomicity-settlement-answer": {
    v: version, settlement: hash, from: key, to: key,
    said: choice(
      {
        declined: object({ reason, offer: optional(pays) }), paid: object({ method, proof: words(1_024) }), failed: object({ reason }),
      },
      "accepted", "dispatched",
    ),
    at: time,
  },
  "atomicity-settlement-withdrawal": { v: version, settlement: hash, from: key, to: key, at: time },
  "atomicity-request": {
    v: version, id, payee: key, payer: optional(key), unit,
    amount: choice({
      exact: amount, target: object({ amount, min: optional(amount) }), open: object({ min: optional(amount), max: optional(amount) }),
    }),
    targets: list(target), memo: optional(memo),
    every: optional(object({ period: word("day", "week", "month"), from: time, count: optional(u32) })), expires: time, at: time,
  },
  "atomicity-request-state": {
    v: version, request: hash, payee: key, filled: total, reserved: total, open: yesOrNo, serial: counter, at: time,
  },
  "atomicity-part": {
    v: version, id, request: hash, from: key, to: key, amount, turn: optional(u32),
    reply: optional(object({ key: sealingKey, inbox: object({ plugin: key, url: optional(address) }) })), at: time,
  },
  "atomicity-part-answer": {
    v: version, part: hash, from: key, to: key,
    said: choice({
      granted: object({ amount, until: time, invoice: optional(hash), target: optional(target) }),
      refused: object({
        reason: word("full", "closed", "paid", "ended", "not_direct", "expired", "too_small", "too_large", "wrong_turn", "busy"),
      }),
    }),
    at: time,
  },
  "atomicity-spend": {
    v: version, id, owner: key, plugin: key, unit, amount, to: choice({ peer: key, invoice, target }), pays: optional(pays),
    max_fee: optional(amount), memo: optional(memo), expires: time, at: time,
  },
  "atomicity-pass": { v: version, owner: key, plugin: key, expires: time, at: time },
};

/** Every type that there is. */
export const TYPES = Object.freeze(Object.keys(types));

/** Reads the members of a payload. Records inside it are handed to `inner`. */
export function readPayload(typ, payload, inner) {
  readInner = inner;
  let parsed;
  try {
    parsed = parseJson(payload);
  } catch {
    refuse("the payload is no JSON");
  }
  try {
    return object(types[typ])(parsed);
  } catch (error) {
    // Whatever is wrong inside, a record inside one too, makes this payload invalid.
    throw new RecordError("payload_invalid", `${typ}: ${error.message}`);
  }
}

readPayload.knows = (typ) => Object.hasOwn(types, typ);

// ---------------------------------------------------------------------------------------------------------------------------------
// What must hold between members.

function rule(holds, why) {
  if (!holds) throw new RecordError("contradiction", why);
}

function compareBytes(one, other) {
  const [a, b] = [one, other];
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) if (a[at] !== b[at]) return a[at] - b[at];
  return a.length - b.length;
}

const byText = (one, other) => compareBytes(utf8(one), utf8(other));
const byKey = (one, other) => compareBytes(keyBytes(one), keyBytes(other));
const byNumber = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
const byUnit = (one, other) => {
  const [[a, places], [b, others]] = [one.split("/"), other.split("/")];
  return byText(a, b) || Number(places ?? 0) - Number(others ?? 0);
};
const isAscending = (items, of, compare) => items.slice(1).every((item, at) => compare(of(items[at]), of(item)) < 0);
const same = (item) => item;

/** 1, 2 or 5 times a power of ten: all that is told of a capacity. */
const isCoarse = (value) => /^[125]0*$/.test(value.toString());
const partsFit = ({ issued, merged, returned }) => merged + returned <= issued;

const isInvoice = ({ method: how }) => how === LIGHTNING;
const isMillisatoshi = (paid) => paid?.asset === "BTC" && (paid.amount.split(".")[1] ?? "").length <= 11 && isBelow(paid.amount, 11);
const isBelow = (number, places) => {
  const [whole, fraction = ""] = number.split(".");
  return BigInt(whole + fraction.padEnd(places, "0")) < 2n ** 64n;
};
const compareDecimals = (one, other) => {
  const scaled = (number) => {
    const [whole, fraction = ""] = number.split(".");
    return BigInt(whole + fraction.padEnd(18, "0"));
  };
  return byNumber(scaled(one), scaled(other));
};

function checkMethod(how) {
  rule(how !== "private" && !/^\.+$/.test(how), "a method has a name that Paykit does not take");
}

function checkPlaces(places, most) {
  rule(places.length <= most, `at most ${most} places are named`);
  const different = new Set(places.map((place) => `${place.method}\n${place.value}`));
  rule(different.size === places.length, "a place stands twice");
  for (const place of places) checkMethod(place.method);
}

function checkPays(paid) {
  rule(paid === undefined || paid.amount !== "0", "what is paid is nothing");
}

function checkOpen(open) {
  rule(open.length <= 128 && isAscending(open, same, byNumber), "open is at most 128 numbers, strictly ascending");
}

const rules = {
  "atomicity-state"(r) {
    rule(r.seq >= 1, "the first seq of an epoch is 1");
    rule(partsFit(r), "merged and returned are parts of issued");
    checkOpen(r.open);
    rule(r.open.every((number) => number < r.next), "open lists a number that is not below next");
  },
  "atomicity-payment"(r) {
    rule(r.seq >= 1, "the first seq of an epoch is 1");
  },
  "atomicity-credit-line"(r) {
    rule(r.seq >= 1, "the first seq of an epoch is 1");
    rule(r.slots <= 128, "slots is more than 128");
    rule(r.logs_refused.length <= 16 && (r.unattended?.logs.length ?? 0) <= 16, "more than 16 logs are named");
  },
  "atomicity-refusal"(r) {
    rule(r.after_seq < r.to_seq, "it covers no state");
    rule(r.amount <= r.returned, "amount is a part of returned");
    rule(r.own_seq >= 1, "the first seq of an epoch is 1");
  },
  "atomicity-ack"(r) {
    rule(r.items.length >= 1 && r.items.length <= 64, "an ack names 1 to 64 records");
    for (const { state, book } of r.items) {
      rule(state === undefined || state.seq >= 1, "the first seq of an epoch is 1");
      if (book === undefined) continue;
      rule(book.held.length <= 320, "held lists more than 320 records");
      rule(book.base.length <= 64 && isAscending(book.base, (base) => base.unit, byUnit), "base is at most 64 units, ascending");
      rule(book.base.every(partsFit), "merged and returned are parts of issued");
    }
  },
  "atomicity-book"(r) {
    for (const entries of [r.after, r.cap]) {
      rule(entries.length <= 64 && isAscending(entries, (entry) => entry.unit, byUnit), "after and cap are at most 64 units, ascending");
    }
    for (const carried of r.after) {
      rule(partsFit(carried), "merged and returned are parts of issued");
      rule(carried.epoch < r.epoch, "after names an epoch that is not before this one");
      checkOpen(carried.open);
    }
  },
  "atomicity-delegation"(r) {
    const order = ["book", "receive", "request", "rails"];
    rule(r.key !== r.root, "a root key needs no delegation");
    rule(r.scopes.length >= 1 && isAscending(r.scopes, (scope) => order.indexOf(scope), byNumber), "scopes are one or more, ascending");
    rule(!r.peers || (r.peers.length <= 64 && isAscending(r.peers, same, byKey)), "peers are at most 64, ascending");
    rule(r.limits.length <= 64 && isAscending(r.limits, (limit) => limit.unit, byUnit), "limits are at most 64, ascending by unit");
    rule(r.not_before < r.not_after, "it ends before it begins");
  },
  "atomicity-revocation"(r) {
    rule(r.key !== r.root, "a root key can't be revoked");
  },
  "atomicity-profile"(r) {
    rule(r.encryption.length >= 1 && r.encryption.length <= 4, "it names one to four encryption keys");
    rule(isAscending(r.encryption, (entry) => -entry.n, byNumber), "encryption keys descend by number");
    rule(r.encryption.every((entry) => entry.n >= 1), "encryption keys are numbered from 1");
    rule(r.inboxes.length <= 8, "it names more than 8 inboxes");
    rule(r.units.length <= 64 && isAscending(r.units, same, byUnit), "units are at most 64, ascending");
    rule(r.logs_trusted.length <= 16 && r.logs_refused.length <= 16, "more than 16 logs are named");
  },
  "atomicity-contacts"(r) {
    rule(r.page < r.pages && r.pages <= 256, "page is below pages, and pages at most 256");
    rule(r.contacts.length <= 256 && isAscending(r.contacts, (contact) => contact.user, byKey), "contacts are at most 256, ascending");
    rule(r.contacts.every((contact) => contact.user !== r.user), "a user is no contact of themselves");
  },
  "atomicity-snapshot"(r) {
    const order = (one, other) => byKey(one.peer, other.peer) || byUnit(one.unit, other.unit);
    rule(r.channels.length <= 256 && isAscending(r.channels, same, order), "channels are at most 256, ascending by peer and unit");
    rule(r.channels.every((channel) => channel.peer !== r.user), "a user has no channel with themselves");
  },
  "atomicity-diary"(r) {
    for (const entries of [r.waiting, r.past]) {
      const fits = entries.length <= 50 && entries.every((entry, n) => n === 0 || entries[n - 1].at >= entry.at);
      rule(fits, "waiting and past are at most 50 entries each, newest first");
      rule(entries.every((entry) => entry.amount === undefined || entry.unit !== undefined), "an amount needs a unit");
      rule(entries.every((entry) => entry.peer !== r.user), "a user has nothing to do with themselves");
    }
  },
  "atomicity-manifest"(r) {
    rule(r.user !== r.peer, "user and peer are the same");
    rule(r.records.length <= 512, "it lists more than 512 records");
    rule(r.records.every((entry) => utf8(entry.typ).length <= 64), "it names a type of more than 64 bytes");
  },
  "atomicity-conditional-iou"(r) {
    const first = BigInt(r.epoch) << 32n;
    rule(r.number >= first && r.number < first + (1n << 32n), "the number is not one of its epoch");
    rule(r.terms.logs.length <= 4 && isAscending(r.terms.logs, (log) => log.origin, byText), "logs are at most 4, ascending by origin");
    const inRange = [r.terms.deadline_ms, ...r.terms.logs.map((log) => log.from_size)].every((value) => value <= MAX_JSON);
    rule(inRange, "deadline_ms or from_size is out of range");
    rule(r.terms.logs.length > 0 || r.onward === undefined, "a direct release can't be forwarded");
  },
  "atomicity-view"(r) {
    rule(r.checkpoints.length >= 1 && r.checkpoints.length <= 8, "a view shows 1 to 8 checkpoints");
    rule(r.checkpoints.every((note) => utf8(note).length <= 4_096), "a checkpoint has more than 4096 bytes");
  },
  "atomicity-invoice"(r) {
    rule(r.logs.length >= 1 && r.logs.length <= 4, "it names one to four logs");
    rule(isAscending(r.logs, (log) => log.origin, byText), "logs ascend by origin");
    rule(r.logs_refused.length <= 16 && isAscending(r.logs_refused, same, byText), "logs_refused are at most 16, ascending");
    rule(r.logs.every((log) => !r.logs_refused.includes(log.origin)), "a log is both trusted and refused");
    rule(r.hints.length <= 4 && isAscending(r.hints, (hint) => hint.peer, byKey), "hints are at most 4, ascending by peer");
    rule(r.hints.every((hint) => hint.peer !== r.payee), "a hint names the payee");
    rule(r.hints.every((hint) => hint.ppm <= 1_000_000), "ppm is more than 1000000");
  },
  "atomicity-advert"(r) {
    rule(r.units.length <= 64 && isAscending(r.units, (entry) => entry.unit, byUnit), "units are at most 64, ascending");
    rule((r.slots ?? 0) <= 128, "slots is more than 128");
    for (const { send, receive, clears } of r.units) {
      rule(send || receive || clears, "a unit has neither send nor receive nor clears");
      const told = [send?.capacity, receive?.capacity, clears?.owed, clears?.owes].filter((value) => value !== undefined);
      rule(told.every(isCoarse), "a capacity is not 1, 2 or 5 times a power of ten");
      rule(!send || send.min <= send.capacity, "min is above the capacity");
      rule(!send || send.ppm <= 1_000_000, "ppm is more than 1000000");
    }
  },
  "atomicity-rates"(r) {
    const order = (one, other) => byUnit(one.take, other.take) || byUnit(one.give, other.give);
    rule(r.rates.length <= 64 && isAscending(r.rates, same, order), "rates are at most 64, ascending");
    rule(r.rates.every((rate) => byUnit(rate.take, rate.give) !== 0), "a rate is between a unit and itself");
    rule(r.rates.every((rate) => isCoarse(rate.max)), "a max is not 1, 2 or 5 times a power of ten");
  },
  "atomicity-rating"(r) {
    rule(r.from !== r.subject, "from and subject are the same user");
  },
  "atomicity-endpoints"(r) {
    checkPlaces(r.endpoints, 16);
    const inOrder = ({ min, max }) => min === undefined || max === undefined || compareDecimals(min, max) <= 0;
    rule(r.endpoints.every(inOrder), "an endpoint takes more at least than at most");
  },
  "atomicity-settlement"(r) {
    rule(r.holder !== r.issuer, "holder and issuer are the same user");
    checkPlaces(r.targets, 8);
    checkPays(r.pays);
    const asks = r.targets.some(isInvoice);
    rule(asks === (r.release !== undefined), "a Lightning invoice and a direct release need each other");
    rule(!asks || r.targets.length === 1, "a Lightning invoice is the only target");
    rule(!asks || isMillisatoshi(r.pays), "a Lightning invoice is paid in BTC, in whole thousandths of a satoshi");
  },
  "atomicity-settlement-answer"(r) {
    if (r.said.declined) checkPays(r.said.declined.offer);
    if (r.said.paid) checkMethod(r.said.paid.method);
  },
  "atomicity-request"(r) {
    const { target: goal, open } = r.amount;
    rule(r.payer !== r.payee, "the payee is asked to pay themselves");
    rule(!goal || (goal.min ?? 0n) <= goal.amount, "more is asked for at least than at most");
    rule(open?.max === undefined || (open.min ?? 0n) <= open.max, "more is asked for at least than at most");
    checkPlaces(r.targets, 8);
    rule(!r.targets.some(isInvoice), "a Lightning invoice has no place in a request");
    if (!r.every) return;
    rule(r.amount.exact !== undefined, "what recurs is of an exact amount");
    rule(r.every.count === undefined || (r.every.count >= 1 && r.every.count <= 10_000), "it recurs 1 to 10000 times");
    rule(r.every.from < r.expires, "it expires before it is due");
  },
  "atomicity-part-answer"(r) {
    const { granted } = r.said;
    rule(!granted?.invoice || !granted.target, "it names an invoice and a target");
    if (granted?.target) checkMethod(granted.target.method);
  },
  "atomicity-spend"(r) {
    const { peer, invoice: asked, target: outside } = r.to;
    rule((peer ?? asked?.record.payee) !== r.owner, "the owner is the payee");
    if (r.amount + (r.max_fee ?? 0n) > MAX_MINOR) throw new RecordError("total_overflow", "amount and fee are more than there is");
    rule(!r.pays || outside, "only a place outside is paid in something else");
    if (asked) {
      rule(asked.record.unit === r.unit, "the invoice is in another unit than the spend");
      rule(asked.record.amount === undefined || asked.record.amount === r.amount, "the invoice asks for another amount");
    }
    if (!outside) return;
    checkMethod(outside.method);
    checkPays(r.pays);
    rule(r.max_fee === undefined, "nobody passes on what is paid outside");
    rule(!isInvoice(outside) || isMillisatoshi(r.pays), "a Lightning invoice is paid in BTC, in whole thousandths of a satoshi");
  },
};

/** Checks what must hold between the members of one record. */
export function checkRules(typ, record) {
  if (record.from !== undefined) rule(record.from !== record.to, "from and to are the same user");
  rules[typ]?.(record);
}
