import { readStream } from "/client.js";
import { byId, element, recall, remember, showState } from "./page.js";

const RUN = "census:run"; // where the run is: what survives a reload
const MOST_SHOWN = 15;

const number = new Intl.NumberFormat();
const say = (text, isBad = false) => {
  byId("status").textContent = text;
  byId("status").classList.toggle("bad", isBad);
};

byId("start").onsubmit = async (event) => {
  event.preventDefault();
  const { workers, strict } = event.target.elements;
  const body = JSON.stringify({ workers: workers.valueAsNumber, strict: strict.checked });
  // Started on its own, and read by its address: so the address is known before anything happens.
  const headers = { "content-type": "application/json", prefer: "respond-async" };
  running(true);
  say("Starting");
  try {
    const answer = await fetch("/jobs/census", { method: "POST", headers, body });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    remember(RUN, answer.headers.get("location"));
    follow(recall(RUN));
  } catch (error) {
    say(`It was not started: ${error.message}`, true);
    running(false);
  }
};

byId("cancel").onclick = async () => {
  byId("cancel").disabled = true; // the end of the stream says the rest
  await fetch(recall(RUN), { method: "DELETE" }).catch(() => (byId("cancel").disabled = false));
};

/** Show a run from its beginning to its end, whatever becomes of the connection meanwhile. */
async function follow(run) {
  running(true);
  byId("result").hidden = true;
  byId("progress").value = 0;
  byId("files").textContent = "";
  say("Counting");
  let outcome = ["Cancelled"]; // what ends without a result and without an error
  try {
    for await (const { type, event, data, reason } of readStream(run, { onState: showState })) {
      if (event === "progress") showProgress(data);
      else if (event === "result") outcome = showResult(data);
      else if (event === "error") outcome = [`It failed: ${data.detail}`, true];
      else if (type === "gap") console.warn(`Some of the progress is missing (${reason})`);
    }
  } catch (error) {
    const gone = error.status === 404 ? "The server has this run no longer" : error.message;
    outcome = [gone, true];
  }
  showState({ state: "idle" });
  remember(RUN, null);
  say(...outcome);
  running(false);
}

function running(is) {
  byId("start").querySelector("button.main").disabled = is;
  byId("cancel").disabled = !is;
}

function showProgress({ done, files, left_out }) {
  Object.assign(byId("progress"), { max: files || 1, value: done });
  const without = left_out ? `, ${number.format(left_out)} left out` : "";
  byId("files").textContent = `${number.format(done)} of ${number.format(files)} files${without}`;
}

function showResult(packages) {
  const total = { package: "All" };
  for (const field of ["files", "lines", "functions", "classes"]) {
    total[field] = packages.reduce((sum, each) => sum + each[field], 0);
  }
  const shown = packages.slice(0, MOST_SHOWN);
  byId("packages").replaceChildren(...shown.map((each) => row(each, each.lines, packages[0].lines)));
  byId("total").replaceChildren(row(total, 0, 1));
  byId("result").hidden = false;
  return [`Done: ${number.format(total.lines)} lines in ${number.format(packages.length)} packages`];
}

function row(counted, part, whole) {
  const bar = element("td", { className: "wide" }, element("div", { className: "bar" }));
  bar.firstChild.style.width = `${(100 * part) / whole}%`;
  const [lines, ...others] = ["lines", "files", "functions", "classes"].map((field) =>
    element("td", { className: "number" }, number.format(counted[field])),
  );
  return element("tr", {}, element("th", { scope: "row" }, counted.package), lines, bar, ...others);
}

const earlier = recall(RUN, null);
if (earlier) follow(earlier);
else showState({ state: "idle" });
