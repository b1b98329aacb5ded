// What went wrong: what was seen to happen, with the time, and all that was counted.

import { cells, el, Rows, setAttribute, setText, table } from "./dom.js";
import { clock, count, cut } from "./format.js";
import { COUNTERS } from "./incidents.js";

const KINDS = {
  refused: "refused", gap: "gap", closed: "closed", stall: "stall", pipeline: "pipeline", job: "job", server: "server",
};
const LONGEST = 600;

/** A list of incidents, the newest first; `update(entries)`. */
export function incidentList(most) {
  const list = el("ul", { class: "troubles" });
  const none = el("p", { class: "note" }, "Nothing went wrong since this page was opened.");
  const rows = new Rows(list, incidentRow);
  const update = (entries) => {
    none.hidden = entries.length > 0;
    rows.update(entries.slice(0, most).map((entry) => [entry, entry]));
  };
  return { element: el("div", {}, none, list), update };
}

function incidentRow(entry) {
  const when = el("time");
  const text = el("p");
  const tone = ["pipeline", "job", "stall"].includes(entry.kind) ? "bad" : "warn";
  const badge = el("span", {}, el("span", { class: "pill", "data-tone": tone }, KINDS[entry.kind] ?? entry.kind));
  const element = el("li", {}, when, badge, text);
  const update = () => {
    setText(when, clock(entry.when));
    setAttribute(when, "datetime", entry.when.toISOString());
    setText(text, cut(entry.text, LONGEST) + (entry.count > 1 ? ` (${count(entry.count)} times)` : ""));
  };
  return { element, update };
}

const COLUMNS = [{ title: "What" }, { title: "Kind", wide: true }, { title: "Since the start", kind: "number" }];

export function troublesView({ history, incidents }) {
  const list = incidentList(200);
  const totals = table(COLUMNS, "Counted since the server started");
  const rows = new Rows(totals.body, () => {
    const fields = cells(COLUMNS);
    return {
      element: el("tr", {}, fields),
      update: (values) => values.forEach((value, index) => setText(fields[index], value)),
    };
  });
  const none = el("p", { class: "note" }, "Nothing.");
  const element = el(
    "div", { class: "stack" },
    el("h2", {}, "Troubles"),
    el("section", { class: "panel", "aria-labelledby": "seen" },
      el("div", { class: "head" }, el("h3", { id: "seen" }, "Seen since this page was opened")), list.element),
    el("section", { class: "panel", "aria-labelledby": "counted" },
      el("div", { class: "head" }, el("h3", { id: "counted" }, "Counted since the server started")), none, totals.element),
  );

  function update() {
    incidents.unseen = 0;
    list.update(incidents.entries);
    const entries = [
      ...COUNTERS.map(({ kind, key, text, read }) => [`${kind}.${key}`, [text, kind, read(history.now)]]),
      ["skipped", ["Events that slow readers missed", "gap", history.now.counters.skipped]],
      ["restarts", ["Restarts of pipelines that failed", "pipeline", restarts(history.now)]],
      ["failed", ["Runs of jobs that failed", "job", failures(history.now)]],
    ].filter(([, [, , number]]) => number > 0);
    none.hidden = entries.length > 0;
    totals.element.hidden = entries.length === 0;
    rows.update(entries.map(([key, [text, kind, number]]) => [key, [text, kind, count(number)]]));
  }

  return { element, title: "Troubles", update, close() {} };
}

function restarts(now) {
  return Object.values(now.pipelines).reduce((total, each) => total + each.restarts, 0);
}

function failures(now) {
  return Object.values(now.jobs ?? {}).reduce((total, each) => total + each.failed, 0);
}
