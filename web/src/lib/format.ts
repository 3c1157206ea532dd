// Numbers and times as people read them. Every formatter takes undefined for a value that the host could not read and
// answers with a dash, so that no caller invents a zero.
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";

export const MISSING = "–";

export type Formatter = (value: number | null | undefined) => string;

function known(value: number | null | undefined): value is number {
  return value !== null && value !== undefined && Number.isFinite(value);
}

/** Three significant digits below 1,000, no digit after the point above. */
function significant(value: number): string {
  const size = Math.abs(value);
  if (size >= 99.95) return value.toFixed(0);
  if (size >= 9.995) return value.toFixed(1);
  return value.toFixed(2);
}

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] as const;

export const formatBytes: Formatter = (value) => {
  if (!known(value)) return MISSING;
  let scaled = value;
  let unit = 0;
  // 1023.5 and more would be shown as 1024 of the smaller unit.
  while (Math.abs(scaled) >= 1023.5 && unit < byteUnits.length - 1) {
    scaled /= 1024;
    unit++;
  }
  const digits = unit === 0 ? Math.round(scaled).toString() : significant(scaled);
  return `${digits} ${byteUnits[unit] ?? ""}`;
};

export const formatBytesPerSecond: Formatter = (value) => (known(value) ? `${formatBytes(value)}/s` : MISSING);

export const formatPercent: Formatter = (value) => {
  if (!known(value)) return MISSING;
  return `${Math.abs(value) >= 99.95 ? value.toFixed(0) : value.toFixed(1)} %`;
};

export const formatCelsius: Formatter = (value) => (known(value) ? `${value.toFixed(value >= 99.95 ? 0 : 1)} °C` : MISSING);

const magnitudes = ["", "k", "M", "G", "T"] as const;

export const formatNumber: Formatter = (value) => {
  if (!known(value)) return MISSING;
  if (Math.abs(value) < 1000) return Number.isInteger(value) ? value.toString() : significant(value);
  if (Number.isInteger(value) && Math.abs(value) < 100_000) return groupThousands(value);
  let scaled = value;
  let magnitude = 0;
  while (Math.abs(scaled) >= 999.5 && magnitude < magnitudes.length - 1) {
    scaled /= 1000;
    magnitude++;
  }
  return `${significant(scaled)} ${magnitudes[magnitude] ?? ""}`;
};

export function groupThousands(value: number): string {
  return value.toString().replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

export const formatLoad: Formatter = (value) => (known(value) ? value.toFixed(2) : MISSING);

const formatPerSecond: Formatter = (value) => (known(value) ? `${formatNumber(value)}/s` : MISSING);

const durationUnits = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
] as const;

/** The two largest units, as "12 d 4 h" or "45 s". */
export const formatDuration: Formatter = (value) => {
  if (!known(value)) return MISSING;
  let rest = Math.max(0, Math.round(value));
  const parts: string[] = [];
  for (const [name, seconds] of durationUnits) {
    const count = Math.floor(rest / seconds);
    rest -= count * seconds;
    if (count > 0) parts.push(`${count} ${name}`);
    else if (parts.length > 0) break;
    // Beside a hundred days the hours do not matter.
    if (parts.length === 2 || count >= 100) break;
  }
  return parts.length > 0 ? parts.join(" ") : "0 s";
};

const byUnit: Record<UnitJson, Formatter> = {
  UNIT_UNSPECIFIED: formatNumber,
  UNIT_NONE: formatNumber,
  UNIT_PERCENT: formatPercent,
  UNIT_BYTES: formatBytes,
  UNIT_SECONDS: formatDuration,
  UNIT_CELSIUS: formatCelsius,
  UNIT_BYTES_PER_SECOND: formatBytesPerSecond,
  UNIT_PER_SECOND: formatPerSecond,
};

export function formatterOf(unit: UnitJson | undefined): Formatter {
  return byUnit[unit ?? "UNIT_NONE"];
}

/** How long ago, in one unit: "now", "8 s ago", "3 min ago". Clocks that run ahead read as "now". */
export function formatAgo(seconds: number): string {
  if (seconds < 1.5) return "now";
  for (const [name, size] of durationUnits) {
    if (seconds >= size) return `${Math.floor(seconds / size)} ${name} ago`;
  }
  return "now";
}

function two(value: number): string {
  return value.toString().padStart(2, "0");
}

/** Local time of day, 24 hours: 09:05:07. */
export function formatClock(unixSeconds: number): string {
  const date = new Date(unixSeconds * 1000);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Local date and time: 2025-11-22 09:05:07. */
export function formatDateTime(unixSeconds: number): string {
  const date = new Date(unixSeconds * 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${formatClock(unixSeconds)}`;
}
