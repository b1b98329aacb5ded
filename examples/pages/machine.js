import { WebSocketClient } from "/client.js";
import { LineChart, legend } from "./chart.js";
import { byId, element, followState } from "./page.js";

// One WebSocket for all three topics, and with `shared` for all tabs that show this page.
const client = new WebSocketClient("/ws", { shared: true });
followState(client);
client.addEventListener("state", ({ detail: { state, shared, reason } }) => {
  if (state !== "open") return;
  const alone = `This tab has a connection of its own (${reason}).`;
  byId("sharing").textContent = shared ? "All tabs with this page share one connection to the server." : alone;
});

const percent = (value) => `${Math.round(value)} %`;

function bytes(value) {
  const unit = value >= 1e9 ? "GB" : value >= 1e6 ? "MB" : value >= 1e3 ? "kB" : "B";
  const shown = value / { GB: 1e9, MB: 1e6, kB: 1e3, B: 1 }[unit];
  return `${shown.toLocaleString(undefined, { maximumSignificantDigits: 3 })} ${unit}`;
}

/** A chart of the last minute, with its legend; gives a function that takes the next sample. */
function chart(id, interval, { colors, labels, top, format, shown = format }) {
  const drawn = new LineChart(byId(id), { samples: 60 / interval, span: "60 s", colors, top, format });
  const say = legend(byId(`${id}-legend`), colors, labels);
  return {
    push(sample) {
      drawn.push(sample);
      for (const [series, value] of Object.entries(sample)) say(series, shown(value));
    },
    interrupt: () => drawn.interrupt(),
  };
}

/** Hand on each event of a topic, from the oldest that the server has: so the charts are full at once. */
function read(topic, charts, take) {
  const subscription = client.subscribe(topic, { after: "earliest" });
  subscription.onmessage = ({ data }) => take(data);
  subscription.ongap = () => charts.forEach((each) => each.interrupt());
}

const cpu = chart("cpu", 0.5, { colors: { total: "--accent" }, labels: { total: "All cores" }, top: 100, format: percent });
read("cpu", [cpu], ({ total, cores }) => {
  cpu.push({ total });
  showCores(cores);
});

let installed = 0;
const memory = chart("memory", 1, {
  colors: { used: "--second" },
  labels: { used: "In use" },
  top: 100,
  format: percent,
  shown: (value) => `${bytes((installed * value) / 100)} of ${bytes(installed)} (${percent(value)})`,
});
read("memory", [memory], ({ total, available }) => {
  installed = total;
  memory.push({ used: 100 * (1 - available / total) });
});

const rates = { top: 10_000, format: bytes, shown: (value) => `${bytes(value)}/s` };
const network = chart("network", 1, {
  ...rates,
  colors: { received: "--accent", sent: "--second" },
  labels: { received: "Received", sent: "Sent" },
});
const disk = chart("disk", 1, {
  ...rates,
  colors: { disk_read: "--accent", disk_written: "--second" },
  labels: { disk_read: "Read", disk_written: "Written" },
});
read("network", [network, disk], ({ received, sent, disk_read, disk_written }) => {
  network.push({ received, sent });
  disk.push({ disk_read, disk_written });
});

function showCores(cores) {
  const list = byId("cores");
  while (list.children.length < cores.length) {
    const meter = element("meter", { max: 100, low: 60, high: 90, optimum: 0 });
    list.append(element("li", {}, `Core ${list.children.length}`, meter));
  }
  cores.forEach((load, index) => {
    const meter = list.children[index].lastChild;
    meter.value = load;
    meter.textContent = percent(load); // for what shows no meters
    meter.ariaLabel = `Core ${index}: ${percent(load)}`;
  });
}
