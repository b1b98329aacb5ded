// The newest events of a log as they come: bounded, and drawn a few times a second at the most.

import { el, setAttribute, setText } from "./dom.js";
import { clock, count, cursorBefore, cut, offsetOf, plural, rate } from "./format.js";
import { Refused } from "./api.js";

const KEPT = 1_000;
const ROWS = 100;
const PAUSE = 250;
const LONG = 280;
const LONGEST = 20_000;
const BACKLOG = 20;
const AGAIN = 2_000;

/**
 * Follows `path`, a log served as NDJSON, while `isLive()` says that the server answers.
 *
 * `begin` is where: "earliest", "latest", or a cursor, of which the events just before are read too.
 */
export class Tail {
  #api;
  #path;
  #begin;
  #isLive;
  #abort = null;
  #timer = 0;
  #kept = [];
  #received = 0;
  #dirty = false;
  #drawn = 0;
  #frozen = null;
  #seconds = [];
  #after;
  // A console never holds a producer up; a topic that conflates for all grants no more than that.
  #slow = "skip";
  #open = true;

  constructor(api, path, begin, isLive) {
    this.#api = api;
    this.#path = path;
    this.#begin = begin;
    this.#isLive = isLive;
    this.element = this.#build();
  }

  #build() {
    this.pause = el("button", { type: "button", "aria-pressed": "false", on: { click: () => this.#toggle() } }, "Pause");
    this.filter = el("input", {
      type: "search", placeholder: "Only events that hold…", "aria-label": "Only events that hold this text",
      spellcheck: "false", on: { input: () => this.#schedule() },
    });
    this.figures = el("span", { class: "muted figures" });
    this.status = el("span", { class: "muted", role: "status" });
    this.body = el("tbody");
    const heads = [["when", "Time"], ["number", "Offset"], ["event", "Name"], ["", "Data"]].map(([kind, title]) =>
      el("th", { scope: "col", class: kind || null }, title));
    const caption = el("caption", { class: "unseen" }, "Events, the newest first");
    const list = el("table", {}, caption, el("thead", {}, el("tr", {}, heads)), this.body);
    const box = el("div", { class: "tail", tabindex: "0", role: "region", "aria-label": "Events" }, list);
    const bar = el("div", { class: "tail-bar" }, this.pause, this.filter, this.figures, this.status);
    return el("div", {}, bar, box);
  }

  /** Begin to follow. */
  start() {
    this.#after = this.#begin;
    this.#follow();
    this.#timer = setInterval(() => this.#count(), 1_000);
  }

  close() {
    this.#open = false;
    this.#abort?.abort();
    clearInterval(this.#timer);
  }

  /** The server answers again, or not: a stream that broke is opened again where it was. */
  liveChanged() {
    if (this.#isLive()) this.#again();
    else if (document.hidden) this.#abort?.abort(); // a hidden tab gives its connections back
  }

  async #follow() {
    this.#again = () => {};
    this.#abort = new AbortController();
    const query = new URLSearchParams({ after: this.#after, slow: this.#slow });
    try {
      setText(this.status, "");
      for await (const message of this.#api.messages(`${this.#path}?${query}`, this.#abort.signal)) {
        this.#take(message);
        if (message.type === "end") {
          setText(this.status, "This log has ended.");
          return;
        }
      }
    } catch (error) {
      if (!this.#open) return;
      if (error instanceof Refused && error.status === 400 && this.#slow === "skip") {
        this.#slow = "conflate";
        this.#follow();
        return;
      }
      if (error instanceof Refused && error.status < 500 && error.status !== 429) {
        setText(this.status, error.status === 403 ? `Not allowed: ${error.message}` : error.message);
        return;
      }
    }
    if (!this.#open) return;
    setText(this.status, "The stream broke off; it goes on when the server is back.");
    await this.#untilLive();
    if (this.#open) this.#follow();
  }

  #again = () => {};

  #untilLive() {
    return new Promise((resolve) => {
      this.#again = resolve;
      setTimeout(() => this.#isLive() && resolve(), AGAIN);
    });
  }

  #take(message) {
    if (message.id) this.#after = message.id;
    if (message.type === "event") this.#received += 1;
    else if (message.type === "gap") this.#after = message.resumed;
    else if (message.type !== "end") return;
    this.#kept.push(shown(message));
    if (this.#kept.length > 2 * KEPT) this.#kept = this.#kept.slice(-KEPT);
    this.#schedule();
  }

  // Drawing: one frame at a time is asked for, and a hidden tab gets none.

  #schedule() {
    if (this.#dirty) return;
    this.#dirty = true;
    const wait = Math.max(0, this.#drawn + PAUSE - performance.now());
    setTimeout(() => requestAnimationFrame(() => this.#draw()), wait);
  }

  #draw() {
    this.#dirty = false;
    this.#drawn = performance.now();
    if (!this.#open) return;
    const wanted = this.filter.value.toLowerCase();
    const chosen = [];
    const source = this.#frozen ?? this.#kept;
    for (let index = source.length - 1; index >= 0 && chosen.length < ROWS; index -= 1) {
      const entry = source[index];
      if (!wanted || entry.kind !== "event" || entry.search.includes(wanted)) chosen.push(entry);
    }
    this.#fill(chosen);
    this.#count(false);
  }

  /** Show these entries. Rows that are there already stay as they are: one may be unfolded. */
  #fill(entries) {
    const wanted = new Set(entries);
    for (const row of [...this.body.children]) if (!wanted.has(row.entry)) row.remove();
    let next = this.body.firstChild;
    for (const entry of entries) {
      if (next?.entry === entry) {
        next = next.nextSibling;
        continue;
      }
      this.body.insertBefore(rowOf(entry), next);
    }
  }

  #count(second = true) {
    if (second) {
      this.#seconds.push(this.#received);
      if (this.#seconds.length > 4) this.#seconds.shift();
    }
    const [first] = this.#seconds;
    const time = this.#seconds.length - 1;
    const pace = time > 0 ? rate((this.#seconds.at(-1) - first) / time) : "–";
    const more = this.#frozen === null ? 0 : this.#received - this.#frozen.received;
    const waiting = this.#frozen === null ? "" : ` · ${count(more)} more since the pause`;
    setText(this.figures, `${plural(this.#received, "event")} · ${pace}${waiting}`);
  }

  #toggle() {
    this.#frozen = this.#frozen === null ? Object.assign(this.#kept.slice(-KEPT), { received: this.#received }) : null;
    setAttribute(this.pause, "aria-pressed", String(this.#frozen !== null));
    setText(this.pause, this.#frozen === null ? "Pause" : "Go on");
    this.#draw();
  }
}

/** Where to begin for the last few events before a cursor, and then what comes. */
export function recent(cursor) {
  return cursor ? cursorBefore(cursor, BACKLOG) : "latest";
}

function shown(message) {
  const base = { kind: message.type, when: new Date() };
  if (message.type === "gap") {
    const missed = message.missed === null ? "Events" : `${count(message.missed)} events`;
    const why = { slow: "this reader was too slow", expired: "they are gone from the log", epoch: "the log has begun anew" };
    return { ...base, text: `Gap: ${missed} missed, for ${why[message.reason] ?? message.reason}.` };
  }
  if (message.type === "end") return { ...base, text: "The end: nothing will follow." };
  const text = JSON.stringify(message.data) ?? "null";
  const name = message.event ?? "";
  const search = `${name} ${text.slice(0, LONGEST)}`.toLowerCase();
  return { ...base, text, name, offset: offsetOf(message.id), search };
}

function rowOf(entry) {
  const when = el("td", { class: "when" }, clock(entry.when, 3));
  const row = entry.kind === "event"
    ? el("tr", {}, when, el("td", { class: "number" }, count(entry.offset)),
      el("td", { class: "event" }, cut(entry.name, 128)), dataCell(entry))
    : el("tr", { class: entry.kind }, when, el("td", { colspan: 3 }, entry.text));
  row.entry = entry;
  return row;
}

function dataCell({ text }) {
  if (text.length <= LONG) return el("td", { class: "data" }, text);
  const body = el("span", {}, cut(text, LONG));
  const button = el("button", { type: "button", "aria-expanded": "false" }, `all ${count(text.length)} characters`);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") !== "true";
    setAttribute(button, "aria-expanded", String(open));
    setText(body, cut(text, open ? LONGEST : LONG));
    setText(button, open ? "less" : `all ${count(text.length)} characters`);
  });
  return el("td", { class: "data" }, body, button);
}
