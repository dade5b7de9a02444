// Server-sent events over fetch: the browser's own EventSource can't send a token.

/** Silence after which a connection counts as dead: the plugin says something every 15 s. */
const SILENCE = 60_000;
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;
/** Longest event, in characters. */
const MAX_EVENT = 1_000_000;
/** What comes again by itself: no answer, too much, an outage. Everything else is an answer. */
const PASSING = new Set([0, 408, 425, 429, 500, 502, 503, 504]);

/**
 * @typedef {object} ServerEvent
 * @property {string} name
 * @property {string} [id]
 * @property {string} data
 */

/**
 * Events of one stream, over as many connections as it takes: after an interruption it goes on behind the last event that arrived,
 * after a pause that grows.
 * @param {(lastId: string | undefined, signal: AbortSignal) => Promise<Response>} open opens a connection, or throws an error with a `status`
 * @param {object} [given]
 * @param {AbortSignal} [given.signal] ends it
 * @param {string} [given.after] the last event that arrived earlier
 * @param {(state: "live" | "waiting") => void} [given.onState] is told when a connection stands and when it is waited for one
 * @param {number} [given.pause] the first pause, in milliseconds
 * @returns {AsyncGenerator<ServerEvent>}
 */
export async function* events(open, { signal, after, onState = () => {}, pause = FIRST_PAUSE } = {}) {
  let lastId = after;
  let failures = 0;
  while (!signal?.aborted) {
    const connection = new AbortController();
    const end = () => connection.abort();
    signal?.addEventListener("abort", end);
    let wait = 0;
    try {
      const patience = setTimeout(end, SILENCE);
      const answer = await open(lastId, connection.signal).finally(() => clearTimeout(patience));
      onState("live");
      for await (const event of read(answer, connection)) {
        failures = 0;
        if (event.id !== undefined) lastId = event.id;
        yield event;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error.status !== undefined && !PASSING.has(error.status)) throw error;
      if (error.code === "event_too_long") throw error;
      wait = (error.retryAfter ?? 0) * 1_000;
    } finally {
      signal?.removeEventListener("abort", end);
      connection.abort();
    }
    if (signal?.aborted) return;
    onState("waiting");
    await sleep(Math.max(wait, backOff(failures, pause)), signal);
    failures += 1;
  }
}

/** Doubles, up to a minute, and is never the same for all who were cut off at once. */
function backOff(failures, first) {
  const longest = Math.min(first * 2 ** Math.min(failures, 16), LONGEST_PAUSE);
  return longest / 2 + (Math.random() * longest) / 2;
}

function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
  });
}

async function* read(answer, connection) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const timer = setTimeout(() => connection.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    held = (held + value).replace(/\r\n?(?!$)/g, "\n");
    for (let end = held.indexOf("\n\n"); end >= 0; end = held.indexOf("\n\n")) {
      const event = parse(held.slice(0, end));
      held = held.slice(end + 2);
      if (event) yield event;
    }
    if (held.length > MAX_EVENT) throw Object.assign(new Error("an event has no end"), { code: "event_too_long" });
  }
}

function parse(block) {
  const event = { name: "message", id: undefined, data: [] };
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data.push(value);
  }
  return event.data.length > 0 ? { ...event, data: event.data.join("\n") } : undefined;
}
