// The live readings of the one host whose page is open, as series that can be appended to a chart.
import type { ReadingJson } from "@/gen/gohub/v1/query_pb";
import { CUSTOM_FAMILY, CUSTOM_VALUE, customMetric, parseLabels } from "@/lib/custom";
import { toNumber, toUnixSeconds } from "@/lib/json";
import { seriesKey, type LiveValue } from "@/lib/series";

// Stored ranges are read again every few minutes at most, so older readings are in them.
const KEEP_SECONDS = 900;

export class ReadingLog {
  private series = new Map<string, { metric: string; labels: Record<string, string>; values: LiveValue[] }>();
  private newest = 0;
  private changes = 0;
  private listeners = new Set<() => void>();

  add(reading: ReadingJson | undefined): void {
    const time = toUnixSeconds(reading?.time);
    if (!reading || time === undefined || time <= this.newest) return;
    this.newest = time;
    this.append(time, reading.values, {});
    for (const instance of reading.instances ?? []) {
      const labels = instance.labels ?? {};
      if (instance.family === CUSTOM_FAMILY) this.appendCustom(time, instance.values, labels);
      else this.append(time, instance.values, labels);
    }
    this.trim(time - KEEP_SECONDS);
    this.changed();
  }

  clear(): void {
    this.series.clear();
    this.newest = 0;
    this.changed();
  }

  of(metric: string, labels: Record<string, string>): readonly LiveValue[] {
    return this.series.get(seriesKey(metric, labels))?.values ?? [];
  }

  /** The labels of every instance that has a value of the metric. */
  instancesOf(metric: string): Record<string, string>[] {
    return [...this.series.values()].filter((log) => log.metric === metric).map((log) => log.labels);
  }

  get newestTime(): number {
    return this.newest;
  }

  get version(): number {
    return this.changes;
  }

  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private append(time: number, values: ReadingJson["values"], labels: Record<string, string>): void {
    for (const [metric, raw] of Object.entries(values ?? {})) {
      const value = toNumber(raw);
      if (value === undefined) continue;
      const key = seriesKey(metric, labels);
      const log = this.series.get(key);
      if (log) log.values.push({ time, value });
      else this.series.set(key, { metric, labels, values: [{ time, value }] });
    }
  }

  /** As queries name them and their labels. */
  private appendCustom(time: number, values: ReadingJson["values"], labels: Record<string, string>): void {
    const value = values?.[CUSTOM_VALUE];
    if (value !== undefined) this.append(time, { [customMetric(labels.name ?? "")]: value }, parseLabels(labels.labels ?? ""));
  }

  private trim(oldest: number): void {
    for (const [key, log] of this.series) {
      const keep = log.values.findIndex((entry) => entry.time >= oldest);
      if (keep < 0) this.series.delete(key);
      else if (keep > 0) log.values.splice(0, keep);
    }
  }

  private changed(): void {
    this.changes++;
    for (const listener of this.listeners) listener();
  }
}
