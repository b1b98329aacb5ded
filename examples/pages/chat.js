/**
 * The chat's page: a conversation is kept in this tab, an answer comes from /api/chat.
 *
 * An answer whose connection was lost, or whose page was reloaded, is taken up again at
 * /api/chat/{id}/stream for as long as the server goes on with it; one that is stopped is cancelled
 * there, too.
 */

import { byId, element, showState } from "/static/page.js";

const STORE = "penstock-chat";
const MOST_MESSAGES = 200;
const LONGEST_PAUSE = 5000;
const IDEAS = ["What is a cursor?", "What happens to slow readers?", "How do I deploy behind nginx?"];

const log = byId("log");
const scroller = byId("scroller");
const question = byId("question");

// What is kept: {id, messages: [{id, role, text, reasoning, failure, note}], answering, run}. A note
// says what became of an answer that didn't simply end; failure is what the server said of it.

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

const newChat = () => ({ id: newId(), messages: [], answering: false, run: null });

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(STORE));
    return Array.isArray(kept?.messages) ? kept : newChat();
  } catch {
    return newChat();
  }
}

function keep() {
  chat.messages = chat.messages.slice(-MOST_MESSAGES);
  try {
    sessionStorage.setItem(STORE, JSON.stringify(chat));
  } catch {
    // Full, or forbidden: the conversation lasts as long as the page.
  }
}

let chat = recall();
let controller = null; // of the answer that is coming

// What is shown

const shown = new Map(); // a message's id -> its element

function show(message) {
  const text = document.createTextNode(message.text);
  const said = element("p", { className: "said" }, text);
  const place = element("article", { className: `message ${message.role}` }, said);
  place.setAttribute("aria-label", message.role === "user" ? "You" : "Answer");
  shown.set(message.id, { place, text, thought: null });
  log.append(place);
  if (message.reasoning) showReasoning(message, message.reasoning);
  showNote(message);
}

function showAll() {
  shown.clear();
  log.replaceChildren();
  chat.messages.forEach(show);
  byId("welcome").hidden = chat.messages.length > 0;
  scroller.scrollTop = scroller.scrollHeight;
}

function showReasoning(message, delta) {
  const view = shown.get(message.id);
  if (!view || !delta) return;
  if (!view.thought) {
    view.thought = document.createTextNode("");
    view.place.prepend(element("details", {}, element("summary", { textContent: "Reasoning" }), view.thought));
  }
  view.thought.appendData(delta);
}

/** What became of an answer, where it didn't simply end, and a way to ask again. */
function showNote(message) {
  const place = shown.get(message.id)?.place;
  place?.querySelector(".note")?.remove();
  if (!place || !message.note) return;
  const note = element("p", { className: message.failure ? "note bad" : "note" }, message.note);
  const again = element("button", { type: "button", textContent: "Ask again" });
  again.addEventListener("click", () => askAgain(message));
  note.append(again);
  place.append(note);
}

function setAnswering(message, answering) {
  chat.answering = answering;
  // Read aloud when it is whole, and not word by word.
  shown.get(message.id)?.place.setAttribute("aria-busy", String(answering));
  byId("send").hidden = answering;
  byId("stop").hidden = !answering;
}

/** Do something that makes the log longer; who reads its end goes on doing so. */
function followingTheEnd(change) {
  const atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;
  change();
  if (atEnd) scroller.scrollTop = scroller.scrollHeight;
}

// An answer

function begin(role, text) {
  const message = { id: newId(), role, text, reasoning: "", failure: "", note: "" };
  chat.messages.push(message);
  byId("welcome").hidden = true;
  show(message);
  return message;
}

function ask(text) {
  begin("user", text);
  const answer = begin("assistant", "");
  scroller.scrollTop = scroller.scrollHeight;
  answerFrom(answer, post);
}

function askAgain(message) {
  if (controller) return;
  chat.messages = chat.messages.slice(0, chat.messages.indexOf(message));
  showAll();
  if (chat.messages.at(-1)?.role !== "user") return keep();
  answerFrom(begin("assistant", ""), post);
}

function post(signal) {
  const messages = chat.messages
    .filter((message) => message.text)
    .map(({ id, role, text }) => ({ id, role, parts: [{ type: "text", text }] }));
  return fetch("/api/chat", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ id: chat.id, messages, trigger: "submit-message" }),
    signal,
  });
}

const resume = (signal) => fetch(`/api/chat/${chat.id}/stream`, { signal, cache: "no-store" });

/** Read an answer to its end, through lost connections. */
async function answerFrom(message, connect) {
  controller = new AbortController();
  const { signal } = controller;
  const asked = chat;
  setAnswering(message, true);
  keep();
  try {
    for (let failures = 0; ; connect = resume) {
      try {
        const response = await connect(signal);
        if (response.ok) showState({ state: "open" });
        if (response.status === 204) {
          await readLog(message, signal);
          break;
        }
        if (!response.ok && response.status < 500) throw new Failure(await problemOf(response));
        if (response.ok) {
          const began = performance.now();
          if (await read(response, message)) break;
          if (performance.now() - began > LONGEST_PAUSE) failures = 0;
        } else if (connect === post) {
          throw new Failure(await problemOf(response));
        }
      } catch (error) {
        if (error instanceof Failure || signal.aborted) throw error;
      }
      showState({ state: "waiting" });
      await pause(Math.min(LONGEST_PAUSE, 250 * 2 ** failures++) * (0.5 + Math.random() / 2), signal);
    }
  } catch (error) {
    message.failure = signal.aborted ? "" : error.message;
    message.note = message.failure || "Stopped.";
  }
  controller = null;
  asked.run = null;
  followingTheEnd(() => showNote(message));
  setAnswering(message, false);
  byId("connection").textContent = "";
  keep();
}

/** What is wrong with an answer, for good. */
class Failure extends Error {}

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const said = body.error?.message ?? body.detail ?? body.title ?? response.statusText;
  return `The server refused (${response.status}): ${said}`;
}

/** Read one connection; true once the answer is whole. */
async function read(response, message) {
  clear(message); // each connection tells the answer from its beginning
  chat.run = response.headers.get("Location") ?? chat.run;
  keep();
  for await (const part of parts(response.body)) {
    if (part === "[DONE]") {
      if (message.failure) throw new Failure(message.failure);
      return true;
    }
    take(JSON.parse(part), message);
  }
  return false;
}

function clear(message) {
  const { text, thought } = shown.get(message.id);
  message.text = message.reasoning = message.failure = text.data = "";
  if (thought) thought.data = "";
}

function take(part, message) {
  switch (part.type) {
    case "text-delta":
      message.text += part.delta;
      followingTheEnd(() => shown.get(message.id)?.text.appendData(part.delta));
      break;
    case "reasoning-delta":
      message.reasoning += part.delta;
      showReasoning(message, part.delta);
      break;
    case "error":
      message.failure = part.errorText; // for good where [DONE] follows, else of this connection
      break;
    case "abort":
      message.note = "Stopped.";
      break;
  }
}

/** The data of each event of a stream, whose events are one line each. */
async function* parts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const lines = (held + piece.value).split("\n");
      held = lines.pop();
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** An answer that has come to its end meanwhile: its run is a job, whose log is kept for a while. */
async function readLog(message, signal) {
  let text = "";
  let reasoning = "";
  for (let after = "earliest"; chat.run; ) {
    const response = await fetch(`${chat.run}?format=json&limit=1000&after=${after}`, { signal });
    if (!response.ok) break;
    const page = await response.json();
    for (const { data } of page.events) {
      text += data.text ?? "";
      reasoning += data.reasoning ?? "";
    }
    if (page.end || page.next === after) {
      clear(message);
      take({ type: "reasoning-delta", delta: reasoning }, message);
      take({ type: "text-delta", delta: text }, message);
      if (page.status === "done") return;
      throw new Failure(page.status === "failed" ? "The model failed." : "Stopped.");
    }
    after = page.next;
  }
  throw new Failure("The server no longer has this answer.");
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** Leaving does not stop an answer, so it is cancelled by name. */
function stop() {
  if (!controller) return;
  if (chat.run) fetch(chat.run, { method: "DELETE", keepalive: true }).catch(() => {});
  controller.abort();
}

// The form

function send() {
  const text = question.value.trim();
  if (!text || controller) return;
  question.value = "";
  ask(text);
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
question.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
byId("stop").addEventListener("click", () => {
  stop();
  question.focus();
});
byId("new").addEventListener("click", () => {
  stop();
  chat = newChat();
  showAll();
  keep();
  question.focus();
});

byId("ideas").append(
  ...IDEAS.map((text) => {
    const button = element("button", { type: "button", textContent: text });
    button.addEventListener("click", () => controller || ask(text));
    return element("li", {}, button);
  }),
);

addEventListener("pagehide", keep);
showAll();
if (chat.answering) answerFrom(chat.messages.at(-1), resume);

fetch("/v1/models")
  .then((response) => response.json())
  .then(({ data }) => (byId("model").textContent = data[0]?.id ?? ""))
  .catch(() => {});
