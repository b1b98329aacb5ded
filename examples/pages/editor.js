import { WebSocketClient } from "/client.js";
import { byId, element, followState, recall, remember } from "./page.js";
import { placeBetween } from "./place.js";

const WRITE_AFTER = 300; // milliseconds without another key
const BEAT_EVERY = 3_000;

const docName = /^#[\w-]{1,40}$/.test(location.hash) ? location.hash.slice(1) : "draft";
const topic = `text.${docName}`;
const me = randomId(); // each tab is somebody

const client = new WebSocketClient("/ws");
followState(client);

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, "0")).join("");
}

/** How far into the log a cursor is: of two events of one paragraph the higher one counts. */
const offsetOf = (cursor) => parseInt(cursor.split("-")[1], 36);

// The document: of each paragraph what the log says last, and what is written here and not stored yet

const paragraphs = new Map(); // by id: {id, offset, stored: {place, text}, draft, timer, row}

function paragraphOf(id) {
  if (!paragraphs.has(id)) {
    paragraphs.set(id, { id, offset: 0, stored: { place: "", text: null }, draft: null, timer: null, row: null });
  }
  return paragraphs.get(id);
}

/** What it is to this reader: the own words until they are stored, else those of the last writer. */
const current = (paragraph) => paragraph.draft ?? paragraph.stored;

/** The log has this: it counts unless something later is known. */
function take(paragraph, offset, { place, text }) {
  if (offset <= paragraph.offset) return;
  paragraph.offset = offset;
  paragraph.stored = { place, text };
}

/** Write it here at once, and to the log after a moment without another change. */
function write(paragraph, change, wait = WRITE_AFTER) {
  paragraph.draft = { ...current(paragraph), ...change };
  clearTimeout(paragraph.timer);
  paragraph.timer = setTimeout(() => store(paragraph), wait);
  show();
}

async function store(paragraph) {
  const { id, draft } = paragraph;
  try {
    const { id: cursor } = await client.publish(topic, { id, ...draft });
    take(paragraph, offsetOf(cursor), draft);
    if (paragraph.draft === draft) paragraph.draft = null; // else there is more to be stored
    problem = "";
  } catch (error) {
    problem = `Not stored: ${error.message}`;
  }
  showSoon();
}

const subscription = client.subscribe(topic, { after: "earliest", slow: "conflate" });
subscription.onmessage = ({ data, lastEventId }) => {
  take(paragraphOf(data.id), offsetOf(lastEventId), data);
  giveBack();
  showSoon();
};
subscription.ongap = ({ detail }) => detail.reason === "epoch" && startAnew();

// The server was restarted and has forgotten the text. What the pages still have they give back, but
// only paragraphs that are not in the new log by then, where they may have been changed since.

let givesBackAt = Infinity; // the offset from which on this page knows what there is

async function startAnew() {
  for (const paragraph of paragraphs.values()) paragraph.offset = 0;
  try {
    const page = await fetch(`/topics/${topic}?format=json&after=latest`);
    givesBackAt = offsetOf((await page.json()).next);
    giveBack();
  } catch {
    setTimeout(startAnew, 1_000);
  }
}

function giveBack() {
  if (offsetOf(subscription.cursor) < givesBackAt) return;
  givesBackAt = Infinity;
  for (const paragraph of paragraphs.values()) if (paragraph.offset === 0 && paragraph.stored.text !== null) write(paragraph, {}, 0);
}

// What is shown

let problem = "";
let isDue = false;

/** Paragraphs in their order; those with the same place by their ids. */
function shown() {
  const sortKey = (paragraph) => `${current(paragraph).place} ${paragraph.id}`;
  const there = [...paragraphs.values()].filter((each) => current(each).text !== null);
  return there.sort((one, other) => (sortKey(one) < sortKey(other) ? -1 : 1));
}

function showSoon() {
  if (!isDue) requestAnimationFrame(show);
  isDue = true;
}

function show() {
  isDue = false;
  const list = byId("text");
  for (const paragraph of paragraphs.values()) {
    if (current(paragraph).text === null) paragraph.row?.remove();
  }
  shown().forEach((paragraph, index) => {
    paragraph.row ??= rowOf(paragraph);
    if (list.children[index] !== paragraph.row) list.insertBefore(paragraph.row, list.children[index] ?? null);
    setText(paragraph.row.querySelector("textarea"), current(paragraph).text);
  });
  showSaved();
  showOthers();
}

/** Another's words must not move the caret more than they have to. */
function setText(area, text) {
  if (area.value === text) return;
  const { selectionStart, selectionEnd, value } = area;
  const isSame = value.slice(0, selectionStart) === text.slice(0, selectionStart);
  const shift = isSame ? 0 : text.length - value.length;
  area.value = text;
  fit(area);
  if (document.activeElement === area) area.setSelectionRange(Math.max(0, selectionStart + shift), Math.max(0, selectionEnd + shift));
}

/** As high as its text, where the browser doesn't see to that (`field-sizing`). */
function fit(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
}

function rowOf(paragraph) {
  const area = element("textarea", { rows: 1, maxLength: 10_000, ariaLabel: "Paragraph", placeholder: "…" });
  area.oninput = () => {
    fit(area);
    write(paragraph, { text: area.value });
  };
  area.onkeydown = (event) => onKey(event, paragraph, area);
  area.onfocus = area.onblur = beat;
  const remove = element("button", { type: "button", className: "quiet", ariaLabel: "Remove this paragraph" }, "×");
  remove.onclick = () => erase(paragraph);
  const row = element("li", {}, area, element("span", { className: "editors small" }), remove);
  row.dataset.id = paragraph.id;
  return row;
}

function onKey(event, paragraph, area) {
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    const rest = area.value.slice(area.selectionEnd);
    write(paragraph, { text: area.value.slice(0, area.selectionStart) });
    addAfter(paragraph, rest);
  } else if (event.key === "Backspace" && area.value === "") {
    event.preventDefault();
    erase(paragraph);
  }
}

function addAfter(paragraph, text = "") {
  const order = shown();
  const next = paragraph ? order[order.indexOf(paragraph) + 1] : undefined;
  const added = paragraphOf(randomId());
  const place = placeBetween(paragraph ? current(paragraph).place : "", next ? current(next).place : "");
  write(added, { place, text }, 0);
  const area = added.row.querySelector("textarea");
  area.focus();
  area.setSelectionRange(0, 0);
}

function erase(paragraph) {
  const order = shown();
  const before = order[order.indexOf(paragraph) - 1];
  write(paragraph, { text: null }, 0);
  before?.row.querySelector("textarea").focus();
}

function showSaved() {
  const waits = [...paragraphs.values()].some((each) => each.draft !== null);
  const place = client.state === "open" ? "Saving" : "Kept here until the connection is back";
  byId("saved").textContent = problem || (waits ? place : "Saved");
}
client.addEventListener("state", showSaved);

// Who is here

function beat() {
  const paragraph = document.activeElement?.closest?.("[data-id]")?.dataset.id ?? null;
  const name = byId("name").value.trim() || "Somebody";
  if (client.state !== "open") return; // an old sign of life is worth nothing
  client.publish(`beat.${docName}`, { who: me, name, paragraph }).catch(() => {});
}
setInterval(beat, BEAT_EVERY);
client.addEventListener("state", beat);

let others = []; // everybody's newest beat, as the server has it
client.subscribe(`there.${docName}`, { after: "earliest" }).onmessage = ({ data }) => {
  others = data.filter((each) => each.who !== me);
  showOthers();
};

function showOthers() {
  const tags = (tag, there) => there.map(({ name, who }) => colored(element(tag, {}, name), who));
  replaceChanged(byId("people"), tags("li", others));
  for (const row of byId("text").children) {
    const here = others.filter((each) => each.paragraph === row.dataset.id);
    replaceChanged(row.querySelector(".editors"), tags("span", here));
    row.classList.toggle("busy", here.length > 0);
  }
}

/** What stays as it is, is not read aloud again. */
function replaceChanged(list, items) {
  const names = (nodes) => [...nodes].map((each) => each.textContent).join();
  if (names(items) !== names(list.children)) list.replaceChildren(...items);
}

function colored(made, who) {
  made.style.setProperty("--hue", [...who].reduce((sum, each) => (sum * 31 + each.codePointAt(0)) % 360, 7));
  return made;
}

byId("name").value = recall("editor:name", "");
byId("name").onchange = () => {
  remember("editor:name", byId("name").value);
  beat();
};
byId("add").onclick = () => addAfter(shown().at(-1));
byId("document").textContent = docName;
addEventListener("hashchange", () => location.reload());
