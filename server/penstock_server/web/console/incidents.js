// What went wrong, with the time it was seen: found by comparing a snapshot with the one before.

import { own } from "./history.js";

const MOST = 200;
const TOGETHER = 10_000;

const REFUSED = {
  unreadable: "Publications could not be read",
  forbidden: "Publications came without a right or a token",
  not_publishable: "Publications to a topic that takes none",
  too_large: "Publications were too large",
  media_type: "Publications had an unknown media type",
  invalid: "Publications did not fit the topic's schema",
  rate_limited: "Publications came too fast",
  unavailable: "Publications found no room in time",
};
const CLOSED = {
  slow: "Subscribers were disconnected for being too slow",
  stalled: "Connections were closed that took no byte",
  expired_token: "Connections ended with their token",
  revoked: "Connections ended whose token was revoked",
};
const GAPS = {
  expired: "Readers asked for events that are gone",
  epoch: "Readers came back to a log that had begun anew",
  slow: "Readers were too slow and missed events",
};

/** Every counter of troubles: `{kind, key, text, read(snapshot)}`. */
export const COUNTERS = [
  ...counters("refused", REFUSED, (each) => each.counters.refused),
  ...counters("gap", GAPS, (each) => each.counters.gaps),
  ...counters("closed", CLOSED, (each) => each.counters.disconnected),
  {
    kind: "stall",
    key: "stalls",
    text: "Peers took no byte while there was something to send",
    read: (each) => each.counters.stalls,
  },
];

function counters(kind, texts, read) {
  return Object.entries(texts).map(([key, text]) => ({
    kind, key, text, read: (snapshot) => read(snapshot)[key] ?? 0,
  }));
}

/** A bounded list of `{when, kind, text, count}`, the newest first. */
export class Incidents {
  entries = [];
  /** How many were noted since the list was looked at. */
  unseen = 0;

  note(kind, text, count = 1) {
    const when = new Date();
    const newest = this.entries.find((entry) => entry.kind === kind && entry.text === text);
    this.unseen += 1;
    if (newest && when - newest.when < TOGETHER) {
      newest.count += count;
      newest.when = when;
      this.entries.splice(this.entries.indexOf(newest), 1);
      this.entries.unshift(newest);
      return;
    }
    this.entries.unshift({ when, kind, text, count });
    this.entries.length = Math.min(this.entries.length, MOST);
  }

  /** Note what is worse in `now` than in `before`; null where there is nothing to compare with. */
  compare(before, now) {
    if (before === null) {
      for (const [name, each] of Object.entries(now.pipelines)) {
        if (each.last_error) this.note("pipeline", `${name}: ${each.last_error}`);
      }
      return;
    }
    for (const { kind, text, read } of COUNTERS) {
      const more = read(now) - read(before);
      if (more > 0) this.note(kind, text, more);
    }
    for (const [name, each] of Object.entries(now.pipelines)) {
      const was = own(before.pipelines, name);
      if (each.last_error && (!was || each.restarts > was.restarts || each.last_error !== was.last_error)) {
        this.note("pipeline", `${name}: ${each.last_error}`);
      }
    }
    for (const [name, each] of Object.entries(now.jobs ?? {})) {
      const more = each.failed - (own(before.jobs, name)?.failed ?? 0);
      if (more > 0) this.note("job", `${name}: ${more === 1 ? "a run" : `${more} runs`} failed`, more);
    }
  }
}
