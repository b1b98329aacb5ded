// What a user writes, for the type checker alone: tests/test_client_js.py runs tsc over it.

import { decode, encode } from "@msgpack/msgpack";

import {
  Backoff,
  ClosedError,
  DroppedError,
  PenstockError,
  Publisher,
  ReconnectingEventSource,
  RefusedError,
  WebSocketClient,
  publish,
  readStream,
  toReadableStream,
  type Codec,
  type GapMessage,
  type Message,
  type State,
  type Stored,
  type Subscription,
} from "./client.js";

interface Note {
  text: string;
}

const shown: string[] = [];
const backoff = new Backoff({ initial: 100, maximum: 1_000, jitter: false });
const wait: number = backoff.delay(2) + backoff.bound(2) + backoff.delay(1, 0.5);

async function streams(): Promise<void> {
  const controller = new AbortController();
  const stream = readStream<Note>("/topics/notes", {
    after: "earliest",
    signal: controller.signal,
    backoff,
    timeout: 0,
    headers: async () => ({ authorization: `Bearer ${wait}` }),
    onState: ({ state, attempt, delay }: State) =>
      shown.push(`${state} ${attempt} ${delay ?? "?"}`),
  });
  for await (const message of stream) {
    if (message.type === "event")
      shown.push(message.data.text, message.id, message.event ?? "message");
    else if (message.type === "gap") shown.push(`${message.missed ?? "?"} ${message.reason}`);
    else if (message.type === "error") shown.push(message.code, message.message);
    else break;
  }
  const job = readStream("/jobs/census", {
    method: "POST",
    body: { limit: 3 },
    format: "sse",
    attempts: 3,
  });
  const messages: ReadableStream<Message> = toReadableStream(job);
  const numbers: ReadableStream<number> = toReadableStream([1, 2]);
  await Promise.all([messages.cancel(), numbers.cancel(), stream.return()]);
}

function sources(): void {
  const source = new ReconnectingEventSource("/topics/notes", {
    shared: true,
    withCredentials: true,
    backoff: {},
  });
  source.onmessage = ({ data, lastEventId }) => shown.push(data.toUpperCase(), lastEventId);
  source.ongap = ({ detail }) => shown.push(detail.reason);
  source.onerror = ({ error }) => error instanceof RefusedError && shown.push(String(error.status));
  source.onstate = function ({ detail }) {
    shown.push(detail.state, detail.transport ?? "", this.url);
  };
  source.addEventListener("end", ({ detail }) => shown.push(detail.id ?? ""));
  source.addEventListener("alarm", (event) => shown.push(event.data as string));
  const state: 0 | 1 | 2 = source.readyState;
  if (state === ReconnectingEventSource.CLOSED) source.close();
}

async function sockets(): Promise<void> {
  const codec: Codec = { encode, decode };
  const client = new WebSocketClient("/ws", {
    codec,
    queue: 100,
    token: async () => "t",
    heartbeat: 5_000,
  });
  const notes: Subscription<Note> = client.subscribe<Note>("notes", {
    after: "latest",
    slow: "skip",
  });
  notes.onmessage = ({ data }) => shown.push(data.text);
  notes.addEventListener("gap", (event) => remember(event.detail));
  for await (const message of notes) if (message.type === "event") shown.push(message.data.text);
  try {
    const { id, count } = await client.publish(
      "notes",
      { text: "hello" },
      { event: "added", key: "k" },
    );
    shown.push(id, String(count));
  } catch (error) {
    if (error instanceof DroppedError || error instanceof ClosedError)
      shown.push(String(client.dropped));
    else if (error instanceof PenstockError) shown.push(error.message);
  }
  client.addEventListener("dropped", ({ detail }) => shown.push(detail.topic));
  client.close();
}

const remember = ({ requested, resumed }: GapMessage) => shown.push(requested ?? "", resumed ?? "");

async function publications(): Promise<Stored> {
  const publisher = new Publisher("/topics/notes", {
    queue: 10,
    headers: { authorization: "Bearer t" },
  });
  publisher.onstate = ({ detail }) => shown.push(detail.state);
  const { first, last, replayed } = await publisher.publish({ text: "x" });
  shown.push(first, last, String(replayed), String(publisher.queued));
  return publish("/topics/notes", [1, 2], { many: true, attempts: 2 });
}

// What must not pass.

// @ts-expect-error there is no such format
readStream("/topics/notes", { format: "xml" });
// @ts-expect-error a URL is needed
new ReconnectingEventSource();
// @ts-expect-error a policy that there is not
new WebSocketClient("/ws").subscribe("t", { slow: "never" });
// @ts-expect-error it can be read only
new Publisher("/topics/t").queued = 3;

void [streams, sources, sockets, publications];
