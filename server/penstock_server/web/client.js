/**
 * The client of a penstock server for browsers and Node (20 and newer): one module, on its own.
 *
 * Every reader gets each event once and in order, or is told by a gap what is missing. Connections
 * that are lost are made again, after waits that grow and are drawn at random. All times are in
 * milliseconds. Everything that waits, waits in a bounded queue.
 *
 * What is where:
 *    1. Errors              PenstockError and what there is of it
 *    2. Waiting             Backoff, Retry, pause
 *    3. Cursors             what is a repetition, and where a message leads
 *    4. Bytes to messages   Lines, SSEParser, messages of a response's body
 *    5. Reading over fetch  stream, readStream, toReadableStream
 *    6. Event sources       ReconnectingEventSource
 *    7. Subscriptions       Inbox, Subscription
 *    8. WebSocket           Outbox, WebSocketClient
 *    9. Publishing          publish, Publisher
 *   10. Sharing, in a page  SharedLink, SharedSocket
 *   11. Sharing, in the worker that all tabs share   Session, Member, Feed, Hub
 */

// 1. Errors ----------------------------------------------------------------------------------

/** Anything that goes wrong here; `cause` is the error behind it where there is one. */
export class PenstockError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/**
 * The server said no, and would say so again: there is no use in trying as before.
 * `status` and `problem` (RFC 9457) are set where HTTP said it, `code` where a WebSocket did.
 */
export class RefusedError extends PenstockError {
  constructor(message, { status = null, code = null, problem = null, cause } = {}) {
    super(message, { cause });
    this.status = status;
    this.code = code;
    this.problem = problem;
  }
}

/** A publication that gave way to newer ones in a full queue. */
export class DroppedError extends PenstockError {}

/** It was closed, by `close()` or for good by the server, before this was done. */
export class ClosedError extends PenstockError {}

/** Something that is worth another try. `retryAfter` is what the server asked for, or null. */
class Interrupted extends PenstockError {
  constructor(message, { status = null, problem = null, retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** The defaults, and over them what was given and is not undefined. */
function withDefaults(defaults, given) {
  const options = { ...defaults };
  for (const [name, value] of Object.entries(given)) if (value !== undefined) options[name] = value;
  return options;
}

// 2. Waiting ---------------------------------------------------------------------------------

const LONGEST_WAIT = 3_600_000; // whatever a server asks for
const STEADY = 5_000; // a connection that held so long was a success, even if nothing came

/**
 * Waits that grow from `initial` by `factor` up to `maximum`. With `jitter` each is drawn at random
 * from 0 up to that bound ("full jitter"), so that clients which failed together don't come back
 * together.
 */
export class Backoff {
  constructor({ initial = 500, maximum = 30_000, factor = 2, jitter = true } = {}) {
    if (!(initial > 0 && initial <= maximum && maximum < Infinity)) {
      throw new RangeError("Backoff: initial must be above 0 and at most maximum");
    }
    if (!(factor >= 1)) throw new RangeError("Backoff: factor must be at least 1");
    Object.assign(this, { initial, maximum, factor, jitter });
    Object.freeze(this);
  }

  /** The longest wait after so many failures in a row before this one. */
  bound(failures) {
    return Math.min(this.maximum, this.initial * this.factor ** failures);
  }

  /** The wait; `chance` is a number from 0 to 1. */
  delay(failures, chance = Math.random()) {
    return this.jitter ? this.bound(failures) * chance : this.bound(failures);
  }
}

const backoffOf = (given) => (given instanceof Backoff ? given : new Backoff(given));

/** What one connection waits before its next attempt: as the server asks, and a growing rest. */
class Retry {
  attempt = 0; // failures in a row
  base = 0; // what `retry:` said
  #since = null; // when the connection was made
  #advised = null; // for the next wait only
  #backoff;

  constructor(backoff) {
    this.#backoff = backoffOf(backoff);
  }

  advise(wait) {
    if (wait >= 0) this.#advised = wait;
  }

  /** There is a connection, which alone says little: it may break at once, again and again. */
  connected() {
    this.#since = now();
  }

  succeeded() {
    this.attempt = 0;
  }

  /** `delay` is the wait as it is planned, `floor` what it can't be shortened to less than. */
  next() {
    if (this.#since !== null && now() - this.#since > STEADY) this.attempt = 0;
    this.#since = null;
    const floor = Math.min(this.#advised ?? this.base, LONGEST_WAIT);
    this.#advised = null;
    const delay = floor + this.#backoff.delay(this.attempt);
    this.attempt += 1;
    return { floor, delay };
  }
}

const now = () => performance.now();

const revivals = new Set(); // what a tab sets off in the worker, which sees less of this itself

/** Call `revived` when the network or the page may have come back; gives what ends that. */
function onRevival(revived) {
  revivals.add(revived);
  if (typeof globalThis.addEventListener !== "function") return () => revivals.delete(revived);
  const shown = () => document.visibilityState === "visible" && revived();
  const places = [
    [globalThis, "online", revived],
    [globalThis, "pageshow", revived],
  ];
  if (typeof document !== "undefined") places.push([document, "visibilitychange", shown]);
  for (const [target, type, listener] of places) target.addEventListener(type, listener);
  return () => {
    revivals.delete(revived);
    for (const [target, type, listener] of places) target.removeEventListener(type, listener);
  };
}

/** Wait for `delay`; when the network comes back only for `floor`. Rejects when it is aborted. */
function pause({ floor, delay }, signal) {
  return new Promise((resolve, reject) => {
    const began = now();
    const over = (settle) => (value) => {
      clearTimeout(timer);
      unwatch();
      signal.removeEventListener("abort", abort);
      settle(value);
    };
    const done = over(resolve);
    const abort = () => over(reject)(signal.reason);
    let timer = setTimeout(done, delay);
    const unwatch = onRevival(() => {
      clearTimeout(timer);
      timer = setTimeout(done, Math.max(0, Math.min(floor, delay) - (now() - began)));
    });
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
  });
}

/** The promise, or `Interrupted` when it takes longer than `limit`; 0 is no limit. */
async function within(limit, promise, what) {
  if (!(limit > 0 && limit < Infinity)) return promise;
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Interrupted(`${what} for ${limit} ms`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A controller that follows a signal until it is let go. */
function follow(signal) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  return { controller, release: () => signal?.removeEventListener("abort", abort) };
}

// 3. Cursors ---------------------------------------------------------------------------------

const CURSOR = /^([0-9a-z]+)-([0-9a-z]+)$/;

/** The epoch and the offset that a cursor names; null for any other text. */
function parseCursor(text) {
  const match = typeof text === "string" ? CURSOR.exec(text) : null;
  return match && { epoch: match[1], offset: parseInt(match[2], 36) };
}

/** Whether who stands at `cursor` has had all up to `other`; false where they can't be compared. */
function hasReached(cursor, other) {
  const [a, b] = [parseCursor(cursor), parseCursor(other)];
  return a !== null && b !== null && a.epoch === b.epoch && a.offset >= b.offset;
}

/** Where a reader stands after a message; undefined where the message doesn't say. */
const positionOf = (message) =>
  (message.type === "gap" ? message.resumed : message.id) ?? undefined;

const isPosition = (after) => after !== null && after !== "earliest" && after !== "latest";

// 4. Bytes to messages -----------------------------------------------------------------------

const LONGEST_LINE = 16 * 1024 * 1024; // characters of a line, or of the data of an event

/** Cuts text that comes in pieces into lines. */
class Lines {
  #ends;
  #returns; // whether a CR ends a line, too, alone or with an LF
  #pieces = []; // of the line that has not ended
  #length = 0;
  #afterReturn = false;

  constructor({ returns }) {
    this.#returns = returns;
    this.#ends = returns ? /\r\n|\n|\r/g : /\n/g;
  }

  /** The lines that are complete now. */
  take(text) {
    if (text === "") return [];
    if (this.#afterReturn && text[0] === "\n") text = text.slice(1);
    this.#afterReturn = this.#returns && text.endsWith("\r");
    const lines = [];
    let from = 0;
    for (const end of text.matchAll(this.#ends)) {
      this.#keep(text.slice(from, end.index));
      lines.push(this.#pieces.length === 1 ? this.#pieces[0] : this.#pieces.join(""));
      this.#pieces = [];
      this.#length = 0;
      from = end.index + end[0].length;
    }
    if (from < text.length) this.#keep(text.slice(from));
    return lines;
  }

  #keep(piece) {
    this.#length += piece.length;
    if (this.#length > LONGEST_LINE) {
      throw new PenstockError(`the server sent a line of more than ${LONGEST_LINE} characters`);
    }
    this.#pieces.push(piece);
  }
}

/** `text/event-stream` (WHATWG HTML, section 9.2); the decoder has taken the byte order mark. */
class SSEParser {
  retry = null; // what the stream said last
  #lines = new Lines({ returns: true });
  #data = "";
  #event = "";
  #id = "";
  #told = "";

  /**
   * The blocks that are complete now, as `{id, event, data}`. One without data counts only where it
   * sets another id; its `data` is null.
   */
  take(text) {
    const blocks = [];
    for (const line of this.#lines.take(text)) {
      if (line === "") this.#dispatch(blocks);
      else this.#field(line);
    }
    return blocks;
  }

  #field(line) {
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (name === "data") this.#append(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) this.retry = Number(value);
  }

  #append(value) {
    if (this.#data.length + value.length > LONGEST_LINE) {
      throw new PenstockError(`the server sent an event of more than ${LONGEST_LINE} characters`);
    }
    this.#data += `${value}\n`;
  }

  #dispatch(blocks) {
    const data = this.#data === "" ? null : this.#data.slice(0, -1);
    if (data !== null || this.#id !== this.#told) {
      blocks.push({ id: this.#id, event: this.#event || "message", data });
    }
    this.#told = this.#id;
    this.#data = "";
    this.#event = "";
  }
}

/** The message that an SSE block stands for. */
function messageOf({ id, event, data }, parse) {
  if (data === null) return { type: "subscribed", topic: null, id };
  if (event === "gap" || event === "end") {
    try {
      const map = JSON.parse(data);
      if (map?.type === event) return map;
    } catch {
      // An event that happens to have this name.
    }
  }
  const message = { type: "event", topic: null, id, data: parsed(id, data, parse) };
  return event === "message" ? message : { ...message, event };
}

function parsed(id, data, parse) {
  try {
    return parse(data);
  } catch (cause) {
    const hint = parse === JSON.parse ? "; for text give parse: (text) => text" : "";
    throw new PenstockError(`the data of event ${id} can't be read: ${cause.message}${hint}`, {
      cause,
    });
  }
}

/** The text of a body as it comes; `Interrupted` when it breaks, or is silent for `timeout`. */
async function* textOf(body, timeout) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await within(timeout, reader.read(), "nothing came").catch(
        (error) => {
          throw error instanceof Interrupted ? error : lost(error);
        },
      );
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * The messages of a response's body, `subscribed`, `keepalive` and `reconnect` among them, in lists
 * of those that came together: a step of a generator costs more than to read a message.
 */
async function* messagesIn(body, { format, parse, timeout }, retry) {
  const parser = format === "sse" ? new SSEParser() : new Lines({ returns: false });
  for await (const text of textOf(body, timeout)) {
    const messages = [];
    try {
      for (const each of parser.take(text)) {
        if (format === "sse") messages.push(messageOf(each, parse));
        else if (each.trim() !== "") messages.push(JSON.parse(each));
      }
    } catch (error) {
      yield messages; // what came before
      throw error;
    }
    if (format === "sse" && parser.retry !== null) retry.base = parser.retry;
    yield messages;
  }
}

// 5. Reading over fetch ----------------------------------------------------------------------

const CONTENT_TYPES = { sse: "text/event-stream", ndjson: "application/x-ndjson" };
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);
const LONGEST_PROBLEM = 65_536; // bytes of an error's body that are looked at

const lost = (cause) =>
  new Interrupted(`the connection was lost: ${cause?.message ?? cause}`, { cause });

/** Bytes of UTF-8 as a header's text may hold them. */
const headerText = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/** 128 random bits; `crypto.randomUUID` is there in secure contexts only. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An absolute URL; in a page relative to it. */
function resolveURL(url) {
  return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
}

/** `Retry-After` in milliseconds (RFC 9110 section 10.2.3); null where there is none. */
function retryAfterOf(headers) {
  const value = headers.get("retry-after");
  if (value === null) return null;
  const wait = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(wait) ? null : Math.max(0, wait);
}

/** What the server says is wrong, as far as it can be read. */
async function problemOf(response) {
  if (!/\bjson\b/.test(response.headers.get("content-type") ?? "") || !response.body) return null;
  try {
    let text = "";
    for await (const piece of textOf(response.body, 5_000)) {
      text += piece;
      if (text.length > LONGEST_PROBLEM) return null;
    }
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** The error for a response that isn't a success. */
async function failureOf(response) {
  const { status } = response;
  const problem = await problemOf(response);
  const said = problem?.detail ?? problem?.title ?? problem?.error?.message ?? response.statusText;
  const message = `the server answered ${status}${said ? `: ${said}` : ""}`;
  if (!TRANSIENT.has(status)) return new RefusedError(message, { status, problem });
  return new Interrupted(message, { status, problem, retryAfter: retryAfterOf(response.headers) });
}

const isRaw = (body) =>
  body == null ||
  typeof body === "string" ||
  body instanceof ArrayBuffer ||
  ArrayBuffer.isView(body) ||
  body instanceof Blob ||
  body instanceof FormData ||
  body instanceof URLSearchParams;

/** One request; a successful response, else an error. `init` is fetch's. */
async function request(url, init, { headers, credentials, timeout, fetch }, signal) {
  const all = new Headers(typeof headers === "function" ? await headers() : headers);
  for (const [name, value] of Object.entries(init.headers)) {
    if (!all.has(name)) all.set(name, value);
  }
  const asked = { ...init, headers: all, credentials, signal, cache: "no-store" };
  const answer = (fetch ?? globalThis.fetch)(url, asked).catch((error) => {
    throw lost(error);
  });
  const response = await within(timeout, answer, "no answer came");
  if (!response.ok) throw await failureOf(response);
  return response;
}

const STREAM_DEFAULTS = {
  method: "GET",
  after: null,
  format: "ndjson",
  parse: JSON.parse,
  timeout: 45_000,
  attempts: Infinity,
  credentials: "same-origin",
};

/** What to ask for the next piece of a stream. */
function askedOf(place, options) {
  const url = new URL(place.url);
  const headers = { accept: CONTENT_TYPES[options.format] };
  if (place.seen !== null && options.format === "sse")
    headers["last-event-id"] = headerText(place.seen);
  else if ((place.seen ?? place.after) !== null)
    url.searchParams.set("after", place.seen ?? place.after);
  if (place.method === "GET") return { url, init: { method: "GET", headers } };
  headers["idempotency-key"] = place.key;
  const raw = isRaw(options.body);
  if (!raw || typeof options.body === "string") headers["content-type"] = "application/json";
  const body = raw ? options.body : JSON.stringify(options.body);
  return { url, init: { method: place.method, headers, body } };
}

/** Note where a message leads; false where it is nothing to a reader. */
function accept(message, place, retry) {
  const { type } = message;
  if (type === "reconnect") retry.advise(message.after * 1000);
  if (type === "keepalive" || type === "reconnect") return false;
  if (type === "event" && hasReached(place.seen, message.id)) return false; // a repetition
  // The first id of a connection may lie behind a gap that has not been told yet.
  const early = place.fresh && type === "subscribed" && place.seen !== null;
  place.fresh = false;
  if (early) return false;
  place.seen = positionOf(message) || place.seen;
  if (type === "event" || type === "gap") retry.succeeded();
  return true;
}

/** One connection of a stream: lists of messages, until it is lost (`Interrupted`) or over. */
async function* connection(place, options, retry, signal, report) {
  const { url, init } = askedOf(place, options);
  const response = await request(url, init, options, signal);
  if (response.status === 204) {
    yield [{ type: "end", topic: null, id: place.seen }];
    return;
  }
  const wanted = CONTENT_TYPES[options.format];
  const given = response.headers.get("content-type") ?? "";
  if (!given.toLowerCase().startsWith(wanted)) {
    const message = `the answer is ${given || "of no type"}, not ${wanted}`;
    // Where it was a stream before, this is a portal's page or a proxy's, and will go away.
    throw place.opened
      ? new Interrupted(message)
      : new RefusedError(message, { status: response.status });
  }
  const location = response.headers.get("location");
  if (place.method !== "GET" && location !== null) {
    place.url = new URL(location, response.url || url);
    place.method = "GET";
  }
  place.opened = true;
  retry.connected();
  report("open", { attempt: retry.attempt });
  place.fresh = true;
  for await (const messages of messagesIn(response.body, options, retry)) {
    const accepted = messages.filter((message) => accept(message, place, retry));
    const end = accepted.findIndex(({ type }) => type === "end");
    if (end >= 0) accepted.length = end + 1;
    if (accepted.length > 0) yield accepted;
    if (end >= 0) return;
  }
  if (place.method === "GET") throw new Interrupted("the server ended the connection");
}

/**
 * The messages of a stream over all its connections, in lists as they come; `subscribed` are among
 * them. Ends with `end`; throws what can't be mended, and the signal's reason when it is aborted.
 */
async function* stream(url, options, signal, report) {
  const { after, method } = options;
  const place = {
    url,
    method,
    after,
    seen: null,
    key: options.idempotencyKey ?? randomKey(),
    opened: false,
  };
  const retry = new Retry(options.backoff);
  if (after !== null && isPosition(after)) [place.seen, place.after] = [after, null];
  for (;;) {
    const { controller, release } = follow(signal);
    try {
      report("connecting", { attempt: retry.attempt });
      yield* connection(place, options, retry, controller.signal, report);
      return;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      const resumable = place.method === "GET" || !place.opened;
      if (!(error instanceof Interrupted) || !resumable || retry.attempt + 1 >= options.attempts)
        throw error;
      if (error.retryAfter !== null) retry.advise(error.retryAfter);
      const wait = retry.next();
      report("waiting", { attempt: retry.attempt, delay: wait.delay, error });
      await pause(wait, signal);
    } finally {
      release();
      controller.abort();
    }
  }
}

function streamOptions(given) {
  const options = withDefaults(STREAM_DEFAULTS, given);
  if (!(options.format in CONTENT_TYPES)) {
    throw new TypeError(
      `readStream: format is "ndjson" or "sse", not ${JSON.stringify(options.format)}`,
    );
  }
  options.backoff = backoffOf(options.backoff);
  options.method = options.method.toUpperCase();
  return options;
}

/**
 * Read a topic (`GET`) or run a job (`POST` with a `body`): an async iterable of messages, each
 * `{type: "event" | "gap" | "end" | "error", topic, id, data, event}`. A connection that is lost is
 * taken up again where it was; the next message is asked for when the last one was taken.
 *
 * Breaking out of the loop cancels the request; so does `signal`, and the loop throws its reason.
 * Throws `RefusedError` where the server says no.
 */
export function readStream(url, options = {}) {
  const settings = streamOptions(options);
  const { controller, release } = follow(options.signal);
  const report = (state, detail) => options.onState?.({ state, ...detail });
  const source = stream(resolveURL(url), settings, controller.signal, report);
  let over = false;
  let ready = []; // what came together, the next one last
  const finish = (state) => {
    if (!over) report("closed", state);
    over = true;
    release();
  };
  const step = async () => {
    try {
      while (ready.length === 0 || controller.signal.aborted) {
        const { done, value } = await source.next();
        if (done) {
          finish({});
          return { done: true, value: undefined };
        }
        ready = value.filter(({ type }) => type !== "subscribed").reverse();
      }
      return { done: false, value: ready.pop() };
    } catch (error) {
      if (over) return { done: true, value: undefined };
      finish({ error });
      throw error;
    }
  };
  let last = Promise.resolve();
  return {
    next() {
      const result = last.then(step);
      last = result.catch(() => {});
      return result;
    },
    async return(value) {
      finish({});
      controller.abort();
      await source.return().catch(() => {});
      return { done: true, value };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** A `ReadableStream` of what an iterable gives; what is not read is not asked for. */
export function toReadableStream(iterable) {
  const iterator = iterable[Symbol.asyncIterator]?.() ?? iterable[Symbol.iterator]();
  const source = {
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await iterator.return?.();
    },
  };
  return new ReadableStream(source, { highWaterMark: 0 });
}

// 6. Event sources ---------------------------------------------------------------------------

/** Give a class the properties `onopen`, `onerror` … for events of these types. */
function addHandlers(target, types) {
  for (const type of types) {
    const handlers = new WeakMap();
    Object.defineProperty(target.prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get() {
        return handlers.get(this)?.call ?? null;
      },
      set(call) {
        const known = handlers.get(this);
        if (known) known.call = call;
        else if (call !== null) {
          const handler = { call };
          handlers.set(this, handler);
          this.addEventListener(type, (event) => handler.call?.call(this, event));
        }
      },
    });
  }
}

/** An event of a stream: `data` as it came; for a gap and an end, `detail` is what it says. */
function messageEvent(type, data, lastEventId, origin, detail) {
  const event = new MessageEvent(type, { data, lastEventId: lastEventId ?? "", origin });
  if (detail !== undefined)
    Object.defineProperty(event, "detail", { value: detail, enumerable: true });
  return event;
}

function errorEvent(error) {
  const event = new Event("error");
  return Object.defineProperty(event, "error", { value: error, enumerable: true });
}

const stateEvent = (detail) => new CustomEvent("state", { detail: Object.freeze(detail) });

const MOST_NATIVE_FAILURES = 3;

/**
 * An `EventSource` that doesn't give up: over the browser's own where there is one, over fetch
 * elsewhere and from the first trouble on that the browser's can't mend. Besides `EventSource`'s
 * events there are `gap`, `end` (both with `detail`) and `state`, whose `detail` has `state`
 * ("connecting", "open", "waiting", "closed"), `attempt`, `delay`, `transport` and `shared`.
 */
export class ReconnectingEventSource extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSED = 2;
  CONNECTING = 0;
  OPEN = 1;
  CLOSED = 2;

  #url;
  #settings;
  #after;
  #state = "connecting";
  #cursor = null;
  #closing = new AbortController();
  #leave = () => {}; // what makes room for another transport
  #transport = "fetch";
  #unsharedFor; // why it is not shared, where it was to be
  #native = null;
  #types = new Set(["open", "error", "message", "gap", "end"]);
  #positionLost = false;

  /** Connects at once. `url` is absolute, or relative to the page; `options`: docs/client-js.md. */
  constructor(url, options = {}) {
    super();
    this.#url = resolveURL(url);
    this.#settings = streamOptions({
      ...options,
      method: "GET",
      format: "sse",
      parse: (text) => text,
      credentials: options.withCredentials ? "include" : "same-origin",
    });
    this.withCredentials = Boolean(options.withCredentials);
    if (options.shared) this.#settings.plainHeaders = plainHeaders(options.headers);
    this.#after = this.#settings.after ?? this.#url.searchParams.get("after");
    this.#url.searchParams.delete("after");
    // Not before whoever made it can listen, and all the same at once.
    queueMicrotask(() => (options.shared ? this.#share() : this.#connect()));
  }

  get url() {
    return this.#url.href;
  }

  get readyState() {
    return { open: 1, closed: 2 }[this.#state] ?? 0;
  }

  /** "connecting", "open", "waiting" or "closed". */
  get state() {
    return this.#state;
  }

  /** The cursor of the last event; "" before the first. */
  get lastEventId() {
    return this.#cursor ?? "";
  }

  /** Nothing comes any more after this. */
  close() {
    this.#end({});
  }

  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    if (!this.#types.has(type)) {
      this.#types.add(type);
      this.#native?.addEventListener(type, this.#heard);
    }
  }

  // What happens, whatever it comes over

  #report(state, detail = {}) {
    if (this.#state === "closed") return;
    this.#state = state;
    const { error, ...rest } = detail;
    const told = {
      state,
      attempt: 0,
      delay: 0,
      transport: this.#transport,
      shared: false,
      ...rest,
    };
    if (this.#unsharedFor !== undefined) told.reason = this.#unsharedFor;
    if (error !== undefined) told.error = error;
    this.dispatchEvent(stateEvent(told));
    if (state === "open") this.dispatchEvent(new Event("open"));
    if (state === "open" && this.#positionLost) this.#tellLostPosition();
    if (state === "waiting" || error !== undefined) this.dispatchEvent(errorEvent(error));
  }

  #take(message) {
    if (this.#state === "closed") return;
    const { type } = message;
    if (type === "subscribed") {
      this.#cursor = message.id || this.#cursor;
      return;
    }
    this.#cursor = positionOf(message) || this.#cursor;
    const { origin } = this.#url;
    if (type === "event") {
      this.dispatchEvent(
        messageEvent(message.event ?? "message", message.data, message.id, origin),
      );
    } else if (type === "gap" || type === "end") {
      this.dispatchEvent(
        messageEvent(type, JSON.stringify(message), this.#cursor, origin, message),
      );
      if (type === "end") this.#end({});
    }
  }

  #tellLostPosition() {
    this.#positionLost = false;
    const gap = {
      type: "gap",
      topic: null,
      requested: null,
      resumed: null,
      missed: null,
      reason: "unknown",
    };
    this.#take(gap);
  }

  /** It is over; `detail.error` says why, where that is a failure. */
  #end(detail) {
    if (this.#state === "closed") return;
    this.#leave();
    this.#report("closed", detail);
    this.#closing.abort();
  }

  // Over the browser's own EventSource

  #connect() {
    if (this.#state === "closed") return;
    const { headers, fetch, transport } = this.#settings;
    const Native = globalThis.EventSource;
    if (transport === "fetch" || headers || fetch || typeof Native !== "function") this.#fetch();
    else this.#useNative(Native);
  }

  #failures = 0; // of the native one, in a row
  #everOpen = false;

  #useNative(Native) {
    this.#transport = "native";
    const url = new URL(this.#url);
    const after = this.#cursor ?? this.#after;
    if (after !== null) url.searchParams.set("after", after);
    this.#report("connecting");
    const native = new Native(url, { withCredentials: this.withCredentials });
    this.#native = native;
    for (const type of this.#types) native.addEventListener(type, this.#heard);
    const unwatch = onRevival(() => this.#failures > 0 && this.#leaveNative(0));
    this.#leave = () => {
      unwatch();
      native.close();
      this.#native = null;
    };
  }

  #heard = (event) => {
    const { type } = event;
    if (event instanceof MessageEvent) {
      this.#failures = 0;
      this.#take(
        messageOf({ id: event.lastEventId, event: type, data: event.data }, this.#settings.parse),
      );
    } else if (type === "open") {
      this.#everOpen = true;
      this.#failures = 0;
      this.#report("open");
    } else if (type === "error") {
      this.#nativeFailed();
    }
  };

  #nativeFailed() {
    const gaveUp = this.#native.readyState === 2;
    const failures = this.#failures++;
    if (gaveUp) {
      const error = new PenstockError("the browser's EventSource gave up");
      this.#leaveNative(this.#settings.backoff.delay(failures), error);
    } else if (this.#failures >= MOST_NATIVE_FAILURES && this.#knowsWhere()) {
      this.#leaveNative(this.#settings.backoff.delay(failures));
    } else {
      // The browser waits as long as the server said, which it tells nobody.
      this.#report("waiting", { attempt: this.#failures, delay: null });
    }
  }

  /** Whether another connection would begin where this one was. */
  #knowsWhere() {
    const began = this.#after !== null && this.#after !== "latest";
    return this.#cursor !== null || began || !this.#everOpen;
  }

  /**
   * Go on over fetch, which sees why the server refuses, what it asks for, and when it is finished
   * (204). The browser had a cursor even before the first event, but doesn't tell.
   */
  async #leaveNative(delay, error) {
    if (error === undefined && !this.#knowsWhere()) return;
    this.#positionLost = !this.#knowsWhere();
    this.#leave();
    this.#report("waiting", { attempt: this.#failures, delay, error });
    try {
      await pause({ floor: 0, delay }, this.#closing.signal);
    } catch {
      return;
    }
    this.#fetch();
  }

  // Over fetch

  async #fetch() {
    this.#transport = "fetch";
    const { controller, release } = follow(this.#closing.signal);
    this.#leave = () => controller.abort();
    const settings = { ...this.#settings, after: this.#cursor ?? this.#after };
    const report = (state, detail) => controller.signal.aborted || this.#report(state, detail);
    try {
      for await (const messages of stream(this.#url, settings, controller.signal, report)) {
        for (const message of messages) this.#take(message);
      }
      this.#end({});
    } catch (error) {
      if (!controller.signal.aborted) this.#end({ error });
    } finally {
      release();
    }
  }

  // Over the connection that all tabs share

  async #share() {
    if (this.#state === "closed") return;
    const { credentials, plainHeaders: headers, timeout, backoff, worker } = this.#settings;
    this.#transport = "shared";
    const options = { credentials, headers, timeout, backoff: { ...backoff } };
    const link = new SharedLink("sse", this.#url.href, options, worker);
    this.#leave = () => link.close();
    link.onFrame = (frame) => JSON.parse(frame).forEach((message) => this.#takeShared(message));
    try {
      await link.opened;
    } catch (error) {
      this.#unsharedFor = error.message;
      this.#connect();
      return;
    }
    const after = this.#cursor ?? this.#after ?? "latest";
    link.send(JSON.stringify([{ type: "subscribe", topic: "", after, ref: 1 }]));
    await link.lost;
    if (this.#state === "closed") return;
    const delay = this.#settings.backoff.delay(0);
    this.#report("waiting", { delay, shared: true });
    await pause({ floor: 0, delay }, this.#closing.signal).then(
      () => this.#share(),
      () => {},
    );
  }

  #takeShared(message) {
    if (message.type === "state") this.#report(message.state, { ...message.detail, shared: true });
    else if (message.type === "error")
      this.#end({ error: new RefusedError(message.message, message) });
    else this.#take(message);
  }
}

addHandlers(ReconnectingEventSource, ["open", "message", "error", "gap", "end", "state"]);

// 7. Subscriptions ---------------------------------------------------------------------------

/** Messages on their way from a socket, which can't wait, to a loop that takes one at a time. */
class Inbox {
  #messages = [];
  #waiting = [];
  #over = null; // what next() gives or throws when all has been taken
  #drained;

  /** `drained` is called after each message that was taken. */
  constructor(drained) {
    this.#drained = drained;
  }

  get size() {
    return this.#messages.length;
  }

  put(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting.resolve({ done: false, value: message });
    else if (this.#over === null) this.#messages.push(message);
  }

  end(error) {
    this.#over ??= { error };
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (error === undefined) resolve({ done: true, value: undefined });
      else reject(error);
    }
  }

  next() {
    if (this.#messages.length > 0) {
      const value = this.#messages.shift();
      this.#drained();
      return Promise.resolve({ done: false, value });
    }
    if (this.#over === null)
      return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const { error } = this.#over;
    this.#over = {};
    return error === undefined
      ? Promise.resolve({ done: true, value: undefined })
      : Promise.reject(error);
  }
}

// What only a client does with its subscriptions.
const ASK = Symbol("ask");
const TAKE = Symbol("take");
const LOSE = Symbol("lose");
const FAIL = Symbol("fail");
const REF = Symbol("ref");
const POSITIONS = Symbol("positions");

/**
 * One topic of a `WebSocketClient`. Its events come as `message`, or under their names, with the
 * decoded `data` and `lastEventId`; there are `open`, `gap`, `end` and `error` besides. It is an
 * async iterable of messages as well; the loop's end is the subscription's.
 */
class Subscription extends EventTarget {
  #wire; // {send, forget} of the client
  #after;
  #slow;
  #cursor = null;
  #phase = "idle"; // "asked", "live", "paused", "over"
  #ref = null;
  #inboxes = new Set();
  #buffer;

  constructor(topic, { after = "latest", slow, buffer = 1000 }, wire) {
    super();
    Object.defineProperty(this, "topic", { value: topic, enumerable: true });
    this.#after = after;
    if (isPosition(after)) this.#cursor = after;
    this.#slow = slow;
    this.#buffer = buffer;
    this.#wire = wire;
  }

  /** The cursor of the last event, or of where reading began; null before that is known. */
  get cursor() {
    return this.#cursor;
  }

  /** Stop reading this topic. */
  close() {
    if (this.#phase === "over") return;
    if (this.#phase === "asked" || this.#phase === "live") this.#unsubscribe();
    this.#finish();
  }

  [Symbol.asyncIterator]() {
    return this[POSITIONS](false);
  }

  /** An iterator; with `positions` the messages `subscribed` are among what it gives. */
  [POSITIONS](positions) {
    const inbox = new Inbox(() => this.#resume());
    inbox.positions = positions;
    if (this.#phase === "over") inbox.end();
    this.#inboxes.add(inbox);
    return {
      next: () => inbox.next(),
      return: async (value) => {
        inbox.end();
        this.#inboxes.delete(inbox);
        this.close();
        return { done: true, value };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  // For the client

  get [REF]() {
    return this.#ref;
  }

  /** Ask the server for what comes after the cursor, on a connection that has just begun. */
  [ASK](ref) {
    if (this.#phase === "over" || this.#phase === "paused") return null;
    this.#phase = "asked";
    this.#ref = ref;
    const message = {
      type: "subscribe",
      topic: this.topic,
      after: this.#cursor ?? this.#after,
      ref,
    };
    return this.#slow === undefined ? message : { ...message, slow: this.#slow };
  }

  [LOSE]() {
    if (this.#phase === "live" || this.#phase === "asked") this.#phase = "idle";
  }

  [FAIL](error) {
    if (this.#phase === "over") return;
    this.#finish(error);
    this.dispatchEvent(errorEvent(error));
  }

  [TAKE](message) {
    const { type } = message;
    if (type === "subscribed") {
      if (message.ref === this.#ref) this.#begin(message);
      return;
    }
    if (this.#phase !== "live") return; // of an earlier subscription, or after a pause
    if (type === "event" && hasReached(this.#cursor, message.id)) return;
    this.#cursor = positionOf(message) ?? this.#cursor;
    this.#give(message);
    if (type === "event") {
      this.dispatchEvent(messageEvent(message.event ?? "message", message.data, message.id, ""));
    } else {
      this.dispatchEvent(messageEvent(type, message, this.#cursor, "", message));
      if (type === "end") this.#finish();
    }
  }

  #begin(message) {
    const again = this.#phase === "live"; // the shared worker says its position when it knows it
    this.#phase = "live";
    // Where a gap is on its way, the cursor that was asked for holds until it has been told.
    if (this.#cursor === null && message.id) {
      this.#cursor = message.id;
      this.#give(message);
    }
    if (!again) this.dispatchEvent(new Event("open"));
  }

  #give(message) {
    for (const inbox of this.#inboxes) {
      if (message.type !== "subscribed" || inbox.positions) inbox.put(message);
      // A browser's WebSocket can't be told to wait, so the server is.
      if (inbox.size >= this.#buffer && this.#phase === "live") this.#unsubscribe("paused");
    }
  }

  #resume() {
    if (this.#phase !== "paused") return;
    if ([...this.#inboxes].some((inbox) => inbox.size > this.#buffer / 2)) return;
    this.#phase = "idle";
    this.#wire.subscribe(this);
  }

  #unsubscribe(phase = "over") {
    this.#phase = phase;
    this.#wire.send({ type: "unsubscribe", topic: this.topic });
  }

  #finish(error) {
    this.#phase = "over";
    this.#wire.forget(this);
    for (const inbox of this.#inboxes) inbox.end(error);
  }
}

addHandlers(Subscription, ["open", "message", "gap", "end", "error"]);

// 8. WebSocket -------------------------------------------------------------------------------

const WINDOW = 256; // publications that wait for the server's answer at a time
const RETRYABLE = new Set(["unavailable", "rate_limited"]);
const FINAL_CLOSES = new Set([1000, 1003, 1007, 1008, 1009, 4401]);
const MOST_IN_FRAME = 64;

const JSON_CODEC = {
  binary: false,
  protocol: "penstock.v1.json",
  encode: JSON.stringify,
  decode: JSON.parse,
};

const sizeOf = (frame) =>
  typeof frame === "string" ? new TextEncoder().encode(frame).length : frame.byteLength;

/** A promise that may be ignored: what rejects it is told in other ways, too. */
function deferred() {
  let settle;
  const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
  return { promise, ...settle };
}

/** Publications that wait: first those that were sent and not answered, then those to be sent. */
class Outbox {
  dropped = 0;
  #entries = [];
  #sent = 0; // how many of them were sent on this connection
  #limit;
  #onDrop;

  constructor(limit, onDrop) {
    if (!(limit >= 1)) throw new RangeError("queue must be at least 1 publication");
    this.#limit = limit;
    this.#onDrop = onDrop;
  }

  get size() {
    return this.#entries.length;
  }

  /** Add one at the end; where there is no room the oldest that isn't under way has to go. */
  add(entry) {
    this.#entries.push(entry);
    if (this.#entries.length - this.#sent > this.#limit) this.drop(this.#entries[this.#sent]);
  }

  drop(entry) {
    this.dropped += 1;
    entry.promise.catch(() => {}); // it is counted, and told by an event
    this.#remove(entry);
    entry.reject(new DroppedError("the queue of publications was full: the oldest had to go"));
    this.#onDrop(entry);
  }

  /** The next one to send; undefined where there is none, or enough are under way. */
  next() {
    const refused = this.#entries.slice(0, this.#sent).some((entry) => entry.refused);
    if (refused || this.#sent >= WINDOW) return undefined;
    return this.#sent < this.#entries.length ? this.#entries[this.#sent++] : undefined;
  }

  find(ref) {
    return this.#entries.slice(0, this.#sent).find((entry) => entry.ref === ref);
  }

  /** It is stored. What was refused before it could only come behind it now: it stays refused. */
  stored(entry, answer) {
    const before = this.#entries.slice(0, this.#entries.indexOf(entry));
    for (const earlier of before.filter((each) => each.refused))
      this.fail(earlier, earlier.refused);
    this.#remove(entry);
    entry.resolve(answer);
  }

  fail(entry, error) {
    this.#remove(entry);
    entry.reject(error);
  }

  /** Whether all that was sent has been refused for now, and may be sent again in its order. */
  get isStuck() {
    return this.#sent > 0 && this.#entries.slice(0, this.#sent).every((entry) => entry.refused);
  }

  /** Everything is to be sent again. */
  rewind() {
    this.#sent = 0;
    for (const entry of this.#entries) entry.refused = null;
  }

  failAll(error) {
    this.#sent = 0;
    for (const entry of this.#entries.splice(0)) {
      entry.promise.catch(() => {});
      entry.reject(error);
    }
  }

  #remove(entry) {
    const index = this.#entries.indexOf(entry);
    if (index < 0) return;
    this.#entries.splice(index, 1);
    if (index < this.#sent) this.#sent -= 1;
  }
}

/**
 * Many topics over one WebSocket, both ways, that comes back when it is lost: subscriptions go on
 * where they were, publications wait in a bounded queue and are sent once each, in their order.
 * Events: `state`, `error` (what the server says of nothing in particular, or why it is over) and
 * `dropped`. Options: docs/client-js.md.
 */
export class WebSocketClient extends EventTarget {
  #url;
  #options;
  #codec;
  #makeSocket;
  #shared = false;
  #unsharedFor;
  #retry;
  #state = "connecting";
  #closing = new AbortController();
  #subscriptions = new Map();
  #outbox;
  #refs = 0;
  #socket = null;
  #ready = false; // the server has said hello on this connection
  #drop = () => {};
  #limits = null;
  #checkAlive = () => {};

  constructor(url, options = {}) {
    super();
    this.#url = resolveURL(url);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#options = withDefaults({ timeout: 10_000, queue: 1000 }, options);
    const { codec, queue, backoff } = this.#options;
    this.#codec = codec
      ? { binary: true, protocol: "penstock.v1.msgpack", ...bound(codec) }
      : JSON_CODEC;
    this.#retry = new Retry(backoff);
    this.#outbox = new Outbox(queue, (entry) => this.#tellDropped(entry));
    this.#makeSocket = this.#socketMaker();
    queueMicrotask(() => this.#live());
  }

  get url() {
    return this.#url.href;
  }

  /** "connecting", "open", "waiting" or "closed". */
  get state() {
    return this.#state;
  }

  /** Publications that have not been acknowledged. */
  get queued() {
    return this.#outbox.size;
  }

  /** Publications that had to give way to newer ones. */
  get dropped() {
    return this.#outbox.dropped;
  }

  /** Read a topic: see `Subscription`. Throws where this client reads it already. */
  subscribe(topic, options = {}) {
    if (this.#state === "closed") throw new ClosedError("this client is closed");
    if (this.#subscriptions.has(topic)) {
      throw new PenstockError(
        `this client reads ${topic} already; use the subscription you have, or close it`,
      );
    }
    const subscription = new Subscription(topic, options, {
      send: (message) => this.#ready && this.#send([message]),
      subscribe: (each) => this.#ask([each]),
      forget: (each) =>
        this.#subscriptions.get(topic) === each && this.#subscriptions.delete(topic),
    });
    this.#subscriptions.set(topic, subscription);
    this.#ask([subscription]);
    return subscription;
  }

  /**
   * Publish a value; resolves with `{topic, id, count}` once it is stored. While there is no
   * connection it waits in the queue. Rejects with `RefusedError`, `DroppedError` or `ClosedError`.
   */
  publish(topic, data, { event, key = randomKey() } = {}) {
    const ref = ++this.#refs;
    const message = { type: "publish", topic, data, key, ref };
    if (event !== undefined) message.event = event;
    const entry = { ref, topic, data, refused: null, ...deferred() };
    if (this.#state === "closed") {
      entry.reject(new ClosedError("this client is closed"));
      return entry.promise;
    }
    try {
      entry.frame = this.#codec.encode([message]); // as it is now, whatever becomes of it later
    } catch (error) {
      entry.reject(error);
      return entry.promise;
    }
    this.#outbox.add(entry);
    this.#pump();
    return entry.promise;
  }

  /** End the connection for good; what waits is rejected with `ClosedError`. */
  close() {
    this.#end({});
  }

  // The connection

  #socketMaker() {
    const { shared, codec, protocols, WebSocket = globalThis.WebSocket } = this.#options;
    if (shared && codec)
      throw new TypeError("WebSocketClient: a shared connection speaks JSON; leave out codec");
    if (typeof WebSocket !== "function") {
      throw new TypeError(
        "WebSocketClient: there is no WebSocket here (Node has one from version 22 on);" +
          " give one as the option WebSocket, such as that of the package ws",
      );
    }
    this.#shared = Boolean(shared);
    return (url) => new WebSocket(url.href, protocols ?? [this.#codec.protocol]);
  }

  async #live() {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#report("connecting", { attempt: this.#retry.attempt });
      const { code, reason } = await this.#connection();
      if (signal.aborted) return;
      const error = new PenstockError(
        `the connection was closed (${code}${reason ? `: ${reason}` : ""})`,
      );
      const renewable = code === 4401 && typeof this.#options.token === "function";
      if (FINAL_CLOSES.has(code) && !renewable) {
        this.#end({ code, reason, error });
        return;
      }
      const wait = this.#retry.next();
      this.#report("waiting", {
        attempt: this.#retry.attempt,
        delay: wait.delay,
        code,
        reason,
        error,
      });
      await pause(wait, signal).catch(() => {});
    }
  }

  /** One connection, from its beginning to its end; resolves with the close code and the reason. */
  async #connection() {
    let socket;
    try {
      socket = this.#shared ? await this.#sharedSocket() : this.#makeSocket(await this.#address());
    } catch (error) {
      return { code: 1006, reason: error.message };
    }
    if (this.#closing.signal.aborted) return (socket.close(), { code: 1000, reason: "" });
    const unwatch = onRevival(() => this.#checkAlive());
    const ended = await new Promise((resolve) => this.#attach(socket, resolve));
    unwatch();
    this.#socket = null;
    socket.onmessage = socket.onclose = null; // not onerror: ws has errors to tell even then
    for (const subscription of this.#subscriptions.values()) subscription[LOSE]();
    this.#outbox.rewind();
    return ended;
  }

  async #address() {
    const { token } = this.#options;
    const url = new URL(this.#url);
    const value = typeof token === "function" ? await token() : token;
    if (value !== undefined) url.searchParams.set("token", value);
    return url;
  }

  #attach(socket, resolve) {
    let [silence, answer] = [null, null];
    let over = false;
    const end = (code, reason) => {
      over = true;
      this.#ready = false;
      clearTimeout(silence);
      clearTimeout(answer);
      this.#checkAlive = () => {};
      resolve({ code, reason });
    };
    this.#drop = (reason) => {
      socket.close();
      end(1006, reason); // a peer that is gone doesn't answer the closing either
    };
    const expect = (what) => {
      const { timeout } = this.#options;
      answer ??= setTimeout(() => this.#drop(`no ${what} within ${timeout} ms`), timeout);
    };
    this.#checkAlive = () => {
      if (!this.#ready || this.#shared) return; // who shares has a watch of its own
      this.#send([{ type: "ping" }]);
      expect("answer to a ping");
    };
    const heard = () => {
      clearTimeout(answer);
      clearTimeout(silence);
      answer = null;
      if (over) return; // a listener closed it
      if (this.#heartbeat > 0) silence = setTimeout(this.#checkAlive, this.#heartbeat);
    };
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#hear(data, heard);
    socket.onclose = ({ code, reason }) => end(code, String(reason ?? ""));
    socket.onerror = () => {}; // the closing says what there is to say
    expect("hello");
  }

  #hear(data, heard) {
    let messages;
    try {
      messages = this.#codec.decode(this.#codec.binary ? new Uint8Array(data) : data);
    } catch (error) {
      this.#drop(`a frame can't be read: ${error.message}`);
      return;
    }
    for (const message of [messages].flat()) {
      if (this.#state !== "closed") this.#take(message);
    }
    heard();
  }

  get #heartbeat() {
    return this.#options.heartbeat ?? this.#limits?.heartbeat ?? 20_000;
  }

  // What the server says

  #take(message) {
    switch (message.type) {
      case "hello":
        this.#begin(message);
        break;
      case "event":
      case "gap":
      case "end":
      case "subscribed":
        if (message.type === "event") this.#retry.succeeded();
        this.#subscriptions.get(message.topic)?.[TAKE](message);
        break;
      case "published":
        this.#retry.succeeded();
        this.#published(message);
        break;
      case "error":
        this.#refused(message);
        break;
      case "reconnect":
        this.#retry.advise(message.after * 1000);
        break;
      case "state": // of the connection that all tabs share
        this.#report(message.state, { ...message.detail, shared: true });
        break;
    }
  }

  #begin({ heartbeat, limits }) {
    this.#ready = true;
    this.#retry.connected();
    this.#limits = { heartbeat: heartbeat * 1000, bytes: limits?.max_message_bytes ?? Infinity };
    if (!this.#shared) this.#report("open", { attempt: this.#retry.attempt });
    this.#ask(this.#subscriptions.values());
    this.#pump();
  }

  #published({ ref, topic, id, count }) {
    const entry = this.#outbox.find(ref);
    if (entry) this.#outbox.stored(entry, { topic, id, count });
    this.#goOn();
  }

  #refused({ code, message, ref, topic }) {
    const error = new RefusedError(message, { code });
    const asked = [...this.#subscriptions.values()].find((each) => each[REF] === ref);
    const entry = this.#outbox.find(ref);
    if (entry && code === "dropped")
      this.#outbox.drop(entry); // by the worker, whose queue was full
    else if (entry && RETRYABLE.has(code)) entry.refused = error;
    else if (entry) this.#outbox.fail(entry, error);
    else if (asked && RETRYABLE.has(code)) this.#later(() => this.#ask([asked]));
    else if (asked) asked[FAIL](error);
    else this.dispatchEvent(errorEvent(Object.assign(error, { topic })));
    this.#goOn();
  }

  // What the server is told

  #ask(subscriptions) {
    if (!this.#ready) return;
    const messages = [];
    for (const each of subscriptions) {
      const message = each[ASK](++this.#refs);
      if (message !== null) messages.push(message);
    }
    for (let from = 0; from < messages.length; from += MOST_IN_FRAME) {
      this.#send(messages.slice(from, from + MOST_IN_FRAME));
    }
  }

  #send(messages) {
    this.#socket.send(this.#codec.encode(messages));
  }

  #pump() {
    while (this.#ready) {
      const entry = this.#outbox.next();
      if (entry === undefined) return;
      const size = sizeOf(entry.frame);
      if (size <= this.#limits.bytes) this.#socket.send(entry.frame);
      else this.#outbox.fail(entry, tooLarge(size, this.#limits.bytes)); // the server would hang up
    }
  }

  #goOn() {
    if (!this.#outbox.isStuck) this.#pump();
    else this.#later(() => this.#outbox.isStuck && (this.#outbox.rewind(), this.#pump()));
  }

  /** Do this after a while, unless the connection is another one then. */
  #later(action) {
    const socket = this.#socket;
    const delay = backoffOf(this.#options.backoff).bound(0);
    setTimeout(() => this.#socket === socket && this.#ready && action(), delay);
  }

  // What listeners are told

  #report(state, detail) {
    if (this.#state === "closed") return;
    this.#state = state;
    const told = { state, attempt: 0, delay: 0, shared: this.#shared, ...detail };
    if (this.#unsharedFor !== undefined) told.reason = this.#unsharedFor;
    this.dispatchEvent(stateEvent(told));
  }

  #tellDropped({ topic, data }) {
    this.dispatchEvent(new CustomEvent("dropped", { detail: { topic, data } }));
  }

  #end(detail) {
    if (this.#state === "closed") return;
    this.#report("closed", detail);
    this.#closing.abort();
    this.#socket?.close(1000);
    this.#drop("");
    const error = detail.error ?? new ClosedError("the client was closed");
    const closed =
      error instanceof ClosedError ? error : new ClosedError(error.message, { cause: error });
    this.#outbox.failAll(closed);
    for (const subscription of [...this.#subscriptions.values()]) {
      if (detail.error) subscription[FAIL](closed);
      else subscription.close();
    }
    if (detail.error) this.dispatchEvent(errorEvent(detail.error));
  }

  /** A place at the connection that all tabs share, or one of its own where that can't be. */
  async #sharedSocket() {
    const { heartbeat, timeout, backoff, protocols, queue, worker } = this.#options;
    const token = (await this.#address()).searchParams.get("token") ?? undefined;
    const options = {
      heartbeat,
      timeout,
      protocols,
      queue,
      token,
      backoff: { ...backoffOf(backoff) },
    };
    const link = new SharedLink("websocket", this.#url.href, options, worker);
    try {
      await link.opened;
      return new SharedSocket(link);
    } catch (error) {
      this.#shared = false;
      this.#unsharedFor = error.message;
      return this.#makeSocket(await this.#address());
    }
  }
}

addHandlers(WebSocketClient, ["state", "error", "dropped"]);

const bound = (codec) => ({
  encode: (value) => codec.encode(value),
  decode: (data) => codec.decode(data),
});

const tooLarge = (size, most) =>
  new RefusedError(`the publication has ${size} bytes; the server takes ${most}`, {
    code: "too_large",
  });

// 9. Publishing over HTTP --------------------------------------------------------------------

/** A publication as a request. */
function publicationOf(data, { event, key = randomKey(), many = false }) {
  const headers = { "idempotency-key": key };
  if (event !== undefined) headers["event-name"] = headerText(event);
  headers["content-type"] = many ? "application/x-ndjson" : "application/json";
  const body = many
    ? Array.from(data, (value) => JSON.stringify(value)).join("\n")
    : JSON.stringify(data);
  if (body === undefined) throw new TypeError("publish: this value has no form in JSON");
  return { method: "POST", headers, body };
}

const PUBLISH_DEFAULTS = { attempts: 5, timeout: 30_000, credentials: "same-origin" };

/** Send it until it is answered; the key sees to it that it is stored once. */
async function post(url, init, options, signal, report) {
  const retry = new Retry(options.backoff);
  for (;;) {
    const { controller, release } = follow(signal);
    try {
      const response = await request(url, init, options, controller.signal);
      const body = await within(options.timeout, response.json(), "the answer did not come").catch(
        (error) => {
          throw error instanceof Interrupted ? error : lost(error);
        },
      );
      return { ...body, replayed: response.headers.get("idempotent-replayed") === "true" };
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (!(error instanceof Interrupted) || retry.attempt + 1 >= options.attempts) throw error;
      if (error.retryAfter !== null) retry.advise(error.retryAfter);
      const wait = retry.next();
      report("waiting", { attempt: retry.attempt, delay: wait.delay, error });
      await pause(wait, signal);
    } finally {
      release();
      controller.abort();
    }
  }
}

/**
 * Publish one value, or with `many` each of an array, and resolve with `{count, first, last,
 * replayed}` once they are stored. Tries up to `attempts` times with one idempotency key. Rejects
 * with `RefusedError` where the server says no.
 */
export async function publish(url, data, options = {}) {
  const { controller, release } = follow(options.signal);
  const settings = withDefaults(PUBLISH_DEFAULTS, options);
  try {
    const init = publicationOf(data, options);
    return await post(resolveURL(url), init, settings, controller.signal, () => {});
  } finally {
    release();
  }
}

/**
 * Publications to one topic over HTTP, one after another in their order, each until it is stored
 * or refused. Those that wait are in a bounded queue: past its end the oldest is dropped. Events:
 * `state` ("open", "waiting", "closed") and `dropped`.
 */
export class Publisher extends EventTarget {
  #url;
  #settings;
  #outbox;
  #closing = new AbortController();
  #sending = false;
  #state = "open";

  constructor(url, options = {}) {
    super();
    this.#url = resolveURL(url);
    this.#settings = withDefaults(
      { ...PUBLISH_DEFAULTS, attempts: Infinity, queue: 1000 },
      options,
    );
    this.#settings.backoff = backoffOf(options.backoff);
    this.#outbox = new Outbox(this.#settings.queue, ({ data }) =>
      this.dispatchEvent(new CustomEvent("dropped", { detail: { data } })),
    );
  }

  get url() {
    return this.#url.href;
  }

  get state() {
    return this.#state;
  }

  /** Publications that have not been acknowledged. */
  get queued() {
    return this.#outbox.size;
  }

  /** Publications that had to give way to newer ones. */
  get dropped() {
    return this.#outbox.dropped;
  }

  /** Resolves with `{count, first, last, replayed}`; rejects as `publish` does, or as dropped. */
  publish(data, { event, key } = {}) {
    const entry = { data, refused: null, ...deferred() };
    try {
      if (this.#closing.signal.aborted) throw new ClosedError("this publisher is closed");
      entry.init = publicationOf(data, { event, key });
    } catch (error) {
      entry.reject(error);
      return entry.promise;
    }
    this.#outbox.add(entry);
    if (!this.#sending) this.#sendAll();
    return entry.promise;
  }

  /** Give up what waits, which is rejected with `ClosedError`. */
  close() {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#outbox.failAll(new ClosedError("the publisher was closed"));
    this.#report("closed");
  }

  async #sendAll() {
    this.#sending = true;
    const { signal } = this.#closing;
    for (let entry = this.#outbox.next(); entry !== undefined; entry = this.#outbox.next()) {
      try {
        const report = (state, detail) => this.#report(state, detail);
        const answer = await post(this.#url, entry.init, this.#settings, signal, report);
        this.#report("open");
        this.#outbox.stored(entry, answer);
      } catch (error) {
        if (signal.aborted) break;
        if (error instanceof RefusedError) this.#report("open");
        this.#outbox.fail(entry, error);
      }
    }
    this.#sending = false;
  }

  #report(state, detail = {}) {
    if (state === this.#state && state !== "waiting") return;
    this.#state = state;
    this.dispatchEvent(stateEvent({ state, attempt: 0, delay: 0, ...detail }));
  }
}

addHandlers(Publisher, ["state", "dropped"]);

// 10. Sharing, in a page ---------------------------------------------------------------------
//
// A SharedWorker, made of this very file, holds one connection per URL; each tab has a port to it.
// Over the port go lists of the protocol's messages as JSON, and the worker does as a server would:
// to a tab it makes no difference which of the two it talks to. The worker sees that a tab is gone
// by a lock that the tab holds for as long as it lives.

const WORKER_NAME = "penstock client 1"; // another number when what goes over the ports changes
const WELCOME_TIMEOUT = 5_000;
const WATCH_INTERVAL = 20_000;
const WATCH_TIMEOUT = 10_000;

/** Headers that can be sent to the worker. */
function plainHeaders(headers) {
  if (typeof headers === "function") {
    throw new TypeError(
      "a shared connection can't call functions for its headers; give them as they are",
    );
  }
  return headers === undefined ? undefined : [...new Headers(headers)];
}

/** A page's end of a port to the shared worker. */
class SharedLink {
  opened; // resolves when the worker has answered; rejects with the reason why there is none
  lost; // resolves with a reason when it is over for another cause than `close`
  onFrame = () => {};
  #port = null;
  #letGo = () => {}; // the lock
  #unwatch = () => {};
  #timers = [];
  #wasLost;
  #away = () => this.#hide();

  constructor(kind, url, options, worker) {
    this.lost = new Promise((resolve) => (this.#wasLost = resolve));
    this.opened = this.#open({ kind, url, options }, worker ?? import.meta.url);
  }

  send(frame) {
    this.#port?.postMessage({ frame });
  }

  close() {
    globalThis.removeEventListener?.("pagehide", this.#away);
    this.#timers.forEach(clearTimeout);
    this.#unwatch();
    this.#port?.postMessage({ leave: true });
    this.#port?.close();
    this.#port = null;
    this.#letGo();
  }

  async #open(asked, script) {
    if (typeof SharedWorker !== "function")
      throw new PenstockError("there are no shared workers here");
    const lock = await this.#holdLock();
    const failed = deferred();
    try {
      const worker = new SharedWorker(script, { type: "module", name: WORKER_NAME });
      worker.onerror = () => failed.reject(new PenstockError("the shared worker can't be loaded"));
      const welcomed = new Promise((resolve) => this.#listen(worker.port, resolve));
      worker.port.postMessage({ open: { ...asked, lock } });
      const late = "the shared worker did not answer";
      await within(WELCOME_TIMEOUT, Promise.race([welcomed, failed.promise]), late);
    } catch (error) {
      this.close();
      throw error instanceof PenstockError
        ? error
        : new PenstockError(error.message, { cause: error });
    }
    globalThis.addEventListener?.("pagehide", this.#away);
    this.#unwatch = onRevival(() => this.#port?.postMessage({ revived: true }));
    this.#watch();
  }

  #listen(port, welcomed) {
    this.#port = port;
    port.onmessage = ({ data }) => {
      if (this.#port !== port) return;
      if (data.welcome) welcomed();
      else if (data.alive) this.#watch();
      else if (data.closed) this.#lose(data.closed);
      else if (data.frame) {
        this.onFrame(data.frame);
        port.postMessage({ ack: data.count });
      }
    };
  }

  /** The name of a lock that is held as long as this page lives; null where there are no locks. */
  async #holdLock() {
    const name = `${WORKER_NAME} ${randomKey()}`;
    return new Promise((resolve) => {
      const held = () => {
        resolve(name);
        return new Promise((release) => (this.#letGo = release));
      };
      const request = globalThis.navigator?.locks?.request(name, held);
      if (request === undefined) resolve(null);
      else request.catch(() => resolve(null));
    });
  }

  #watch() {
    this.#timers.forEach(clearTimeout);
    const ask = () => {
      this.#port?.postMessage({ watch: true });
      const reason = "the shared worker doesn't answer";
      this.#timers = [setTimeout(() => this.#lose({ code: 1006, reason }), WATCH_TIMEOUT)];
    };
    this.#timers = [setTimeout(ask, WATCH_INTERVAL)];
  }

  /** A page that is put aside may come back as it was. */
  #hide() {
    const shown = () => this.#wasLost({ code: 1006, reason: "the page was away" });
    globalThis.addEventListener?.("pageshow", shown, { once: true });
    this.close();
  }

  #lose(reason) {
    this.close();
    this.#wasLost(reason);
  }
}

/** A `SharedLink` that looks like a WebSocket, as far as a `WebSocketClient` looks. */
class SharedSocket {
  onmessage = null;
  onclose = null;
  onerror = null;
  #link;

  constructor(link) {
    this.#link = link;
    link.onFrame = (data) => this.onmessage?.({ data });
    link.lost.then(({ code, reason }) => this.onclose?.({ code, reason }));
    link.send('[{"type":"hello"}]');
  }

  send(frame) {
    this.#link.send(frame);
  }

  close() {
    this.#link.close();
  }
}

// 11. Sharing, in the worker -----------------------------------------------------------------
//
// A feed is what the one connection gives of one topic. A member is a tab that reads it: either it
// is live, and takes what the feed takes; or it stands elsewhere, because it asked for another
// position or has not kept up, and reads on a connection of its own until it has reached the feed.

const MOST_OWED = 1000; // messages that a tab has not acknowledged
const SILENT_FOR_GOOD = 180_000; // where there are no locks to tell that a tab is gone

/** One port of one tab. */
class Session {
  #port;
  #hubs;
  #hub = null;
  #members = new Map(); // by topic
  #owed = 0;
  #room = deferred();
  #outbox = [];
  #heard = now();
  #over = new AbortController();
  #attends = false;
  #stateOwed = false;

  constructor(port, hubs) {
    this.#port = port;
    this.#hubs = hubs;
    port.onmessage = ({ data }) => this.#take(data);
  }

  get hasRoom() {
    return this.#owed < MOST_OWED;
  }

  get isOver() {
    return this.#over.signal.aborted;
  }

  get isSilent() {
    return now() - this.#heard > SILENT_FOR_GOOD;
  }

  /** Wait until the tab has taken half of what it was sent. */
  async room() {
    while (this.#owed > MOST_OWED / 2) await this.#room.promise;
  }

  /** Tell the tab; what is told in one turn goes in one frame. */
  say(message) {
    this.#owed += 1;
    if (this.#outbox.push(message) === 1) setTimeout(() => this.#flush());
  }

  /** Tell the tab the state of the connection, once it has asked for something and has room. */
  sayState(state) {
    this.#stateOwed = !(this.#attends && this.hasRoom);
    if (!this.#stateOwed) this.say(state);
  }

  /** Tell the tab that it is over. */
  end(reason) {
    this.#flush();
    this.#port.postMessage({ closed: reason });
    this.close();
  }

  close() {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#room.resolve();
    for (const member of this.#members.values()) member.close();
    this.#hub?.leave(this);
    this.#port.close();
  }

  #flush() {
    if (this.#outbox.length === 0 || this.#over.signal.aborted) return;
    this.#port.postMessage({ frame: JSON.stringify(this.#outbox), count: this.#outbox.length });
    this.#outbox = [];
  }

  #take(data) {
    this.#heard = now();
    if (data.open) this.#open(data.open);
    else if (data.leave) this.close();
    else if (data.revived) for (const revived of [...revivals]) revived();
    else if (data.watch) this.#port.postMessage({ alive: true });
    else if (data.ack) this.#acknowledged(data.ack);
    else if (data.frame) for (const message of JSON.parse(data.frame)) this.#do(message);
  }

  #open({ kind, url, options, lock }) {
    this.#port.postMessage({ welcome: true });
    this.#hub = this.#hubs.join(kind, url, options, this);
    if (lock === null) return;
    const { signal } = this.#over;
    navigator.locks.request(lock, { signal }, () => this.close()).catch(() => {});
  }

  #acknowledged(count) {
    this.#owed -= count;
    if (this.#owed > MOST_OWED / 2) return;
    this.#room.resolve();
    this.#room = deferred();
    if (this.#stateOwed) this.sayState(this.#hub.state);
  }

  /** From now on it is told the state: what it asked for is under way when it hears of "open". */
  #attend() {
    if (this.#attends) return;
    this.#attends = true;
    this.sayState(this.#hub.state);
  }

  #do(message) {
    const { type, topic, ref } = message;
    if (type === "hello") {
      // The worker's own client looks to heartbeat and limits.
      this.say({ type: "hello", heartbeat: 0, limits: null });
      this.#attend();
    } else if (type === "ping") this.say({ type: "pong", ref });
    else if (type === "publish") this.#publish(message);
    else if (type === "subscribe") this.#subscribe(message);
    else if (type === "unsubscribe") {
      this.#members.get(topic)?.close();
      this.say({ type: "unsubscribed", topic, ref });
    }
  }

  #subscribe({ topic, after = "latest", slow, ref }) {
    this.#members.get(topic)?.close();
    const member = new Member(this, topic, after, ref, () => {
      if (this.#members.get(topic) === member) this.#members.delete(topic);
    });
    this.#members.set(topic, member);
    member.join(this.#hub, slow);
    this.#attend();
  }

  #publish({ topic, data, event, key, ref }) {
    this.#hub.client.publish(topic, data, { event, key }).then(
      (answer) => this.say({ type: "published", ...answer, ref }),
      (error) => this.say({ ...errorMessage(error, topic), ref }),
    );
  }
}

/** The protocol's message for an error. */
function errorMessage(error, topic) {
  const { status = null, problem = null } = error;
  let code = error.code ?? null;
  if (error instanceof DroppedError) code = "dropped";
  if (error instanceof ClosedError) code = "unavailable";
  return { type: "error", code, status, problem, message: error.message, topic };
}

/** A tab that reads a feed. */
class Member {
  #session;
  #topic;
  #after;
  #ref;
  #left;
  #feed = null;
  #cursor = null;
  #live = false;
  #closing = new AbortController();

  constructor(session, topic, after, ref, left) {
    this.#session = session;
    this.#topic = topic;
    this.#after = after;
    this.#ref = ref;
    this.#left = left;
    if (isPosition(after)) this.#cursor = after;
  }

  join(hub, slow) {
    const { feed, isNew } = hub.feed(this.#topic, this.#after, slow);
    this.#feed = feed;
    feed.members.add(this);
    const asked = this.#after;
    if (isNew || asked === "latest" || feed.isReachedBy(asked)) this.#goLive();
    else this.#catchUp();
  }

  close() {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#left();
    this.#feed.leave(this);
  }

  /** Take what the feed got, if this member is live. */
  offer(message) {
    if (!this.#live || (message.type !== "end" && hasReached(this.#cursor, positionOf(message))))
      return;
    if (this.#session.hasRoom || this.#cursor === null) {
      this.#give(message);
    } else {
      this.#live = false;
      this.#catchUp();
    }
  }

  /** The feed can't go on, which concerns a member that is live. */
  fail(error) {
    if (!this.#live) return;
    this.#session.say({ ...errorMessage(error, this.#topic), ref: this.#ref });
    this.close();
  }

  #goLive() {
    this.#live = true;
    if (this.#after === "latest") this.#cursor ??= this.#feed.cursor;
    if (this.#cursor !== null) this.#say({ type: "subscribed", id: this.#cursor });
  }

  #give(message) {
    this.#cursor = positionOf(message) ?? this.#cursor;
    this.#say(message);
    if (message.type === "end") this.close();
  }

  #say(message) {
    this.#session.say({ ...message, topic: this.#topic, ref: this.#ref });
  }

  /** Read on a connection of its own until the feed is reached. */
  async #catchUp() {
    const { controller, release } = follow(this.#closing.signal);
    try {
      await this.#session.room();
      const own = this.#feed.open(this.#cursor ?? this.#after, controller.signal);
      for await (const message of own) {
        if (this.#closing.signal.aborted) return;
        this.#give(message);
        if (this.#feed.isReachedBy(this.#cursor)) break;
        await this.#session.room();
      }
      if (!this.#closing.signal.aborted) this.#goLive();
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      this.#live = true;
      this.fail(error);
    } finally {
      release();
      controller.abort();
    }
  }
}

/** What the shared connection gives of one topic, or of an event source's URL. */
class Feed {
  members = new Set();
  cursor = null;
  open; // (after, signal): the messages on a connection of its own
  #over = new AbortController();
  #gone;

  constructor(source, open, gone) {
    this.open = open;
    this.#gone = gone;
    this.#run(source);
  }

  /** Whether who stands there has had all that came here. */
  isReachedBy(cursor) {
    return !this.#over.signal.aborted && this.cursor !== null && hasReached(cursor, this.cursor);
  }

  leave(member) {
    this.members.delete(member);
    if (this.members.size === 0) this.#end();
  }

  #end() {
    if (this.#over.signal.aborted) return;
    this.#over.abort();
    this.#gone();
  }

  async #run(source) {
    try {
      for await (const message of source(this.#over.signal)) {
        if (this.#over.signal.aborted) return;
        this.cursor = positionOf(message) ?? this.cursor;
        for (const member of [...this.members]) member.offer(message);
      }
    } catch (error) {
      if (this.#over.signal.aborted) return;
      for (const member of [...this.members]) member.fail(error);
    } finally {
      this.#end();
    }
  }
}

/** The messages of a subscription until the signal says enough. */
async function* subscribed(client, topic, options, signal) {
  const subscription = client.subscribe(topic, options);
  const close = () => subscription.close();
  signal.addEventListener("abort", close);
  try {
    yield* subscription[POSITIONS](true);
  } finally {
    signal.removeEventListener("abort", close);
    subscription.close();
  }
}

/** One URL: its connection, and the tabs that use it. */
class Hub {
  client = null; // of a WebSocket
  #url;
  #options;
  #sessions = new Set();
  #feeds = new Map();
  state = { type: "state", state: "connecting", detail: {} };
  #gone;

  constructor(kind, url, options, gone) {
    this.#url = url;
    this.#options = options;
    this.#gone = gone;
    if (kind !== "websocket") return;
    this.client = new WebSocketClient(url, options);
    this.client.onstate = ({ detail }) => this.#changed(detail.state, detail);
  }

  join(session) {
    this.#sessions.add(session);
  }

  leave(session) {
    this.#sessions.delete(session);
    if (this.#sessions.size > 0) return;
    this.client?.close();
    this.#gone();
  }

  /** The feed of a topic, made for who asks first. */
  feed(topic, after, slow) {
    const known = this.#feeds.get(topic);
    if (known) return { feed: known, isNew: false };
    const source = (signal) => this.#source(topic, after, slow, signal, true);
    const own = (from, signal) => this.#source(topic, from, slow, signal, false);
    const feed = new Feed(source, own, () => {
      if (this.#feeds.get(topic) === feed) this.#feeds.delete(topic);
    });
    this.#feeds.set(topic, feed);
    return { feed, isNew: true };
  }

  async *#source(topic, after, slow, signal, shared) {
    if (this.client === null) {
      const options = streamOptions({
        ...this.#options,
        after,
        format: "sse",
        parse: (text) => text,
      });
      const report = shared ? (state, detail) => this.#changed(state, detail) : () => {};
      const messages = stream(new URL(this.#url), options, signal, report);
      for await (const several of messages) yield* several;
      return;
    }
    const client = shared ? this.client : new WebSocketClient(this.#url, this.#options);
    try {
      yield* subscribed(client, topic, { after, slow }, signal);
    } finally {
      if (!shared) client.close();
    }
  }

  #changed(state, { error, shared, state: _, ...detail }) {
    if (error) detail.problem = error.message;
    this.state = { type: "state", state, detail };
    if (state === "closed" && detail.code !== undefined) {
      for (const session of [...this.#sessions])
        session.end({ code: detail.code, reason: detail.reason });
    } else {
      for (const session of this.#sessions) session.sayState(this.state);
    }
  }
}

/** Every hub of the worker, by what makes connections the same. */
class Hubs {
  #hubs = new Map();

  join(kind, url, options, session) {
    const key = JSON.stringify([
      kind,
      url,
      options.credentials,
      options.headers,
      options.protocols,
    ]);
    let hub = this.#hubs.get(key);
    if (hub === undefined) {
      hub = new Hub(kind, url, options, () => {
        if (this.#hubs.get(key) === hub) this.#hubs.delete(key);
      });
      this.#hubs.set(key, hub);
    }
    hub.join(session);
    return hub;
  }
}

/** Take up the ports of tabs: what this module does where it is the shared worker. */
function serveTabs(scope) {
  const hubs = new Hubs();
  const sessions = new Set();
  scope.onconnect = ({ ports: [port] }) => sessions.add(new Session(port, hubs));
  const sweep = () => {
    for (const session of sessions) {
      if (session.isOver) sessions.delete(session);
      else if (session.isSilent)
        session.end({ code: 1006, reason: "nothing was heard of this tab" });
    }
  };
  setInterval(sweep, WATCH_INTERVAL);
}

if (typeof SharedWorkerGlobalScope === "function" && globalThis.name === WORKER_NAME)
  serveTabs(globalThis);
