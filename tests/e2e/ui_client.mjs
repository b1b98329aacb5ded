// The AI SDK's own transport and reader, for test_ui_stream.py: does some tasks, and prints JSON.
//
//   node ui_client.mjs NPM_FOLDER SERVER '[{"chat", "messages", "body", "resume", "stopAfter"}]'
//
// With "post", that path of the server is posted to once the first chunk has come.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, server, tasks] = process.argv.slice(2);
const entry = createRequire(`${folder}/package.json`).resolve("ai");
const { DefaultChatTransport, readUIMessageStream } = await import(pathToFileURL(entry));
const transport = new DefaultChatTransport({ api: `${server}/api/chat` });

const results = [];
for (const task of JSON.parse(tasks)) results.push(await converse(task));
console.log(JSON.stringify(results));
process.exit(0);

async function converse({ chat, messages, body, resume, stopAfter, post }) {
  const abort = new AbortController();
  const result = { chunks: [], errors: [] };
  const options = { chatId: chat, messages, body, abortSignal: abort.signal };
  try {
    const stream = resume
      ? await transport.reconnectToStream(options)
      : await transport.sendMessages({ ...options, trigger: "submit-message" });
    result.found = stream !== null;
    if (stream === null) return result;
    const [raw, parsed] = stream.tee();
    const reading = stopAfter ? undefined : read(parsed, messages?.at(-1), result);
    for await (const chunk of raw) {
      if (result.chunks.push(chunk) === 1 && post) await fetch(server + post, { method: "POST" });
      if (result.chunks.length === stopAfter) {
        abort.abort();
        break;
      }
    }
    await reading;
  } catch (error) {
    result.thrown = String(error.message);
  }
  return result;
}

async function read(stream, last, result) {
  const states = readUIMessageStream({
    stream,
    message: last?.role === "assistant" ? last : undefined,
    onError: (error) => result.errors.push(String(error.message)),
  });
  for await (const message of states) result.message = message;
}
