// The form to publish to a topic: its fields are those of the topic's schema.

import { Refused } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { offsetOf, count } from "./format.js";
import { inputFor, LEFT_OUT, Unreadable } from "./form.js";
import { fieldOf } from "./schema.js";

/** The form for a topic that takes values of a schema. */
export function publishForm(api, topic, schema) {
  const name = el("input", { id: "event-name", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "none" });
  const result = el("p", { class: "result", role: "status" });
  const holder = el("div", {});
  const send = el("button", { type: "submit", class: "main" }, "Publish");
  const asJson = el("button", { type: "button", "aria-pressed": "false" }, "Write JSON");
  const form = el(
    "form", { class: "publish", novalidate: true, "aria-label": `Publish to ${topic}` },
    holder,
    el("div", { class: "field" }, el("label", { for: "event-name" }, "Event name"), name),
    el("div", { class: "buttons" }, send, asJson, result),
  );
  const field = fieldOf(schema ?? {});
  let input = null;
  let json = field.kind === "json";
  asJson.hidden = json;
  use(field);

  function use(shown) {
    input = inputFor(shown, "$", "Data", true);
    holder.replaceChildren(input.element);
    setAttribute(asJson, "aria-pressed", String(json));
  }

  asJson.addEventListener("click", () => {
    let text = "";
    try {
      text = json ? "" : JSON.stringify(input.value(), null, 2);
    } catch {
      // what can't be read yet is written anew
    }
    json = !json;
    use(json ? { kind: "json", hint: "" } : field);
    if (json) holder.querySelector("textarea").value = text;
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    tell("");
    form.querySelectorAll(".problem").forEach((each) => (each.hidden = true));
    form.querySelectorAll("[aria-invalid]").forEach((each) => each.removeAttribute("aria-invalid"));
    send.disabled = true;
    try {
      const value = input.value();
      const answer = await post(api, topic, value === LEFT_OUT ? null : value, name.value);
      tell(`Stored as event ${count(offsetOf(answer.last))}.`);
    } catch (error) {
      explain(error);
    } finally {
      send.disabled = false;
    }
  });

  function explain(error) {
    const [at] = error instanceof Refused ? error.problem.errors ?? [] : [];
    const path = error instanceof Unreadable ? error.path : at?.path;
    const detail = error instanceof Refused ? error.message : error.message || "The server can't be reached.";
    const control = typeof path === "string" ? input.mark(path, at ? `${at.detail} (at ${path})` : detail) : null;
    if (control === null) tell(detail, true);
    else {
      tell("Not stored: see the field.", true);
      control.focus({ preventScroll: true });
      control.scrollIntoView({ block: "center" });
    }
  }

  function tell(text, isFault = false) {
    setText(result, text);
    setAttribute(result, "class", isFault ? "result fault" : "result");
  }

  return { element: form };
}

async function post(api, topic, value, eventName) {
  const headers = { "Content-Type": "application/json" };
  if (eventName) headers["Event-Name"] = headerText(eventName);
  const body = JSON.stringify(value);
  return api.json(`topics/${encodeURIComponent(topic)}`, { method: "POST", headers, body });
}

/** A header holds bytes: the server reads a name as UTF-8. */
function headerText(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

