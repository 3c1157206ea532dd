// The instances of one family in a host's newest reading.
import type { HostJson, InstanceJson } from "@/gen/gohub/v1/query_pb";
import { toNumber } from "@/lib/json";

export function instancesOf(host: HostJson, family: string): InstanceJson[] {
  return (host.latest?.instances ?? []).filter((instance) => instance.family === family);
}

export function label(instance: InstanceJson, name: string): string {
  return instance.labels?.[name] ?? "";
}

export function instanceValue(instance: InstanceJson, metric: string): number | undefined {
  return toNumber(instance.values?.[metric]);
}
