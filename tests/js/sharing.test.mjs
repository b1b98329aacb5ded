// One connection for all tabs, with the worker's side and the tabs' in one process.

import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";

import { CLIENT, QUICK, problem, serve, until } from "./support.mjs";

const NAME = "penstock client 1";

globalThis.SharedWorkerGlobalScope = class {};
globalThis.name = NAME;
await import(`${CLIENT}?worker`);
delete globalThis.SharedWorkerGlobalScope;
const { ReconnectingEventSource } = await import(CLIENT);

let made = [];
class FakeSharedWorker {
  constructor(url, options) {
    const { port1, port2 } = new MessageChannel();
    Object.assign(this, { url, options, port: port1 });
    made.push(this);
    globalThis.onconnect({ ports: [port2] });
  }
}

beforeEach(() => {
  made = [];
  globalThis.SharedWorker = FakeSharedWorker;
});

const sources = [];
after(() => sources.forEach((source) => source.close()));

/** A server of one topic, that knows how many read it. */
async function log() {
  const events = [];
  const readers = new Set();
  const block = (n) => `id: e-${n.toString(36)}\ndata: ${events[n - 1]}\n\n`;
  let opened = 0;
  const { url, requests } = await serve((response, { url: path, headers }) => {
    opened += 1;
    const asked =
      headers["last-event-id"] ?? new URL(path, "http://x").searchParams.get("after") ?? "latest";
    let from = { latest: events.length, earliest: 0 }[asked] ?? parseInt(asked.split("-")[1], 36);
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`retry: 1\nid: e-${from.toString(36)}\n\n`);
    while (from < events.length) response.write(block(++from));
    readers.add(response);
    response.on("close", () => readers.delete(response));
  });
  const publish = (count) => {
    for (let each = 0; each < count; each++) {
      events.push(events.length + 1);
      for (const response of readers) response.write(block(events.length));
    }
  };
  return { url, publish, events, readers, requests, opened: () => opened };
}

/** A tab with a shared source. */
function tab(url, options = {}) {
  const source = new ReconnectingEventSource(url, { shared: true, backoff: QUICK, ...options });
  sources.push(source);
  const got = [];
  const states = [];
  source.addEventListener("state", ({ detail }) => states.push(detail));
  source.onmessage = ({ data }) => got.push(Number(data));
  return {
    source,
    got,
    states,
    opened: () => until(() => source.readyState === 1, "a tab that is open"),
  };
}

test("ten tabs share one connection, which goes with the last of them", async () => {
  const { url, publish, events, readers, opened } = await log();
  const tabs = Array.from({ length: 10 }, () => tab(url));
  await Promise.all(tabs.map((each) => each.opened()));
  publish(100);
  for (const { got } of tabs) await until(() => got.length === 100);
  for (const { got, states } of tabs) {
    assert.deepEqual(got, events);
    assert.deepEqual(states.at(-1), {
      state: "open",
      attempt: 0,
      delay: 0,
      transport: "shared",
      shared: true,
    });
  }
  assert.equal(opened(), 1);
  assert.deepEqual(made[0].options, { type: "module", name: NAME });
  tabs.slice(1).forEach(({ source }) => source.close());
  publish(1);
  await until(() => tabs[0].got.length === 101);
  assert.equal(readers.size, 1);
  tabs[0].source.close();
  await until(() => readers.size === 0);
});

test("a late tab begins where it asks, and is on the shared connection then", async () => {
  const { url, publish, events, readers, opened } = await log();
  const first = tab(url);
  await first.opened();
  publish(50);
  await until(() => first.got.length === 50);
  const [earliest, cursor, latest] = [
    tab(url, { after: "earliest" }),
    tab(`${url}/?after=e-a`),
    tab(url),
  ];
  await Promise.all([earliest, cursor, latest].map((each) => each.opened()));
  await until(() => earliest.got.length === 50 && cursor.got.length === 40);
  await until(() => readers.size === 1);
  publish(5);
  await until(() => [first, earliest, cursor, latest].every(({ got }) => got.at(-1) === 55));
  assert.deepEqual(
    [first.got, earliest.got, cursor.got, latest.got],
    [events, events, events.slice(10), events.slice(50)],
  );
  assert.equal(opened(), 3);
});

test("the server's disappearance is told to all, and nothing is missed", async () => {
  const { url, publish, events, readers } = await log();
  const tabs = [tab(url), tab(url)];
  await Promise.all(tabs.map((each) => each.opened()));
  publish(3);
  for (const { got } of tabs) await until(() => got.length === 3);
  readers.forEach((response) => response.destroy());
  readers.clear();
  publish(3);
  for (const { got } of tabs) await until(() => got.length === 6);
  for (const { got, states } of tabs) {
    assert.deepEqual(got, events);
    assert.deepEqual(states.map(({ state }) => state).slice(-4), [
      "open",
      "waiting",
      "connecting",
      "open",
    ]);
  }
});

test("a refusal closes all", async () => {
  const { url } = await serve(problem(404, "no such topic"));
  const tabs = [tab(url), tab(url)];
  for (const { source, states } of tabs) {
    await until(() => source.readyState === 2);
    assert.equal(states.at(-1).error.status, 404);
  }
});

/** A tab that does nothing by itself. */
function rawTab(url, { lock = null, subscribe = true } = {}) {
  const { port } = new FakeSharedWorker("", {});
  const got = [];
  const counts = [];
  const other = [];
  port.onmessage = ({ data }) => {
    if (!data.frame) return other.push(data);
    counts.push(data.count);
    for (const message of JSON.parse(data.frame))
      if (message.type === "event") got.push(Number(message.data));
  };
  const options = { credentials: "same-origin", backoff: QUICK };
  port.postMessage({ open: { kind: "sse", url, options, lock } });
  if (subscribe)
    port.postMessage({ frame: '[{"type":"subscribe","topic":"","after":"earliest","ref":1}]' });
  return {
    port,
    got,
    counts,
    other,
    ack: () => port.postMessage({ ack: counts.splice(0).reduce((a, b) => a + b, 0) }),
  };
}

test("a tab that takes nothing is sent a bounded number, and the rest when it does", async () => {
  const { url, publish, events, readers } = await log();
  const frozen = rawTab(`${url}/`);
  const lively = tab(url);
  await lively.opened();
  await until(() => readers.size === 1);
  publish(5_000);
  await until(() => lively.got.length === 5_000);
  assert.ok(frozen.got.length <= 1_000, `${frozen.got.length}`);
  await until(() => {
    frozen.ack();
    return frozen.got.length === 5_000;
  });
  assert.deepEqual(frozen.got, events);
  await until(() => readers.size === 1);
  publish(1);
  await until(() => frozen.got.length === 5_001);
});

test("a tab that dies is noticed by its lock", async () => {
  const { url, readers } = await log();
  let die;
  navigator.locks.request("tab", () => new Promise((resolve) => (die = resolve)));
  await until(() => die);
  rawTab(`${url}/`, { lock: "tab" });
  await until(() => readers.size === 1);
  die();
  await until(() => readers.size === 0);
});

test("the worker says that it is alive", async () => {
  const { other, port } = rawTab("http://127.0.0.1:1/", { subscribe: false });
  port.postMessage({ watch: true });
  await until(() => other.length === 2);
  assert.deepEqual(other, [{ welcome: true }, { alive: true }]);
});

test("where the worker can't be made, each has a connection of its own", async () => {
  globalThis.SharedWorker = class {
    constructor() {
      throw new Error("not under this policy");
    }
  };
  const { url, publish, opened } = await log();
  const tabs = [tab(url), tab(url)];
  await Promise.all(tabs.map((each) => each.opened()));
  publish(2);
  for (const { got } of tabs) await until(() => got.length === 2);
  assert.equal(opened(), 2);
  assert.equal(tabs[0].states.at(-1).reason, "not under this policy");
});

test("where its script does not load, too", async () => {
  globalThis.SharedWorker = class {
    constructor() {
      this.port = new MessageChannel().port1;
      setTimeout(() => this.onerror());
    }
  };
  const { url } = await log();
  const { opened, states } = tab(url);
  await opened();
  assert.equal(states.at(-1).reason, "the shared worker can't be loaded");
});
