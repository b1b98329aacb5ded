// The table of topics, on the overview and in its own view.

import { cells, el, pill, Rows, setAttribute, setPill, setText, table } from "./dom.js";
import { count, rate, size } from "./format.js";
import { own } from "./history.js";
import { sparkline } from "./sparkline.js";
import { stateOf, toneOf } from "./states.js";

const COLUMNS = [
  { title: "Topic" }, { title: "State" }, { title: "in/s", kind: "number" }, { title: "Last minute", kind: "spark", wide: true },
  { title: "Events", kind: "number wide" }, { title: "Kept", kind: "number wide" },
  { title: "Bytes", kind: "number wide" }, { title: "Readers", kind: "number" }, { title: "Max lag", kind: "number" },
];

/** `update(history, names)` shows these topics. */
export function topicTable() {
  const { element, body } = table(COLUMNS, "Topics");
  const rows = new Rows(body, topicRow);
  const update = (history, names) => rows.update(names.map((name) => [name, history]));
  return { element, update };
}

function topicRow(name) {
  const fields = cells(COLUMNS);
  const [title, state, pace, spark, events, kept, bytes, readers, lag] = fields;
  const badge = pill();
  const line = sparkline(60);
  title.append(el("a", { href: topicHash(name) }, name));
  state.append(badge);
  spark.append(line.element);

  function update(history) {
    const topic = history.now.topics[name];
    const pipeline = own(history.now.pipelines, name);
    const word = stateOf(topic, pipeline);
    setPill(badge, word, toneOf(word));
    setText(pace, rate(history.topicRate(name)));
    line.update(history.topicSeries(name));
    setText(events, count(topic.last));
    setText(kept, count(topic.last - topic.first + 1));
    setText(bytes, size(topic.bytes));
    setText(readers, count(topic.subscribers));
    setText(lag, count(topic.max_lag));
    setAttribute(element, "data-topic", name);
  }

  const element = el("tr", {}, fields);
  return { element, update };
}

export function topicHash(name) {
  return `#/topics/${encodeURIComponent(name)}`;
}
