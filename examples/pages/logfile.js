import { WebSocketClient } from "/client.js";
import { BarChart, legend } from "./chart.js";
import { byId, element, followState } from "./page.js";

const MOST_LINES = 200;
const NOTHING_YET = { DEBUG: 0, INFO: 0, WARNING: 0, ERROR: 0, CRITICAL: 0, "1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, other: 0 };
const COLORS = {
  other: "--edge", DEBUG: "--edge", "1xx": "--edge", INFO: "--accent", "2xx": "--accent", "3xx": "--second",
  WARNING: "--warn", "4xx": "--warn", ERROR: "--bad", CRITICAL: "--bad", "5xx": "--bad",
};

const client = new WebSocketClient("/ws", { shared: true });
followState(client);

// The chart

const chart = new BarChart(byId("levels"), { samples: 60, span: "60 s", colors: COLORS, top: 10 });
let shown = ""; // the levels that the legend has
let say = null;

const levels = client.subscribe("levels", { after: "earliest" });
levels.ongap = () => chart.interrupt();
levels.onmessage = ({ data: { counts } }) => {
  chart.push(counts);
  const sums = { ...NOTHING_YET };
  for (const sample of chart.values) {
    for (const [level, count] of Object.entries(sample ?? {})) sums[level] += count;
  }
  showSums(Object.entries(sums).filter(([, sum]) => sum > 0));
  byId("rate").textContent = Object.values(counts).reduce((sum, count) => sum + count, 0);
};

function showSums(sums) {
  const names = sums.map(([level]) => level);
  if (names.join() !== shown) {
    shown = names.join();
    byId("legend").replaceChildren();
    say = legend(byId("legend"), Object.fromEntries(names.map((level) => [level, COLORS[level]])));
  }
  for (const [level, sum] of sums) say(level, sum.toLocaleString());
}

// The tail: what comes is gathered, and shown once a frame

const LEVEL = /\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|" ([1-5])\d\d /;
let waiting = [];
let isHeld = false;

const lines = client.subscribe("lines", { after: "earliest" });
lines.ongap = ({ detail }) => keep({ line: `(${detail.missed ?? "some"} lines are missing here)`, level: "other" });
lines.onmessage = ({ data }) => {
  const [, word, status] = LEVEL.exec(data) ?? [];
  keep({ line: data, level: word ?? (status ? `${status}xx` : "other") });
};

function keep(line) {
  waiting.push(line);
  if (waiting.length > MOST_LINES) waiting.shift();
  if (waiting.length === 1 && !isHeld) requestAnimationFrame(showLines);
}

function showLines() {
  const list = byId("tail");
  const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  list.append(...waiting.map(({ line, level }) => {
    const row = element("li", {}, line);
    row.style.setProperty("--color", `var(${COLORS[level]})`);
    return row;
  }));
  waiting = [];
  while (list.children.length > MOST_LINES) list.firstChild.remove();
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

byId("hold").onclick = () => {
  isHeld = !isHeld;
  byId("hold").ariaPressed = String(isHeld);
  byId("hold").textContent = isHeld ? "Go on" : "Hold";
  if (!isHeld) showLines();
};
