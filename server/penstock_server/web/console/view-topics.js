// All topics, and the templates that others are made of.

import { cells, el, Rows, setText, table } from "./dom.js";
import { count } from "./format.js";
import { topicHash, topicTable } from "./topic-table.js";

const TEMPLATES = [
  { title: "Template" }, { title: "Topics now", kind: "number" }, { title: "At most", kind: "number" }, { title: "Publishable", wide: true },
];

export function topicsView({ history, catalogue }) {
  const filter = el("input", { type: "search", id: "topic-filter", placeholder: "Part of a name", spellcheck: "false", on: { input: () => update() } });
  const note = el("p", { class: "note", role: "status" });
  const topics = topicTable();
  const templates = table(TEMPLATES, "Templates");
  const rows = new Rows(templates.body, templateRow);
  const name = el("input", { type: "text", id: "open-name", placeholder: "room.1", spellcheck: "false", autocomplete: "off" });
  const open = el("form", { class: "tail-bar" },
    el("label", { for: "open-name" }, "Open one of them"), name, el("button", { type: "submit" }, "Open"));
  open.addEventListener("submit", (event) => {
    event.preventDefault();
    if (name.value.trim()) location.hash = topicHash(name.value.trim());
  });
  const section = el("section", { class: "panel", "aria-labelledby": "templates" },
    el("div", { class: "head" }, el("h3", { id: "templates" }, "Templates")), templates.element, open);
  const element = el(
    "div", { class: "stack" },
    el("h2", {}, "Topics"),
    el("section", { class: "panel", "aria-label": "Topics" },
      el("div", { class: "tail-bar" }, el("label", { for: "topic-filter" }, "Filter"), filter, note), topics.element),
    section,
  );

  function update() {
    if (history.now === null) return;
    const wanted = filter.value.toLowerCase();
    const names = Object.keys(history.now.topics).filter((each) => each.toLowerCase().includes(wanted));
    topics.update(history, names);
    const left = history.now.topics_left_out ?? 0;
    setText(note, `${count(names.length)} shown${left ? `; ${count(left)} more aren’t in the snapshots, but can be opened by name` : ""}`);
    const known = catalogue.templates;
    section.hidden = known.length === 0;
    rows.update(known.map((each) => [each.name, each]));
  }

  return { element, title: "Topics", update, close() {} };
}

function templateRow(name) {
  const fields = cells(TEMPLATES);
  setText(fields[0], name);
  const update = (template) => {
    setText(fields[1], count(template.instances));
    setText(fields[2], count(template.max_instances));
    setText(fields[3], template.publishable ? "yes" : "no");
  };
  return { element: el("tr", {}, fields), update };
}
