// What the tests of client.js share: a server that breaks, a WebSocket that is told what to say.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { after } from "node:test";
import { pathToFileURL } from "node:url";

/** The packages of tests/npm, where scripts/_venv.sh put them. */
const npm = process.env.PENSTOCK_NPM ?? new URL("../../.venv/npm/", import.meta.url);
export const fromNpm = createRequire(
  new URL("package.json", pathToFileURL(`${new URL(npm, "file:").pathname}/`)),
);

export const CLIENT = new URL("../../server/penstock_server/web/client.js", import.meta.url).href;

/** Waits that are short and always the same. */
export const QUICK = { initial: 5, maximum: 20, jitter: false };

export const PATIENCE = 5_000;

/** Wait until it holds; fails when it doesn't. */
export async function until(holds, what = holds) {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const value = await holds();
    if (value) return value;
    assert.ok(performance.now() < deadline, `not within ${PATIENCE} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Answer each request with the next of `answers`; the last one answers all further ones. */
export async function serve(...answers) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    const answer = answers[Math.min(requests.length, answers.length) - 1];
    await answer(response, requests.at(-1));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, requests, server };
}

/** An answer that writes these pieces, and then ends, is cut, or stays open. */
export const says =
  (type, pieces, { then = "end", headers = {}, status = 200 } = {}) =>
  (response) => {
    response.writeHead(status, { "content-type": type, ...headers });
    response.flushHeaders();
    for (const piece of pieces) response.write(piece);
    if (then === "end") response.end();
    if (then === "cut") setTimeout(() => response.destroy(), 20);
  };

export const sse = (pieces, options) => says("text/event-stream", pieces, options);

export const ndjson = (messages, options) =>
  says(
    "application/x-ndjson",
    messages.map((message) => `${JSON.stringify(message)}\n`),
    options,
  );

export const problem =
  (status, detail, headers = {}) =>
  (response) => {
    response.writeHead(status, { "content-type": "application/problem+json", ...headers });
    response.end(JSON.stringify({ type: "about:blank", title: "Title", status, detail }));
  };

export const event = (id, data, name) =>
  name === undefined
    ? { type: "event", topic: "t", id, data }
    : { type: "event", topic: "t", id, data, event: name };

/** All that an iterable gives. */
export async function collect(iterable, most = Infinity) {
  const got = [];
  for await (const each of iterable) {
    got.push(each);
    if (got.length === most) break;
  }
  return got;
}

/** A WebSocket whose other end is the test. */
export class FakeWebSocket {
  static made = [];
  readyState = 0;
  sent = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    this.constructor.made.push(this);
  }

  send(frame) {
    this.sent.push(...JSON.parse(frame));
  }

  close() {
    this.readyState = 3;
  }

  // For the test

  say(...messages) {
    this.onmessage?.({ data: JSON.stringify(messages) });
  }

  hello(limits = { max_message_bytes: 1_000, max_subscriptions: 8 }, heartbeat = 20) {
    this.say({ type: "hello", session: "s", heartbeat, limits });
  }

  lose(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  of(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

/** A class of sockets of its own for each test, and the socket that was made last. */
export function fakeWebSockets() {
  class Sockets extends FakeWebSocket {
    static made = [];
  }
  return {
    WebSocket: Sockets,
    socket: (number) => until(() => Sockets.made[number], `socket ${number}`),
  };
}
