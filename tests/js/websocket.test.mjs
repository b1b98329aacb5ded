import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import {
  CLIENT,
  PATIENCE,
  QUICK,
  collect,
  event,
  fakeWebSockets,
  fromNpm,
  until,
} from "./support.mjs";

const { WebSocketClient, RefusedError, DroppedError, ClosedError } = await import(CLIENT);

const clients = [];
afterEach(() => clients.splice(0).forEach((client) => client.close()));

/** A client, its sockets, and the states it went through. */
function connect(options = {}) {
  const sockets = fakeWebSockets();
  const client = new WebSocketClient("http://server/ws", {
    WebSocket: sockets.WebSocket,
    backoff: QUICK,
    ...options,
  });
  clients.push(client);
  const states = [];
  client.addEventListener("state", ({ detail }) => states.push(detail));
  const opened = async (number = 0) => {
    const socket = await sockets.socket(number);
    socket.hello();
    return socket;
  };
  return {
    client,
    states,
    names: () => states.map(({ state }) => state).join(" "),
    opened,
    ...sockets,
  };
}

const accept = (socket, id = "e-0") => {
  const { topic, ref } = socket.of("subscribe").at(-1);
  socket.say({ type: "subscribed", topic, id, ref });
};

const acknowledge = (socket, from = 0) => {
  for (const { ref, topic } of socket.of("publish").slice(from)) {
    socket.say({ type: "published", topic, id: "e-1", count: 1, ref });
  }
};

// Connections

test("it opens with hello", async () => {
  const { client, names, socket } = connect();
  const first = await socket(0);
  assert.deepEqual([first.url, first.protocols], ["ws://server/ws", ["penstock.v1.json"]]);
  assert.equal(client.state, "connecting");
  first.hello();
  assert.equal(client.state, "open");
  client.close();
  assert.equal(names(), "connecting open closed");
  assert.equal(first.readyState, 3);
});

test("codes that call for another try get one", async () => {
  const { client, opened, socket } = connect();
  for (const [number, code] of [1001, 1006, 1011, 1012, 1013, 3008, 4999].entries()) {
    (await opened(number)).lose(code);
  }
  await socket(7);
  assert.notEqual(client.state, "closed");
});

test("codes that don't are the end", async () => {
  for (const code of [1000, 1003, 1007, 1008, 1009, 4401]) {
    const { client, states, opened, WebSocket } = connect();
    const subscription = client.subscribe("t");
    const reading = collect(subscription);
    (await opened()).lose(code, "because");
    await assert.rejects(reading, ClosedError);
    await assert.rejects(client.publish("t", 1), ClosedError);
    assert.throws(() => client.subscribe("u"), ClosedError);
    assert.equal(client.state, "closed");
    assert.match(states.at(-1).error.message, new RegExp(`${code}: because`));
    assert.equal(WebSocket.made.length, 1);
  }
});

test("an expired token is renewed where there is a function for it", async () => {
  let token = 0;
  const { opened, socket } = connect({ token: () => `t ${++token}` });
  const first = await opened();
  assert.equal(first.url, "ws://server/ws?token=t+1");
  first.lose(4401);
  assert.equal((await socket(1)).url, "ws://server/ws?token=t+2");
});

test("the delay of reconnect is kept", async () => {
  const { states, opened, socket } = connect();
  const first = await opened();
  first.say({ type: "reconnect", after: 0.1 });
  const began = performance.now();
  first.lose(1012);
  const { delay } = await until(() => states.find(({ state }) => state === "waiting"));
  assert.equal(delay, 105);
  await socket(1);
  assert.ok(performance.now() - began >= 100);
});

test("waits grow while nothing comes of the connections", async () => {
  const { client, states, opened, socket } = connect({
    backoff: { initial: 1, maximum: 5, factor: 2, jitter: false },
  });
  const delays = () => states.filter(({ state }) => state === "waiting").map(({ delay }) => delay);
  for (let number = 0; number < 4; number++) (await socket(number)).lose();
  const good = await opened(4);
  assert.deepEqual(delays(), [1, 2, 4, 5]);
  client.subscribe("t");
  accept(good);
  good.say(event("e-1", 1));
  good.lose();
  await socket(5);
  assert.deepEqual(delays(), [1, 2, 4, 5, 1]);
});

test("a server that says nothing is left", async () => {
  const { states, socket } = connect({ timeout: 30 });
  await socket(1);
  assert.equal(states[1].reason, "no hello within 30 ms");
});

test("a black hole is noticed", async () => {
  const { states, opened, socket } = connect({ timeout: 200, heartbeat: 20 });
  const first = await opened();
  await until(() => first.of("ping").length === 1);
  first.say({ type: "pong" });
  await until(() => first.of("ping").length === 2); // and nothing answers
  await socket(1);
  assert.equal(states.at(-2).reason, "no answer to a ping within 200 ms");
});

test("a frame that can't be read is a lost connection", async () => {
  const { states, opened, socket } = connect();
  (await opened()).onmessage({ data: "[{" });
  await socket(1);
  assert.match(states.find(({ state }) => state === "waiting").reason, /a frame can't be read/);
});

test("without a WebSocket it says what to do", () => {
  const { WebSocket } = globalThis;
  delete globalThis.WebSocket;
  try {
    assert.throws(
      () => new WebSocketClient("ws://s"),
      /no WebSocket here .*option WebSocket, .* ws/,
    );
  } finally {
    globalThis.WebSocket = WebSocket;
  }
});

test("a shared one can't have a codec, and without shared workers is one's own", async () => {
  assert.throws(() => connect({ shared: true, codec: {} }), /a shared connection speaks JSON/);
  const { states, opened } = connect({ shared: true });
  await opened();
  assert.deepEqual(
    [states.at(-1).shared, states.at(-1).reason],
    [false, "there are no shared workers here"],
  );
});

// Subscriptions

test("a subscription gives each event once over all connections", async () => {
  const { client, opened } = connect();
  const subscription = client.subscribe("t", { after: "earliest", slow: "conflate" });
  const heard = [];
  subscription.onmessage = ({ data, lastEventId }) => heard.push([data, lastEventId]);
  subscription.addEventListener("alarm", ({ type, data }) => heard.push([type, data]));
  const reading = collect(subscription);

  const first = await opened();
  assert.deepEqual(
    first.of("subscribe").map(({ ref, ...rest }) => rest),
    [{ type: "subscribe", topic: "t", after: "earliest", slow: "conflate" }],
  );
  accept(first);
  first.say(event("e-1", 1), event("e-2", 2, "alarm"));
  first.lose();
  const second = await opened(1);
  assert.equal(second.of("subscribe")[0].after, "e-2");
  accept(second, "e-2");
  second.say(event("e-2", 2, "alarm"), event("e-3", 3), { type: "end", topic: "t", id: "e-3" });

  assert.deepEqual(
    (await reading).map(({ type, data }) => [type, data]),
    [
      ["event", 1],
      ["event", 2],
      ["event", 3],
      ["end", undefined],
    ],
  );
  assert.deepEqual(heard, [
    [1, "e-1"],
    ["alarm", 2],
    [3, "e-3"],
  ]);
  assert.equal(subscription.cursor, "e-3");
});

test("a connection lost before the first event is resumed at subscribed", async () => {
  const { client, opened } = connect();
  client.subscribe("t");
  const first = await opened();
  accept(first, "e-7");
  first.lose();
  assert.equal((await opened(1)).of("subscribe")[0].after, "e-7");
});

test("a gap is told, and not lost to a cut before it", async () => {
  const gap = {
    type: "gap",
    topic: "t",
    requested: "e-1",
    resumed: "f-0",
    missed: null,
    reason: "epoch",
  };
  const { client, opened } = connect();
  const subscription = client.subscribe("t", { after: "e-1" });
  const gaps = [];
  subscription.ongap = ({ detail }) => gaps.push(detail);
  const first = await opened();
  accept(first, "f-0");
  first.lose();
  const second = await opened(1);
  assert.equal(second.of("subscribe")[0].after, "e-1");
  accept(second, "f-0");
  second.say(gap);
  assert.deepEqual(gaps, [gap]);
  assert.equal(subscription.cursor, "f-0");
});

test("many subscriptions go in frames of a bounded size, and refusals to whom they concern", async () => {
  const { client, opened, WebSocket } = connect();
  const frames = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (frame) {
    frames.push(JSON.parse(frame).length);
    send.call(this, frame);
  };
  const subscriptions = Array.from({ length: 100 }, (_, n) => client.subscribe(`t${n}`));
  const socket = await opened();
  assert.deepEqual(frames, [64, 36]);
  const [good, bad] = subscriptions;
  const reading = collect(bad);
  const { ref } = socket.of("subscribe")[1];
  socket.say({
    type: "error",
    code: "unknown_topic",
    message: "there is no topic 't1'",
    ref,
    topic: "t1",
  });
  await assert.rejects(reading, {
    name: "RefusedError",
    code: "unknown_topic",
    message: "there is no topic 't1'",
  });
  assert.throws(() => client.subscribe("t0"), /reads t0 already/);
  good.close();
  bad.close();
  client.subscribe("t0");
  client.subscribe("t1");
});

test("a subscription that is refused for now is tried again", async () => {
  const { client, opened } = connect();
  client.subscribe("t");
  const socket = await opened();
  const [{ ref }] = socket.of("subscribe");
  socket.say({ type: "error", code: "unavailable", message: "later", ref, topic: "t" });
  await until(() => socket.of("subscribe").length === 2);
});

test("after close nothing comes, not even what was under way; break is a close", async () => {
  const { client, opened } = connect();
  const socket = await opened();
  const first = client.subscribe("t");
  accept(socket);
  const got = [];
  first.onmessage = ({ data }) => got.push(data);
  socket.say(event("e-1", 1));
  first.close();
  const second = client.subscribe("t");
  second.onmessage = ({ data }) => got.push(data);
  socket.say(event("e-2", "of the first one"));
  accept(socket, "e-5");
  socket.say(event("e-6", 6));
  assert.deepEqual(got, [1, 6]);
  assert.deepEqual(
    socket.sent.map(({ type }) => type),
    ["subscribe", "unsubscribe", "subscribe"],
  );
  const taken = collect(second, 1);
  socket.say(event("e-7", 7));
  assert.equal((await taken)[0].data, 7);
  assert.equal(socket.of("unsubscribe").length, 2);
});

test("a loop that does not keep up makes the server wait, and misses nothing", async () => {
  const { client, opened } = connect();
  const subscription = client.subscribe("t", { after: "earliest", buffer: 4 });
  const messages = subscription[Symbol.asyncIterator]();
  const socket = await opened();
  accept(socket);
  socket.say(...[1, 2, 3, 4, 5, 6].map((n) => event(`e-${n}`, n)));
  assert.equal(socket.of("unsubscribe").length, 1, "at the fourth, which is all there is room for");
  const got = [(await messages.next()).value.data];
  assert.equal(socket.of("subscribe").length, 1);
  got.push((await messages.next()).value.data);
  assert.equal(socket.of("subscribe")[1].after, "e-4");
  accept(socket, "e-4");
  socket.say(event("e-5", 5));
  for (let n = 0; n < 3; n++) got.push((await messages.next()).value.data);
  assert.deepEqual(got, [1, 2, 3, 4, 5]);
});

// Publications

test("a publication resolves with its acknowledgement", async () => {
  const { client, opened } = connect();
  const socket = await opened();
  const data = { a: 1 };
  const answer = client.publish("t", data, { event: "named" });
  data.a = 2; // too late
  const [{ ref, key, ...message }] = socket.of("publish");
  assert.match(key, /^[0-9a-f]{32}$/);
  assert.deepEqual(message, { type: "publish", topic: "t", data: { a: 1 }, event: "named" });
  assert.equal(client.queued, 1);
  socket.say({ type: "published", topic: "t", id: "e-4", count: 1, ref });
  assert.deepEqual(await answer, { topic: "t", id: "e-4", count: 1 });
  assert.equal(client.queued, 0);
});

test("a refusal rejects its own publication only", async () => {
  const { client, opened } = connect();
  const socket = await opened();
  const [bad, good] = [client.publish("t", 1), client.publish("t", 2)];
  const [{ ref }] = socket.of("publish");
  socket.say({ type: "error", code: "invalid", message: "Expected `str`", ref, topic: "t" });
  await assert.rejects(bad, (error) => error instanceof RefusedError && error.code === "invalid");
  acknowledge(socket, 1);
  await good;
  await assert.rejects(client.publish("t", 1n), TypeError);
});

test("what waited is sent once each and in order, with the keys it had", async () => {
  const { client, opened } = connect();
  const promises = [1, 2, 3].map((n) => client.publish("t", n));
  const first = await opened();
  promises.push(client.publish("t", 4));
  const { ref } = first.of("publish")[0];
  first.say({ type: "published", topic: "t", id: "e-1", count: 1, ref });
  first.lose();
  promises.push(client.publish("t", 5));
  const second = await opened(1);
  assert.deepEqual(
    first.of("publish").map(({ data }) => data),
    [1, 2, 3, 4],
  );
  assert.deepEqual(
    second.of("publish").map(({ data }) => data),
    [2, 3, 4, 5],
  );
  assert.deepEqual(
    second
      .of("publish")
      .slice(0, 3)
      .map(({ key }) => key),
    first
      .of("publish")
      .slice(1)
      .map(({ key }) => key),
  );
  acknowledge(second);
  await Promise.all(promises);
});

test("subscriptions are made before publications are sent", async () => {
  const { client, opened } = connect();
  client.publish("t", 1);
  client.subscribe("t");
  const socket = await opened();
  assert.deepEqual(
    socket.sent.map(({ type }) => type),
    ["subscribe", "publish"],
  );
});

test("a full queue drops the oldest, counts them, and keeps the order", async () => {
  const { client, opened } = connect({ queue: 3 });
  const dropped = [];
  client.ondropped = ({ detail }) => dropped.push(detail.data);
  const promises = Array.from({ length: 10 }, (_, n) => client.publish("t", n));
  assert.equal(client.dropped, 7);
  assert.deepEqual(dropped, [0, 1, 2, 3, 4, 5, 6]);
  await assert.rejects(
    promises[0],
    (error) => error instanceof DroppedError && error.name === "DroppedError",
  );
  const socket = await opened();
  assert.deepEqual(
    socket.of("publish").map(({ data }) => data),
    [7, 8, 9],
  );
  acknowledge(socket);
  await Promise.all(promises.slice(7));
});

test("only so many are under way at a time", async () => {
  const { client, opened } = connect({ queue: 1000 });
  const socket = await opened();
  const all = Array.from({ length: 600 }, (_, n) => client.publish("t", n));
  assert.equal(socket.of("publish").length, 256);
  for (let from = 0; from < 600; from = socket.answered) {
    socket.answered = socket.of("publish").length;
    acknowledge(socket, from);
  }
  await Promise.all(all);
  assert.deepEqual(
    socket.of("publish").map(({ data }) => data),
    Array.from({ length: 600 }, (_, n) => n),
  );
});

test("what is refused for now is sent again, where that keeps the order", async () => {
  const { client, opened } = connect();
  const socket = await opened();
  const promises = [1, 2].map((n) => client.publish("t", n));
  const refuse = ({ ref }) =>
    socket.say({ type: "error", code: "unavailable", message: "later", ref, topic: "t" });
  socket.of("publish").forEach(refuse);
  promises.push(client.publish("t", 3));
  assert.equal(socket.of("publish").length, 2);
  await until(() => socket.of("publish").length === 5);
  assert.deepEqual(
    socket.of("publish").map(({ data }) => data),
    [1, 2, 1, 2, 3],
  );
  acknowledge(socket, 2);
  await Promise.all(promises);
});

test("where it does not, it stays refused", async () => {
  const { client, opened } = connect();
  const socket = await opened();
  const [first, second] = [client.publish("t", 1), client.publish("t", 2)];
  const [{ ref }] = socket.of("publish");
  socket.say({ type: "error", code: "rate_limited", message: "later", ref, topic: "t" });
  acknowledge(socket, 1);
  await assert.rejects(first, { code: "rate_limited" });
  await second;
});

test("one that is too big for the server is not sent", async () => {
  const { client, opened } = connect();
  const early = client.publish("t", "ä".repeat(600)); // before the limit is known
  const socket = await opened();
  await assert.rejects(early, { code: "too_large" });
  await assert.rejects(client.publish("t", "x".repeat(1_000)), { code: "too_large" });
  assert.equal(socket.of("publish").length, 0);
});

test("close rejects what waits, and nobody has to care", async () => {
  const { client } = connect();
  const promise = client.publish("t", 1);
  client.publish("t", 2); // nobody listens to this one: it is no unhandled rejection
  client.close();
  await assert.rejects(promise, ClosedError);
});

// Real WebSockets

for (const binary of [false, true]) {
  test(
    `over a real socket, with ${binary ? "MessagePack" : "JSON"}`,
    { timeout: PATIENCE },
    async (t) => {
      const { WebSocketServer, WebSocket } = fromNpm("ws");
      const msgpack = fromNpm("@msgpack/msgpack");
      const codec = binary ? msgpack : JSON_TEXT;
      const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
      t.after(() => server.close());
      server.on("connection", (socket) => {
        const say = (...messages) => socket.send(codec.encode(messages));
        say({
          type: "hello",
          session: "s",
          heartbeat: 5,
          limits: { max_message_bytes: 1e6, max_subscriptions: 9 },
        });
        socket.on("message", (data, isBinary) => {
          assert.equal(isBinary, binary);
          for (const message of codec.decode(data)) {
            const { type, topic, ref } = message;
            if (type === "subscribe") say({ type: "subscribed", topic, id: "e-0", ref });
            else
              say(
                { type: "published", topic, id: "e-1", count: 1, ref },
                event("e-1", message.data),
              );
          }
        });
      });
      const port = await until(() => server.address()?.port);
      for (const Socket of [WebSocket, globalThis.WebSocket].filter(Boolean)) {
        const options = binary ? { codec: { encode: msgpack.encode, decode: msgpack.decode } } : {};
        const client = new WebSocketClient(`ws://127.0.0.1:${port}/ws`, {
          WebSocket: Socket,
          ...options,
        });
        clients.push(client);
        const reading = collect(client.subscribe("t"), 1);
        const data = { text: "größe", numbers: [1, -2, 3.5], nothing: null };
        assert.equal((await client.publish("t", data)).id, "e-1");
        assert.deepEqual((await reading)[0].data, data);
        client.close();
      }
      assert.ok(
        [...server.clients].every(
          ({ protocol }) => protocol === (binary ? "penstock.v1.msgpack" : "penstock.v1.json"),
        ),
      );
    },
  );
}

const JSON_TEXT = { encode: JSON.stringify, decode: JSON.parse };
