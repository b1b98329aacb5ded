// Making and changing elements. Data only ever becomes text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`on` holds listeners) and children (text, nodes, null for none). */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text, touching the document only where it is another one. */
export function setText(element, value) {
  const text = String(value);
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, or take it away with null, likewise. */
export function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Rows (or other children) by key: `make(key)` gives `{element, update(value)}`. */
export class Rows {
  #parent;
  #make;
  #rows = new Map();

  constructor(parent, make) {
    this.#parent = parent;
    this.#make = make;
  }

  /** Show exactly these `[key, value]` pairs, in this order. Elements that stay are kept. */
  update(entries) {
    const gone = new Set(this.#rows.keys());
    let next = this.#parent.firstChild;
    for (const [key, value] of entries) {
      let row = this.#rows.get(key);
      if (row === undefined) {
        row = this.#make(key);
        this.#rows.set(key, row);
      }
      gone.delete(key);
      if (row.element === next) next = next.nextSibling;
      else this.#parent.insertBefore(row.element, next);
      row.update(value);
    }
    for (const key of gone) {
      this.#rows.get(key).element.remove();
      this.#rows.delete(key);
    }
  }
}

/** A table in which columns are `{title, kind, wide}`; `kind` "number" is set to the right. */
export function table(columns, caption) {
  const head = columns.map((column) =>
    el("th", { scope: "col", class: classOf(column) || null }, column.title));
  const body = el("tbody");
  const label = caption ? el("caption", { class: "unseen" }, caption) : null;
  return { element: el("table", {}, label, el("thead", {}, el("tr", {}, head)), body), body };
}

function classOf({ kind = "", wide = false }) {
  return [kind, wide ? "wide" : ""].filter(Boolean).join(" ");
}

/** The cells of one row of such a table; the first is its header. */
export function cells(columns) {
  return columns.map((column, index) =>
    index === 0
      ? el("th", { scope: "row", class: classOf(column) || null })
      : el("td", { class: classOf(column) || null }));
}

/** A word on a ground that says how good it is; `tone` is good, warn, bad or "". */
export function pill(text = "", tone = "") {
  const element = el("span", { class: "pill" });
  setPill(element, text, tone);
  return element;
}

export function setPill(element, text, tone) {
  setText(element, text);
  setAttribute(element, "data-tone", tone || null);
}

let number = 0;

/** An id that no other element has. */
export function freshId(prefix) {
  number += 1;
  return `${prefix}-${number}`;
}
