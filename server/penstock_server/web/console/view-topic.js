// One topic: its pipeline, its newest events, and a form to publish.

import { el, pill, setPill, setText } from "./dom.js";
import { count, plural, rate, size } from "./format.js";
import { own } from "./history.js";
import { pipelinePanel } from "./pipeline-panel.js";
import { publishForm } from "./publish.js";
import { stateOf, toneOf } from "./states.js";
import { recent, Tail } from "./tail.js";

const FACTS = ["in/s", "events", "kept", "bytes", "readers", "max lag", "cursor"];

export function topicView({ api, history, catalogue, link }, name) {
  const badge = pill();
  const facts = new Map(FACTS.map((each) => [each, el("dd", {}, "–")]));
  const unknown = el("p", { class: "note", hidden: true });
  const side = el("div", { class: "stack" });
  const columns = el("div", { class: "columns" });
  const tailHolder = el("section", { class: "panel", "aria-labelledby": "tail" },
    el("div", { class: "head" }, el("h3", { id: "tail" }, "Events")));
  const element = el(
    "div", { class: "stack" },
    el("div", { class: "head" }, el("h2", {}, el("a", { class: "crumb", href: "#/topics" }, "Topics"), el("span", { class: "crumb" }, " / "), name), badge),
    el("dl", { class: "facts" }, FACTS.map((each) => el("div", {}, el("dt", {}, each), facts.get(each)))),
    unknown, columns,
  );
  columns.append(tailHolder, side);
  let pipeline = null;
  let tail = null;
  let form = null;
  let asked = false;

  function follow(begin) {
    if (tail !== null) return;
    tail = new Tail(api, `topics/${encodeURIComponent(name)}`, begin, () => link.state.name === "live");
    tailHolder.querySelector(".offer")?.remove();
    tailHolder.append(tail.element);
    tail.start();
  }

  /** Reading starts a pipeline that runs on demand, and makes a template's topic: not unasked. */
  function offer(why, begin) {
    if (asked) return;
    asked = true;
    tailHolder.append(el("div", { class: "offer stack" }, el("p", { class: "note" }, why),
      el("div", {}, el("button", { type: "button", on: { click: () => follow(begin) } }, "Follow"))));
  }

  function update() {
    const topic = own(history.now.topics, name);
    const run = own(history.now.pipelines, name);
    const declared = catalogue.find(name);
    showForm(declared);
    unknown.hidden = topic !== undefined;
    badge.hidden = topic === undefined;
    if (topic === undefined) {
      setText(unknown, declared || history.now.topics_left_out
        ? "It is not in the server’s snapshots; there may be no such topic right now."
        : "The server has no such topic.");
      if (declared) offer("Following makes the topic, where its template has none of this name.", "earliest");
      return;
    }
    const state = stateOf(topic, run);
    setPill(badge, state, toneOf(state));
    const kept = topic.last - topic.first + 1;
    const values = [rate(history.topicRate(name)), count(topic.last), count(kept), size(topic.bytes),
      count(topic.subscribers), count(topic.max_lag), topic.cursor];
    FACTS.forEach((each, index) => setText(facts.get(each), values[index]));
    if (run) showPipeline(topic, run, kept);
    if (run?.state === "waiting") offer("Its pipeline runs on demand: following starts it.", recent(topic.cursor));
    else follow(recent(topic.cursor));
  }

  function showPipeline(topic, run, kept) {
    if (pipeline === null) {
      pipeline = pipelinePanel(name);
      columns.before(pipeline.element);
    }
    pipeline.update({
      before: history.earlier((each) => own(each?.pipelines ?? {}, name) ?? null),
      now: run, state: run.state, restarts: run.restarts, error: run.last_error,
      log: { title: name, text: `${count(kept)} kept · ${plural(topic.subscribers, "reader")}` },
    });
  }

  function showForm(declared) {
    if (form !== null || !declared?.publishable) return;
    form = publishForm(api, name, declared.schema);
    side.append(el("section", { class: "panel", "aria-labelledby": "publish" },
      el("div", { class: "head" }, el("h3", { id: "publish" }, "Publish")), form.element));
  }

  function close() {
    tail?.close();
    pipeline?.close();
  }

  return { element, title: name, update, close, liveChanged: () => tail?.liveChanged() };
}
