import assert from "node:assert/strict";
import { test } from "node:test";

import {
  CLIENT,
  QUICK,
  collect,
  event,
  ndjson,
  problem,
  says,
  serve,
  sse,
  until,
} from "./support.mjs";

const { readStream, toReadableStream, RefusedError } = await import(CLIENT);

const SUBSCRIBED = { type: "subscribed", topic: "t", id: "e-0" };
const END = { type: "end", topic: "t", id: "e-3" };
const open = (url, options) => readStream(url, { backoff: QUICK, ...options });

test("messages come as they are, and end with the log", async () => {
  const gap = {
    type: "gap",
    topic: "t",
    requested: "e-0",
    resumed: "e-1",
    missed: 1,
    reason: "slow",
  };
  const error = { type: "error", code: "forbidden", message: "no" };
  const messages = [event("e-2", [1], "named"), event("e-3", null), error];
  const keepalive = { type: "keepalive" };
  const { url, requests } = await serve(ndjson([SUBSCRIBED, gap, keepalive, ...messages, END]));

  assert.deepEqual(await collect(open(`${url}/topics/t`)), [gap, ...messages, END]);

  assert.equal(requests[0].headers.accept, "application/x-ndjson");
  assert.equal(requests[0].url, "/topics/t");
});

test("it goes on where it was, however the connection ends", async () => {
  const { url, requests } = await serve(
    ndjson([SUBSCRIBED, event("e-1", 1)], { then: "cut" }),
    problem(503, "busy"),
    says("application/x-ndjson", [`${JSON.stringify(event("e-2", 2))}\n{"type":"ev`]),
    ndjson([event("e-2", 2), event("e-3", 3), END]),
  );
  const states = [];

  const got = await collect(
    open(`${url}/?after=earliest`, { onState: ({ state }) => states.push(state) }),
  );

  assert.deepEqual(
    got.map(({ data }) => data),
    [1, 2, 3, undefined],
  );
  const afters = requests.map((request) => new URL(request.url, url).searchParams.get("after"));
  assert.deepEqual(afters, ["earliest", "e-1", "e-1", "e-2"]);
  assert.equal(
    states.join(" "),
    "connecting open waiting connecting waiting connecting open waiting connecting open closed",
  );
});

test("before the first event it goes on from where reading began", async () => {
  const { url, requests } = await serve(ndjson([SUBSCRIBED], { then: "cut" }), ndjson([END]));
  await collect(open(url));
  assert.equal(requests[1].url, "/?after=e-0");
});

test("an id that lies behind a gap does not swallow the gap", async () => {
  const gap = {
    type: "gap",
    topic: "t",
    requested: "e-1",
    resumed: "f-0",
    missed: null,
    reason: "epoch",
  };
  const { url, requests } = await serve(
    ndjson([SUBSCRIBED, event("e-1", 1)]),
    ndjson([{ ...SUBSCRIBED, id: "f-0" }]), // cut before the gap
    ndjson([{ ...SUBSCRIBED, id: "f-0" }, gap, event("f-1", 2), { ...END, id: "f-1" }]),
  );
  assert.deepEqual(
    (await collect(open(url))).map(({ type }) => type),
    ["event", "gap", "event", "end"],
  );
  assert.deepEqual(
    requests.map((request) => request.url),
    ["/", "/?after=e-1", "/?after=e-1"],
  );
});

test("in the format sse it resumes by Last-Event-ID", async () => {
  const gap =
    '{"type":"gap","topic":"t","requested":"e-1","resumed":"e-5","missed":4,"reason":"expired"}';
  const { url, requests } = await serve(
    sse(["retry: 1\nid: e-0\n\n", 'id: e-1\nevent: größe\ndata: {"a":1}\n\n'], { then: "cut" }),
    sse([
      `id: e-5\nevent: gap\ndata: ${gap}\n\n`,
      'event: end\nid: e-5\ndata: {"type":"end","topic":"t","id":"e-5"}\n\n',
    ]),
  );
  const got = await collect(open(`${url}/?after=earliest`, { format: "sse" }));
  assert.deepEqual(got, [
    { type: "event", topic: null, id: "e-1", data: { a: 1 }, event: "größe" },
    JSON.parse(gap),
    { type: "end", topic: "t", id: "e-5" },
  ]);
  assert.equal(requests[1].headers["last-event-id"], "e-1");
});

test("an event that is only named like a gap is one", async () => {
  const { url } = await serve(
    sse(["event: gap\ndata: 5\n\nevent: end\ndata: {}\n\n"]),
    says("x", [], { status: 204 }),
  );
  const got = await collect(open(url, { format: "sse" }));
  assert.deepEqual(
    got.map(({ type, event: name }) => [type, name]),
    [
      ["event", "gap"],
      ["event", "end"],
      ["end", undefined],
    ],
  );
});

test("204 is the end", async () => {
  const { url } = await serve(ndjson([event("e-3", 3)]), says("text/plain", [], { status: 204 }));
  assert.deepEqual((await collect(open(url))).at(-1), { type: "end", topic: null, id: "e-3" });
});

test("what the server asks for is waited at least", async () => {
  const { url } = await serve(
    problem(429, "slow down", { "retry-after": "1" }),
    ndjson([{ type: "reconnect", after: 0.2 }]),
    sse([]),
  );
  const waits = [];
  const onState = ({ state, delay }) => state === "waiting" && waits.push(delay);
  const stream = open(url, {
    onState,
    attempts: 3,
    backoff: { initial: 1, factor: 1, maximum: 1, jitter: false },
  });
  await assert.rejects(
    collect(stream),
    /the answer is text\/event-stream, not application\/x-ndjson/,
  );
  assert.deepEqual(waits, [1001, 201]);
});

test("a refusal is final, and says why", async () => {
  for (const status of [400, 401, 403, 404, 406, 422]) {
    const { url, requests } = await serve(problem(status, "It is so."));
    const error = await collect(open(url)).catch((reason) => reason);
    assert.ok(error instanceof RefusedError);
    assert.equal(error.name, "RefusedError");
    assert.equal(error.message, `the server answered ${status}: It is so.`);
    assert.equal(error.status, status);
    assert.equal(error.problem.title, "Title");
    assert.equal(requests.length, 1);
  }
});

test("attempts are counted in a row", async () => {
  const { url, requests } = await serve(
    problem(503, "a"),
    problem(502, "b"),
    ndjson([event("e-1", 1)]),
    problem(503, "c"),
    problem(503, "d"),
  );
  await assert.rejects(collect(open(url, { attempts: 3 })), /503: d/);
  assert.equal(requests.length, 5);
});

test("another page at its place is an interruption, once it was a stream", async () => {
  const portal = says("text/html", ["<p>Log in!"]);
  const { url } = await serve(ndjson([event("e-1", 1)]), portal, ndjson([END]));
  assert.equal((await collect(open(url))).length, 2);
  const { url: other } = await serve(portal);
  await assert.rejects(collect(open(other)), /the answer is text\/html, not application\/x-ndjson/);
});

test("a connection that is silent is given up", async () => {
  const { url, requests } = await serve(
    ndjson([event("e-1", 1)], { then: "silence" }),
    () => {}, // not even a head
    ndjson([END]),
  );
  const reasons = [];
  const onState = ({ error }) => error && reasons.push(error.message);
  await collect(open(url, { timeout: 400, onState }));
  assert.deepEqual(reasons, ["nothing came for 400 ms", "no answer came for 400 ms"]);
  assert.equal(requests.length, 3);
});

test("who does not take the next message in time is not cut", async () => {
  const { url } = await serve(ndjson([event("e-1", 1), event("e-2", 2), END]));
  const stream = open(url, { timeout: 150 });
  await stream.next();
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.equal((await collect(stream)).length, 2);
});

test("break cancels the request", async () => {
  let closed = false;
  const { url } = await serve((response) => {
    response.on("close", () => (closed = true));
    ndjson([event("e-1", 1)], { then: "silence" })(response);
  });
  for await (const message of open(url)) {
    assert.equal(message.data, 1);
    break;
  }
  await until(() => closed);
});

test("return ends a wait for the next message at once", async () => {
  const { url } = await serve(ndjson([SUBSCRIBED], { then: "silence" }));
  const stream = open(url);
  const pending = stream.next();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await stream.return("x"), { done: true, value: "x" });
  assert.deepEqual(await pending, { done: true, value: undefined });
});

test("its signal ends it with its reason, wherever it is", async () => {
  const reason = new Error("enough");
  const { url } = await serve(ndjson([SUBSCRIBED], { then: "silence" }));
  const { url: busy } = await serve(problem(503, "busy"));
  for (const [place, options] of [
    [url, {}],
    [busy, { backoff: { initial: 60_000, maximum: 60_000, jitter: false } }],
  ]) {
    const controller = new AbortController();
    const reading = collect(open(place, { ...options, signal: controller.signal }));
    setTimeout(() => controller.abort(reason), 30);
    await assert.rejects(reading, reason);
    await assert.rejects(open(place, { signal: controller.signal }).next(), reason);
  }
});

test("calls of next that don't wait for each other are answered in order", async () => {
  const { url } = await serve(ndjson([SUBSCRIBED, event("e-1", 1), event("e-2", 2), END]));
  const stream = open(url);
  const results = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()]);
  assert.deepEqual(
    results.map(({ done, value }) => [done, value?.id]),
    [
      [false, "e-1"],
      [false, "e-2"],
      [false, "e-3"],
      [true, undefined],
    ],
  );
});

test("nothing is read ahead of who reads", async () => {
  let written = 0;
  const { url } = await serve(async (response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    const line = `${JSON.stringify(event("e-1", "x".repeat(60_000)))}\n`;
    while (written < 2_000 && !response.destroyed) {
      if (!response.write(line.replace("e-1", `e-${(written + 1).toString(36)}`))) {
        await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      }
      written += 1;
    }
  });
  const stream = open(url);
  await stream.next();
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(written < 500, `${written} of 2000 were sent`);
  await stream.return();
});

test("headers may be a function, which is asked for each connection", async () => {
  const { url, requests } = await serve(ndjson([event("e-1", 1)]), ndjson([END]));
  let token = 0;
  await collect(open(url, { headers: async () => ({ authorization: `Bearer ${++token}` }) }));
  assert.deepEqual(
    requests.map(({ headers }) => headers.authorization),
    ["Bearer 1", "Bearer 2"],
  );
});

test("a format that there is not is refused at once", () => {
  assert.throws(
    () => readStream("http://x", { format: "xml" }),
    /format is "ndjson" or "sse", not "xml"/,
  );
});

// Jobs

test("a job is started once, and resumed where it is", async () => {
  const headers = { location: "/jobs/census/r1" };
  const { url, requests } = await serve(
    problem(429, "too many", { "retry-after": "0" }),
    (response) => response.destroy(), // was it started? the key says
    ndjson([SUBSCRIBED, event("e-1", 1)], { headers, then: "cut" }),
    ndjson([event("e-2", 2)], { then: "cut" }),
    ndjson([event("e-3", 3), END]),
  );
  const got = await collect(open(`${url}/jobs/census`, { method: "post", body: { limit: 3 } }));
  assert.deepEqual(
    got.map(({ data }) => data),
    [1, 2, 3, undefined],
  );
  assert.deepEqual(
    requests.map(({ method, url: path }) => `${method} ${path}`),
    [
      "POST /jobs/census",
      "POST /jobs/census",
      "POST /jobs/census",
      "GET /jobs/census/r1?after=e-1",
      "GET /jobs/census/r1?after=e-2",
    ],
  );
  const posts = requests.slice(0, 3);
  assert.equal(new Set(posts.map((request) => request.headers["idempotency-key"])).size, 1);
  assert.match(posts[0].headers["idempotency-key"], /^[0-9a-f]{32}$/);
  assert.ok(
    posts.every(
      ({ body, headers: sent }) =>
        body === '{"limit":3}' && sent["content-type"] === "application/json",
    ),
  );
});

test("a job that was cut before its first event is read from its beginning", async () => {
  const { url, requests } = await serve(
    ndjson([], { headers: { location: "/jobs/a/1" }, then: "cut" }),
    ndjson([event("e-1", 1), END]),
  );
  assert.equal((await collect(open(`${url}/jobs/a`, { method: "POST" }))).length, 2);
  assert.equal(requests[1].url, "/jobs/a/1");
});

test("an answer without a place to resume at is not asked for twice", async () => {
  const cut = ndjson([event("e-1", 1)], { then: "cut" });
  const { url, requests } = await serve(cut, cut);
  await assert.rejects(collect(open(url, { method: "POST" })), /the connection was lost/);
  assert.equal(requests.length, 1);
  const { url: whole } = await serve(ndjson([event("e-1", 1)]));
  assert.equal((await collect(open(whole, { method: "POST" }))).length, 1);
});

// toReadableStream

test("a ReadableStream asks for what is read, and cancels what is not", async () => {
  let asked = 0;
  let returned = false;
  async function* numbers() {
    try {
      for (;;) yield ++asked;
    } finally {
      returned = true;
    }
  }
  const reader = toReadableStream(numbers()).getReader();
  assert.deepEqual([(await reader.read()).value, (await reader.read()).value], [1, 2]);
  assert.equal(asked, 2);
  await reader.cancel();
  assert.ok(returned);
});

test("a ReadableStream of a stream of messages", async () => {
  const { url } = await serve(ndjson([event("e-1", 1), END]));
  assert.deepEqual(
    (await collect(toReadableStream(open(url)))).map(({ type }) => type),
    ["event", "end"],
  );
  const { url: refused } = await serve(problem(404, "none"));
  await assert.rejects(collect(toReadableStream(open(refused))), RefusedError);
  assert.deepEqual(await collect(toReadableStream([1, 2])), [1, 2]);
});

test("cancelling a ReadableStream cancels the request", async () => {
  let closed = false;
  const { url } = await serve((response) => {
    response.on("close", () => (closed = true));
    ndjson([event("e-1", 1)], { then: "silence" })(response);
  });
  const reader = toReadableStream(open(url)).getReader();
  await reader.read();
  const pending = reader.read();
  await reader.cancel();
  assert.equal((await pending).done, true);
  await until(() => closed);
});
