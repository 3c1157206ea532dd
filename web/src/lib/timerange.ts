// What stretch of time the host page shows. It lives in the URL: ?range=1h follows the clock, ?from=…&to=… (Unix
// seconds) stands still.

export const presets = {
  "15m": { seconds: 900, label: "15 min" },
  "1h": { seconds: 3_600, label: "1 h" },
  "6h": { seconds: 21_600, label: "6 h" },
  "24h": { seconds: 86_400, label: "24 h" },
  "7d": { seconds: 604_800, label: "7 d" },
  "30d": { seconds: 2_592_000, label: "30 d" },
  "90d": { seconds: 7_776_000, label: "90 d" },
  "1y": { seconds: 31_536_000, label: "1 y" },
} as const;

export type Preset = keyof typeof presets;

export type TimeRange = { kind: "follow"; preset: Preset } | { kind: "fixed"; from: number; to: number };

export const defaultPreset: Preset = "1h";

// Narrower than this there is nothing to see: agents sample every second at most.
export const MIN_SECONDS = 10;

export function isPreset(value: string): value is Preset {
  return Object.hasOwn(presets, value);
}

function unixSeconds(value: string | null): number | null {
  if (value === null || value.trim() === "") return null;
  const seconds = Number(value);
  return Number.isFinite(seconds) && seconds > 0 ? seconds : null;
}

/** Anything that is not a range falls back to the default: a mangled link still shows a page. */
export function parseTimeRange(params: { get: (name: string) => string | null }): TimeRange {
  const from = unixSeconds(params.get("from"));
  const to = unixSeconds(params.get("to"));
  if (from !== null && to !== null && to - from >= MIN_SECONDS) return { kind: "fixed", from, to };
  const preset = params.get("range");
  return { kind: "follow", preset: preset !== null && isPreset(preset) ? preset : defaultPreset };
}

/** The URL parameters of a range; null takes a parameter out. */
export function timeRangeParams(range: TimeRange): Record<"range" | "from" | "to", string | null> {
  if (range.kind === "follow") {
    return { range: range.preset === defaultPreset ? null : range.preset, from: null, to: null };
  }
  return { range: null, from: Math.floor(range.from).toString(), to: Math.ceil(range.to).toString() };
}

/** A dragged stretch as a range, widened about its middle where it is too narrow to show. */
export function zoomTo(from: number, to: number): TimeRange {
  const [start, end] = from < to ? [from, to] : [to, from];
  const lacking = MIN_SECONDS - (end - start);
  if (lacking <= 0) return { kind: "fixed", from: start, to: end };
  return { kind: "fixed", from: start - lacking / 2, to: end + lacking / 2 };
}

/** Twice the width about the same middle, not into the future. */
export function zoomOut(bounds: { from: number; to: number }, now: number): TimeRange {
  const half = (bounds.to - bounds.from) / 2;
  const to = Math.min(bounds.to + half, now);
  return { kind: "fixed", from: Math.max(1, to - half * 4), to };
}

export function boundsOf(range: TimeRange, now: number): { from: number; to: number } {
  if (range.kind === "fixed") return { from: range.from, to: range.to };
  return { from: now - presets[range.preset].seconds, to: now };
}

function two(value: number): string {
  return value.toString().padStart(2, "0");
}

/** Value of an <input type="datetime-local" step="1">, in local time. */
export function toInputValue(seconds: number): string {
  const date = new Date(seconds * 1000);
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function fromInputValue(value: string): number | null {
  const millis = new Date(value).getTime();
  return Number.isNaN(millis) ? null : millis / 1000;
}
