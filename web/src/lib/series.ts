// From the API's columns to what a chart draws. The API leaves out buckets without a value; a chart must show them as
// gaps, and series that skip different buckets must still share one time axis.
import type { SeriesJson } from "@/gen/gohub/v1/query_pb";
import { toNumber } from "@/lib/json";

/** One metric of one instance, as columns of equal length in order of time. */
export type Points = {
  metric: string;
  labels: Record<string, string>;
  times: number[];
  avg: number[];
  min: number[];
  max: number[];
};

/** null is a gap; undefined says only that this series has no point at a time which another one has. */
export type Column = (number | null | undefined)[];

export type Table = { times: number[]; columns: Column[] };

// A bucket later than expected by half a step is one that was left out.
const GAP_FACTOR = 1.5;

export function seriesKey(metric: string, labels: Record<string, string>): string {
  const parts = Object.keys(labels)
    .sort()
    .map((name) => `${name}=${labels[name] ?? ""}`);
  return [metric, ...parts].join("\u0000");
}

export function readSeries(json: SeriesJson): Points {
  const points: Points = { metric: json.metric ?? "", labels: json.labels ?? {}, times: [], avg: [], min: [], max: [] };
  (json.times ?? []).forEach((rawTime, index) => {
    const time = toNumber(rawTime);
    const avg = toNumber(json.avg?.[index]);
    if (time === undefined || avg === undefined) return;
    points.times.push(time);
    points.avg.push(avg);
    points.min.push(toNumber(json.min?.[index]) ?? avg);
    points.max.push(toNumber(json.max?.[index]) ?? avg);
  });
  return points;
}

/** Adds a row of nulls in the middle of every stretch that is longer than 1.5 steps. */
export function insertGaps(times: readonly number[], columns: readonly (readonly number[])[], step: number): Table {
  const out: Table = { times: [], columns: columns.map(() => []) };
  times.forEach((time, index) => {
    const previous = times[index - 1];
    if (previous !== undefined && step > 0 && time - previous > GAP_FACTOR * step) {
      out.times.push((previous + time) / 2);
      for (const column of out.columns) column.push(null);
    }
    out.times.push(time);
    columns.forEach((column, at) => out.columns[at]?.push(column[index] ?? null));
  });
  return out;
}

function sameTimes(tables: Table[]): boolean {
  const first = tables[0]?.times;
  return tables.every((table) => table.times.length === first?.length && table.times.every((time, i) => time === first[i]));
}

/** Puts columns with times of their own onto the union of all times. */
export function joinTables(tables: Table[]): Table {
  if (tables.length === 0) return { times: [], columns: [] };
  if (sameTimes(tables)) return { times: tables[0]?.times ?? [], columns: tables.flatMap((table) => table.columns) };
  const times = [...new Set(tables.flatMap((table) => table.times))].sort((a, b) => a - b);
  const place = new Map(times.map((time, index) => [time, index]));
  const columns = tables.flatMap((table) =>
    table.columns.map((column) => {
      const spread: Column = new Array<undefined>(times.length).fill(undefined);
      table.times.forEach((time, index) => {
        const at = place.get(time);
        if (at !== undefined) spread[at] = column[index];
      });
      return spread;
    }),
  );
  return { times, columns };
}

/** Each column becomes the sum of itself and those before it: what a stacked chart draws. */
export function stack(columns: Column[]): Column[] {
  const sums: Column[] = [];
  columns.forEach((column, layer) => {
    const below = sums[layer - 1];
    sums.push(
      column.map((value, index) => {
        const base = below?.[index];
        if (value === null || value === undefined) return layer === 0 ? value : base;
        return value + (base ?? 0);
      }),
    );
  });
  return sums;
}

export function countPoints(columns: Column[]): number {
  let count = 0;
  for (const column of columns) {
    for (const value of column) if (value !== null && value !== undefined) count++;
  }
  return count;
}

/** Whether the buckets hold more than one sample, so that the average hides spikes. */
export function isDownsampled(points: Points): boolean {
  return points.max.some((max, index) => max > (points.min[index] ?? max));
}

export type LiveValue = { time: number; value: number };

/**
 * Appends live values to stored points, in the stored points' own step: raw points as they are, wider buckets as
 * average, smallest and largest. `coveredTo` is the end of the answer: values before it are in the last bucket already.
 */
export function appendLive(
  stored: Points,
  live: readonly LiveValue[],
  window: { step: number; interval: number; coveredTo: number },
): Points {
  const { step, interval, coveredTo } = window;
  const lastTime = stored.times.at(-1) ?? Number.NEGATIVE_INFINITY;
  const out: Points = { ...stored, times: [...stored.times], avg: [...stored.avg], min: [...stored.min], max: [...stored.max] };
  if (step <= interval) {
    for (const { time, value } of live) {
      if (time <= lastTime) continue;
      pushPoint(out, time, value);
    }
    return out;
  }
  // How many samples the newest bucket stands for; the stored part of it counts for the time that it covers.
  let weight = Math.max(1, Math.round((coveredTo - lastTime) / interval));
  for (const { time, value } of live) {
    const bucket = Math.floor(time / step) * step;
    const newest = out.times.at(-1) ?? Number.NEGATIVE_INFINITY;
    if (bucket > newest) {
      pushPoint(out, bucket, value);
      weight = 1;
    } else if (bucket === newest && (newest > lastTime || time >= coveredTo)) {
      mergeIntoLast(out, value, weight);
      weight++;
    }
  }
  return out;
}

function pushPoint(points: Points, time: number, value: number): void {
  points.times.push(time);
  points.avg.push(value);
  points.min.push(value);
  points.max.push(value);
}

function mergeIntoLast(points: Points, value: number, weight: number): void {
  const last = points.times.length - 1;
  const avg = points.avg[last] ?? value;
  points.avg[last] = avg + (value - avg) / (weight + 1);
  points.min[last] = Math.min(points.min[last] ?? value, value);
  points.max[last] = Math.max(points.max[last] ?? value, value);
}

/** Leaves out what is older than a time: the part that a following chart has scrolled past. */
export function dropBefore(points: Points, time: number): Points {
  const start = points.times.findIndex((at) => at >= time);
  if (start === 0) return points;
  const keep = start < 0 ? points.times.length : start;
  return {
    ...points,
    times: points.times.slice(keep),
    avg: points.avg.slice(keep),
    min: points.min.slice(keep),
    max: points.max.slice(keep),
  };
}
