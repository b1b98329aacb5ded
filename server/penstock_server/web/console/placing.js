// Geometry of a pipeline's graph: boxes (tasks), gauges (the buffers in front of them) and wires. Pure.
//
// Side by side where there is room; else one below the other; and on a phone, where not even the
// inputs of a merge fit beside each other, all in one column, with wires on rails at its left.

import { layersOf } from "./layout.js";

export const STAGE = { height: 46, gap: 14, pad: 7 };
export const GAUGE = { width: 92, height: 16 };

const WIDEST = 184;
const WIDER = 260;
const NARROWEST = 150;
const BETWEEN = 18;
const MARGIN = 10;
const CURVE = 26;
const LEAD = 12;
const LOG_WIRE = 22;
const GAUGE_ROOM = 32;
const RAIL = 14;

/**
 * Places for tasks (see `tasksOf`) in a room so many pixels wide: `{width, height, boxes, gauges,
 * wires, log}`; boxes and gauges by the task's id. The log is below the last task.
 */
export function place(tasks, room) {
  const layers = layersOf(tasks);
  const most = Math.max(...layers.map((ids) => ids.length));
  const across = layers.length * framed(WIDEST) + (layers.length - 1) * (CURVE + GAUGE.width + LEAD) + 2 * MARGIN;
  if (across <= room) return sideBySide(tasks, layers);
  const narrowest = most * framed(NARROWEST) + (most - 1) * BETWEEN + 2 * MARGIN;
  return narrowest <= room ? oneBelowTheOther(tasks, layers, room) : onRails(tasks, layers, room);
}

function framed(width) {
  return width + 2 * STAGE.pad;
}

function heightOf(task) {
  const count = task.stages.length;
  return count * STAGE.height + (count - 1) * STAGE.gap + 2 * STAGE.pad;
}

function byId(tasks) {
  return new Map(tasks.map((task) => [task.id, task]));
}

function sideBySide(tasks, layers) {
  const known = byId(tasks);
  const last = layers.length - 1;
  const heights = layers.map((ids, index) => ids.reduce((total, id) => total + heightOf(known.get(id)), 0) +
    (ids.length - 1) * BETWEEN + (index === last ? LOG_WIRE + STAGE.height : 0));
  const height = Math.max(...heights) + 2 * MARGIN;
  const boxes = new Map();
  const gauges = new Map();
  let x = MARGIN;
  layers.forEach((ids, index) => {
    if (index) x += CURVE + GAUGE.width + LEAD;
    let y = (height - heights[index]) / 2;
    for (const id of ids) {
      const box = { x, y, width: framed(WIDEST), height: heightOf(known.get(id)) };
      boxes.set(id, box);
      if (known.get(id).inlet) {
        gauges.set(id, { x: x - GAUGE.width - LEAD, y: box.y + box.height / 2 - GAUGE.height / 2, beside: false });
      }
      y += box.height + BETWEEN;
    }
    x += framed(WIDEST);
  });
  const wires = tasks.flatMap((task) => {
    const box = boxes.get(task.id);
    const gauge = gauges.get(task.id);
    if (!gauge) return [];
    const middle = box.y + box.height / 2;
    const feeds = task.feeds.map((id) => {
      const from = boxes.get(id);
      return { path: across(from.x + from.width, from.y + from.height / 2, gauge.x, middle) };
    });
    return [...feeds, { path: `M${gauge.x + GAUGE.width} ${middle}H${box.x}`, tip: [box.x, middle, "right"] }];
  });
  return finished({ width: x + MARGIN, height, boxes, gauges, wires }, layers);
}

function oneBelowTheOther(tasks, layers, room) {
  const known = byId(tasks);
  const boxes = new Map();
  const gauges = new Map();
  const bottoms = new Map();
  let y = MARGIN;
  layers.forEach((ids, index) => {
    if (index) y += CURVE + GAUGE_ROOM;
    const fits = (room - 2 * MARGIN - (ids.length - 1) * BETWEEN) / ids.length;
    const width = Math.floor(Math.min(framed(WIDER), fits));
    const bottom = y + Math.max(...ids.map((id) => heightOf(known.get(id))));
    let x = (room - ids.length * width - (ids.length - 1) * BETWEEN) / 2;
    for (const id of ids) {
      boxes.set(id, { x, y, width, height: heightOf(known.get(id)) });
      bottoms.set(id, bottom);
      if (known.get(id).inlet) gauges.set(id, gaugeAbove(x + width / 2, y));
      x += width + BETWEEN;
    }
    y = bottom;
  });
  const wires = tasks.flatMap((task) => {
    const gauge = gauges.get(task.id);
    if (!gauge) return [];
    const feeds = task.feeds.map((id) => {
      const from = boxes.get(id);
      return { path: down(from.x + from.width / 2, from.y + from.height, bottoms.get(id), gauge) };
    });
    return [...feeds, leadInto(boxes.get(task.id), gauge)];
  });
  return finished({ width: room, height: y + MARGIN, boxes, gauges, wires }, layers);
}

function onRails(tasks, layers, room) {
  const known = byId(tasks);
  const order = [];
  const lanes = new Map();
  const visit = (id, lane) => {
    if (lanes.has(id)) return;
    lanes.set(id, lane);
    const { feeds } = known.get(id);
    // The longest way in comes last, right above: it needs no rail.
    feeds.forEach((feed, index) => visit(feed, index < feeds.length - 1 ? lane + 1 : lane));
    order.push(id);
  };
  visit(layers.at(-1)[0], 0);
  const rails = Math.max(...lanes.values()) + 1;
  const left = MARGIN + rails * RAIL;
  const width = Math.min(framed(WIDER), room - left - MARGIN);
  const boxes = new Map();
  const gauges = new Map();
  let y = MARGIN;
  for (const id of order) {
    const task = known.get(id);
    if (task.inlet) y += GAUGE_ROOM;
    boxes.set(id, { x: left, y, width, height: heightOf(task) });
    if (task.inlet) gauges.set(id, gaugeAbove(left + width / 2, y));
    y += heightOf(task) + BETWEEN;
  }
  const wires = tasks.flatMap((task) => {
    const gauge = gauges.get(task.id);
    if (!gauge) return [];
    const rail = left - RAIL * (lanes.get(task.id) + 1) + RAIL / 2;
    const feeds = task.feeds.map((id) => {
      const from = boxes.get(id);
      if (order.indexOf(id) === order.indexOf(task.id) - 1) {
        return { path: `M${left + width / 2} ${from.y + from.height}V${gauge.y}` };
      }
      return { path: `M${left} ${from.y + from.height / 2}H${rail}V${gauge.y - 7}H${left + width / 2}V${gauge.y}` };
    });
    return [...feeds, leadInto(boxes.get(task.id), gauge)];
  });
  return finished({ width: room, height: y - BETWEEN + MARGIN, boxes, gauges, wires }, layers);
}

function gaugeAbove(middle, y) {
  return { x: middle - GAUGE.width / 2, y: y - GAUGE.height - LEAD, beside: true };
}

function leadInto(box, gauge) {
  const middle = box.x + box.width / 2;
  return { path: `M${middle} ${gauge.y + GAUGE.height}V${box.y}`, tip: [middle, box.y, "down"] };
}

/** With the log, right below the last task. */
function finished(places, layers) {
  const end = places.boxes.get(layers.at(-1)[0]);
  const y = end.y + end.height + LOG_WIRE;
  const log = { x: end.x + STAGE.pad, y, width: end.width - 2 * STAGE.pad, height: STAGE.height };
  const middle = end.x + end.width / 2;
  const wire = { path: `M${middle} ${end.y + end.height}V${y}`, tip: [middle, y, "down"] };
  const height = Math.max(places.height, y + log.height + MARGIN);
  return { ...places, height, log, wires: [...places.wires, wire] };
}

function across(x1, y1, x2, y2) {
  const x = (x1 + x2) / 2;
  return y1 === y2 ? `M${x1} ${y1}H${x2}` : `M${x1} ${y1}C${x} ${y1} ${x} ${y2} ${x2} ${y2}`;
}

/** First straight down past the others of its layer, which may be taller. */
function down(x, y, bottom, gauge) {
  const to = gauge.x + GAUGE.width / 2;
  const middle = (bottom + gauge.y) / 2;
  return x === to ? `M${x} ${y}V${gauge.y}` : `M${x} ${y}V${bottom}C${x} ${middle} ${to} ${middle} ${to} ${gauge.y}`;
}
