/** What the pages of the examples share: making elements, and saying whether the server is there. */

/** An element with these properties; what is appended as text stays text, whatever is in it. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export const byId = (id) => document.getElementById(id);

const WORDS = {
  connecting: "Connecting",
  open: "Live",
  idle: "Nothing is running",
  waiting: "Connection lost; trying again",
  closed: "Not connected",
};

/** Say in the page's header how a connection is: `{state, error}` as client.js tells it. */
export function showState({ state, error }) {
  const place = byId("connection");
  // A new attempt is no news to the reader: it stays lost until it is there again.
  const shown = state === "connecting" && place.dataset.state === "waiting" ? "waiting" : state;
  const text = state === "closed" && error ? `Not connected: ${error.message}` : WORDS[shown];
  place.dataset.state = shown;
  if (place.textContent !== text) place.textContent = text; // it is read aloud when it changes
}

/** The same for a client that dispatches `state` events. */
export function followState(client) {
  client.addEventListener("state", ({ detail }) => showState(detail));
}

/** A value of this origin's storage, or `fallback` where there is none or it can't be read. */
export function recall(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

export const remember = (key, value) => localStorage.setItem(key, JSON.stringify(value));
