// Requests to the server, with the token of who looks. It is sent in a header, never in an address.

const KEY = "penstock.console.token";
const MOST_PENDING = 32 * 1024 * 1024;

/** An answer that is no success. `problem` is the server's problem map (RFC 9457), or {}. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered with status ${status}.`);
    this.status = status;
    this.problem = problem;
  }

  /** Whether another token could help. */
  get wantsToken() {
    return this.status === 401 || this.status === 403;
  }
}

export class Api {
  /** `base` is where the server is; the page's own address unless told. */
  constructor(base = document.baseURI) {
    this.base = base;
  }

  get token() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  /** Remember a token until the tab is closed; "" forgets it. */
  set token(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  }

  /** Fetch a path. Throws `Refused`, and what `fetch` throws without an answer. */
  async request(path, options = {}) {
    const headers = new Headers(options.headers);
    if (this.token) headers.set("Authorization", `Bearer ${this.token}`);
    const address = new URL(path, this.base);
    const answer = await fetch(address, { cache: "no-store", ...options, headers });
    if (!answer.ok) throw new Refused(answer.status, await problemOf(answer));
    return answer;
  }

  async json(path, options = {}) {
    return (await this.request(path, options)).json();
  }

  /** The messages of an NDJSON stream, until it ends. Leaving the loop closes it. */
  async *messages(path, signal) {
    const headers = { Accept: "application/x-ndjson" };
    const answer = await this.request(path, { headers, signal });
    const reader = answer.body.getReader();
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
        rest = lines.pop();
        if (rest.length > MOST_PENDING) throw new Error("The server sent a line without an end.");
        for (const line of lines) if (line) yield JSON.parse(line);
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }
}

async function problemOf(answer) {
  try {
    const problem = await answer.json();
    return typeof problem === "object" && problem !== null ? problem : {};
  } catch {
    return {};
  }
}
