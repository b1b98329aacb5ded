// Figures for people. All of them have a fixed shape, so that nothing jumps when they change.

const WHOLE = new Intl.NumberFormat("en");

export function count(value) {
  return value === null || value === undefined ? "–" : WHOLE.format(value);
}

/** 1 reader, 2 readers. */
export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A number in at most five characters: 0, 0.4, 12.5, 999, 12.3k, 4.5M. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) {
      const shown = value / (size === 1e4 ? 1e3 : size);
      return `${shown < 100 ? shown.toFixed(1) : Math.round(shown)}${unit}`;
    }
  }
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return value.toFixed(1);
}

export function rate(value) {
  return value === null || value === undefined ? "–" : `${short(value)}/s`;
}

/** Bytes as [figure, unit]. */
export function bytes(value) {
  if (value === null || value === undefined) return ["–", "B"];
  let shown = value;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (shown < 1000 || unit === "GiB") {
      return [unit === "B" || shown >= 100 ? String(Math.round(shown)) : shown.toFixed(1), unit];
    }
    shown /= 1024;
  }
  return ["–", "B"];
}

export function size(value) {
  return bytes(value).join(" ");
}

/** Seconds as [figure, unit], for short times. */
export function seconds(value) {
  if (value === null || value === undefined) return ["–", "ms"];
  if (value >= 1) return [value.toFixed(1), "s"];
  return [(value * 1000).toFixed(value < 0.1 ? 1 : 0), "ms"];
}

/** Seconds as 3 d 04:05:06. */
export function duration(value) {
  const whole = Math.max(0, Math.floor(value));
  const days = Math.floor(whole / 86400);
  const parts = [Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return days ? `${days} d ${clock}` : clock;
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

/** The time of day of a Date, with `digits` of its seconds' fraction. */
export function clock(when, digits = 0) {
  const text = when.toTimeString().slice(0, 8);
  return digits ? `${text}.${String(when.getMilliseconds()).padStart(3, "0").slice(0, digits)}` : text;
}

/** At most so many characters. */
export function cut(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

/** The offset in a cursor, as a number; null for anything else. */
export function offsetOf(cursor) {
  const match = /^([0-9a-z]+)-([0-9a-z]+)$/.exec(cursor ?? "");
  return match ? parseInt(match[2], 36) : null;
}

/** The epoch in a cursor: it names the life of a log. */
export function epochOf(cursor) {
  return cursor.slice(0, cursor.indexOf("-"));
}

/** The cursor so many events before another one, at the earliest the log's beginning. */
export function cursorBefore(cursor, events) {
  return `${epochOf(cursor)}-${Math.max(0, offsetOf(cursor) - events).toString(36)}`;
}
