import { publish, readStream, ReconnectingEventSource } from "/client.js";
import { byId, element, followState, recall, remember } from "./page.js";

const user = new URLSearchParams(location.search).get("user") ?? "ada";
const STORE = `notifications:${user}`;
const MOST_KEPT = 50;
const TOAST_FOR = 6_000;

// What this browser has of them: the cursor of the last one, and the newest, each read or not. It is in
// the storage that all tabs of the page have in common, and is read anew for each change.
const load = () => recall(STORE, { cursor: null, items: [] });

function change(edit) {
  const kept = load();
  edit(kept);
  kept.items.length = Math.min(kept.items.length, MOST_KEPT);
  remember(STORE, kept);
  show();
}

// Reading goes on after the cursor: what came while no page was open comes now.
const source = new ReconnectingEventSource(`/topics/notify.${user}`, {
  shared: true,
  after: load().cursor ?? "earliest",
});
followState(source);
source.onmessage = ({ data, lastEventId }) => receive(lastEventId, JSON.parse(data));
source.ongap = ({ detail }) => {
  byId("missed").hidden = false;
  change((kept) => (kept.cursor = detail.resumed));
};

// Data is as it was published: a field that was left out has its default in Python only.
function receive(id, { title, body = "", level = "info" }) {
  let isNew = false;
  change((kept) => {
    kept.cursor = id;
    isNew = !kept.items.some((each) => each.id === id); // another tab may have been first
    if (isNew) kept.items.unshift({ id, title, body, level, read: false, time: Date.now() });
  });
  if (document.visibilityState === "visible") toast(title, body, level);
}

// What is shown

const SIGNS = { info: "ℹ", success: "✓", warning: "⚠" };
const sign = (level) => element("span", { className: `sign ${level}`, ariaHidden: "true" }, SIGNS[level]);
const when = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" });

function show() {
  const { items } = load();
  const unread = items.filter((each) => !each.read).length;
  byId("inbox").replaceChildren(...items.map(row));
  byId("empty").hidden = items.length > 0;
  byId("read-all").disabled = unread === 0;
  byId("clear").disabled = items.length === 0;
  byId("unread").textContent = unread === 0 ? "" : `${unread} unread`;
  document.title = unread === 0 ? "Notifications" : `(${unread}) Notifications`;
}

function row({ id, title, body, level, read, time }) {
  const state = element("span", { className: "unseen" }, read ? "read" : "unread");
  const text = element("span", { className: "text" }, element("strong", {}, title), body);
  const at = element("time", { dateTime: new Date(time).toISOString() }, when.format(time));
  const button = element("button", { type: "button", title: read ? "Mark as unread" : "Mark as read" });
  button.append(sign(level), text, at, state);
  button.onclick = () => {
    change(({ items }) => items.forEach((each) => (each.read = each.id === id ? !read : each.read)));
    document.querySelector(`[data-id="${id}"] button`)?.focus(); // the rows were made anew
  };
  const made = element("li", { className: read ? "read" : "unread" }, button);
  made.dataset.id = id;
  return made;
}

function toast(title, body, level) {
  const close = element("button", { type: "button", className: "quiet", ariaLabel: "Close" }, "×");
  const text = element("span", { className: "text" }, element("strong", {}, title), body);
  const made = element("div", { className: "toast" }, sign(level), text, close);
  close.onclick = () => made.remove();
  byId("toasts").append(made);
  while (byId("toasts").children.length > 4) byId("toasts").firstChild.remove();
  let timer = setTimeout(() => made.remove(), TOAST_FOR);
  made.onpointerenter = () => clearTimeout(timer); // no hurry for who reads it
  made.onpointerleave = () => (timer = setTimeout(() => made.remove(), TOAST_FOR / 2));
}

byId("user").textContent = user;
byId("send").elements.to.value = user;
byId("read-all").onclick = () => change(({ items }) => items.forEach((each) => (each.read = true)));
byId("clear").onclick = () => change((kept) => (kept.items = []));
addEventListener("storage", ({ key }) => key === STORE && show()); // another tab has changed it
show();

// What sends some

/** Run what a form does, and say how it went. */
function onSubmit(id, act) {
  byId(id).onsubmit = async (event) => {
    event.preventDefault();
    const outcome = byId("outcome");
    outcome.className = "small muted";
    outcome.textContent = "On its way …";
    try {
      outcome.textContent = await act(Object.fromEntries(new FormData(event.target)));
    } catch (error) {
      outcome.className = "small bad";
      outcome.textContent = `That did not work: ${error.message}`;
    }
  };
}

onSubmit("order", async ({ item }) => {
  const order = { user, item };
  const headers = { "content-type": "application/json" };
  const placed = await fetch("/orders", { method: "POST", headers, body: JSON.stringify(order) });
  if (!placed.ok) throw new Error(`the server answered ${placed.status}`);
  for await (const step of readStream("/jobs/pack", { method: "POST", body: order })) {
    if (step.type === "event") byId("outcome").textContent = `Your order: ${step.data}`;
  }
  return "Your order is on its way.";
});

onSubmit("send", async ({ to, title, level }) => {
  await publish(`/topics/notify.${to}`, { title, level });
  return `Sent to ${to}.`;
});
