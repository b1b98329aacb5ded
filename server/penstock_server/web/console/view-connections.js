// Who is connected, by transport, and how far behind they are.

import { cells, el, Rows, setText, table } from "./dom.js";
import { count, rate, seconds, size } from "./format.js";

const COLUMNS = [
  { title: "Transport" }, { title: "Now", kind: "number" }, { title: "Opened", kind: "number wide" },
  { title: "Events/s", kind: "number" }, { title: "Bytes/s", kind: "number wide" },
  { title: "Lag p50", kind: "number" }, { title: "p95", kind: "number wide" }, { title: "p99", kind: "number" }, { title: "max", kind: "number" },
];
const NAMES = { sse: "SSE", ndjson: "NDJSON", msgpack: "MessagePack", json: "JSON (long poll)", websocket: "WebSocket" };

export function connectionsView({ history }) {
  const { element: list, body } = table(COLUMNS, "Connections by transport");
  const rows = new Rows(body, (transport) => {
    const fields = cells(COLUMNS);
    setText(fields[0], NAMES[transport] ?? transport);
    return {
      element: el("tr", { "data-transport": transport }, fields),
      update: (values) => values.forEach((value, index) => setText(fields[index + 1], value)),
    };
  });
  const facts = ["total", "watching", "delivery p50", "delivery p99", "delivery max"]
    .map((name) => [name, el("dd", {}, "–")]);
  const element = el(
    "div", { class: "stack" },
    el("h2", {}, "Connections"),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), value))),
    el("section", { class: "panel", "aria-label": "Connections by transport" }, list),
    el("p", { class: "note" }, "Lag is how many events a connection is behind, in the topic where it is worst. Delivery is the time from an event’s append to the write of its bytes, since the server started; consoles such as this one watch, and are counted apart."),
  );

  function update() {
    const { connections, counters, delivery_lag: lag } = history.now;
    const values = [count(connections.total), count(connections.watching),
      ...[lag.p50, lag.p99, lag.max].map((each) => seconds(each).join(" "))];
    facts.forEach(([, field], index) => setText(field, values[index]));
    rows.update(Object.keys(counters.connected).map((transport) => {
      const spread = connections.lag[transport];
      const bytes = history.rate((each) => each.counters.bytes_out[transport]);
      return [transport, [
        count(connections.by_transport[transport] ?? 0), count(counters.connected[transport]),
        rate(history.rate((each) => each.counters.events_out[transport])),
        bytes === null ? "–" : `${size(bytes)}/s`,
        ...["p50", "p95", "p99", "max"].map((each) => (spread ? count(spread[each]) : "–")),
      ]];
    }));
  }

  return { element, title: "Connections", update, close() {} };
}
