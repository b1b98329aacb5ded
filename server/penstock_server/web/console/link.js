// The connection to the server's own figures: lost, it comes back by itself, and says so meanwhile.

import { Refused } from "./api.js";
import { epochOf } from "./format.js";

const SILENCE = 8_000;
const FIRST_DELAY = 500;
const MOST_DELAY = 8_000;
const HIDDEN_FOR = 20_000;

/**
 * Reads snapshots of the server, one a second.
 *
 * `onSnapshot(snapshot, epoch)` gets each; the epoch is another one once the server was started anew.
 * `onState(state)` gets `{name, ...}` whenever it changes:
 * "connecting"; "live"; "lost" (`reason`, `retryAt` in milliseconds since 1970); "refused" (`error`,
 * a `Refused` that another token could mend); "asleep" (the tab is hidden: browsers give a page few
 * connections, and the tabs that are seen need them).
 */
export class Link {
  #api;
  #onSnapshot;
  #onState;
  #state = { name: "connecting" };
  #abort = null;
  #wake = () => {};
  #failures = 0;
  #asleep = false;
  #watchdog = 0;

  constructor(api, { onSnapshot, onState }) {
    this.#api = api;
    this.#onSnapshot = onSnapshot;
    this.#onState = onState;
    let bedtime = 0;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(bedtime);
      if (document.hidden) bedtime = setTimeout(() => this.#sleep(), HIDDEN_FOR);
      else if (this.#asleep) this.#rise();
    });
    addEventListener("online", () => this.retry());
    addEventListener("offline", () => this.#abort?.abort(new Error("This device is offline.")));
  }

  get state() {
    return this.#state;
  }

  /** Run for as long as the page lives. */
  async run() {
    for (;;) {
      if (this.#asleep) {
        this.#change({ name: "asleep" });
        await this.#woken();
        continue;
      }
      const end = await this.#read();
      if (this.#asleep) continue;
      if (end.error instanceof Refused && end.error.wantsToken) {
        this.#change({ name: "refused", error: end.error });
        await this.#woken();
        continue;
      }
      const delay = end.after ?? this.#delay();
      this.#change({ name: "lost", reason: end.reason, retryAt: Date.now() + delay });
      await this.#woken(delay);
    }
  }

  /** Try now: a wait is cut short; what runs goes on. */
  retry() {
    this.#failures = 0;
    this.#wake();
  }

  /** Begin anew, with the token there is now. */
  restart() {
    this.#abort?.abort(new Error("Connecting anew."));
    this.#change({ name: "connecting" });
    this.retry();
  }

  async #read() {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    let after = null;
    try {
      this.#watch();
      for await (const message of this.#api.messages("stats", signal)) {
        this.#watch();
        if (message.type === "event") {
          this.#failures = 0;
          this.#onSnapshot(message.data, epochOf(message.id));
          this.#change({ name: "live" });
        } else if (message.type === "reconnect") {
          after = Math.min(message.after * 1000, MOST_DELAY);
        }
      }
      return { reason: "The server has ended the connection.", after };
    } catch (error) {
      const reason = signal.aborted ? signal.reason.message : said(error);
      return { error, reason, after };
    } finally {
      clearTimeout(this.#watchdog);
    }
  }

  #watch() {
    clearTimeout(this.#watchdog);
    const error = new Error(`The server was silent for ${SILENCE / 1000} seconds.`);
    this.#watchdog = setTimeout(() => this.#abort.abort(error), SILENCE);
  }

  #delay() {
    const bound = Math.min(MOST_DELAY, FIRST_DELAY * 2 ** this.#failures);
    this.#failures += 1;
    return bound / 2 + (Math.random() * bound) / 2;
  }

  #woken(delay = null) {
    return new Promise((resolve) => {
      const timer = delay === null ? 0 : setTimeout(resolve, delay);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #sleep() {
    this.#asleep = true;
    this.#abort?.abort(new Error("The tab is hidden."));
    this.#wake();
  }

  #rise() {
    this.#asleep = false;
    this.#change({ name: "connecting" });
    this.#wake();
  }

  #change(state) {
    if (state.name === "live" && this.#state.name === "live") return;
    this.#state = state;
    this.#onState(state);
  }
}

function said(error) {
  if (error instanceof Refused) return error.message;
  return "The server can't be reached.";
}
