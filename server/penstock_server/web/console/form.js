// Form fields for what a schema asks for; each gives its value, and shows what is wrong with it.

import { el, freshId, setAttribute, setText } from "./dom.js";

/** What `value()` gives for an optional field that is left out. */
export const LEFT_OUT = Symbol("left out");

/** A field that can't be read: `path` leads to it, as the server's paths do (`$.age`). */
export class Unreadable extends Error {
  constructor(path, message) {
    super(message);
    this.path = path;
  }
}

/**
 * The form's part for a field of `schema.js`, at a path: `{element, value(), mark(path, text)}`.
 *
 * `value()` throws `Unreadable`. `mark` shows a text at the field of that path, or at the nearest one
 * around it, and gives the control to put the focus on; null where the path is elsewhere.
 */
export function inputFor(field, path, label, required) {
  const make = { object: objectInput, list: listInput, choice: choiceInput }[field.kind] ?? lineInput;
  const input = make(field, path, label, required);
  return field.nullable && field.kind !== "choice" ? withNull(input, label) : input;
}

/** Whether `path` is at `own` or inside of it. */
function within(path, own) {
  return path === own || path.startsWith(`${own}.`) || path.startsWith(`${own}[`);
}

function wrapped(control, label, field, required, note = "") {
  const id = freshId("field");
  control.id = id;
  const problem = el("p", { class: "problem", id: `${id}-problem`, hidden: true });
  const hints = [field.hint, note].filter(Boolean).join("; ");
  const element = el(
    "div", { class: "field" },
    el("label", { for: id }, label, required ? el("span", { class: "muted" }, " (required)") : null),
    control,
    hints ? el("p", { class: "hint" }, hints) : null,
    problem,
  );
  const mark = (text) => {
    setText(problem, text);
    problem.hidden = !text;
    setAttribute(control, "aria-invalid", text ? "true" : null);
    setAttribute(control, "aria-describedby", text ? problem.id : null);
    return control;
  };
  return { element, mark };
}

function lineInput(field, path, label, required) {
  const isJson = field.kind === "json";
  const fallback = field.fallback === undefined || field.fallback === null ? "" : field.fallback;
  const placeholder = required || fallback === "" ? "" : `${typeof fallback === "string" ? fallback : JSON.stringify(fallback)} (default)`;
  const control = isJson
    ? el("textarea", { spellcheck: "false", placeholder: placeholder || "JSON" })
    : el("input", {
      type: "text", spellcheck: "false", autocomplete: "off", placeholder: placeholder || null,
      inputmode: field.kind === "number" ? (field.whole ? "numeric" : "decimal") : null,
    });
  const { element, mark } = wrapped(control, label, field, required, boundsOf(field));

  function value() {
    const text = control.value;
    if (field.kind === "text") return text === "" && !required ? LEFT_OUT : text;
    if (text.trim() === "") {
      if (!required) return LEFT_OUT;
      throw new Unreadable(path, isJson ? "a JSON value is needed" : "a number is needed");
    }
    if (isJson) return parsed(text, path);
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text.trim())) {
      throw new Unreadable(path, `not a number: ${text.trim().slice(0, 40)}`);
    }
    return Number(text);
  }

  return { element, value, mark: (at, text) => (within(at, path) ? mark(text) : null) };
}

function boundsOf({ kind, least, most, whole }) {
  const parts = [whole ? "a whole number" : "", least === undefined ? "" : `at least ${least}`,
    most === undefined ? "" : `at most ${most}`].filter(Boolean);
  return parts.join(", ") + (parts.length && kind === "text" ? " characters" : "");
}

/** JSON from a text. Throws `Unreadable`. */
export function parsed(text, path) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Unreadable(path, `not JSON: ${error.message}`);
  }
}

function choiceInput(field, path, label, required) {
  const choices = field.nullable ? [...field.choices, null] : field.choices;
  const fallback = field.fallback === undefined ? "" : `; default ${JSON.stringify(field.fallback)}`;
  const control = el("select", {},
    required ? null : el("option", { value: "" }, `left out${fallback}`),
    choices.map((choice, index) => el("option", { value: index }, typeof choice === "string" ? choice : JSON.stringify(choice))));
  const { element, mark } = wrapped(control, label, field, required);
  const value = () => (control.value === "" ? LEFT_OUT : choices[Number(control.value)]);
  return { element, value, mark: (at, text) => (within(at, path) ? mark(text) : null) };
}

function group(path, label, required, hint, ...content) {
  const problem = el("p", { class: "problem", hidden: true, tabindex: "-1" });
  const legend = el("legend", {}, label, required && path !== "$" ? el("span", { class: "muted" }, " (required)") : null);
  const element = el("fieldset", {}, legend, hint ? el("p", { class: "hint muted" }, hint) : null, content, problem);
  const mark = (text) => {
    setText(problem, text);
    problem.hidden = !text;
    return problem;
  };
  return { element, mark };
}

function objectInput(field, path, label, required) {
  const inputs = field.fields.map((each) => ({
    ...each, input: inputFor(each.field, `${path}.${each.name}`, each.name, each.required),
  }));
  const box = group(path, label, required, field.hint, inputs.map((each) => each.input.element));

  function value() {
    const given = inputs.map(({ name, input }) => [name, input.value()]).filter(([, each]) => each !== LEFT_OUT);
    return given.length || required ? Object.fromEntries(given) : LEFT_OUT;
  }

  function mark(at, text) {
    if (!within(at, path)) return null;
    for (const { input } of inputs) {
      const control = input.mark(at, text);
      if (control !== null) return control;
    }
    return box.mark(text);
  }

  return { element: box.element, value, mark };
}

function listInput(field, path, label, required) {
  let items = [];
  const list = el("div", { class: "stack" });
  const add = el("button", { type: "button", on: { click: () => append(true) } }, "Add an item");
  const box = group(path, label, required, field.hint, list, el("div", { class: "buttons" }, add));

  function append(focus) {
    const item = { input: inputFor(field.item, `${path}[]`, `item ${items.length + 1}`, true) };
    const remove = el("button", { type: "button", "aria-label": `Remove ${label} ${items.length + 1}` }, "Remove");
    item.element = el("div", { class: "item" }, item.input.element, remove);
    remove.addEventListener("click", () => {
      items = items.filter((each) => each !== item);
      item.element.remove();
      add.focus();
    });
    items.push(item);
    list.append(item.element);
    if (focus) item.element.querySelector("input, select, textarea, button")?.focus();
  }

  function value() {
    return items.length || required ? items.map((item) => item.input.value()) : LEFT_OUT;
  }

  function mark(at, text) {
    if (!within(at, path)) return null;
    const place = /^\[(\d+)\](.*)$/s.exec(at.slice(path.length));
    const item = place && items[Number(place[1])];
    // An item is told paths as if it were the only one: it may move.
    return (item && item.input.mark(`${path}[]${place[2]}`, text)) ?? box.mark(text);
  }

  return { element: box.element, value, mark };
}

function withNull(input, label) {
  const check = el("input", { type: "checkbox", "aria-label": `${label} is null` });
  const controls = input.element.querySelectorAll("input, textarea, select, button");
  check.addEventListener("change", () => controls.forEach((each) => (each.disabled = check.checked)));
  const element = el("div", { class: "with-null" }, input.element, el("label", {}, check, "null"));
  return { element, value: () => (check.checked ? null : input.value()), mark: input.mark };
}
