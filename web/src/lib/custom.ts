// Custom metrics: what programs on a host tell its agent. In a reading they are the instances of one family, with the
// metric's name and the text of the series' labels; in queries and charts each is a metric of its own, custom:NAME.
import type { UnitJson } from "@/gen/gohub/v1/metric_pb";
import type { HostJson, InstanceJson } from "@/gen/gohub/v1/query_pb";
import { formatDateTime, formatterOf } from "@/lib/format";
import { instancesOf, instanceValue, label } from "@/lib/instances";

export const CUSTOM_FAMILY = "custom";
export const CUSTOM_VALUE = "custom_value";

export function customMetric(name: string): string {
  return `custom:${name}`;
}

/** Takes {device="sda",side="left"} apart. Of what is no such text it takes what it can. */
export function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [, name, value] of text.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/gs)) {
    if (name !== undefined && value !== undefined) labels[name] = value.replace(/\\(.)/gs, (_, c: string) => (c === "n" ? "\n" : c));
  }
  return labels;
}

/** The labels as they are written, without the braces. */
export function labelText(labels: Record<string, string>): string {
  return Object.keys(labels)
    .sort()
    .map((name) => `${name}=${labels[name] ?? ""}`)
    .join(", ");
}

export type CustomSeries = { name: string; labels: Record<string, string>; value: number | undefined };

function readInstance(instance: InstanceJson): CustomSeries {
  return { name: label(instance, "name"), labels: parseLabels(label(instance, "labels")), value: instanceValue(instance, CUSTOM_VALUE) };
}

/** The series of a host's newest reading by name and labels. What the agent tells of the metrics themselves comes last. */
export function customSeriesOf(host: HostJson): CustomSeries[] {
  const own = ({ name }: CustomSeries) => (name.startsWith("gohub_") ? 1 : 0);
  return instancesOf(host, CUSTOM_FAMILY)
    .map(readInstance)
    .sort((a, b) => own(a) - own(b) || a.name.localeCompare(b.name) || labelText(a.labels).localeCompare(labelText(b.labels)));
}

/** The unit that a name says by the custom of Prometheus, where it can be shown by it. */
export function unitOfName(name: string): UnitJson {
  if (name.endsWith("_bytes")) return "UNIT_BYTES";
  if (name.endsWith("_celsius")) return "UNIT_CELSIUS";
  return "UNIT_NONE";
}

// Seconds in this range are a time since 2001, not a length of decades.
const OLDEST_TIME = 1e9;
const NEWEST_TIME = 1e10;

/** A value as its metric's name suggests. */
export function formatCustom(name: string, value: number | undefined): string {
  if (name.endsWith("_seconds") && value !== undefined && value >= OLDEST_TIME && value < NEWEST_TIME) return formatDateTime(value);
  return formatterOf(unitOfName(name))(value);
}
