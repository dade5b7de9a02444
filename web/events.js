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
 * @param {(lastId: string | undefined, signal: AbortSignal) => Promise<Response>} open opens a connection: a plain `fetch` will do. An answer
 *   that is an error counts as one, as does an error that this throws with a `status`: what may pass is tried again, the rest is thrown
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
      if (!answer.ok) throw refusal(answer);
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

/** An answer that is an error, as one. */
function refusal(answer) {
  const retryAfter = Number(answer.headers.get("retry-after")) || undefined;
  const error = new Error(`the stream was refused: ${answer.status} ${answer.statusText}`);
  return Object.assign(error, { status: answer.status, code: `http_${answer.status}`, retryAfter });
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
  // A line ends with CR, LF or both, and the two may come apart.
  let endedInCr = false;
  for (;;) {
    const timer = setTimeout(() => connection.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const fresh = endedInCr && value.startsWith("\n") ? value.slice(1) : value;
    if (value !== "") endedInCr = value.endsWith("\r");
    held += fresh.replace(/\r\n?/g, "\n");
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
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data.push(value);
  }
  return event.data.length > 0 ? { ...event, data: event.data.join("\n") } : undefined;
}
