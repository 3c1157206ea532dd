// Reading protobuf's JSON: zero values may be left out, 64-bit integers come as strings, doubles may be "NaN".
import type { TimestampJson } from "@bufbuild/protobuf/wkt";

type NumberJson = number | string | undefined;

/** undefined for what is missing or not finite. */
export function toNumber(value: NumberJson): number | undefined {
  if (value === undefined || value === "") return undefined;
  const number = typeof value === "number" ? value : Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** A field whose zero may be left out. */
export function orZero(value: NumberJson): number {
  return toNumber(value) ?? 0;
}

/** Unix seconds; undefined where there is no time, or where Go's zero time was written out. */
export function toUnixSeconds(time: TimestampJson | undefined): number | undefined {
  if (time === undefined) return undefined;
  const millis = Date.parse(time);
  return Number.isNaN(millis) || millis <= 0 ? undefined : millis / 1000;
}
