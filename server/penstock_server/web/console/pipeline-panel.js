// The panel of a pipeline: how it does, its graph, its figures. For topics and for runs of jobs.

import { el, pill, setPill, setText } from "./dom.js";
import { duration, percent, plural } from "./format.js";
import { stageRates } from "./history.js";
import { pipelineFigures } from "./figures.js";
import { pipelineGraph } from "./graph.js";
import { toneOf } from "./states.js";

/** `update({before, now, state, restarts, error, log})`; `now` may lack stages: it never ran. */
export function pipelinePanel(name) {
  const graph = pipelineGraph(name);
  const figures = pipelineFigures();
  const badge = pill();
  const facts = el("p", { class: "muted figures" });
  const slowest = el("p", { class: "muted" });
  const error = el("p", { class: "fault" });
  const never = el("p", { class: "note" }, "It has not run yet.");
  const element = el(
    "section", { class: "panel", "aria-label": "Pipeline" },
    el("div", { class: "head" }, el("h3", {}, "Pipeline"), badge, facts),
    error, never, graph.element, slowest, figures.element,
  );

  function update({ before, now, state, restarts, error: problem, log }) {
    setPill(badge, state, toneOf(state));
    const parts = [now?.seconds === undefined ? "" : `runs for ${duration(now.seconds)}`,
      restarts ? plural(restarts, "restart") : ""];
    setText(facts, parts.filter(Boolean).join(" · "));
    setText(error, problem ? `Last error: ${problem}` : "");
    error.hidden = !problem;
    const ran = Boolean(now?.stages?.length);
    never.hidden = ran;
    graph.element.hidden = figures.element.hidden = slowest.hidden = !ran;
    if (!ran) return;
    graph.update(before, now, log);
    figures.update(before, now);
    setText(slowest, bottleneckOf(before, now));
  }

  return { element, update, close: graph.close };
}

function bottleneckOf(before, now) {
  const stage = now.stages.find((each) => each.name === now.bottleneck);
  if (!stage) return "";
  if (stage.items_in === 0) return `Its source, ${stage.name}, sets the pace: no stage behind it is near its limit.`;
  const { busy } = stageRates(before, now).get(stage.name);
  return `Bottleneck: ${stage.name}, busy ${percent(busy)} of the time. What comes before it waits for it.`;
}
