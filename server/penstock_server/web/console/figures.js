// The same as the graph in tables: every figure, for those who read rather than look.

import { cells, el, Rows, setText, table } from "./dom.js";
import { count, percent, rate } from "./format.js";
import { stageRates } from "./history.js";

const STAGES = [
  { title: "Stage" }, { title: "in/s", kind: "number" }, { title: "out/s", kind: "number" },
  { title: "busy", kind: "number" }, { title: "in", kind: "number wide" }, { title: "out", kind: "number" },
  { title: "errors", kind: "number" }, { title: "skipped", kind: "number wide" },
  { title: "dropped", kind: "number wide" }, { title: "written at", wide: true },
];
const BUFFERS = [
  { title: "Buffer before" }, { title: "held", kind: "number" }, { title: "capacity", kind: "number" },
  { title: "peak", kind: "number" }, { title: "passed", kind: "number wide" },
  { title: "dropped", kind: "number" }, { title: "waited for room", kind: "number wide" },
  { title: "waited for items", kind: "number wide" },
];

/** `update(before, now)`, as of the graph. */
export function pipelineFigures() {
  const stages = table(STAGES, "Stages");
  const buffers = table(BUFFERS, "Buffers");
  const element = el("details", {}, el("summary", {}, "Figures of the stages and buffers"),
    el("div", { class: "stack" }, stages.element, buffers.element));
  const stageRows = new Rows(stages.body, () => row(STAGES));
  const bufferRows = new Rows(buffers.body, () => row(BUFFERS));

  function update(before, now) {
    const rates = stageRates(before, now);
    stageRows.update(now.stages.map((stage) => {
      const { in: taken, out, busy } = rates.get(stage.name);
      return [stage.name, [stage.name, rate(taken), rate(out), percent(busy), count(stage.items_in),
        count(stage.items_out), count(stage.errors), count(stage.skipped), count(stage.dropped),
        (stage.where ?? "").split("/").at(-1)]];
    }));
    bufferRows.update(now.buffers.map((each) => [each.before, [each.before, count(each.held),
      count(each.capacity), count(each.peak), count(each.passed), count(each.dropped),
      `${each.send_wait.toFixed(1)} s`, `${each.receive_wait.toFixed(1)} s`]]));
    buffers.element.hidden = now.buffers.length === 0;
  }

  return { element, update };
}

function row(columns) {
  const fields = cells(columns);
  const update = (values) => values.forEach((value, index) => setText(fields[index], value));
  return { element: el("tr", {}, fields), update };
}
