// What client.js does in Node against the real server at the URL given; prints "done" at the end.

import assert from "node:assert/strict";

import { CLIENT, collect, fromNpm, until } from "./support.mjs";

const { Publisher, ReconnectingEventSource, RefusedError, WebSocketClient, publish, readStream } =
  await import(CLIENT);

const server = process.argv[2];
const topic = `${server}/topics/anything`;
const { encode, decode } = fromNpm("@msgpack/msgpack");
const data = { text: "größe", numbers: [1, -2, 3.5, 2 ** 40], nothing: null };

const start = await publish(topic, "start", { key: "start" });
assert.equal((await publish(topic, "start", { key: "start" })).replayed, true);
const wanted = ["a", "b", "c", "d"];

// Every way to read, from the same cursor.
const after = start.last;
const take = async (iterable) => (await collect(iterable, 5)).map((message) => message.data);
const source = new ReconnectingEventSource(topic, { after });
const heard = [];
source.onmessage = (event) => heard.push(JSON.parse(event.data));
const sockets = [];
for (const codec of [undefined, { encode, decode }]) {
  for (const WebSocket of [fromNpm("ws").WebSocket, globalThis.WebSocket].filter(Boolean)) {
    sockets.push(new WebSocketClient(`${server}/ws`, { codec, WebSocket }));
  }
}
const reading = [
  take(readStream(topic, { after })),
  take(readStream(topic, { after, format: "sse" })),
  ...sockets.map((client) => take(client.subscribe("anything", { after }))),
];

// Every way to publish.
const publisher = new Publisher(topic);
for (const [number, value] of wanted.entries()) {
  const client = sockets[number % sockets.length];
  if (number % 2) assert.equal((await client.publish("anything", value)).count, 1);
  else assert.equal((await publisher.publish(value)).count, 1);
}
assert.equal(
  (await sockets.at(-1).publish("anything", data, { event: "größe" })).topic,
  "anything",
);

for (const values of await Promise.all(reading)) assert.deepEqual(values, [...wanted, data]);
source.addEventListener("größe", (event) => heard.push(JSON.parse(event.data)));
await until(() => heard.length >= 4);
assert.deepEqual(heard.slice(0, 4), wanted);

// What the server refuses.
await assert.rejects(publish(`${server}/topics/people`, { name: 7 }), (error) => {
  assert.ok(error instanceof RefusedError);
  assert.deepEqual([error.status, error.problem.errors[0].path], [422, "$.name"]);
  return true;
});
await assert.rejects(sockets[0].publish("people", { name: 7 }), { code: "invalid" });
await assert.rejects(sockets[1].publish("anything", "x".repeat(70_000)), { code: "too_large" });
await assert.rejects(collect(sockets[2].subscribe("none")), { code: "unknown_topic" });
await assert.rejects(collect(readStream(`${server}/topics/none`)), { status: 404 });

// A log that is finished.
const countdown = await collect(readStream(`${server}/topics/countdown`, { after: "earliest" }));
assert.deepEqual(
  countdown.map((message) => message.data ?? message.type),
  [3, 2, 1, 0, "end"],
);
const over = { after: countdown.at(-1).id, format: "sse" };
assert.deepEqual((await collect(readStream(`${server}/topics/countdown`, over)))[0].type, "end");

[source, publisher, ...sockets].forEach((each) => each.close());
console.log("done");
