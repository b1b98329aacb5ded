// The console: one connection to the server's figures, and the view that the address names.

import { Api } from "./api.js";
import { Catalogue } from "./catalogue.js";
import { tokenView } from "./dialogs.js";
import { el, setAttribute, setPill, setText } from "./dom.js";
import { clock, count, duration } from "./format.js";
import { History } from "./history.js";
import { Incidents } from "./incidents.js";
import { Link } from "./link.js";
import { toneOf } from "./states.js";
import { themeSwitch } from "./theme.js";
import { connectionsView } from "./view-connections.js";
import { jobsView, jobView } from "./view-jobs.js";
import { overviewView } from "./view-overview.js";
import { topicsView } from "./view-topics.js";
import { topicView } from "./view-topic.js";
import { troublesView } from "./view-troubles.js";

const NAV = [["", "Overview"], ["topics", "Topics"], ["connections", "Connections"], ["jobs", "Jobs"], ["troubles", "Troubles"]];
const LINK_WORDS = { connecting: "connecting", live: "live", lost: "no connection", refused: "signed out", asleep: "asleep" };

const find = (id) => document.getElementById(id);
const main = find("main");
const api = new Api();
const history = new History();
const incidents = new Incidents();
const catalogue = new Catalogue(api);
const link = new Link(api, { onSnapshot, onState });
const context = { api, history, incidents, catalogue, link };
let view = null;
let shownHash = null;
let seenAt = null;
let frame = 0;
let compared = null;

// The address

function parts() {
  return location.hash.replace(/^#\/?/, "").split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

function viewOf([name, first, second]) {
  switch (name) {
    case "": return overviewView(context);
    case "topics": return first ? topicView(context, first) : topicsView(context);
    case "connections": return connectionsView(context);
    case "jobs": return first && second ? jobView(context, first, second) : jobsView(context);
    case "troubles": return troublesView(context);
    default: return null;
  }
}

function route({ focus = true } = {}) {
  if (history.now === null || link.state.name === "refused") return;
  if (view !== null && shownHash === location.hash) return;
  const path = parts();
  closeView();
  shownHash = location.hash;
  view = viewOf(path);
  showNav(path[0]);
  if (view === null) {
    main.replaceChildren(el("h2", {}, "There is no such view"), el("p", {}, el("a", { href: "#/" }, "Go to the overview")));
    return;
  }
  main.replaceChildren(view.element);
  view.update();
  showTitle();
  if (focus) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function closeView() {
  view?.close();
  view = null;
  shownHash = null;
}

const troubleCount = el("span", { class: "count figures", hidden: true });

function showNav(current) {
  const links = NAV.map(([name, title]) => {
    const mark = name === "troubles" ? troubleCount : null;
    return el("li", {}, el("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, title, mark));
  });
  find("nav").replaceChildren(...links);
}

function showTitle() {
  const title = history.now?.title ?? "penstock";
  setText(find("title"), title);
  document.title = view?.title ? `${view.title} · ${title}` : title;
}

// What the server says

function onSnapshot(snapshot, epoch) {
  const restarted = history.add(snapshot, epoch);
  if (restarted) {
    incidents.note("server", "The server was started anew; its counters begin at zero.");
    catalogue.clear();
  }
  incidents.compare(restarted ? null : compared, snapshot);
  compared = snapshot;
  seenAt = new Date();
  catalogue.follow(snapshot, schedule);
  schedule();
}

/** Draw with the next frame; a hidden tab has none. */
function schedule() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    draw();
  });
}

function draw() {
  if (history.now === null || link.state.name === "refused") return;
  const { status, uptime } = history.now;
  const state = find("state");
  state.hidden = false;
  setPill(state, status, toneOf(status));
  setText(find("uptime"), `up ${duration(uptime)}`);
  if (view === null) route({ focus: false });
  else view.update();
  showTitle();
  troubleCount.hidden = incidents.unseen === 0;
  setText(troubleCount, incidents.unseen > 99 ? "99+" : count(incidents.unseen));
  setAttribute(troubleCount, "aria-label", `${incidents.unseen} new`);
}

// The connection

function onState(state) {
  const field = find("link");
  setText(field, LINK_WORDS[state.name]);
  setAttribute(field, "data-state", state.name);
  find("sign-out").hidden = api.token === "";
  showBanner(state);
  if (state.name === "refused") askForToken(state.error);
  view?.liveChanged?.();
}

let countdown = 0;

function showBanner(state) {
  const banner = find("banner");
  clearInterval(countdown);
  banner.hidden = state.name !== "lost";
  if (state.name !== "lost") return;
  const since = seenAt === null ? "" : ` The figures are those of ${clock(seenAt)}.`;
  const wait = el("span", { class: "figures", "aria-hidden": "true" });
  const now = el("button", { type: "button", on: { click: () => link.retry() } }, "Try now");
  banner.replaceChildren(el("strong", {}, "No connection to the server."),
    el("span", {}, `${state.reason}${since}`), wait, now);
  const tick = () => setText(wait, `Next attempt in ${Math.max(0, Math.ceil((state.retryAt - Date.now()) / 1000))} s.`);
  tick();
  countdown = setInterval(tick, 1_000);
}

function askForToken(error) {
  closeView();
  find("state").hidden = true;
  setText(find("uptime"), "");
  find("nav").replaceChildren();
  main.replaceChildren(tokenView(error, api, () => link.restart()));
  main.querySelector("input").focus();
}

find("sign-out").addEventListener("click", () => {
  api.token = "";
  location.reload(); // nothing that was shown stays in memory
});
addEventListener("hashchange", () => route());
themeSwitch(find("theme"));
link.run();
