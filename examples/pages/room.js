import { WebSocketClient } from "/client.js";
import { byId, element, followState, recall, remember } from "./page.js";

const MOST_SHOWN = 500;
const MOST_ROOMS = 20;

// One WebSocket both ways: what is published while the server is away waits in its queue.
const client = new WebSocketClient("/ws", { queue: 200 });
followState(client);

const rooms = new Map(); // by name
let active = null;

function openRoom(name) {
  const tab = element("button", { type: "button" });
  // While messages of ours are under way, the cursors that come are noted: ours may be among them.
  const room = { name, tab, list: element("ol"), unread: 0, underWay: 0, came: new Set() };
  rooms.set(name, room);
  tab.onclick = () => show(room);
  byId("rooms").append(element("li", {}, tab));
  // From the earliest: the history first, then what comes. After a reconnection only what is new.
  const subscription = client.subscribe(`room.${name}`, { after: "earliest" });
  subscription.onmessage = ({ data, lastEventId }) => stored(room, lastEventId, data);
  subscription.ongap = ({ detail }) => add(room, divider(detail));
  subscription.onerror = ({ error }) => add(room, element("li", { className: "divider" }, error.message));
  label(room);
  return room;
}

function show(room) {
  active = room;
  room.unread = 0;
  location.hash = room.name;
  byId("room-title").textContent = `#${room.name}`;
  byId("log").replaceChildren(room.list);
  byId("log").scrollTop = byId("log").scrollHeight;
  rooms.forEach(label);
  remember("room:rooms", [...rooms.keys()]);
}

function label(room) {
  const unread = element("span", { className: "badge" }, room.unread ? `${room.unread} new` : "");
  room.tab.replaceChildren(`#${room.name}`, unread);
  room.tab.ariaCurrent = room === active ? "page" : null;
}

// Messages: shown while they are on their way, and where they are in the log once they are stored

function stored(room, id, message) {
  if (room.underWay > 0) room.came.add(id);
  [...room.list.querySelectorAll(".waiting")].find((row) => row.dataset.id === id)?.remove();
  add(room, messageRow(message, room.list.querySelector("li:nth-last-child(1 of :not(.waiting))")));
  if (room === active) return;
  room.unread += 1;
  label(room);
}

/** Put a row behind those that are stored, before those that wait. */
function add(room, row) {
  const log = byId("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  room.list.insertBefore(row, row.matches(".waiting") ? null : room.list.querySelector(".waiting"));
  while (room.list.children.length > MOST_SHOWN) room.list.firstChild.remove();
  if (isAtEnd && room === active) log.scrollTop = log.scrollHeight;
}

function messageRow({ name, text }, before = null) {
  const row = element("li", {}, element("b", {}, name), element("span", { className: "said" }, text));
  row.dataset.name = name;
  row.classList.toggle("same", before?.dataset.name === name);
  row.style.setProperty("--hue", [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
  return row;
}

function divider({ reason, missed }) {
  const text = reason === "epoch" ? "The server was restarted: it has only what comes from here" : `${missed ?? "Some"} messages are missing here`;
  return element("li", { className: "divider" }, text);
}

async function say(room, message) {
  const row = messageRow(message);
  const note = element("small");
  row.classList.add("waiting");
  row.append(note);
  room.underWay += 1;
  add(room, row);
  byId("log").scrollTop = byId("log").scrollHeight;
  try {
    const publication = client.publish(`room.${room.name}`, message);
    showQueue();
    const { id } = await publication;
    if (room.came.has(id)) row.remove(); // the event was faster than the answer
    row.dataset.id = id;
  } catch (error) {
    row.classList.replace("waiting", "refused");
    note.textContent = `not sent: ${error.message}`;
  }
  room.underWay -= 1;
  if (room.underWay === 0) room.came.clear();
  showQueue();
}

function showQueue() {
  const waits = client.queued > 0 && client.state !== "open";
  for (const { list } of rooms.values()) {
    for (const note of list.querySelectorAll(".waiting small")) note.textContent = waits ? "waits for the connection" : "sending";
  }
  byId("queue").textContent = waits ? `${client.queued} to be sent when the connection is back` : "";
}

client.addEventListener("state", showQueue);

byId("say").onsubmit = (event) => {
  event.preventDefault();
  const { name, text } = event.target.elements;
  say(active, { name: name.value, text: text.value });
  remember("room:name", name.value);
  text.value = "";
  text.focus();
};

byId("open").onsubmit = (event) => {
  event.preventDefault();
  const { room } = event.target.elements;
  if (rooms.size < MOST_ROOMS || rooms.has(room.value)) show(rooms.get(room.value) ?? openRoom(room.value));
  room.value = "";
};

// The beginning

const named = location.hash.slice(1);
for (const name of recall("room:rooms", ["lobby", "help", "random"])) openRoom(name);
show(rooms.get(named) ?? (/^[\w-]{1,64}$/.test(named) ? openRoom(named) : [...rooms.values()][0]));
byId("say").elements.name.value = recall("room:name", "");
byId("say").elements[recall("room:name", "") ? "text" : "name"].focus();
setTimeout(() => (byId("log").ariaLive = "polite"), 2_000); // the history is not read aloud
