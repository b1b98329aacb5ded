/**
 * Two charts of what was measured last, drawn on a canvas: lines, and stacked bars. The newest sample is
 * at the right edge. A chart is drawn anew at most once a frame, and when its size or the theme changes.
 */

const LEFT = 52;
const BOTTOM = 20;
const TOP = 10;
const RIGHT = 4;

class Chart {
  #canvas;
  #due = false;

  /**
   * `samples` fit beside each other; `span` says how long that is. `colors` maps each series' name to a
   * custom property of the page's style, `format` makes a label of a value, `top` is the least height of
   * the scale.
   */
  constructor(canvas, { samples, span, colors, top, format = String }) {
    Object.assign(this, { samples, span, colors, top, format });
    this.values = []; // of each sample: an object from series to number, or null where nothing is known
    this.#canvas = canvas;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  push(sample) {
    this.values.push(sample);
    if (this.values.length > this.samples) this.values.shift();
    this.draw();
  }

  /** Something is missing here. */
  interrupt() {
    if (this.values.length > 0 && this.values.at(-1) !== null) this.push(null);
  }

  draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#paint();
    });
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0) return;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const pen = this.#canvas.getContext("2d");
    pen.scale(scale, scale);
    const color = (name) => this.#colorOf(name);
    const top = niceAbove(Math.max(this.top, ...this.values.filter(Boolean).map((each) => this.height(each))));
    const area = { left: LEFT, top: TOP, width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };
    this.#paintScale(pen, area, top, color);
    const y = (value) => area.top + area.height * (1 - value / top);
    this.paintSamples(pen, area, y, color);
  }

  /** A custom property's colour as it is now, in dark or light: the canvas itself knows no variables. */
  #colorOf(name) {
    this.#canvas.style.color = `var(${name})`;
    return getComputedStyle(this.#canvas).color;
  }

  #paintScale(pen, { left, top, width, height }, highest, color) {
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = color("--muted");
    pen.strokeStyle = color("--line");
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(top + height * (1 - part)) + 0.5;
      pen.beginPath();
      pen.moveTo(left, y);
      pen.lineTo(left + width, y);
      pen.stroke();
      pen.fillText(this.format(highest * part), left - 6, y);
    }
    pen.textBaseline = "alphabetic";
    pen.fillText("now", left + width, top + height + 15);
    pen.textAlign = "left";
    pen.fillText(`${this.span} ago`, left, top + height + 15);
  }
}

/** One line for each series. */
export class LineChart extends Chart {
  height(sample) {
    return Math.max(...Object.values(sample));
  }

  paintSamples(pen, area, y, color) {
    const step = area.width / (this.samples - 1);
    const first = this.samples - this.values.length;
    const x = (index) => area.left + (first + index) * step;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    for (const [series, name] of Object.entries(this.colors)) {
      for (const [from, to] of this.#runs()) {
        const line = new Path2D();
        for (let index = from; index < to; index += 1) line.lineTo(x(index), y(this.values[index][series]));
        if (to - from === 1) line.lineTo(x(from) + 1, y(this.values[from][series]));
        pen.strokeStyle = pen.fillStyle = color(name);
        pen.stroke(line);
        line.lineTo(x(to - 1), y(0));
        line.lineTo(x(from), y(0));
        pen.globalAlpha = 0.13;
        pen.fill(line);
        pen.globalAlpha = 1;
      }
    }
  }

  /** The stretches without an interruption, each as its first index and the one after its last. */
  *#runs() {
    let from = 0;
    for (let index = 0; index <= this.values.length; index += 1) {
      if (this.values[index]) continue;
      if (index > from) yield [from, index];
      from = index + 1;
    }
  }
}

/** One bar for each sample, its series on top of each other in the order of `colors`. */
export class BarChart extends Chart {
  height(sample) {
    return Object.values(sample).reduce((sum, value) => sum + value, 0);
  }

  paintSamples(pen, area, y, color) {
    const step = area.width / this.samples;
    const first = this.samples - this.values.length;
    const names = Object.entries(this.colors).map(([series, name]) => [series, color(name)]);
    this.values.forEach((sample, index) => {
      let below = 0;
      for (const [series, fill] of sample ? names : []) {
        const value = sample[series] ?? 0;
        pen.fillStyle = fill;
        pen.fillRect(area.left + (first + index) * step + 0.5, y(below + value), step - 1, y(below) - y(below + value));
        below += value;
      }
    });
  }
}

/** The next of 1, 2, 5, 10, 20, … that is not below. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

/** A legend in a `<dl>`, which says the newest values in words; gives a function that sets one. */
export function legend(list, colors, labels = {}) {
  const places = new Map();
  for (const [series, color] of Object.entries(colors)) {
    const [name, value] = [document.createElement("dt"), document.createElement("dd")];
    name.textContent = labels[series] ?? series;
    name.style.setProperty("--color", `var(${color})`);
    value.textContent = "–";
    const pair = document.createElement("div");
    pair.append(name, value);
    list.append(pair);
    places.set(series, value);
  }
  return (series, text) => (places.get(series).textContent = text);
}
