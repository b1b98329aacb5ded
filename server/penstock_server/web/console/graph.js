// A pipeline, live: stages as nodes, buffers as pipes that fill, the bottleneck with a flag.

import { el, setAttribute, setText, svg } from "./dom.js";
import { count, cut, percent, rate } from "./format.js";
import { stageRates } from "./history.js";
import { tasksOf } from "./layout.js";
import { GAUGE, STAGE, place } from "./placing.js";

const CHARACTER = 7.3;
const NEARLY_FULL = 0.8;

/**
 * `update(before, now, log)`: two states of one run (before may be null), and what the box at the
 * end says: `{title, text}`. `close()` when it isn't shown any more.
 */
export function pipelineGraph(name) {
  const figure = el("div", { class: "graph", role: "group", "aria-label": `Pipeline of ${name}` });
  const key = el(
    "p", { class: "key" },
    el("span", {}, "node: a stage, with items in and out a second and its busy share"),
    el("span", {}, "frame: stages that share a task"),
    el("span", {}, "pipe: a buffer, filled as far as it is full; dashed: its peak"),
  );
  const element = el("div", {}, figure, key);
  let shown = "";
  let parts = null;
  let last = null;

  function update(before, now, log) {
    last = [before, now, log];
    const room = Math.max(240, figure.clientWidth - 6);
    const signature = JSON.stringify([room, now.stages.map((each) => [each.name, each.task]),
      now.buffers.map((each) => [each.before, each.after])]);
    if (signature !== shown) {
      shown = signature;
      parts = draw(tasksOf(now), room, name);
      figure.replaceChildren(parts.element);
    }
    show(parts, stageRates(before, now), now, log);
  }

  const observer = new ResizeObserver(() => last && update(...last));
  observer.observe(figure);
  return { element, update, close: () => observer.disconnect() };
}

function draw(tasks, room, name) {
  const places = place(tasks, room);
  const root = svg("svg", {
    width: places.width, height: places.height, viewBox: `0 0 ${places.width} ${places.height}`,
    role: "img", "aria-label": `The pipeline of ${name}; its figures are in the tables below`,
  });
  for (const wire of places.wires) root.append(svg("path", { class: "wire", d: wire.path }));
  for (const { tip } of places.wires) if (tip) root.append(arrow(...tip));
  const stages = new Map();
  const buffers = new Map();
  for (const task of tasks) {
    const box = places.boxes.get(task.id);
    const width = box.width - 2 * STAGE.pad;
    root.append(svg("rect", { class: "task", rx: 7, ...box }));
    task.stages.forEach((stage, index) => {
      const y = box.y + STAGE.pad + index * (STAGE.height + STAGE.gap);
      const x = box.x + STAGE.pad;
      if (index) root.append(...between(x + width / 2, y));
      const node = stageNode(stage, x, y, width);
      stages.set(stage.name, node);
      root.append(node.element);
    });
    if (task.inlet) {
      const gauge = gaugeOf(task.inlet, places.gauges.get(task.id));
      buffers.set(task.inlet.before, gauge);
      root.append(gauge.element);
    }
  }
  const log = logNode(places.log);
  root.append(log.element);
  return { element: root, stages, buffers, log };
}

function between(x, y) {
  const path = `M${x} ${y - STAGE.gap}V${y}`;
  return [svg("path", { class: "wire", d: path }), arrow(x, y, "down")];
}

function arrow(x, y, direction) {
  const d = direction === "right" ? `M${x} ${y}l-7 -4v8z` : `M${x} ${y}l-4 -7h8z`;
  return svg("path", { class: "tip", d });
}

function stageNode(stage, x, y, width) {
  const flow = svg("text", { class: "small", x: x + 9, y: y + 33 });
  const share = svg("text", { class: "small end", x: x + width - 9, y: y + 33 });
  const busy = svg("rect", { class: "busy moves", x: x + 1, y: y + STAGE.height - 5, width: 0, height: 4 });
  const flagText = svg("text", { class: "flag-text middle", x: x + width - 52, y: y + 3 });
  const flag = svg("g", { visibility: "hidden" },
    svg("rect", { class: "flag", x: x + width - 98, y: y - 9, width: 92, height: 17, rx: 8 }), flagText);
  const title = svg("title");
  const element = svg(
    "g", { "data-stage": stage.name }, title,
    svg("rect", { class: "stage", x, y, width, height: STAGE.height, rx: 4 }),
    svg("rect", { class: "busy-ground", x: x + 1, y: y + STAGE.height - 5, width: width - 2, height: 4 }),
    busy,
    svg("text", { class: "name", x: x + 9, y: y + 18 }, cut(stage.name, Math.floor((width - 16) / CHARACTER))),
    flow, share, flag,
  );
  return { element, flow, share, busy, flag, flagText, title, width: width - 2 };
}

function gaugeOf(buffer, { x, y, beside }) {
  const { width, height } = GAUGE;
  const level = svg("rect", { class: "level moves", x: x + 2, y: y + 2, width: 0, height: height - 4, rx: 2 });
  const peak = svg("path", { class: "peak" });
  const held = svg("text", beside
    ? { class: "small", x: x + width + 8, y: y + 12 }
    : { class: "small middle", x: x + width / 2, y: y - 6 });
  const most = svg("text", beside
    ? { class: "small end", x: x - 8, y: y + 12 }
    : { class: "small middle", x: x + width / 2, y: y + height + 14 });
  const lost = svg("text", beside
    ? { class: "small fault", x: x + width + 8, y: y + 25 }
    : { class: "small fault middle", x: x + width / 2, y: y + height + 27 });
  const title = svg("title");
  const element = svg(
    "g", { "data-buffer": buffer.before }, title,
    svg("rect", { class: "pipe", x, y, width, height, rx: 4 }), level, peak, held, most, lost,
  );
  return { element, level, peak, held, most, lost, title, x, y };
}

function logNode({ x, y, width, height }) {
  const title = svg("text", { class: "name", x: x + 12, y: y + 18 });
  const text = svg("text", { class: "small", x: x + 12, y: y + 35 });
  const element = svg(
    "g", { "data-log": true },
    svg("rect", { class: "log", x, y, width, height, rx: 14 }), title, text,
  );
  return { element, title, text, most: Math.floor((width - 20) / CHARACTER) };
}

function show(parts, rates, now, log) {
  for (const stage of now.stages) {
    const node = parts.stages.get(stage.name);
    const { in: taken, out, busy } = rates.get(stage.name);
    const isSource = stage.items_in === 0;
    const faults = stage.errors ? ` · ${count(stage.errors)} errors` : "";
    setText(node.flow, `${isSource ? "" : `${rate(taken)} → `}${rate(out)}${faults}`);
    // A source's time is mostly spent waiting for its own items: that says nothing.
    setText(node.share, isSource ? "source" : `busy ${percent(busy)}`);
    setAttribute(node.busy, "width", (isSource ? 0 : (busy ?? 0) * node.width).toFixed(1));
    setText(node.title, `${stage.name}\n${stage.where ?? ""}`);
    const slowest = now.bottleneck === stage.name;
    setAttribute(node.flag, "visibility", slowest ? "visible" : "hidden");
    setText(node.flagText, slowest ? (isSource ? "sets the pace" : "▲ bottleneck") : "");
    setAttribute(node.element, "class", slowest ? (isSource ? "pace" : "bottleneck") : null);
  }
  for (const buffer of now.buffers) {
    const gauge = parts.buffers.get(buffer.before);
    if (!gauge) continue;
    const share = buffer.capacity ? Math.min(1, buffer.held / buffer.capacity) : 0;
    const top = buffer.capacity ? Math.min(1, buffer.peak / buffer.capacity) : 0;
    const inner = GAUGE.width - 4;
    setAttribute(gauge.level, "width", (share * inner).toFixed(1));
    setAttribute(gauge.peak, "d", `M${(gauge.x + 2 + top * inner).toFixed(1)} ${gauge.y - 2}v${GAUGE.height + 4}`);
    setText(gauge.held, `${count(buffer.held)} / ${count(buffer.capacity)}`);
    setText(gauge.most, `peak ${count(buffer.peak)}`);
    setText(gauge.lost, buffer.dropped ? `${count(buffer.dropped)} dropped` : "");
    setText(gauge.title, `Buffer before ${buffer.before}`);
    setAttribute(gauge.element, "class", share >= NEARLY_FULL ? "full" : null);
  }
  setText(parts.log.title, cut(log.title, parts.log.most));
  setText(parts.log.text, cut(log.text, parts.log.most + 6));
}
