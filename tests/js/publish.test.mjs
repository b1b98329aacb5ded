import assert from "node:assert/strict";
import { test } from "node:test";

import { CLIENT, QUICK, problem, serve, until } from "./support.mjs";

const { publish, Publisher, RefusedError, DroppedError, ClosedError } = await import(CLIENT);

const stored =
  (extra = {}) =>
  (response) => {
    response.writeHead(201, { "content-type": "application/json", ...extra });
    response.end('{"count":1,"first":"e-1","last":"e-1"}');
  };

const cut = (response) => response.destroy();

test("a value is published, and the answer given", async () => {
  const { url, requests } = await serve(stored({ "idempotent-replayed": "true" }));
  const options = { event: "größe", headers: { authorization: "Bearer t" } };
  const answer = await publish(`${url}/topics/t`, { a: "ä" }, options);
  assert.deepEqual(answer, { count: 1, first: "e-1", last: "e-1", replayed: true });
  const [{ method, body, headers }] = requests;
  assert.deepEqual([method, body, headers.authorization], ["POST", '{"a":"ä"}', "Bearer t"]);
  assert.equal(headers["content-type"], "application/json");
  assert.equal(Buffer.from(headers["event-name"], "latin1").toString(), "größe");
});

test("it is tried again with the same key", async () => {
  const { url, requests } = await serve(
    cut,
    problem(503, "no room", { "retry-after": "0" }),
    stored(),
  );
  await publish(url, 1, { backoff: QUICK, key: "k" });
  assert.deepEqual(
    requests.map(({ headers }) => headers["idempotency-key"]),
    ["k", "k", "k"],
  );
});

test("an answer that breaks off is asked for again", async () => {
  const half = (response) => {
    response.writeHead(201, { "content-type": "application/json", "content-length": "40" });
    response.write('{"count":1,');
    setTimeout(() => response.destroy(), 10);
  };
  const { url, requests } = await serve(half, stored());
  assert.equal((await publish(url, 1, { backoff: QUICK })).count, 1);
  assert.equal(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
});

test("many values go as lines", async () => {
  const { url, requests } = await serve(stored());
  await publish(url, [1, "a\nb", null], { many: true });
  assert.deepEqual(
    [requests[0].headers["content-type"], requests[0].body],
    ["application/x-ndjson", '1\n"a\\nb"\nnull'],
  );
});

test("a refusal rejects, and so do too many attempts, a signal, and what JSON can't say", async () => {
  const { url, requests } = await serve(
    problem(422, "Value 0 at $.text: Expected `str`, got `int`."),
  );
  const error = await publish(url, 7).catch((reason) => reason);
  assert.ok(error instanceof RefusedError);
  assert.deepEqual(
    [error.status, error.message],
    [422, "the server answered 422: Value 0 at $.text: Expected `str`, got `int`."],
  );
  assert.equal(requests.length, 1);
  const { url: busy, requests: tries } = await serve(problem(503, "busy"));
  await assert.rejects(publish(busy, 7, { backoff: QUICK, attempts: 3 }), /503: busy/);
  assert.equal(tries.length, 3);
  const reason = new Error("enough");
  await assert.rejects(publish(busy, 7, { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(publish(busy, undefined), /no form in JSON/);
});

test("a publisher keeps the order over every fault, and each goes once", async () => {
  const log = new Map();
  const faults = [
    cut,
    problem(503, "busy"),
    stored(),
    stored(),
    problem(429, "slow", { "retry-after": "0" }),
  ];
  let count = 0;
  const { url, requests } = await serve((response, { headers, body }) => {
    const fault = faults[count++ % faults.length];
    // A cut one was stored all the same; the key is what makes it one.
    if (fault === cut || (fault !== faults[1] && fault !== faults[4]))
      log.set(headers["idempotency-key"], Number(body));
    fault(response);
  });
  const publisher = new Publisher(url, { backoff: QUICK });
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => publisher.publish(n)));
  assert.equal(answers.length, 20);
  assert.deepEqual(
    [...log.values()],
    Array.from({ length: 20 }, (_, n) => n),
  );
  assert.ok(requests.length > 20);
  assert.deepEqual([publisher.queued, publisher.dropped, publisher.state], [0, 0, "open"]);
});

test("a refusal does not hold up the next one", async () => {
  const { url } = await serve(problem(422, "bad"), stored());
  const publisher = new Publisher(url, { backoff: QUICK });
  const [bad, good] = await Promise.allSettled([
    publisher.publish(1),
    publisher.publish(2, { event: "x" }),
  ]);
  assert.equal(bad.reason.status, 422);
  assert.equal(good.value.count, 1);
});

test("while it is offline the oldest give way, but for the one under way", async () => {
  const { url, requests } = await serve(problem(503, "busy"), problem(503, "busy"), stored());
  const publisher = new Publisher(url, {
    queue: 2,
    backoff: { initial: 50, maximum: 50, jitter: false },
  });
  const dropped = [];
  publisher.ondropped = ({ detail }) => dropped.push(detail.data);
  const states = [];
  publisher.onstate = ({ detail }) => states.push(detail.state);
  const all = [0, 1, 2, 3, 4].map((n) => publisher.publish(n));
  await until(() => publisher.queued === 3);
  assert.deepEqual([dropped, publisher.dropped], [[1, 2], 2]);
  await assert.rejects(all[1], DroppedError);
  await Promise.all([all[0], all[3], all[4]]);
  assert.deepEqual(
    requests.map(({ body }) => body),
    ["0", "0", "0", "3", "4"],
  );
  assert.deepEqual(states, ["waiting", "waiting", "open"]);
});

test("close rejects what waits", async () => {
  const { url } = await serve(problem(503, "busy"));
  const publisher = new Publisher(url);
  const promises = [publisher.publish(1), publisher.publish(2)];
  await until(() => publisher.state === "waiting");
  publisher.close();
  for (const promise of promises) await assert.rejects(promise, ClosedError);
  await assert.rejects(publisher.publish(3), ClosedError);
  assert.equal(publisher.state, "closed");
});
