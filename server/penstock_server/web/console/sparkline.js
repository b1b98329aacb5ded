// A small line of the last figures, without axes. What it shows stands beside it as a figure.

import { setAttribute, svg } from "./dom.js";

const HEIGHT = 32;

/** `update(values)` draws at most `points` values; the newest is at the right. */
export function sparkline(points) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const element = svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${points - 1} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area, line,
  );

  function update(values) {
    const top = Math.max(...values, 0) || 1;
    const begin = points - values.length;
    const steps = values.map((value, index) =>
      `${begin + index} ${(HEIGHT - 1 - (value / top) * (HEIGHT - 3)).toFixed(1)}`);
    const path = steps.length > 1 ? `M${steps.join("L")}` : "";
    setAttribute(line, "d", path);
    setAttribute(area, "d", path && `${path}V${HEIGHT}H${begin}Z`);
  }

  return { element, update };
}
