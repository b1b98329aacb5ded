// What was seen of the server: a few snapshots for rates, and rings of figures for sparklines.

const POINTS = 60;
const WINDOW = 6;

/** The last so many numbers. */
export class Ring {
  #values;
  #next = 0;
  #size = 0;

  constructor(capacity) {
    this.#values = new Float64Array(capacity);
  }

  get capacity() {
    return this.#values.length;
  }

  push(value) {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.capacity;
    this.#size = Math.min(this.#size + 1, this.capacity);
  }

  /** From the oldest to the newest. */
  toArray() {
    const begin = this.#next - this.#size + this.capacity;
    return Array.from({ length: this.#size }, (_, index) =>
      this.#values[(begin + index) % this.capacity]);
  }
}

const SERIES = ["stored", "out", "connections", "bytes", "delay", "memory"];

export class History {
  #snapshots = [];
  #topics = new Map();
  #epoch = "";
  series = Object.fromEntries(SERIES.map((name) => [name, new Ring(POINTS)]));

  /** The newest snapshot; null before the first. */
  get now() {
    return this.#snapshots.at(-1) ?? null;
  }

  /** The one before it. */
  get previous() {
    return this.#snapshots.at(-2) ?? null;
  }

  /** Take a snapshot of a server's life. Gives whether the server was started anew since the last. */
  add(snapshot, epoch) {
    const restarted = this.now !== null && epoch !== this.#epoch;
    this.#epoch = epoch;
    if (restarted) {
      this.#snapshots = [];
      this.#topics.clear();
    }
    this.#snapshots.push(snapshot);
    if (this.#snapshots.length > WINDOW) this.#snapshots.shift();
    this.#note(snapshot);
    return restarted;
  }

  #note(snapshot) {
    const { series } = this;
    if (this.previous !== null) {
      series.stored.push(this.rate((each) => each.stored, 2) ?? 0);
      series.out.push(this.rate((each) => sum(each.counters.events_out), 2) ?? 0);
      series.bytes.push(this.rate((each) => sum(each.counters.bytes_out), 2) ?? 0);
    }
    series.connections.push(snapshot.connections.total);
    series.delay.push(snapshot.loop_delay.recent);
    series.memory.push(snapshot.process.rss);
    for (const name of Object.keys(snapshot.topics)) {
      let ring = this.#topics.get(name);
      if (ring === undefined) this.#topics.set(name, (ring = new Ring(POINTS)));
      ring.push(this.topicRate(name, 2) ?? 0);
    }
    for (const name of this.#topics.keys()) {
      if (!Object.hasOwn(snapshot.topics, name)) this.#topics.delete(name);
    }
  }

  /**
   * How much a figure grows a second, over the last snapshots (at most `window` of them). `read`
   * gives it from a snapshot, null where it has none. Null without two, or where it went down.
   */
  rate(read, window = WINDOW) {
    const last = this.now;
    if (last === null) return null;
    const after = read(last);
    for (const first of this.#snapshots.slice(-window)) {
      const before = first === last ? null : read(first);
      const time = last.uptime - first.uptime;
      if (before === null || before === undefined || time <= 0) continue;
      return after < before ? null : (after - before) / time;
    }
    return null;
  }

  /** Events a second that come into a topic. */
  topicRate(name, window = WINDOW) {
    return this.rate((each) => own(each.topics, name)?.last ?? null, window);
  }

  /** That rate over time; the newest last. */
  topicSeries(name) {
    return this.#topics.get(name)?.toArray() ?? [];
  }

  /** The oldest state of a run (a pipeline, or a job's) that rates can be counted from. */
  earlier(read) {
    const now = read(this.now);
    return this.#snapshots.map(read).find((run) => isBefore(run, now)) ?? null;
  }
}

function isBefore(run, now) {
  return Boolean(run?.stages && now?.stages) && run.seconds < now.seconds &&
    run.stages.length === now.stages.length;
}

/** Rates of each stage of a run by name: `{in, out, busy}`, busy as a share of the time. */
export function stageRates(before, now) {
  const rates = new Map();
  if (!now?.stages) return rates;
  const time = before === null ? 0 : now.seconds - before.seconds;
  const earlier = new Map((before?.stages ?? []).map((stage) => [stage.name, stage]));
  for (const stage of now.stages) {
    const old = earlier.get(stage.name);
    const per = (field) => (time > 0 && old ? Math.max(0, stage[field] - old[field]) / time : null);
    const busy = per("busy");
    rates.set(stage.name, {
      in: per("items_in"),
      out: per("items_out"),
      busy: busy === null ? null : Math.min(1, busy),
    });
  }
  return rates;
}

/** A member of a map whose keys are data. */
export function own(map, key) {
  return map && Object.hasOwn(map, key) ? map[key] : undefined;
}

export function sum(map) {
  return Object.values(map).reduce((total, each) => total + each, 0);
}
