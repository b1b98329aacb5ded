import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { CLIENT, QUICK, problem, says, serve, sse, until } from "./support.mjs";

const { ReconnectingEventSource, RefusedError } = await import(CLIENT);

const GAP =
  '{"type":"gap","topic":"t","requested":"e-1","resumed":"e-5","missed":4,"reason":"expired"}';
const END = 'id: e-6\nevent: end\ndata: {"type":"end","topic":"t","id":"e-6"}\n\n';

/** A source, and all that it says: [type, data or state]. */
function listen(url, options = {}, names = []) {
  const source = new ReconnectingEventSource(url, { backoff: QUICK, ...options });
  const said = [];
  for (const type of ["open", "message", "error", "gap", "end", "state", ...names]) {
    source.addEventListener(type, (event) =>
      said.push([type, event.detail?.state ?? event.data ?? event.error?.message]),
    );
  }
  const of = (type) => said.filter(([each]) => each === type).map(([, what]) => what);
  return { source, said, of, closed: () => until(() => source.readyState === 2) };
}

/** Stands for the browser's EventSource. */
class FakeEventSource extends EventTarget {
  static made = [];
  readyState = 0;

  constructor(url, { withCredentials }) {
    super();
    Object.assign(this, { url: String(url), withCredentials });
    FakeEventSource.made.push(this);
  }

  close() {
    this.readyState = 2;
  }

  open() {
    this.readyState = 1;
    this.dispatchEvent(new Event("open"));
  }

  say(data, lastEventId, type = "message") {
    this.dispatchEvent(new MessageEvent(type, { data, lastEventId }));
  }

  lose({ forGood = false } = {}) {
    this.readyState = forGood ? 2 : 0;
    this.dispatchEvent(new Event("error"));
  }
}

async function native(url, options, names) {
  globalThis.EventSource = FakeEventSource;
  const listener = listen(url, options, names);
  const inner = await until(() => FakeEventSource.made[0]);
  return { ...listener, inner };
}

afterEach(() => {
  delete globalThis.EventSource;
  FakeEventSource.made = [];
});

// Over fetch

test("it says what an EventSource says, and more", async () => {
  const { url, requests } = await serve(
    sse(["id: e-0\n\n", 'id: e-1\ndata: {"a":1}\n\n'], { then: "cut" }),
    sse([`id: e-5\nevent: gap\ndata: ${GAP}\n\n`, "id: e-6\nevent: alarm\ndata: x\n\n", END]),
  );
  const { source, said, of, closed } = listen(`${url}/t?after=earliest`, {}, ["alarm"]);
  const details = [];
  source.ongap = (event) => details.push(event.detail, event.lastEventId, event.origin);
  source.onend = ({ detail }) => details.push(detail.type);
  source.onmessage = ({ lastEventId, data }) => details.push(lastEventId, data);
  assert.equal(source.readyState, ReconnectingEventSource.CONNECTING);

  await closed();

  assert.deepEqual(
    said.filter(([type]) => type !== "state"),
    [
      ["open", undefined],
      ["message", '{"a":1}'],
      ["error", of("error")[0]],
      ["open", undefined],
      ["gap", GAP],
      ["alarm", "x"],
      ["end", '{"type":"end","topic":"t","id":"e-6"}'],
    ],
  );
  assert.deepEqual(of("state"), ["connecting", "open", "waiting", "connecting", "open", "closed"]);
  assert.deepEqual(details, ["e-1", '{"a":1}', JSON.parse(GAP), "e-5", url, "end"]);
  assert.equal(source.lastEventId, "e-6");
  assert.equal(source.url, `${url}/t`);
  assert.deepEqual(
    requests.map((request) => [request.url, request.headers["last-event-id"]]),
    [
      ["/t?after=earliest", undefined],
      ["/t", "e-1"],
    ],
  );
});

test("what EventSource gives up at is tried again", async () => {
  const { url, requests } = await serve(
    problem(503, "a"),
    problem(429, "b", { "retry-after": "0" }),
    problem(502, "c"),
    sse(["data: 1\n\n", END]),
  );
  const { of, closed } = listen(url);
  await closed();
  assert.deepEqual(of("message"), ["1"]);
  assert.deepEqual(
    of("error"),
    ["a", "b", "c"].map((why, i) => `the server answered ${[503, 429, 502][i]}: ${why}`),
  );
  assert.equal(requests.length, 4);
});

test("204 is the end", async () => {
  const { url } = await serve(sse(["id: e-6\ndata: 1\n\n"]), says("x", [], { status: 204 }));
  const { of, closed } = listen(url);
  await closed();
  assert.equal(of("end").length, 1);
  assert.equal(of("error").length, 1, "that the connection ended, and no more");
});

test("a refusal closes it, and says why", async () => {
  const { url } = await serve(problem(403, "No right."));
  const { source, said } = listen(url);
  const event = await new Promise((resolve) => source.addEventListener("error", resolve));
  assert.ok(event.error instanceof RefusedError);
  assert.equal(event.error.status, 403);
  assert.equal(source.readyState, ReconnectingEventSource.CLOSED);
  assert.deepEqual(said.at(-1), ["error", "the server answered 403: No right."]);
});

test("close ends all, at once", async () => {
  let closed = false;
  const { url } = await serve((response) => {
    response.on("close", () => (closed = true));
    sse(["data: 1\n\ndata: 2\n\n"], { then: "silence" })(response);
  });
  const { source, of } = listen(url);
  source.addEventListener("message", () => source.close());
  await until(() => closed);
  assert.deepEqual(of("message"), ["1"]);
  assert.deepEqual(of("state"), ["connecting", "open", "closed"]);
});

test("a handler can be replaced and taken away", async () => {
  const { url } = await serve(sse(["data: 1\n\ndata: 2\n\ndata: 3\n\n", END]));
  const { source, closed } = listen(url);
  const got = [];
  assert.equal(source.onmessage, null);
  source.onmessage = () => {
    got.push("first");
    source.onmessage = () => {
      got.push("second");
      source.onmessage = null;
    };
  };
  await closed();
  assert.deepEqual(got, ["first", "second"]);
});

test("an event that is called error comes with its data", async () => {
  const { url } = await serve(sse(['event: error\ndata: {"title":"x"}\n\n', END]));
  const { of, closed } = listen(url);
  await closed();
  assert.deepEqual(of("error"), ['{"title":"x"}']);
});

// Over the browser's own

test("where there is an EventSource it is used", async () => {
  const { source, inner, said, of } = await native("http://s/t?x=1", {
    after: "e-1",
    withCredentials: true,
  });
  source.addEventListener("alarm", (event) => said.push(["alarm", event.data]));
  assert.deepEqual([inner.url, inner.withCredentials], ["http://s/t?x=1&after=e-1", true]);
  inner.open();
  inner.say("1", "e-2");
  inner.say("2", "e-3", "alarm");
  inner.say(GAP, "e-5", "gap");
  inner.lose();
  inner.open();
  inner.say('{"type":"end","topic":"t","id":"e-6"}', "e-6", "end");
  assert.deepEqual(
    [of("message"), of("alarm"), of("gap"), of("state")],
    [["1"], ["2"], [GAP], ["connecting", "open", "waiting", "open", "closed"]],
  );
  assert.equal(source.lastEventId, "e-6");
  assert.equal(inner.readyState, 2);
});

test("when it gives up for good, fetch goes on where it was", async () => {
  const { url, requests } = await serve(
    problem(503, "not yet"),
    sse(["id: e-3\ndata: 3\n\n", END]),
  );
  const { inner, of, closed } = await native(`${url}/t`, { after: "earliest" });
  inner.open();
  inner.say("2", "e-2");
  inner.lose({ forGood: true });
  await closed();
  assert.deepEqual(of("message"), ["2", "3"]);
  assert.deepEqual(
    requests.map(({ headers }) => headers["last-event-id"]),
    ["e-2", "e-2"],
  );
  assert.deepEqual(of("gap"), []);
});

test("what it kept to itself is told as a gap", async () => {
  const { url } = await serve(sse(["id: e-9\n\n", END]));
  const { inner, of, closed } = await native(url);
  inner.open(); // it has a cursor now, and no event that would tell it
  inner.lose({ forGood: true });
  await closed();
  assert.equal(JSON.parse(of("gap")[0]).reason, "unknown");
});

test("where it never was open, nothing is missing", async () => {
  const { url, requests } = await serve(sse(["id: e-9\ndata: 1\n\n", END]));
  const { inner, of, closed } = await native(url);
  inner.lose({ forGood: true });
  await closed();
  assert.deepEqual([of("gap"), of("message")], [[], ["1"]]);
  assert.equal(requests[0].url, "/");
});

test("one that fails and fails again is replaced, with waits that grow", async () => {
  const { url } = await serve(sse(["id: e-2\ndata: 2\n\n", END]));
  const { inner, of, closed } = await native(url);
  inner.open();
  inner.say("1", "e-1");
  inner.lose();
  inner.lose();
  assert.equal(inner.readyState, 0, "the browser may have another try");
  inner.lose();
  assert.equal(inner.readyState, 2);
  await closed();
  assert.deepEqual(of("message"), ["1", "2"]);
});

test("with headers, or where it is asked for, it is fetch", async () => {
  for (const options of [{ headers: { authorization: "Bearer t" } }, { transport: "fetch" }]) {
    globalThis.EventSource = FakeEventSource;
    const { url, requests } = await serve(sse([END]));
    await listen(url, options).closed();
    assert.equal(requests[0].headers.authorization, options.headers?.authorization);
  }
  assert.deepEqual(FakeEventSource.made, []);
});

test("without shared workers a shared one has a connection of its own, and says so", async () => {
  const { url } = await serve(sse(["data: 1\n\n", END]));
  const { source, of, closed } = listen(url, { shared: true });
  const details = [];
  source.onstate = ({ detail }) => details.push([detail.state, detail.shared, detail.reason]);
  await closed();
  assert.deepEqual(of("message"), ["1"]);
  assert.deepEqual(details[1], ["open", false, "there are no shared workers here"]);
});

test("functions can't be shared", () => {
  assert.throws(
    () => new ReconnectingEventSource("http://s", { shared: true, headers: () => ({}) }),
    /can't call functions/,
  );
});
