// All of the server at a glance.

import { el, setText } from "./dom.js";
import { bytes, count, plural, seconds, short, size } from "./format.js";
import { own, sum } from "./history.js";
import { sparkline } from "./sparkline.js";
import { topicTable } from "./topic-table.js";
import { incidentList } from "./view-troubles.js";

const BUSIEST = 12;
const LATEST = 6;

const TILES = [
  { title: "Events in", series: "stored", show: (value) => [short(value), "/s"], more: (now) => `${count(now.stored)} in all` },
  { title: "Events out", series: "out", show: (value) => [short(value), "/s"], more: (now) => `${count(sum(now.counters.events_out))} in all` },
  { title: "Connections", series: "connections", show: (value) => [count(value), ""], more: (now) => `${plural(now.connections.watching, "console")} besides` },
  { title: "Bytes out", series: "bytes", show: (value) => { const [figure, unit] = bytes(value); return [figure, `${unit}/s`]; }, more: (now) => `${size(sum(now.counters.bytes_out))} in all` },
  { title: "Loop delay", series: "delay", show: seconds, more: (now) => `p99 ${seconds(now.loop_delay.p99).join(" ")}` },
  { title: "Memory", series: "memory", show: bytes, more: (now) => `CPU ${count(Math.round(now.process.cpu_seconds))} s, ${count(now.process.open_files)} files` },
];

export function overviewView({ history, incidents }) {
  const tiles = TILES.map(makeTile);
  const topics = topicTable();
  const note = el("p", { class: "note" });
  const troubles = incidentList(LATEST);
  const element = el(
    "div", { class: "stack" },
    el("h2", { class: "unseen" }, "Overview"),
    el("dl", { class: "tiles" }, tiles.map((tile) => tile.element)),
    el("section", { class: "panel", "aria-labelledby": "overview-topics" },
      el("div", { class: "head" }, el("h3", { id: "overview-topics" }, "Topics"), note), topics.element),
    el("section", { class: "panel", "aria-labelledby": "overview-troubles" },
      el("div", { class: "head" }, el("h3", { id: "overview-troubles" }, "Latest troubles"), el("a", { href: "#/troubles" }, "all")), troubles.element),
  );

  function update() {
    tiles.forEach((tile) => tile.update(history));
    const names = busiest(history);
    const all = Object.keys(history.now.topics).length + (history.now.topics_left_out ?? 0);
    setText(note, names.length < all ? `the ${names.length} busiest of ${count(all)}` : "");
    topics.update(history, names);
    troubles.update(incidents.entries);
  }

  return { element, title: "Overview", update, close() {} };
}

/** Up to so many topics: as declared where they are few, else those with the most events a second. */
function busiest(history) {
  const names = Object.keys(history.now.topics);
  if (names.length <= BUSIEST) return names;
  const bad = (name) => own(history.now.pipelines, name)?.state === "restarting";
  const rank = (name) => (bad(name) ? Infinity : history.topicRate(name) ?? 0);
  const ranks = new Map(names.map((name) => [name, rank(name)]));
  const chosen = new Set([...names].sort((one, two) => ranks.get(two) - ranks.get(one)).slice(0, BUSIEST));
  return names.filter((name) => chosen.has(name));
}

function makeTile({ title, series, show, more }) {
  const line = sparkline(60);
  const figure = el("span", {}, "–");
  const unit = el("span", { class: "unit" });
  const rest = el("dd", { class: "more" });
  const element = el("div", { class: "tile", "data-tile": series },
    el("dt", {}, title), el("dd", { class: "figure" }, figure, unit), rest, el("dd", { class: "line" }, line.element));

  function update(history) {
    const values = history.series[series].toArray();
    const [shown, of] = show(values.length ? values.at(-1) : null);
    setText(figure, shown);
    setText(unit, of);
    setText(rest, more(history.now));
    line.update(values);
  }

  return { element, update };
}
