// The parser of event streams, through the door that everybody uses.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CLIENT, collect } from "./support.mjs";

const { readStream } = await import(CLIENT);

/** What a stream of these pieces of bytes gives; the end of the body is the end. */
async function read(pieces, options = {}) {
  const states = [];
  const asked = [];
  const fetch = async (url, init) => {
    asked.push(Object.fromEntries(init.headers));
    if (asked.length > 1) return new Response(null, { status: 204 });
    const body = new ReadableStream({
      start(controller) {
        for (const piece of pieces) controller.enqueue(piece);
        controller.close();
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
  };
  const got = await collect(
    readStream("http://server/topics/t", {
      fetch,
      format: "sse",
      parse: (text) => text,
      backoff: { initial: 0.1, jitter: false },
      onState: (state) => states.push(state),
      ...options,
    }),
  );
  const last = got.pop();
  assert.equal(last.type, "end");
  return { got: got.map(({ id, data, event }) => [event ?? "message", data, id]), states, asked };
}

const bytes = (text) => new TextEncoder().encode(text);
const waited = ({ states }) => states.find(({ state }) => state === "waiting").delay;

const NASTY =
  "\ufeffretry: 3\r\ndata:one\r\ndata: two\r\rid: a\u0000b\nid: ü1\revent: größe\ndata\ndata:  x: y \n\n" +
  ': comment\nid\n\ndata:{"a":1}\nunknown: 7\nretry: 1x\n\r\nevent: lost\n\nid: p-1\n\ndata: cut off';

const EXPECTED = [
  ["message", "one\ntwo", ""],
  ["größe", "\n x: y ", "ü1"],
  ["message", '{"a":1}', ""],
];

test("an event stream is read as the standard says", async () => {
  const result = await read([bytes(NASTY)]);
  assert.deepEqual(result.got, EXPECTED);
  assert.ok(Math.abs(waited(result) - 3.1) < 1e-9);
  assert.equal(result.asked[1]["last-event-id"], "p-1", "a block with nothing but an id counts");
});

test("wherever it is cut into pieces", async () => {
  const all = bytes(NASTY);
  for (let cut = 0; cut <= all.length; cut++) {
    const result = await read([all.slice(0, cut), all.slice(cut)]);
    assert.deepEqual(result.got, EXPECTED, `cut at ${cut}`);
    assert.equal(result.asked[1]["last-event-id"], "p-1", `cut at ${cut}`);
  }
  assert.deepEqual((await read(Array.from(all, (byte) => Uint8Array.of(byte)))).got, EXPECTED);
});

test("every kind of line end, and mixtures, in every piece", async () => {
  for (const end of ["\n", "\r", "\r\n"]) {
    const all = bytes(`data: 1${end}data: 2${end}${end}event: e${end}data${end}${end}`);
    for (let cut = 0; cut <= all.length; cut++) {
      const { got } = await read([all.slice(0, cut), all.slice(cut)]);
      assert.deepEqual(
        got,
        [
          ["message", "1\n2", ""],
          ["e", "", ""],
        ],
        `${JSON.stringify(end)} at ${cut}`,
      );
    }
  }
});

test("only the first byte order mark is none of the data", async () => {
  assert.deepEqual((await read([bytes("\ufeff\ufeffdata: x\n\ndata: y\n\n")])).got, [
    ["message", "y", ""],
  ]);
});

test("an id stays until there is another; a block without data has no event", async () => {
  const { got } = await read([bytes("id: 7\ndata: a\n\ndata: b\n\nevent: x\n\nid:\ndata: c\n\n")]);
  assert.deepEqual(got, [
    ["message", "a", "7"],
    ["message", "b", "7"],
    ["message", "c", ""],
  ]);
});

test("broken UTF-8 becomes U+FFFD and breaks nothing else", async () => {
  const { got } = await read([
    Uint8Array.of(...bytes("data: a"), 0xff, 0xc3),
    bytes("\n\ndata: b\n\n"),
  ]);
  assert.deepEqual(got, [
    ["message", "a\ufffd\ufffd", ""],
    ["message", "b", ""],
  ]);
});

test("a wait without bound is bounded", async () => {
  const controller = new AbortController();
  const states = [];
  const stream = read([bytes("retry: 99999999999999999999\ndata: 1\n\n")], {
    signal: controller.signal,
    onState(state) {
      states.push(state);
      if (state.state === "waiting") controller.abort();
    },
  });
  await assert.rejects(stream, { name: "AbortError" });
  assert.equal(waited({ states }), 3_600_000.1);
});

test("a line without end is not kept", async () => {
  const chunk = new Uint8Array(1 << 20).fill(120);
  await assert.rejects(
    read([bytes("data: "), ...Array(18).fill(chunk)]),
    /a line of more than 16777216/,
  );
  await assert.rejects(
    read([
      bytes("data: "),
      ...Array(17)
        .fill([chunk.subarray(0, 1 << 20), bytes("\ndata: ")])
        .flat(),
    ]),
    /an event of more than 16777216/,
  );
});

test("data that isn't JSON is told, with a hint", async () => {
  await assert.rejects(
    read([bytes("id: 4\ndata: hello\n\n")], { parse: undefined }),
    /event 4 can't be read: .*give parse: \(text\) => text/,
  );
});
