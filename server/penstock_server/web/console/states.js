// How states are called, and how good they are.

const TONES = {
  ready: "good", starting: "warn", draining: "warn",
  running: "good", open: "", waiting: "", ended: "", stopped: "", restarting: "bad",
  done: "good", failed: "bad", cancelled: "warn",
};

export function toneOf(state) {
  return Object.hasOwn(TONES, state) ? TONES[state] : "";
}

/** What a topic is doing: its pipeline's state, or that it takes publications. */
export function stateOf(topic, pipeline) {
  if (pipeline) return pipeline.state;
  return topic?.ended ? "ended" : "open";
}
