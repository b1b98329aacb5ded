// Jobs and their runs; and one run, with its pipeline.

import { cells, el, pill, Rows, setAttribute, setPill, setText, table } from "./dom.js";
import { confirmed } from "./dialogs.js";
import { count, duration, plural, rate } from "./format.js";
import { own } from "./history.js";
import { pipelinePanel } from "./pipeline-panel.js";
import { toneOf } from "./states.js";
import { Tail } from "./tail.js";

const COLUMNS = [
  { title: "Run" }, { title: "Status" }, { title: "Age", kind: "number" }, { title: "Events", kind: "number" },
  { title: "Events/s", kind: "number wide" }, { title: "Readers", kind: "number wide" }, { title: "Error", wide: true }, { title: "Action", kind: "number" },
];
const COUNTED = ["running", "started", "done", "failed", "cancelled"];

export function jobsView(context) {
  const { history } = context;
  const none = el("p", { class: "note" }, "This server has no jobs.");
  const holder = el("div", { class: "stack" });
  const rows = new Rows(holder, (name) => jobPanel(context, name));
  const element = el("div", { class: "stack" }, el("h2", {}, "Jobs"), none, holder);
  const update = () => {
    const jobs = Object.entries(history.now.jobs ?? {});
    none.hidden = jobs.length > 0;
    rows.update(jobs);
  };
  return { element, title: "Jobs", update, close() {} };
}

function jobPanel(context, name) {
  const facts = COUNTED.map((each) => el("dd", {}, "0"));
  const { element: list, body } = table(COLUMNS, `Runs of ${name}`);
  const none = el("p", { class: "note" }, "No run is kept.");
  const rows = new Rows(body, (id) => runRow(context, name, id));
  const element = el(
    "section", { class: "panel", "aria-label": `Job ${name}`, "data-job": name },
    el("div", { class: "head" }, el("h3", {}, name),
      el("dl", { class: "facts" }, COUNTED.map((each, index) => el("div", {}, el("dt", {}, each), facts[index])))),
    none, list,
  );

  function update(job) {
    COUNTED.forEach((each, index) => setText(facts[index], each === "running" ? `${count(job.running)} of ${count(job.max_running)}` : count(job[each])));
    none.hidden = job.runs.length > 0;
    list.hidden = job.runs.length === 0;
    rows.update(job.runs.map((run) => [run.id, run]));
  }

  return { element, update };
}

function runRow(context, job, id) {
  const fields = cells(COLUMNS);
  const [title, state, age, events, pace, readers, error, action] = fields;
  const badge = pill();
  const cancel = cancelButton(context, job, id);
  title.append(el("a", { class: "mono", href: runHash(job, id) }, shortId(id)));
  state.append(badge);
  action.append(cancel.element);

  function update(run) {
    setPill(badge, run.status, toneOf(run.status));
    setText(age, duration(run.seconds));
    setText(events, count(run.events));
    setText(pace, run.status === "running" ? rate(eventRate(context.history, job, id)) : "–");
    setText(readers, count(run.readers));
    setText(error, run.error ?? "");
    cancel.update(run);
  }

  return { element: el("tr", { "data-run": id }, fields), update };
}

function cancelButton({ api }, job, id) {
  const told = el("span", { class: "fault", role: "status" });
  const button = el("button", { type: "button", class: "danger", "aria-label": `Cancel run ${shortId(id)} of ${job}` }, "Cancel");
  button.addEventListener("click", async () => {
    if (!(await confirmed(`Cancel run ${shortId(id)} of ${job}? What it has not done yet will not be done.`, "Cancel the run"))) return;
    button.disabled = true;
    setText(told, "");
    try {
      await api.request(`jobs/${encodeURIComponent(job)}/${encodeURIComponent(id)}`, { method: "DELETE" });
    } catch (error) {
      setText(told, error.message);
      button.disabled = false;
    }
  });
  const update = (run) => (button.hidden = run.status !== "running");
  return { element: el("span", { class: "buttons" }, button, told), update };
}

export function jobView(context, job, id) {
  const { api, history, link } = context;
  const badge = pill();
  const names = ["age", "events", "events/s", "readers", "cursor"];
  const facts = names.map(() => el("dd", {}, "–"));
  const gone = el("p", { class: "note", hidden: true }, "The server does not keep this run any more, or has too many to list it.");
  const error = el("p", { class: "fault", hidden: true });
  const cancel = cancelButton(context, job, id);
  const pipeline = pipelinePanel(`${job}.${id}`);
  const follow = el("button", { type: "button" }, "Follow");
  const offer = el("div", { class: "stack" },
    el("p", { class: "note" }, "Following counts as reading: a run that ends with its last reader goes on meanwhile."), el("div", {}, follow));
  const events = el("section", { class: "panel", "aria-labelledby": "run-events" },
    el("div", { class: "head" }, el("h3", { id: "run-events" }, "Events")), offer);
  let tail = null;
  follow.addEventListener("click", () => {
    offer.remove();
    const path = `jobs/${encodeURIComponent(job)}/${encodeURIComponent(id)}`;
    tail = new Tail(api, path, "earliest", () => link.state.name === "live");
    events.append(tail.element);
    tail.start();
  });
  const element = el(
    "div", { class: "stack" },
    el("div", { class: "head" },
      el("h2", {}, el("a", { class: "crumb", href: "#/jobs" }, "Jobs"), el("span", { class: "crumb" }, " / "), `${job} `, el("span", { class: "mono" }, shortId(id))),
      badge, cancel.element),
    el("dl", { class: "facts" }, names.map((name, index) => el("div", {}, el("dt", {}, name), facts[index]))),
    gone, error, pipeline.element, events,
  );

  function update() {
    const run = runIn(history.now, job, id);
    gone.hidden = run !== null;
    badge.hidden = run === null;
    if (run === null) {
      cancel.update({ status: "gone" });
      return;
    }
    setPill(badge, run.status, toneOf(run.status));
    const values = [duration(run.seconds), count(run.events), run.status === "running" ? rate(eventRate(history, job, id)) : "–",
      count(run.readers), run.cursor];
    values.forEach((value, index) => setText(facts[index], value));
    setText(error, run.error ?? "");
    error.hidden = !run.error;
    cancel.update(run);
    setAttribute(pipeline.element, "hidden", run.pipeline ? null : "");
    if (!run.pipeline) return;
    pipeline.update({
      before: history.earlier((each) => runIn(each, job, id)?.pipeline ?? null),
      now: run.pipeline, state: run.status, restarts: 0, error: null,
      log: { title: shortId(id), text: `${plural(run.events, "event")} · ${plural(run.readers, "reader")}` },
    });
  }

  function close() {
    tail?.close();
    pipeline.close();
  }

  return { element, title: `${job} ${shortId(id)}`, update, close, liveChanged: () => tail?.liveChanged() };
}

function runIn(snapshot, job, id) {
  return own(snapshot?.jobs, job)?.runs.find((run) => run.id === id) ?? null;
}

function eventRate(history, job, id) {
  return history.rate((each) => runIn(each, job, id)?.events ?? null);
}

function runHash(job, id) {
  return `#/jobs/${encodeURIComponent(job)}/${encodeURIComponent(id)}`;
}

function shortId(id) {
  return id.length > 10 ? `${id.slice(0, 8)}…` : id;
}
